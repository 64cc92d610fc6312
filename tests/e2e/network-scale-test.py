#!/usr/bin/env python3
"""Many services on one network, many networks on one host, and many hosts that join at once.

usage: network-scale-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
ORCH_SERVICES (30), ORCH_NETWORKS (20) and ORCH_JOINERS (5) say how many; 300, 200 and 29 are the long run.
"""
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
SERVICES = int(os.environ.get("ORCH_SERVICES", "30"))
NETWORKS = int(os.environ.get("ORCH_NETWORKS", "20"))
JOINERS = int(os.environ.get("ORCH_JOINERS", "5"))
# One service in so many has a task.
SERVED = 10
# Networks that one task is on.
LEGS = 10


class Step:
    """Prints how long something took, and the memory of orchd then."""

    def __init__(self, what, node):
        self.what, self.node = what, node

    def __enter__(self):
        self.begun = time.monotonic()

    def __exit__(self, *_):
        took = time.monotonic() - self.begun
        status = self.node.host.run("cat", f"/proc/{self.node.orchd}/status").stdout
        memory = next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)
        print(f"{self.what}: {took:.1f} s, orchd has {memory} MiB", flush=True)


def resolve(node, task, names):
    """{name: its addresses} as the task's own name server says."""
    script = f"for name in {' '.join(names)}; do echo =$name; busybox nslookup -type=a $name 127.0.0.11; done"
    said = node.host.run("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--", "sh", "-c", script).stdout
    found = {}
    for part in said.split("=")[1:]:
        name, _, answer = part.partition("\n")
        lines = answer.partition("Name:")[2].splitlines()
        found[name] = {line.split()[-1] for line in lines if line.startswith("Address")}
    return found


class Many(single.HostTest):
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.makeFirst(8080)

    def setUp(self):
        self.many(["network", "create", "first"])
        self.create("first", "first")
        self.remove("service", ["first"])
        self.remove("network", ["first"])
        self.clean = self.node.leftovers()

    def tearDown(self):
        self.node.awaitNothingLeft(self.clean)

    def many(self, *commands):
        """All of them, one after the other, in one shell."""
        lines = [" ".join(f"'{word}'" for word in (f"{PROGRAMS}/orch", *command)) + " >/dev/null || exit 1" for command in commands]
        done = self.node.host.run("sh", "-c", "\n".join(lines))
        self.assertEqual(done.returncode, 0, done.stderr)

    def create(self, name, *networks, replicas=1):
        self.many(self.creation(name, *networks, replicas=replicas))

    @staticmethod
    def creation(name, *networks, replicas=1):
        joined = [word for network in networks for word in ("--network", network)]
        return ["service", "create", "--detach", "--name", name, "--replicas", str(replicas), "--stop-grace-period", "0s",
                *joined, "web:1", "/bin/web"]

    def remove(self, kind, names):
        if kind == "service":
            self.many(*(["service", "rm", "--detach", name] for name in names))
        else:
            eventually("they are removed", lambda: self.removed(names))

    def removed(self, networks):
        """Whether none is there; one that still has tasks stays."""
        self.node.orch("network", "rm", *networks, check=False)
        return not {row["name"] for row in self.node.json("network", "ls")} & set(networks)

    def allRun(self, *services):
        eventually("their tasks run", lambda: all(self.node.running(name) for name in services), patience=200)

    def test_many_services_on_one_network(self):
        self.node.orch("network", "create", "--subnet", "10.88.0.0/20", "net")
        names = [f"s{number}" for number in range(SERVICES)]
        served = names[::SERVED]
        with Step(f"{SERVICES} services created", self.node):
            self.many(*(self.creation(name, "net", replicas=int(name in served)) for name in names))
        with Step("their tasks run", self.node):
            self.allRun(*served)
        with Step("listed and inspected", self.node):
            self.assertEqual({row["name"] for row in self.node.json("service", "ls")}, set(names))
            addresses = {row["spec"]["name"]: {row["addresses"][0]["address"]} for row in self.node.json("service", "inspect", *names)}
            net = self.node.json("network", "inspect", "net")[0]
        self.assertEqual({row["name"] for row in net["services"]}, set(names))
        self.assertEqual(len({address for one in addresses.values() for address in one}), SERVICES)
        asking = self.node.running(served[0])[1]
        with Step("found by name", self.node):
            eventually("all are found by name", lambda: resolve(self.node, asking, names) == addresses)
        with Step("checked", self.node):
            eventually("nothing is wrong", lambda: self.node.orch("network", "check", check=False).returncode == 0)
        with Step("removed", self.node):
            self.remove("service", names)
            self.remove("network", ["net"])

    def test_many_networks_on_one_host(self):
        names = [f"net{number}" for number in range(NETWORKS)]
        groups = [names[begin:begin + LEGS] for begin in range(0, NETWORKS, LEGS)]
        services = [f"web{number}" for number in range(len(groups))]
        with Step(f"{NETWORKS} networks created", self.node):
            self.many(*(["network", "create", name] for name in names))
        with Step("joined by a task each", self.node):
            self.many(*(self.creation(name, *group) for name, group in zip(services, groups)))
            self.allRun(*services)
        with Step("listed and inspected", self.node):
            inspected = self.node.json("network", "inspect", *names)
            self.assertLessEqual(set(names), {row["name"] for row in self.node.json("network", "ls")})
        self.assertEqual([row["name"] for row in inspected], names)
        self.assertEqual([[task["name"] for task in row["tasks"]] for row in inspected],
                         [[f"{service}.1"] for service, group in zip(services, groups) for _ in group])
        self.assertEqual(len({row["subnet"] for row in inspected}), NETWORKS)
        with Step("found by name", self.node):
            for service, group in zip(services, groups):
                task = self.node.running(service)[1]
                legs = {row["name"]: {row["tasks"][0]["address"].split("/")[0]} for row in inspected}
                wanted = {f"{service}.1.{name}": legs[name] for name in group}
                eventually(f"{service} is found by name", lambda: resolve(self.node, task, wanted) == wanted)
        with Step("checked", self.node):
            eventually("nothing is wrong", lambda: self.node.orch("network", "check", check=False).returncode == 0)
        self.node.crash()
        with Step("started again after a crash, and checked", self.node):
            self.node.start()
            eventually("nothing is wrong", lambda: self.node.orch("network", "check", check=False).returncode == 0)
        with Step("removed", self.node):
            self.remove("service", services)
            self.remove("network", names)


class Joining(cluster.ClusterTest):
    programs = PROGRAMS
    maxDiff = None
    hosts = JOINERS + 1

    def test_many_hosts_that_join_at_once_know_all_names(self):
        first, *others = self.cluster.hosts
        first.makeImages(1)
        command = first.orch("init").stdout.splitlines()[-1].split()
        first.orch("network", "create", "net")
        for name, options in (("web", ("--replicas", "2", "--constraint", "node.hostname==n1")), ("client", ("--mode", "global"))):
            first.orch("service", "create", "--detach", "--name", name, "--stop-grace-period", "0s", *options, "--network", "net", "web:1", "/bin/web")
        eventually("two run", lambda: len(first.running("web")) == 2)
        with Step(f"{JOINERS} hosts joined", first):
            joining = [subprocess.Popen(node.host.command(f"{PROGRAMS}/orch", *command[1:]), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True) for node in others]
            for process in joining:
                _, said = process.communicate(timeout=250)
                self.assertEqual((process.returncode, said), (0, ""))
            ready = dict.fromkeys((node.name for node in self.cluster.hosts), "ready")
            eventually("all are ready", lambda: self.states() == ready, patience=200)
        with Step("each has a task", first):
            clients = eventually("each has a task", lambda: len(first.running("client")) == len(self.cluster.hosts) and first.running("client"),
                                 patience=250)
        hosts = {node["meta"]["id"]: node["description"]["hostname"] for node in first.json("node", "ls")}
        names = {}
        for service in ("web", "client"):
            names[service] = {first.json("service", "inspect", service)[0]["addresses"][0]["address"]}
            for key, task in first.running(service).items():
                names[f"{service}.{key}"] = {task["legs"][0]["address"].split("/")[0]}
        names["tasks.web"] = names["web.1"] | names["web.2"]  # of all clients it would not fit into one datagram
        with Step("names are usable on each", first):
            for task in clients.values():
                node = self.cluster.host(hosts[task["nodeId"]])
                try:
                    eventually(f"all names are right on {node.name}", lambda: resolve(node, task, names) == names)
                except AssertionError:
                    self.assertEqual(resolve(node, task, names), names, node.name)
                fetch = lambda: node.host.run("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--", "timeout", "5",
                                              "busybox", "wget", "-q", "-O", "-", f"http://{next(iter(names['web']))}/").stdout
                eventually(f"it is reached from {node.name}", fetch)
        with Step("checked", first):
            eventually("nothing is wrong", lambda: first.orch("network", "check", check=False).returncode == 0)
        first.orch("service", "rm", "web", "client")


if __name__ == "__main__":
    unittest.main(verbosity=2)
