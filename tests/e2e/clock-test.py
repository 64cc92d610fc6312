#!/usr/bin/env python3
"""Three managers, and the clock of one host is a day off: that is said, and the others go on.

usage: clock-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
from single import OTHER_CLOCK, eventually  # noqa: E402
from several_managers import MANAGERS, StoreCluster, leaderOf, manifestOn, services, status  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
WELL = ["ready leader", "ready manager", "ready manager", "ready worker"]


class Clock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        name = f"test-clock-{os.getpid()}"
        manifest = os.path.join("/var/tmp", f"{name}.toml")
        cls.addClassCleanup(lambda: os.path.exists(manifest) and os.remove(manifest))
        urls = [f"http://10.90.0.{number}:2379" for number in range(1, MANAGERS + 1)]
        with open(manifest, "w") as file:
            file.write(manifestOn("etcd", urls))
        cls.cluster = StoreCluster(name, PROGRAMS, MANAGERS + 1, manifest)
        cls.cluster.servers = ("etcd",)
        cls.cluster.create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.cluster.form()
        eventually("all is well", lambda: sorted(status(cls.cluster.hosts[0]).values()) == WELL)

    def withClock(self, node, offset):
        node.stop()
        node.start(*OTHER_CLOCK, f"FAKETIME={offset}")

    def restore(self, node):
        node.stop()
        node.start()
        eventually("all is well", lambda: sorted(status(node).values()) == WELL)

    @staticmethod
    def reachOf(node, asked):
        said = asked.json("cluster", "status")["managers"]
        return next((each["reach"] for each in said if each["name"] == node.name), "")

    @staticmethod
    def create(asked, name):
        return asked.orch("service", "create", "--name", name, "--detach", "--replicas", "0", "web:1", "/bin/web", check=False).returncode == 0 \
            or name in services(asked)

    def test_of_a_follower(self):
        managers = self.cluster.hosts[:MANAGERS]
        node = next(one for one in managers if one is not leaderOf(self.cluster, *managers))
        others = [one for one in managers if one is not node]

        # It trusts no certificate that was made since: it says why, and what to look at.
        self.withClock(node, "-1d")
        words = "its certificate is not valid yet, as this host's clock has it; do the clocks of both hosts agree?"

        def told():
            said = node.json("cluster", "status")["managers"]
            return {each["address"].split(":")[0]: each.get("reason", "") for each in said if each.get("reason")}
        eventually("it says so", lambda: told() == {other.address: words for other in others})
        lines = node.orch("cluster", "status").stdout.splitlines()
        self.assertEqual(len([line for line in lines if line.endswith(words)]), len(others), lines)
        eventually("the others miss it", lambda: self.reachOf(node, others[0]) == "unreachable")
        eventually("they go on", lambda: self.create(others[1], "behind"))
        self.restore(node)

        # To one that is ahead the certificates are good for a day less.
        self.withClock(node, "+1d")
        eventually("it follows", lambda: sorted(status(node).values()) == WELL and self.reachOf(node, node) in ("leader", "reachable"))
        eventually("they go on", lambda: self.create(node, "ahead"))
        self.restore(node)
        self.assertLessEqual({"behind", "ahead"}, services(node))


if __name__ == "__main__":
    unittest.main(verbosity=2)
