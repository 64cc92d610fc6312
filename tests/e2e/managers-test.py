#!/usr/bin/env python3
"""Three managers on an etcd of three members, or a consul or a ZooKeeper of three servers, and a worker: any of them may go.

usage: managers-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
from single import eventually  # noqa: E402
from several_managers import MANAGERS, Creating, StoreCluster, leaderOf, manifestOn, services, status  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Managers(unittest.TestCase):
    SERVER = "etcd"

    @classmethod
    def setUpClass(cls):
        name = f"test-managers-{cls.SERVER}-{os.getpid()}"
        manifest = os.path.join("/var/tmp", f"{name}.toml")
        cls.addClassCleanup(lambda: os.path.exists(manifest) and os.remove(manifest))
        with open(manifest, "w") as file:
            file.write(manifestOn(cls.SERVER))
        cls.cluster = StoreCluster(name, PROGRAMS, MANAGERS + 1, manifest)
        cls.cluster.servers = (cls.SERVER,)
        cls.cluster.create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3, cls.n4 = cls.cluster.hosts
        cls.cluster.form()
        cls.n1.makeImages(1)

    def setUp(self):
        eventually("all are ready, and one leads", lambda: sorted(status(self.n2).values()) == [
            "ready leader", "ready manager", "ready manager", "ready worker"])

    def test_any_host_may_go_and_nothing_acknowledged_is_missing(self):
        self.n2.orch("service", "create", "--name", "web", "--verify", "0s", "--replicas", "4", "--restart-delay", "0s", "web:1", "/bin/web")
        eventually("they run", lambda: len(self.n3.running("web")) == 4)
        kept = {node: set(node.webServers()) for node in (self.n2, self.n3, self.n4)}

        # All of the leader's host, with its etcd or consul.
        with Creating(self.n2, "a") as creating:
            eventually("some are made", lambda: len(creating.acknowledged) > 3)
            self.n1.poweroff()
            before = len(creating.acknowledged)
            eventually("another manager accepts them", lambda: len(creating.acknowledged) > before + 3)
        self.assertLessEqual(set(creating.acknowledged), services(self.n3))
        second = leaderOf(self.cluster, self.n2, self.n3)
        self.assertNotEqual(second.name, "n1")
        eventually("its tasks run elsewhere", lambda: len(self.n3.running("web")) == 4 and
                   not [task for task in self.n3.running("web").values() if self.hostOf(task) == "n1"])
        for node, servers in kept.items():
            self.assertLessEqual(servers, set(node.webServers()), f"{node.name} has kept its tasks")

        # It comes back, and follows.
        self.n1.host.boot()
        self.n1.plug()
        self.cluster.startServers(self.n1)
        self.n1.start()
        eventually("it follows", lambda: status(self.n1).get("n1") == "ready manager")
        self.assertEqual(leaderOf(self.cluster, self.n1, self.n2, self.n3), second)

        # The process of the leader alone, again and again.
        for round in ("b", "c"):
            leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
            others = [node for node in (self.n1, self.n2, self.n3) if node is not leader]
            with Creating(others[0], round) as creating:
                eventually("some are made", lambda: len(creating.acknowledged) > 3)
                leader.crash()
                before = len(creating.acknowledged)
                eventually("another manager accepts them", lambda: len(creating.acknowledged) > before + 3)
            leader.start()
            self.assertLessEqual(set(creating.acknowledged), services(others[1]))
            self.assertLessEqual(set(creating.acknowledged), services(leader))
        eventually("all are there", lambda: set(status(self.n1)) == {"n1", "n2", "n3", "n4"} and
                   all(what.startswith("ready") for what in status(self.n1).values()))
        eventually("four run", lambda: len(self.n1.running("web")) == 4)

    def hostOf(self, task):
        names = {row["meta"]["id"]: row["description"]["hostname"] for row in self.n3.json("node", "ls")}
        return names.get(task["nodeId"], "?")

    def test_a_worker_is_promoted_and_the_leader_demoted_and_tasks_run_on(self):
        self.n1.orch("service", "create", "--name", "kept", "--verify", "0s", "--replicas", "4", "web:1", "/bin/web")
        eventually("they run", lambda: len(self.n2.running("kept")) == 4)
        kept = {node: set(node.webServers()) for node in self.cluster.hosts}

        self.assertIn("'n4' becomes a manager", self.n2.orch("node", "promote", "n4").stdout)
        eventually("it is one", lambda: status(self.n1).get("n4") == "ready manager")
        eventually("it answers as one", lambda: self.n4.orch("service", "ls", check=False).returncode == 0)
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3, self.n4)
        self.assertIn(f"'{leader.name}' becomes a worker", self.n4.orch("node", "demote", leader.name).stdout)
        others = [node for node in self.cluster.hosts if node is not leader]
        eventually("another one leads, and it is a worker", lambda: status(others[0]).get(leader.name) == "ready worker" and
                   leaderOf(self.cluster, *others) is not leader)
        eventually("it says so", lambda: "is a worker of the cluster" in leader.orch("service", "ls", check=False).stderr)
        second = leaderOf(self.cluster, *others)
        third = next(node for node in others if node is not second)
        refused = others[0].orch("node", "rm", "--force", third.name, check=False)
        self.assertIn(f"this node is a manager; 'orch node demote {third.name}' first", refused.stderr)

        others[0].orch("node", "update", "--role", "manager", leader.name)
        others[0].orch("node", "update", "--role", "worker", "n4")
        eventually("all is as before", lambda: sorted(status(self.n1).items()) == sorted(status(self.n2).items()) and
                   status(self.n1).get("n4") == "ready worker" and
                   sorted(status(self.n1).values()) == ["ready leader", "ready manager", "ready manager", "ready worker"])
        for node, servers in kept.items():
            self.assertLessEqual(servers, set(node.webServers()), f"{node.name} has kept its tasks")
        self.n1.orch("service", "rm", "kept")

    def test_a_worker_is_told_what_it_is_and_follows_the_lead(self):
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
        self.addCleanup(leader.start)
        leader.crash()
        others = [node for node in (self.n1, self.n2, self.n3) if node is not leader]
        eventually("another one leads, and has the worker", lambda: status(others[0]).get("n4") == "ready worker" and
                   leaderOf(self.cluster, *others) is not leader)
        refused = self.n4.orch("service", "ls", check=False)
        self.assertIn("is a worker of the cluster; ask a manager", refused.stderr)
        for node in others:
            self.assertIn(f"{node.address}:2377", refused.stderr)


class OnConsul(Managers):
    SERVER = "consul"


class OnZookeeper(Managers):
    SERVER = "zookeeper"


if __name__ == "__main__":
    if "OnConsul" in sys.argv and shutil.which("consul") is None:
        print("consul is not installed: its tests are skipped (scripts/setup)")
        sys.exit(77)
    unittest.main(verbosity=2)
