#!/usr/bin/env python3
"""A host is powered off under load, from outside by the published port of the two other hosts, and by a virtual
address from containers on them. When the cluster calls it down and nobody is led there any more, no request fails.

usage: poweroff-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
ORCH_POWEROFF_RATE (200) requests per second of each kind, ORCH_POWEROFF_REQUESTS (1000) of each kind that have to go well.
"""
import json
import os
import signal
import sys
import time
import unittest

TESTBED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed")
sys.path.insert(0, TESTBED)
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
SERVER = os.path.abspath(os.path.join(PROGRAMS, "..", "testbed-bin", "patient-server"))
ASK = os.path.abspath(os.path.join(TESTBED, "ask-steadily"))
RATE = int(os.environ.get("ORCH_POWEROFF_RATE", "200"))
REQUESTS = int(os.environ.get("ORCH_POWEROFF_REQUESTS", "1000"))
REPLICAS = 6
PORT = 8080
# For an answer while the host goes: who waits longer asks less, and would see less of how long it lasts.
SHORT = 1


class Poweroff(cluster.NetworkTest):
    programs = PROGRAMS

    def setUp(self):
        super().setUp()
        self.started = 0
        self.running = []

    def tearDown(self):
        for _, _, pid, _ in self.running:
            os.kill(pid, signal.SIGTERM)
        if self.n3.state() == "off":
            self.n3.start()
        super().tearDown()

    def load(self, name, node, way, *places, into=(), patience=10):
        self.started += 1
        log = f"{node.host.folder}/load-{self.started}.log"
        _, pid = node.host.spawn([*into, ASK, way, f"{RATE / 2:g},{patience}", *places], log)
        self.running.append((name, node, pid, log))

    def loads(self, patience):
        """Half of the requests of each kind have a connection of their own, half share some."""
        places = [f"{node.address}:{PORT}" for node in (self.n1, self.n2)]
        address = self.n1.json("service", "inspect", "web")[0]["addresses"][0]["address"]
        for way in ("close", "keep"):
            self.load(f"published port, {way}", self.cluster.client, way, *places, patience=patience)
            for node, into in self.fronts():
                self.load(f"virtual address from {node.name}, {way}", node, way, f"{address}:80", into=into, patience=patience)

    def fronts(self):
        """[(host, the way into its task)] of those that stay."""
        tasks = [(self.cluster.host(self.hostOf(task)), task) for task in self.n1.running("front").values()]
        return [(node, ("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--"))
                for node, task in tasks if node is not self.n3]

    def end(self):
        """{name of a load: what it says}"""
        running, self.running = self.running, []
        for _, _, pid, _ in running:
            os.kill(pid, signal.SIGTERM)

        def said(log):
            with open(log) as file:
                return file.read()
        return {name: json.loads(eventually("a load says what came of it", lambda: said(log))) for name, _, _, log in running}

    def allAnswer(self, hosts):
        """Whoever is asked, by every way: others ask meanwhile, so that it takes more than one turn."""
        address = self.n1.json("service", "inspect", "web")[0]["addresses"][0]["address"]
        wget = ("timeout", "3", "busybox", "wget", "-q", "-O", "-")
        client = self.cluster.client
        ways = [(client, (), f"{node.address}:{PORT}") for node in hosts]
        ways += [(node, into, address) for node, into in self.fronts()]
        for node, into, place in ways:
            seen = set()

            def asked():
                said = [node.host.run(*into, *wget, f"http://{place}/").stdout for _ in range(REPLICAS)]
                seen.update(said)
                return len(seen - {""}) >= REPLICAS and all(said)
            eventually(f"all are reached by {place} from {node.name}", asked)

    def test_requests_fail_no_longer_than_the_host_is_missed(self):
        self.n1.orch("network", "create", "net")
        self.create("--mode", "global", "--network", "net", name="front")
        self.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--replicas", str(REPLICAS), "--network", "net",
                     "-p", f"{PORT}:80", "--mount", f"type=bind,src={SERVER},dst=/server,readonly", "web:1", "/server", "80")
        self.assertEqual(self.spread(), {"n1": 2, "n2": 2, "n3": 2})
        self.allAnswer(self.cluster.hosts)
        self.loads(SHORT)
        time.sleep(2)  # of requests that all go well
        off = time.time()
        self.n3.poweroff()
        eventually("it is called down", lambda: self.states()["n3"] == "down")
        down = time.time()
        eventually("its tasks run elsewhere", lambda: "n3" not in self.spread() and len(self.n1.running("web")) == REPLICAS)
        self.allAnswer((self.n1, self.n2))
        said = self.end()
        print(f"seconds after the power was cut: called down {down - off:.1f}", end="")
        for name, came in said.items():
            if came["failed"]:
                # Who only waited for too long may have met busy cores; at the end all have more patience.
                early = [why for why in came["reasons"] if float(why.split()[0]) < off and "TimeoutError" not in why]
                self.assertEqual(early, [], came)
                print(f"; {name}: {came['failed']} of {came['asked']} failed, the last was begun at {came['failedUntil'] - off:.1f}", end="")
        print(flush=True)

        self.loads(10)
        time.sleep(2 * REQUESTS / RATE)
        for name, came in self.end().items():
            self.assertEqual((came["failed"], came["refused"]), (0, 0), f"{name}: {came}")
            self.assertGreater(came["asked"], 0, name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
