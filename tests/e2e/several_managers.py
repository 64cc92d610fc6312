"""A cluster whose managers' hosts run the servers of its store, and what its tests ask of it."""
import json
import os
import threading

import cluster
import java
import single
from single import eventually

MANAGERS = 3
MANAGER = 'id = "control.manager"\n'
# How each server is reached from a manifest.
SCHEMES = {"etcd": "http://", "consul": "http://", "zookeeper": ""}
PORTS = {"etcd": 2379, "consul": 8500, "zookeeper": 2181}


def storeEntry(server, urls=()):
    """At these, or on the managers' hosts."""
    urls = urls or [f"{SCHEMES[server]}10.90.0.{number}:{PORTS[server]}" for number in range(1, MANAGERS + 1)]
    return f'id = "store.{server}"\nconfig = {{ endpoints = {json.dumps(urls)} }}\n'


MANAGED = '[[plugin]]\nid = "store.etcd"\nconfig = { managed = true }\n'


def defaultManifest():
    """The one that ships, but for the etcd that orch would run itself."""
    with open(os.path.join(single.REPOSITORY, "configs", "single.toml")) as file:
        text = file.read()
    assert MANAGED in text
    return text.replace(MANAGED, "")


def manifestOn(server, urls=()):
    """The state is in that server from the start, in place of store.local."""
    text = defaultManifest().replace('id = "store.local"\n', storeEntry(server, urls), 1)
    return text.replace(MANAGER, MANAGER + f'config = {{ store = "store.{server}" }}\n', 1)


class StoreCluster(cluster.Cluster):
    """The managers' hosts run an etcd, a consul or a ZooKeeper beside orchd, or several of them, with their data on their disks."""
    servers = ()

    def beforeOrchd(self):
        for node in self.hosts[:MANAGERS]:
            self.startServers(node)

    def form(self):
        """The first hosts manage, and the others are workers."""
        first, *others = self.hosts
        worker = first.orch("init").stdout.splitlines()[-1].split()
        manager = first.orch("join-token", "manager").stdout.splitlines()[-1].split()
        for node in others:
            node.orch(*(manager if node in self.hosts[:MANAGERS] else worker)[1:])

    def startServers(self, node):
        node.servers = {}
        for server in self.servers:
            node.servers[server], _ = node.host.spawn(getattr(self, server)(node), os.path.join(self.folder, f"{server}-{node.name}.log"))

    def etcd(self, node):
        members = ",".join(f"{each.name}=http://{each.address}:2380" for each in self.hosts[:MANAGERS])
        return ["etcd", f"--name={node.name}", "--data-dir=/var/lib/etcd", f"--listen-client-urls=http://{node.address}:2379",
                f"--advertise-client-urls=http://{node.address}:2379", f"--listen-peer-urls=http://{node.address}:2380",
                f"--initial-advertise-peer-urls=http://{node.address}:2380", f"--initial-cluster={members}"]

    def consul(self, node):
        others = [f"-retry-join={each.address}" for each in self.hosts[:MANAGERS]]
        return ["consul", "agent", "-server", f"-bootstrap-expect={MANAGERS}", f"-node={node.name}", "-data-dir=/var/lib/consul",
                f"-bind={node.address}", f"-client={node.address}", "-log-level=warn", *others,
                "-hcl=disable_update_check = true performance { raft_multiplier = 1 }"]

    def zookeeper(self, node):
        managers = self.hosts[:MANAGERS]
        lines = [f"server.{number}={each.address}:2888:3888" for number, each in enumerate(managers, 1)]
        lines += [f"clientPortAddress={node.address}", "initLimit=10", "syncLimit=5", "tickTime=1000"]
        return java.zookeeper("/var/lib/zookeeper", lines, managers.index(node) + 1)


class Creating:
    """Creates services one after the other at a node, until it is left; `acknowledged` and `refused` have their names."""

    def __init__(self, node, prefix):
        self.node, self.prefix = node, prefix
        self.acknowledged, self.refused = [], []
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        number = 0
        while not self.ends.is_set():
            number += 1
            name = f"{self.prefix}{number}"
            made = self.node.orch("service", "create", "--name", name, "--detach", "--replicas", "0", "web:1", "/bin/web", check=False)
            (self.acknowledged if made.returncode == 0 else self.refused).append(name)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()


def status(node):
    """{host: its state, and what it is}, as this one says; nothing while its orchd starts again, as something else."""
    said = {}
    asked = node.orch("node", "ls", "--json", check=False)
    for row in json.loads(asked.stdout) if asked.returncode == 0 else []:
        what = "leader" if row.get("leader") else row.get("role", "worker")
        said[row.get("description", {}).get("hostname")] = f"{row['state']} {what}"
    return said


def leaderOf(hosts, *nodes, after=None):
    """The node that leads, as all of these say; another one than `after`, which they may not have missed yet."""
    def known():
        found = {name for node in nodes for name, what in status(node).items() if what.endswith("leader")}
        return len(found) == 1 and found != {after and after.name} and hosts.host(found.pop())
    return eventually("they know who leads", known)


def services(node):
    return {row["name"] for row in node.json("service", "ls")}
