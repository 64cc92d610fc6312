#!/usr/bin/env python3
"""orchd is killed on some of three hosts while services with networks and published ports are created,
scaled, updated and removed, at whatever instant. Services that run lose no request meanwhile; afterwards all
answer on every host with all their tasks, and nothing is left of those that ended.

usage: network-crash-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
ORCH_NETWORK_ROUNDS (3) kills, ORCH_SEED (from the clock) for the instants and what happens.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time
import unittest

TESTBED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed")
sys.path.insert(0, TESTBED)
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
ROUNDS = int(os.environ.get("ORCH_NETWORK_ROUNDS", "3"))
SEED = int(os.environ.get("ORCH_SEED", time.time_ns() % 1_000_000))
SERVER = os.path.abspath(os.path.join(PROGRAMS, "..", "testbed-bin", "patient-server"))
ASK = os.path.abspath(os.path.join(TESTBED, "ask-steadily"))
RATE = 30
STEADY, CHANGING, DATAGRAMS = 8080, 8081, 9000
# The instants to kill at: within this time after the command was started. Tasks start and stop in it.
WINDOW_S = 1.5

# Sends from one port to each of the places, all the time: what the kernel once noted of that stays. A name is
# asked of the task's own name server.
SEND = """
import socket, struct, sys, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("0.0.0.0", 31000))
client.setblocking(False)
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(1)
def address(name):
    if name[0].isdigit():
        return name
    asker.connect(("127.0.0.11", 53))
    asker.send(struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name.encode() + struct.pack(">BHH", 0, 1, 1))
    answer = asker.recv(512)
    return socket.inet_ntoa(answer[-4:]) if struct.unpack(">H", answer[6:8])[0] else None
while True:
    for place in sys.argv[1:]:
        host, port = place.rsplit(":", 1)
        try:
            to = address(host)
            if to:
                client.sendto(b"?", (to, int(port)))
        except OSError:
            pass  # nobody is there
    time.sleep(0.05)
"""


class Crashes(cluster.NetworkTest):
    programs = PROGRAMS
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.steadyTasks = []
        print(f"ORCH_SEED={SEED}", flush=True)
        self.random = random.Random(SEED)
        self.loads = []
        self.spawned = []
        self.addCleanup(lambda: [node.host.run("kill", "-9", str(pid)) for node, pid in self.spawned])

    # ---- load ----

    def spawn(self, node, *command):
        log = f"{node.host.folder}/spawned-{len(self.spawned)}.log"
        inside, outside = node.host.spawn(command, log)
        self.spawned.append((node, inside))
        return outside, log

    def serveSteadily(self):
        """Two services that stay, and who asks them: from outside by all hosts, and by the virtual address from inside."""
        common = ("--verify", "0s", "--mode", "global", "--network", "net", "--mount", f"type=bind,src={SERVER},dst=/server,readonly")
        self.n1.orch("service", "create", "--name", "steady", *common, "-p", f"{STEADY}:80", "web:1", "/server", "80")
        self.n1.orch("service", "create", "--name", "asking", *common, "web:1", "/server", "80")
        for node in self.cluster.hosts:
            eventually(f"all answer by {node.name}", lambda: len({self.get(node, STEADY) for _ in range(3)} - {""}) == 3)
        self.steadyTasks = [{**task, "host": self.hostOf(task), "service": service} for service in ("steady", "asking")
                            for task in self.n1.running(service).values()]
        everywhere = [f"{node.address}:{STEADY}" for node in self.cluster.hosts]
        self.load(self.cluster.client, "close", *everywhere)
        address = self.n1.json("service", "inspect", "steady")[0]["addresses"][0]["address"]
        for task in self.n1.running("asking").values():
            node = self.cluster.host(self.hostOf(task))
            into = ("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--")
            eventually(f"a task of {node.name} reaches it",
                       lambda: not node.host.run(*into, "busybox", "wget", "-q", "-O", "-", f"http://{address}/").returncode)
            self.load(node, "close", f"{address}:80", into=into)
            self.spawn(node, *into, "python3", "-c", SEND, f"web:{DATAGRAMS}")
        self.spawn(self.cluster.client, "python3", "-c", SEND, *(f"{node.address}:{DATAGRAMS}" for node in self.cluster.hosts))

    def load(self, node, way, *places, into=()):
        self.loads.append((node, self.spawn(node, *into, ASK, way, str(RATE), *places)))

    def endLoads(self):
        """Nobody of those asked has missed a request, or refused one."""
        for node, (pid, log) in self.loads:
            os.kill(pid, signal.SIGTERM)

            def said():
                with open(log) as file:
                    return file.read()
            came = json.loads(eventually("the load says what came of it", said))
            self.assertEqual((came["failed"], came["refused"]), (0, 0), f"from {node.name}: {came}")
            self.assertEqual(len(came["answers"]), 3, came)

    def get(self, node, port):
        return self.cluster.client.host.run("timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{node.address}:{port}/").stdout

    # ---- rounds ----

    def service(self):
        return next((row for row in self.n1.json("service", "ls") if row["name"] == "web"), None)

    def change(self):
        """A command that changes the service, and what it has to be afterwards: None, or replicas and version; and
        the same before."""
        now = self.service()
        version = now and self.n1.json("service", "inspect", "web")[0]["spec"]["task"]["container"]["env"][0].removeprefix("VERSION=")
        before = now and (now["desired"], version)
        if not now:
            replicas = self.random.choice((2, 4))
            command = ("create", "--name", "web", "--replicas", str(replicas), "--network", "net", "--stop-grace-period", "1s",
                       "-p", f"{CHANGING}:80", "-p", f"{DATAGRAMS}:9000/udp", "--env", "VERSION=1",
                       "--mount", f"type=bind,src={SERVER},dst=/server,readonly", "web:1", "/server", "80")
            return command, before, (replicas, "1")
        what = self.random.choice(("scale", "update", "rm", "rm"))
        if what == "rm":
            return ("rm", "web"), before, None
        if what == "scale":
            replicas = self.random.choice([number for number in (1, 3, 5) if number != now["desired"]])
            return ("scale", f"web={replicas}"), before, (replicas, version)
        other = str(int(version) + 1)
        order = self.random.choice(("start-first", "stop-first"))
        command = ("update", "--update-parallelism", "2", "--update-order", order, "--env-add", f"VERSION={other}", "web")
        return command, before, (now["desired"], other)

    def round(self):
        command, before, after = self.change()
        victims = self.random.sample(self.cluster.hosts, self.random.choice((1, 1, 2, 3)))
        print(f"{' '.join(command[:2])}, killed on {' '.join(node.name for node in victims)}", flush=True)
        process = subprocess.Popen(self.n1.host.command(f"{PROGRAMS}/orch", "service", command[0], "--detach", *command[1:]),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(self.random.uniform(0, WINDOW_S))  # the instant, whatever goes on then
        for node in victims:
            node.crash()
        self.whileAway(victims)
        for node in victims:
            node.launch()
        for node in victims:
            node.awaitAnswers()
        output, _ = process.communicate(timeout=single.PATIENCE)
        eventually("three hosts are ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})
        now = self.service()
        replicas = now and now["desired"]
        if process.returncode == 0:
            self.assertEqual(replicas, after and after[0], output)
        else:
            self.assertIn(replicas, [one and one[0] for one in (before, after)], output)
            after = now and (replicas, None)
        self.settled(after)

    def whileAway(self, victims):
        """A task may end, and others may change what the host had to know."""
        if self.random.random() < 0.5:
            return
        node = self.random.choice(victims)
        pids = node.host.run("pgrep", "-f", "^/server 80").stdout.split()
        kept = {str(task["status"]["container"]["pid"]) for task in self.steadyTasks}
        changing = sorted(set(pids) - kept)
        if changing:
            node.host.run("kill", "-9", self.random.choice(changing))
        time.sleep(self.random.uniform(0, WINDOW_S))

    def settled(self, wanted):
        """All tasks that should be there are and are reached by every host, and nothing of others is there."""
        if wanted:
            replicas, version = wanted
            eventually(f"{replicas} run", lambda: len(self.n1.running("web")) == replicas)
            for node in self.cluster.hosts:
                def answer():
                    seen = {self.get(node, CHANGING).strip() for _ in range(replicas)}
                    return len(seen) == replicas and all(version is None or text.endswith(f" {version}") for text in seen)
                eventually(f"all {replicas} answer by {node.name}", answer)
        self.eventuallyEqual(self.traces, self.expected)
        self.eventuallyEqual(self.clientsOfNobody, dict)
        form = "{{.Node}} {{.Object}}: {{.Expected}}, {{.Found}}"
        self.eventuallyEqual(lambda: self.n1.orch("network", "check", "--format", form, check=False).stdout, str)

    def eventuallyEqual(self, get, wanted):
        try:
            eventually("equal", lambda: get() == wanted())
        except AssertionError:
            self.assertEqual(get(), wanted(), self.n1.orch("service", "ps", "web", check=False).stdout +
                             "".join(f"---- {node.name}\n{node.logTail()}" for node in self.cluster.hosts))

    # ---- what is there ----

    def tasks(self):
        """[(host name, service, task)] of all that run, as the manager says."""
        hosts = {node["meta"]["id"]: node["description"]["hostname"] for node in self.n1.json("node", "ls")}
        return [(hosts[task["nodeId"]], service["name"], task) for service in self.n1.json("service", "ls")
                for task in self.n1.running(service["name"]).values()]

    def expected(self):
        """What `traces` has to find."""
        found = {node.name: {kind: set() for kind in ("bridge", "namespaces", "published", "legs", "addresses")} | {"links": 0, "names": {}}
                 for node in self.cluster.hosts}
        names = set()
        for host, service, task in self.tasks():
            here, name = found[host], task["meta"]["id"]
            for kind in ("bridge", "namespaces"):
                here[kind].add(name)
            if service != "asking":
                here["published"].add(name)
            here["legs"] |= {f"{leg['network']}@{name}" for leg in task["legs"]}
            here["addresses"] |= {address.split("/")[0] for address in task["status"]["addresses"]}
            here["links"] += 1
            if service == "web":
                names |= {leg["address"].split("/")[0] for leg in task["legs"]}
        for here in found.values():
            here["names"] = names
        return found

    def traces(self):
        return {node.name: self.tracesOn(node) for node in self.cluster.hosts}

    def tracesOn(self, node):
        """What there is of tasks on a host, without asking orchd."""
        script = """cd /run/orch
            for folder in bridge/tasks bridge/netns ingress/published overlay/legs; do ls network.$folder; echo =; done
            sed -n 's/^address //p' network.bridge/tasks/*; echo =; ls /sys/class/net | grep ^oh"""
        parts = [part.split() for part in node.host.run("sh", "-c", script).stdout.split("=")]
        bridge, namespaces, published, legs, addresses, links = parts
        self.assertEqual(len(addresses), len(set(addresses)), "an address is one task's")
        task = next(task for task in self.steadyTasks if task["host"] == node.name and task["service"] == "asking")
        said = node.host.run("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--",
                             "busybox", "nslookup", "-type=a", "tasks.web", "127.0.0.11").stdout
        names = [line.split()[-1] for line in said.partition("Name:")[2].splitlines() if line.startswith("Address")]
        return {"bridge": set(bridge), "namespaces": set(namespaces), "published": set(published), "legs": set(legs),
                "addresses": set(addresses), "links": len(links), "names": set(names)}

    def clientsOfNobody(self):
        """{host: those who are led to a task that is not there, or to a host without one}, of who sends datagrams."""
        own = {node.name: node.address for node in self.cluster.hosts}
        there = {name: set() for name in own}
        everywhere = set()
        for host, service, task in self.tasks():
            if service == "web":
                there[host] |= {address.split("/")[0] for address in task["status"]["addresses"]}
                everywhere |= {leg["address"].split("/")[0] for leg in task["legs"]} | {own[host]}
        found = {}
        for node in self.cluster.hosts:
            lines = node.host.run("sh", "-c", "cat /proc/net/nf_conntrack; for one in /run/orch/network.overlay/netns/*; do "
                                  "nsenter --net=$one cat /proc/net/nf_conntrack; done").stdout.splitlines()
            for line in lines:
                words = line.split()
                if "udp" not in words or f"dport={DATAGRAMS}" not in words:
                    continue
                asked = next(word.removeprefix("dst=") for word in words if word.startswith("dst="))
                answers = [word.removeprefix("src=") for word in words if word.startswith("src=")][-1]
                if answers != asked and answers not in there[node.name] | everywhere:
                    found.setdefault(node.name, []).append(line)
        return found

    def test_a_crash_at_whatever_instant_loses_and_leaves_nothing(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "3", "--network", "net", "-p", f"{CHANGING}:80", name="first")
        self.n1.orch("service", "rm", "first")
        clean = self.everything()
        self.serveSteadily()
        for number in range(ROUNDS):
            print(f"round {number}: ", end="", flush=True)
            self.round()
        self.endLoads()
        for service in self.n1.json("service", "ls"):
            self.n1.orch("service", "rm", service["name"])
        for node, pid in self.spawned:
            node.host.run("kill", "-9", str(pid))
        self.eventuallyEqual(lambda: self.more(clean), dict)

    def everything(self):
        return {node.name: node.leftovers() | {"files": node.below("/run/orch")[1]}
                for node in self.cluster.hosts}

    def more(self, before):
        """{host and kind: what is there now and was not before}"""
        now = self.everything()
        return {f"{kind} of {host}": sorted(now[host][kind] - before[host][kind]) for host in now for kind in now[host]
                if now[host][kind] - before[host][kind]}


if __name__ == "__main__":
    unittest.main(verbosity=2)
