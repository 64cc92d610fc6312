"""Several hosts with orchd on each, on a network of their own, and what can happen to them.

    with Cluster("faults", programs, hosts=3) as cluster:     # n1, n2, n3, and c1 without orchd
        cluster.host("n3").poweroff()
        cluster.cut("n1", "n2")

A cluster belongs to no process: Cluster.find(name) finds it again, scripts/cluster uses it from the
command line, and who makes it removes it.
"""
import contextlib
import fcntl
import json
import os
import shutil
import unittest

import namespaces as ns
import single
import testbed
from single import eventually  # noqa: F401
from testbed import Failed
from underlay import EVERYBODY, Underlay

STATES = "/run/orch-testbed"
DEFAULT = "cluster"  # the name
CLIENT = "c1"
CLIENT_NUMBER = 201
MOST = 50
DISK_MEGABYTES = 2048
MANIFEST = "/etc/orch/orchd.toml"


@contextlib.contextmanager
def _alone():
    """Of all that make clusters and remove them: whoever is the last to go takes the folders along that all have in common."""
    above = os.open(os.path.dirname(STATES), os.O_RDONLY)
    try:
        fcntl.flock(above, fcntl.LOCK_EX)
        yield
    finally:
        os.close(above)


def _command(name):
    return "scripts/cluster" if name == DEFAULT else f"scripts/cluster --name {name}"


class Cluster:
    def __init__(self, name, programs, hosts=3, config=None, diskMegabytes=DISK_MEGABYTES):
        """`programs`: the folder with orch and orchd. `config`: the manifest that each host gets."""
        if not 1 <= hosts <= MOST:
            raise Failed(f"a cluster has 1 to {MOST} hosts, not {hosts}")
        self.name = name
        self.programs = os.path.abspath(programs)
        self.config = os.path.abspath(config or os.path.join(single.REPOSITORY, "configs", "single.toml"))
        self.folder = os.path.join(STATES, name)
        self.underlay = Underlay(name)
        self.hosts = [Node(self, f"n{number}", number, diskMegabytes) for number in range(1, hosts + 1)]
        self.client = Client(self, CLIENT, CLIENT_NUMBER)

    @staticmethod
    def find(name):
        try:
            with open(os.path.join(STATES, name, "cluster.json")) as file:
                made = json.load(file)["made"]
        except FileNotFoundError:
            others = sorted(os.listdir(STATES)) if os.path.isdir(STATES) else []
            there = f" (there is {', '.join(others)})" if others else ""
            raise Failed(f"no cluster '{name}' is up{there}; make one with: {_command(name)} up 3")
        return Cluster(name, made["programs"], made["hosts"], made["config"])

    # ---- life ----

    def create(self):
        """Returns when orchd answers on each host."""
        if os.path.exists(self.folder) or os.path.exists(self._disks()):
            raise Failed(f"cluster '{self.name}' exists; remove it with: {_command(self.name)} rm")
        with _alone():
            os.makedirs(self.folder)
            os.makedirs(self._disks())
        try:
            made = {"programs": self.programs, "hosts": len(self.hosts), "config": self.config}
            self._write({"made": made, "cuts": [], "losses": {}, "delays": {}})
            self.underlay.create()
            for member in self.members():
                member.create()
            self.beforeOrchd()
            for node in self.hosts:
                node.launch()
            for node in self.hosts:
                node.awaitAnswers()
        except BaseException:
            self.remove()
            raise
        return self

    def beforeOrchd(self):
        """The hosts are there, for the first time: what has to run before orchd does."""

    def remove(self):
        """Gone already is success."""
        if os.path.isdir(self._disks()):
            for name in os.listdir(self._disks()):
                testbed.Host(f"{self.name}/{name}").remove()
            os.rmdir(self._disks())
        if os.path.isdir(self.folder):
            shutil.rmtree(self.folder)
        with _alone():
            for shared in (STATES, testbed.CLUSTERS):
                with contextlib.suppress(OSError):  # another cluster is in it, or it is gone
                    os.rmdir(shared)

    def _disks(self):
        return os.path.join(testbed.CLUSTERS, self.name)

    def __enter__(self):
        return self.create()

    def __exit__(self, *_):
        self.remove()

    # ---- hosts ----

    def members(self):
        return [*self.hosts, self.client]

    def host(self, name):
        for member in self.members():
            if member.name == name:
                return member
        raise Failed(f"cluster '{self.name}' has no host '{name}'; it has {' '.join(m.name for m in self.members())}")

    def hostsFile(self):
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{member.address} {member.name}" for member in self.members()]
        return "\n".join(lines) + "\n"

    # ---- faults of the network ----

    def cut(self, one, other=None, oneWay=False):
        """Nothing passes between two hosts (`oneWay`: from `one` to `other`), or between one and all."""
        for name in (one, other or one):
            self.host(name)
        pairs = [[one, other or EVERYBODY]] + ([] if oneWay else [[other or EVERYBODY, one]])
        with self._changed() as state:
            state["cuts"] += [pair for pair in pairs if pair not in state["cuts"]]

    def lose(self, name, percent):
        """That part of what comes from, and of what goes to, the host."""
        self.host(name)
        if not 0 <= percent <= 100:
            raise Failed(f"a loss is 0% to 100%, not {percent:g}%")
        with self._changed() as state:
            state["losses"][name] = percent

    def delay(self, name, milliseconds):
        """What comes from the host, and what goes to it, is that much later; see relay for its limits."""
        self.host(name)
        with self._changed() as state:
            state["delays"][name] = milliseconds

    def heal(self, *names):
        """Ends what is wrong with the network of these hosts, or of all."""
        for name in names:
            self.host(name)
        whole = lambda name: not names or name in names
        with self._changed() as state:
            state["cuts"] = [pair for pair in state["cuts"] if names and not set(pair) & set(names)]
            for kind in ("losses", "delays"):
                state[kind] = {name: value for name, value in state[kind].items() if not whole(name)}

    def delayOf(self, name):
        return self._read()["delays"].get(name)

    def faults(self, name):
        """In words, for a list."""
        state = self._read()
        said = [f"cut {source}>{target}".replace(EVERYBODY, "all") for source, target in state["cuts"]
                if name in (source, target)]
        for kind, form in (("losses", "lose {:g}%"), ("delays", "delay {:g}ms")):
            if name in state[kind]:
                said.append(form.format(state[kind][name]))
        return said

    @contextlib.contextmanager
    def _changed(self):
        """Several commands may be at it at once."""
        with open(os.path.join(self.folder, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self._read()
            before = dict(state["delays"])
            yield state
            for kind in ("losses", "delays"):
                state[kind] = {name: value for name, value in state[kind].items() if value}
            self.underlay.filter(state["cuts"], state["losses"])
            for member in self.members():
                if member.host.pid() is not None:
                    member.changeDelay(before.get(member.name), state["delays"].get(member.name))
            self._write(state)

    def _read(self):
        with open(os.path.join(self.folder, "cluster.json")) as file:
            return json.load(file)

    def _write(self, state):
        path = os.path.join(self.folder, "cluster.json")
        with open(f"{path}.new", "w") as file:
            json.dump(state, file)
        os.replace(f"{path}.new", path)


class Node(single.SingleHost):
    """A host of a cluster. Its disk outlives its boots: /var/lib, with orchd's data, and /etc."""
    hasOrchd = True

    def __init__(self, cluster, name, number, diskMegabytes=0):
        super().__init__(f"{cluster.name}/{name}", cluster.programs, MANIFEST, diskMegabytes=diskMegabytes,
                         own=("/var/lib", "/etc"))
        self.cluster = cluster
        self.name = name
        self.mac = f"02:00:0a:5a:00:{number:02x}"
        self.number = number

    @property
    def address(self):
        return f"10.90.0.{self.number}"

    @property
    def addresses(self):
        return [f"{self.address}/24", f"fd90::{self.number}/64"]

    def create(self):
        """Boots it for the first time; orchd is not started."""
        self.host.create()
        self._write("/etc/hostname", f"{self.name}\n")
        self._write("/etc/hosts", self.cluster.hostsFile())
        with open(self.cluster.config) as file:
            self._write(MANIFEST, file.read())
        self.plug()

    def plug(self):
        self.cluster.underlay.plug(self.host, self.name, self.mac, self.addresses)
        self.changeDelay(None, self.cluster.delayOf(self.name))

    def unplug(self):
        self.cluster.underlay.unplug(self.name, self.cluster.delayOf(self.name))

    def readdress(self, number):
        """It is reached at other addresses from now on; nobody is told, nor are the hosts' /etc/hosts."""
        before, self.number = self.addresses, number
        self.cluster.underlay.readdress(self.host, before, self.addresses)

    def changeDelay(self, before, after):
        if before and before != after:
            self.cluster.underlay.endDelay(self.host, self.name)
        if after and before != after:
            self.cluster.underlay.delay(self.host, self.name, after)

    def _write(self, path, text):
        path = self.host.root() + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def state(self):
        """off, frozen, stopped (there is no orchd) or running."""
        if self.host.pid() is None:
            return "off"
        if ns.isFrozen(self.host.cgroup):
            return "frozen"
        return "running" if not self.hasOrchd or self.orchdRuns() else "stopped"

    def _require(self, *states):
        state = self.state()
        if state not in states:
            raise Failed(f"host '{self.name}' is {state}, not {', '.join(states[:-1])}{' or ' * (len(states) > 1)}{states[-1]}")

    # ---- what happens to it ----

    def start(self, *environment):
        """Boots it if it is off, with the disk it had, and starts orchd."""
        self._require("off", "stopped")
        if self.host.pid() is None:
            self.host.boot()
            self.plug()
        return super().start(*environment) if self.hasOrchd else self

    def poweroff(self):
        """All of it ends at one instant, containers too. What was not synced is lost."""
        self._require("running", "stopped", "frozen")
        self.host.cutPower(self.unplug)

    def crash(self):
        """Ends orchd alone, with SIGKILL."""
        self._require("running")
        super().crash()

    def freeze(self):
        """Stops all its processes, containers too; returns when none runs."""
        self._require("running", "stopped")
        self.host.freeze()

    def thaw(self):
        self._require("frozen")
        self.host.thaw()

    def stallDisk(self):
        """Whatever writes to its disk waits, until resumeDisk."""
        self.host.disk.stall(self.host.root())

    def resumeDisk(self):
        self.host.disk.resume(self.host.root())

    def fillDisk(self):
        """Takes all the space that is left, until freeDisk."""
        self.host.disk.fill(self.host.root())

    def freeDisk(self):
        self.host.disk.free(self.host.root())

    def faults(self):
        """What is wrong with it, in words."""
        said = self.cluster.faults(self.name)
        if self.host.pid() is not None and self.host.disk.isFull(self.host.root()):
            said.append("disk full")
        return said


class Client(Node):
    """Has no orchd, for requests from outside."""
    hasOrchd = False

    def crash(self):
        raise Failed(f"host '{self.name}' has no orchd")


class ClusterTest(unittest.TestCase):
    """Tests of one class share hosts n1, n2, …, whole and with orchd on each; they are no cluster yet."""
    programs = ""  # the folder with orch and orchd
    hosts = 3
    config = None  # another manifest than configs/single.toml

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(f"test-{cls.__name__.lower()}-{os.getpid()}", cls.programs, cls.hosts, cls.config).create()
        cls.addClassCleanup(cls.cluster.remove)

    def states(self):
        """{host: the state of its node}, as the manager n1 says."""
        described = [node for node in self.cluster.hosts[0].json("node", "ls") if "description" in node]
        return {node["description"].get("hostname"): node["state"] for node in described}


class MemberTest(ClusterTest):
    """As ClusterTest, but n1, n2 and n3 are one cluster with n1 as the manager, which has the image
    web:1. Each test begins with all of them ready, and without a service."""
    init = ()  # of the command that makes the cluster

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        cls.n1.makeImages(1)
        said = cls.n1.orch("init", *cls.init).stdout
        cls.join = said.splitlines()[-1].split()
        for node in (cls.n2, cls.n3):
            node.orch(*cls.join[1:])

    def setUp(self):
        eventually("three hosts are ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})

    def tearDown(self):
        for service in self.n1.json("service", "ls"):
            self.n1.orch("service", "rm", service["name"])

    def create(self, *options, name="web"):
        self.n1.orch("service", "create", "--name", name, "--verify", "0s", "--stop-grace-period", "0s", *options, "web:1", "/bin/web")

    def hostOf(self, task):
        names = {node["meta"]["id"]: node["description"]["hostname"] for node in self.n1.json("node", "ls")}
        return names.get(task["nodeId"], "?")

    def spread(self, service="web"):
        """{host name: how many tasks run there}"""
        names = {node["meta"]["id"]: node["description"]["hostname"] for node in self.n1.json("node", "ls")}
        counts = {}
        for task in self.n1.running(service).values():
            name = names.get(task["nodeId"], "?")
            counts[name] = counts.get(name, 0) + 1
        return counts

    def ids(self):
        return {slot: task["meta"]["id"] for slot, task in self.n1.running("web").items()}


class NetworkTest(MemberTest):
    """As MemberTest; each test ends when nothing is left of its services and networks, on any host."""

    def tearDown(self):
        super().tearDown()
        made = lambda: self.n1.orch("network", "ls", "--filter", "scope=swarm", "--format", "{{.Name}}").stdout.split()
        eventually("nobody is on a network", lambda: self.n1.orch("network", "prune", "--force") and not made())
        for node in self.cluster.hosts:
            eventually(f"nothing of a network is left on {node.name}",
                       lambda: node.host.run("find", "/run/orch/network.overlay/netns", "-type", "f").stdout == "")
