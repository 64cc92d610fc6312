#!/usr/bin/env python3
"""Hosts without a manager: nobody can reach it, or it is gone.

usage: away-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Away(cluster.MemberTest):
    """n1 is the manager; each test begins with three hosts that are ready."""
    programs = PROGRAMS

    def only(self, node):
        servers = list(node.webServers())
        self.assertEqual(len(servers), 1, servers)
        return servers[0]

    def restarted(self, node, *before):
        """The server that was not there before."""
        return eventually(f"{node.name} has restarted its task", lambda: set(node.webServers()) - set(before)).pop()

    def history(self):
        """{slot: [(state, error, id, id of the one before)]} of the service, the newest first."""
        slots = {}
        for task in self.n1.json("service", "ps", "web"):
            status = task["status"]
            slots.setdefault(task["slot"], []).append((status["state"], status.get("error", ""), task["meta"]["id"], task.get("restartOf", "")))
        return slots

    def test_without_a_manager_hosts_keep_their_tasks_running(self):
        self.create("--replicas", "3")
        self.assertEqual(self.spread(), {"n1": 1, "n2": 1, "n3": 1})
        before = self.history()
        pids = {node: self.only(node) for node in (self.n2, self.n3)}
        self.n1.poweroff()
        # One that ends is restarted, and orchd may start again meanwhile.
        self.n2.kill(pids[self.n2])
        second = self.restarted(self.n2, pids[self.n2])
        self.n2.crash()
        self.n2.start()
        # A whole host comes back without anybody to ask.
        self.n3.poweroff()
        self.n3.start()
        third = self.restarted(self.n3)
        self.assertEqual(self.only(self.n2), second)
        self.n2.kill(second)
        second = self.restarted(self.n2, second)
        self.n1.start()
        eventually("three hosts are ready", lambda: set(self.states().values()) == {"ready"})
        eventually("three run", lambda: self.spread() == {"n1": 1, "n2": 1, "n3": 1})
        # What ran meanwhile is the cluster's now, and nobody has started it again.
        self.assertEqual([self.only(self.n2), self.only(self.n3)], [second, third])
        after = self.history()
        for slot, tasks in after.items():
            self.assertEqual(tasks[0][0], "running")
            self.assertEqual([task[3] for task in tasks[:-1]], [task[2] for task in tasks[1:]], "each follows one that ended")
            self.assertEqual((tasks[-1][0], tasks[-1][2]), ("failed", before[slot][0][2]))
            self.assertTrue(tasks[-1][1], "why it ended is told")
        told = self.n1.logTail(400)
        self.assertIn("was cut off, and restarted tasks by itself", told)

    def test_a_host_that_is_back_in_time_keeps_its_tasks_and_gives_up_what_was_replaced(self):
        self.create("--replicas", "3", "--tolerate-down", "10m", "--constraint", "node.hostname!=n1")
        self.create("--replicas", "3", "--constraint", "node.hostname!=n2", name="moved")
        self.assertEqual(self.n1.json("service", "inspect", "web")[0]["spec"]["task"]["placement"]["tolerateDownMs"], 600000)
        kept = {slot: task["meta"]["id"] for slot, task in self.n1.running("web").items() if self.hostOf(task) == "n3"}
        mine = {task["status"]["container"]["pid"] for task in self.n1.running("moved").values() if self.hostOf(task) == "n3"}
        self.cluster.cut("n3")
        eventually("what is not tolerated runs elsewhere", lambda: self.spread("moved") == {"n1": 3})
        self.assertEqual(self.states()["n3"], "down")
        there = set(self.n3.webServers())
        self.n3.kill(min(there - mine))
        self.restarted(self.n3, *there)
        self.cluster.heal("n3")
        eventually("it is ready", lambda: self.states()["n3"] == "ready")
        eventually("it has given up what was replaced", lambda: not mine & set(self.n3.webServers()))
        eventually("three run", lambda: len(self.n1.running("web")) == 3)
        now = {slot: task for slot, task in self.n1.running("web").items() if slot in kept}
        self.assertEqual({self.hostOf(task) for task in now.values()}, {"n3"})
        self.assertEqual(sum(now[slot]["meta"]["id"] != kept[slot] for slot in kept), 1, "one was restarted")
        self.assertEqual(len(self.n3.webServers()), len(kept))


if __name__ == "__main__":
    unittest.main(verbosity=2)
