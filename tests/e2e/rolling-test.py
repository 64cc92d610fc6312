#!/usr/bin/env python3
"""An update under load loses no request: a task is ended when nobody is led to it any more, and those
who were have their answers.

usage: rolling-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import signal
import sys
import unittest

TESTBED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed")
sys.path.insert(0, TESTBED)
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
SERVER = os.path.abspath(os.path.join(PROGRAMS, "..", "testbed-bin", "patient-server"))
ASK = os.path.abspath(os.path.join(TESTBED, "ask-steadily"))
# More of both on a machine with more than two cores.
REPLICAS = int(os.environ.get("ORCH_ROLLING_REPLICAS", "8"))
RATE = int(os.environ.get("ORCH_ROLLING_RATE", "200"))


class Load:
    """`ask-steadily` on a host, until `end`."""

    def __init__(self, test, node, way, *places, into=()):
        self.node = node
        self.log = f"{node.host.folder}/load-{way}-{len(test.loads)}.log"
        _, self.pid = node.host.spawn([*into, ASK, way, str(RATE), *places], self.log)
        test.loads.append(self)

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        return json.loads(eventually("the load says what came of it", self.said))

    def said(self):
        with open(self.log) as file:
            return file.read()


class Rolling(cluster.NetworkTest):
    programs = PROGRAMS

    def setUp(self):
        super().setUp()
        self.loads = []

    def serve(self, version, *options):
        self.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--replicas", str(REPLICAS), "--drain-timeout", "2s",
                     "--env", f"VERSION={version}", "--mount", f"type=bind,src={SERVER},dst=/server,readonly", *options,
                     "web:1", "/server", "80")

    def everywhere(self, port=8080):
        return [f"{node.address}:{port}" for node in self.cluster.hosts]

    def update(self, *options):
        self.n1.orch("service", "update", "--update-parallelism", "2", "--update-monitor", "0s", *options, "web")

    def lostNothing(self, load):
        said = load.end()
        self.assertEqual(said["failed"], 0, said)
        self.assertGreater(said["asked"], 0)
        return said["answers"]

    def test_published_ports_in_both_orders(self):
        self.serve("1", "-p", "8080:80")
        for node in self.cluster.hosts:
            eventually(f"{node.name} answers", lambda: not self.cluster.client.host.run(
                "busybox", "wget", "-q", "-O", "-", f"http://{node.address}:8080/").returncode)
        loads = [Load(self, self.cluster.client, way, *self.everywhere()) for way in ("close", "keep")]
        for version, order in (("2", "stop-first"), ("3", "start-first")):
            self.update("--update-order", order, "--env-add", f"VERSION={version}")
        self.n1.orch("service", "scale", "web=2")
        for load in loads:
            answers = self.lostNothing(load)
            versions = {text.split()[1] for text in answers}
            self.assertEqual(versions, {"1", "2", "3"}, "all of them were asked")

    def test_a_virtual_address_in_both_orders(self):
        self.n1.orch("network", "create", "-d", "overlay", "net")
        self.create("--mode", "global", "--network", "net", name="front")
        self.serve("1", "--network", "net")
        address = self.n1.json("service", "inspect", "web")[0]["addresses"][0]["address"]
        loads = []
        for task in self.n1.running("front").values():
            node = next(node for node in self.cluster.hosts if node.name == self.hostOf(task))
            into = ("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--")
            eventually(f"a task of {node.name} reaches it",
                       lambda: not node.host.run(*into, "busybox", "wget", "-q", "-O", "-", f"http://{address}/").returncode)
            loads.append(Load(self, node, "close" if node is self.n2 else "keep", f"{address}:80", into=into))
        for version, order in (("2", "stop-first"), ("3", "start-first")):
            self.update("--update-order", order, "--env-add", f"VERSION={version}")
        for load in loads:
            self.lostNothing(load)


if __name__ == "__main__":
    unittest.main()
