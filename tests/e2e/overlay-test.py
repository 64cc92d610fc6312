#!/usr/bin/env python3
"""Networks that span hosts, on three of them, with the programs that a user has.

usage: overlay-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Overlay(cluster.MemberTest):
    programs = PROGRAMS

    def inTask(self, service, *command):
        """Output of a program in a container of the service, on whichever host runs."""
        up = {node.name: node for node in self.cluster.hosts if node.host.pid() is not None}
        task = next(task for task in self.n1.running(service).values() if self.hostOf(task) in up)
        host = up[self.hostOf(task)]
        pid = str(task["status"]["container"]["pid"])
        return host.host.run("timeout", "5", "nsenter", "-t", pid, "-n", "-m", "--", *command)

    def ask(self, service, url):
        return self.inTask(service, "/bin/wget", "-q", "-O", "-", url).stdout.split(" ")[0]

    def test_services_find_each_other_by_name_on_all_hosts(self):
        self.n1.orch("network", "create", "-d", "overlay", "front")
        self.n1.orch("network", "create", "other")
        self.create("--replicas", "6", "--network", "front,alias=db")
        self.create("--mode", "global", "--network", "front", name="client")
        self.create("--network", "other", name="stranger")
        self.assertEqual(self.spread(), {"n1": 2, "n2": 2, "n3": 2})
        eventually("six answer", lambda: len({self.ask("client", "http://web/") for _ in range(6)} - {""}) == 6)
        answers = [self.ask("client", "http://web/") for _ in range(12)]
        self.assertEqual(len(set(answers)), 6, answers)
        self.assertEqual({answers.count(one) for one in answers}, {2}, "each in turn")
        self.assertTrue(self.ask("client", "http://db/"))
        self.assertTrue(self.ask("client", "http://web.3.front/"))
        self.assertEqual(self.ask("stranger", "http://web/"), "", "it is on another network")
        refused = self.n1.orch("network", "rm", "front", check=False)
        self.assertIn("in use by 'client', 'web'", refused.stderr)

        # Nobody is sent to the tasks of a host that is gone, and those that take their place are found.
        self.n3.poweroff()
        eventually("six answer again",
                   lambda: len({self.ask("client", "http://web/") for _ in range(6)} - {""}) == 6)
        self.n3.start()
        for service in ("web", "client", "stranger"):
            self.n1.orch("service", "rm", service)
        for network in ("front", "other"):
            eventually(f"network {network} is free",
                       lambda: self.n1.orch("network", "rm", network, check=False).returncode == 0)
        for node in self.cluster.hosts:
            eventually(f"nothing of a network is left on {node.name}",
                       lambda: node.host.run("find", "/run/orch/network.overlay/netns", "-type", "f").stdout == "")


if __name__ == "__main__":
    unittest.main()
