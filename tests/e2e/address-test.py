#!/usr/bin/env python3
"""A host of a cluster gets another address, while its orchd runs or does not: the others find it there, with its tasks.

usage: address-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import sys
import unittest

TESTBED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed")
sys.path.insert(0, TESTBED)
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
READY = dict.fromkeys(("n1", "n2", "n3"), "ready")
PORT = 8080


class Addresses(cluster.NetworkTest):
    programs = PROGRAMS

    def setUp(self):
        super().setUp()
        self.n1.orch("network", "create", "net")
        self.create("--mode", "global", "--network", "net", "-p", f"{PORT}:80")
        self.allReachAll()

    def get(self, node, *into, url):
        return node.host.run("timeout", "5", *into, "busybox", "wget", "-q", "-O", "-", url).stdout.split(" ")[0]

    def allReachAll(self):
        """All tasks answer by the published port of each host, and by names and addresses in each task."""
        eventually("three tasks run", lambda: len(self.n1.running("web")) == 3)
        tasks = self.n1.running("web").values()
        virtual = self.n1.json("service", "inspect", "web")[0]["addresses"][0]["address"]
        own = [leg["address"].split("/")[0] for task in tasks for leg in task["legs"]]
        for node in self.cluster.hosts:
            eventually(f"all are reached by {node.address}", lambda: len(
                {self.get(self.cluster.client, url=f"http://{node.address}:{PORT}/") for _ in range(3)} - {""}) == 3)
        for task in tasks:
            node = self.cluster.host(self.hostOf(task))
            into = ("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--")
            ask = lambda *hosts: [self.get(node, *into, url=f"http://{host}/") for host in hosts]
            eventually(f"{node.name} reaches each", lambda: len(set(ask(*own)) - {""}) == 3)
            eventually(f"{node.name} reaches all by the virtual address", lambda: len(set(ask(*[virtual] * 3)) - {""}) == 3)

    def known(self):
        """{host: the address that the others have of it}; empty while orchd starts again."""
        said = self.n1.orch("node", "ls", "--json", check=False)
        listed = json.loads(said.stdout) if said.returncode == 0 else []
        nodes = {node["description"]["hostname"]: node["address"] for node in listed}
        return {name: address.rpartition(":")[0] for name, address in nodes.items()}

    def follows(self):
        wanted = {node.name: node.address for node in self.cluster.hosts}
        eventually("it is known where the hosts are", lambda: self.known() == wanted)
        eventually("three hosts are ready", lambda: self.states() == READY)
        self.allReachAll()
        eventually("all is as it should be", lambda: not self.n1.orch("network", "check", check=False).returncode)

    def pids(self):
        return {number: task["status"]["container"]["pid"] for number, task in self.n1.running("web").items()}

    def test_a_worker_gets_another_while_it_runs(self):
        before = self.pids()
        self.n2.readdress(102)
        self.follows()
        self.assertEqual(self.pids(), before)

    def test_a_worker_gets_another_while_its_orchd_does_not_run(self):
        before = self.pids()
        self.n3.stop()
        self.n3.readdress(103)
        self.n3.start()
        self.follows()
        self.assertEqual(self.pids(), before)

    def test_the_only_manager_gets_another_and_is_found_again(self):
        before = self.pids()
        self.n1.readdress(101)
        self.follows()
        self.assertEqual(self.pids(), before)
        self.assertIn(f" {self.n1.address}:2377", self.n1.orch("join-token", "worker").stdout)
        # Workers know it for good, and so does who was away.
        self.n2.crash()
        self.n1.stop()
        self.n1.readdress(111)
        self.n1.start()
        self.n2.start()
        self.follows()
        self.assertEqual(self.pids(), before)

    def test_one_can_say_which(self):
        self.n1.host.run("ip", "address", "add", "10.90.0.121/24", "dev", "eth0", check=True)
        self.n1.orch("init", "--advertise-addr", "10.90.0.121")
        eventually("it is known by it", lambda: self.known().get("n1") == "10.90.0.121")
        eventually("three hosts are ready", lambda: self.states() == READY)
        self.allReachAll()
        refused = self.n1.orch("init", "--advertise-addr", "10.90.0.122", check=False)
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertIn("cannot listen at '10.90.0.122:2377'", refused.stderr)
        self.n1.host.run("ip", "address", "delete", "10.90.0.121/24", "dev", "eth0", check=True)
        self.follows()


if __name__ == "__main__":
    unittest.main()
