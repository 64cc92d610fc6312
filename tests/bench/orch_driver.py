"""orch: an orchd of its own per node, spoken to through orch-bench-client."""

import collections
import json
import os
import re
import select
import subprocess

from docker_driver import find
from driver import Driver, Session
from machine import BenchError, poll, read_text, run
from node import Node

RUN_DIR = "/run/orch"
DEFAULT_DELAY_MS = -1
OVERLAY = "benchnet"
SETTLE_SECONDS = 60


class OrchNode(Node):
    """orchd with the manifest that ships, in namespaces of its own. Where several nodes manage, it also runs
    a member of the etcd that the state is in."""

    KINDS = {"orchd": "daemons", "orch-plugin-host": "daemons", "etcd": "daemons", "conmon": "shim", "wl": "wl"}

    def __init__(self, number, namespace, tag, setup, managers=1):
        super().__init__(number, namespace, tag, setup.data)
        self.setup = setup
        self.managers = managers

    def manifest(self):
        """configs/single.toml with this node's folders, and its containers in its own cgroup."""
        text = read_text(f"{self.setup.source}/configs/single.toml")
        node = (
            f'[node]\nname = "node{self.number}"\ndata = "{self.folder}/data"\nrun = "{RUN_DIR}"\n'
        )
        text = re.sub(r"^\[node\]\n(?:[a-z]+ *=.*\n)*", node, text, count=1, flags=re.MULTILINE)
        parent = f'config = {{ cgroupParent = "/{self.cgroup}/containers" }}\n'
        return re.sub(r'^(id *= *"runtime\.\w+"\n)', rf"\1{parent}", text, flags=re.MULTILINE)

    def script(self):
        """docker-init (tini) reaps what conmon leaves behind, as an init of a host does."""
        path = f"{self.folder}/orchd.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.manifest())
        return f"exec {find('docker-init')} -s -- {self.setup.build}/bin/orchd --config {path}"

    def etcdctl(self, *words):
        """What this node's own member of its etcd says, decoded; None if it does not answer."""
        tls = f"{self.folder}/data/store.etcd/tls"
        command = ["ip", "netns", "exec", self.namespace, "env", "ETCDCTL_API=3", find("etcdctl")]
        command += ["--endpoints=https://127.0.0.1:2374", "--command-timeout=2s", "--write-out=json"]
        command += [f"--cacert={tls}/ca.pem", f"--cert={tls}/member.pem", f"--key={tls}/member.key", *words]
        said = run(command, check=False)
        return json.loads(said) if said[:1] in ("{", "[") else None

    def voters(self):
        """How many members of its etcd have a vote."""
        said = self.etcdctl("member", "list")
        return sum("isLearner" not in member for member in said["members"]) if said else 0

    def socket(self):
        """Of orchd, seen from outside of the node's mount namespace."""
        return f"/proc/{self.init_pid()}/root{RUN_DIR}/orchd.sock"

    def answers(self):
        """Whether every plugin of the manifest runs or has failed."""
        if not os.path.exists(self.socket()):
            return False
        session = OrchSession(self, self.setup)
        try:
            return session.command("unsettled") == "0"
        except BenchError:
            return False
        finally:
            session.close()

    def legs(self):
        """Legs of overlay networks: each has a record."""
        folder = f"/proc/{self.init_pid()}/root{RUN_DIR}/network.overlay/legs"
        return len(os.listdir(folder)) if os.path.isdir(folder) else 0

    def kind(self, name):
        """A conmon per container."""
        return self.KINDS.get(name, "other")


class OrchSession(Session):
    """One orch-bench-client, which keeps one connection to orchd."""

    def __init__(self, node, setup, overlay=None, timeout=60):
        self.node = node
        self.timeout = timeout
        self.late = False  # an answer that nobody waits for any more may come yet
        self.overlay = overlay  # gives the name of the network
        self.last_ms = 0.0
        self.process = subprocess.Popen(
            [f"{setup.programs}/orch-bench-client", node.socket(), setup.runtime],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def command(self, *words):
        """Sends a line and returns the value of the answer."""
        line = " ".join(str(word) for word in words)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], self.timeout)[0]:
                self.late = True
                raise BenchError(f"orch: {line}: no answer within {self.timeout} s")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchError(f"orch-bench-client ended: {self.process.stderr.read().strip()}")
        status, _, rest = answer.rstrip("\n").partition(" ")
        if status != "ok":
            raise BenchError(f"orch: {line}: {rest}")
        microseconds, _, value = rest.partition(" ")
        self.last_ms = int(microseconds) / 1e3
        return value

    def create(self, name, replicas, net="bridge", delay=None, order="stop-first", parallelism=1, label=None):
        """The restart delay is orch's own back-off unless given."""
        delay_ms = DEFAULT_DELAY_MS if delay is None else int(delay * 1000)
        net = self.overlay() if net == "overlay" else net
        return self.command(
            "create", name, replicas, net, delay_ms, order, parallelism, label or name
        )

    def scale(self, name, replicas):
        """One call."""
        self.command("scale", name, replicas)

    def relabel(self, name, label):
        """Reads, changes, writes, as with docker."""
        self.command("relabel", name, label)

    def remove(self, name):
        """Answered before anything has stopped."""
        self.command("remove", name)

    def running(self, name):
        """As the manager has it."""
        return int(self.command("running", name))

    def ready(self):
        """As `orch node ls` has it."""
        return int(self.command("ready"))

    def cluster_nodes(self):
        """As `orch node ls` has them."""
        found = []
        for entry in self.command("nodes").split():
            identity, state, where, role = entry.split(",")
            node = {"ID": identity, "Status": {"State": state}}
            if role:
                node["ManagerStatus"] = {"Addr": where, "Leader": role == "leader"}
            found.append(node)
        return found

    def tasks_by_node(self, name):
        """As `orch service ps` has them."""
        return dict(collections.Counter(self.command("running_on", name).split()))

    def drain(self, node):
        """One call."""
        self.command("drain", f"node{node}")

    def update_done(self, name):
        """After the same monitoring period as docker's."""
        return self.command("update_done", name) == "1"

    def fail(self, name, program):
        """Reads, changes, writes, as with docker."""
        self.command("fail", name, program)

    def rolled_back(self, name):
        """After the same monitoring period as docker's."""
        return self.command("rolled_back", name) == "1"

    def services(self):
        """The rows of `orch service ls`."""
        return int(self.command("list"))

    def left(self):
        """Containers in any state, addresses that the bridge has not got back, and legs of overlays."""
        return int(self.command("containers")) + int(self.command("endpoints")) + self.node.legs()

    def inode(self):
        """Of the client's only connection."""
        folder = f"/proc/{self.process.pid}/fd"
        for fd in os.listdir(folder):
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"{folder}/{fd}"))
            if match:
                return int(match.group(1))
        raise BenchError("orch-bench-client has no connection")

    def close(self):
        """The client ends with its input."""
        if self.late:
            self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class OrchDriver(Driver):
    """The build that `setup.build` names."""

    name = "orch"
    networks = ("bridge", "overlay", "host")
    most_managers = 3
    answers_everywhere = True

    def __init__(self, setup):
        super().__init__(setup)
        self.has_overlay = False

    def make_node(self, number, namespace):
        """An orchd."""
        return OrchNode(number, namespace, self.tag, self.setup, self.managers)

    def form_cluster(self):
        """The first start makes the cluster `default`; asking for it again changes nothing."""
        if self.managers == 1:
            self.connect().command("init", "default")
        if len(self.nodes) > 1:
            self.run("init", node=1, options=["--advertise-addr", self.nodes[1].address])
            self.nodes[1].wait_ready()
        session = self.connect()
        if poll(lambda: session.command("ready") == "1", 30) is None:
            raise BenchError("the node was not ready within 30 s")
        if self.managers > 1:
            self.run("cluster", "migrate", node=1, options=["--to", "store.etcd"])
        self.load_image(1)

    def settle(self):
        """Each manager has a member of the etcd, with a vote."""
        for number in range(1, self.managers + 1 if self.managers > 1 else 1):
            node = self.nodes[number]
            if poll(lambda: node.voters() == self.managers, SETTLE_SECONDS, 0.1) is None:
                count = node.voters()
                raise BenchError(f"{count} members of node {number}'s etcd vote after {SETTLE_SECONDS} s, not {self.managers}")

    def promote(self, number):
        """The command line."""
        self.run("node", "promote", f"node{number}", node=1)

    def managing(self):
        """Whoever has a copy of the state and a vote in its store could lead."""
        status = json.loads(self.run("cluster", "status", "--json", node=1))
        known = sum(int(manager.get("behindMs", -1)) >= 0 for manager in status["managers"])
        return min(known + 1, self.nodes[1].voters())

    def load_image(self, number):
        """As bench:1."""
        session = self.connect(number)
        session.command("import", self.setup.image, "bench:1")

    def prepare_join(self, number, role):
        """The command line, with its start."""
        token = json.loads(self.run("join-token", role, node=1, options=["--json"]))["token"]

        def run():
            self.run("join", self.nodes[1].address, node=number, options=["--token", token])

        return run

    def run(self, *words, node, options=()):
        """A command on that node."""
        command = [f"{self.setup.build}/bin/orch", "--host", f"unix://{self.nodes[node].socket()}", *words, *options]
        return run(command)

    def open_session(self, number, timeout):
        """A process of its own."""
        return OrchSession(self.nodes[number], self.setup, self.overlay, timeout)

    def serve(self, name, replicas, published=None):
        """By the command line: what is measured comes later."""
        options = ["--name", name, "--replicas", str(replicas), "--network", self.overlay(), "--verify", "0s"]
        if published is not None:
            options += ["--publish", f"{published[0]}:{published[1]}"]
        self.run("service", "create", node=1, options=[*options, "bench:1", "/bin/wl", name])

    def virtual_address(self, name):
        """On its one network."""
        service = json.loads(self.run("service", "inspect", name, node=1))
        return service[0]["addresses"][0]["address"]

    def overlay(self):
        """The name of the one overlay network, made when it is first asked for."""
        if not self.has_overlay:
            self.run("network", "create", node=1, options=["--subnet", self.OVERLAY_SUBNET, OVERLAY])
            self.has_overlay = True
        return OVERLAY

    def service_ls(self):
        """orch service ls -q"""
        environment = dict(os.environ, ORCH_HOST=f"unix://{self.nodes[1].socket()}")
        return [f"{self.setup.build}/bin/orch", "service", "ls", "-q"], environment

    def version_only(self):
        """orch --version"""
        return [f"{self.setup.build}/bin/orch", "--version"]
