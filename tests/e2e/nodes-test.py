#!/usr/bin/env python3
"""Hosts that become one cluster, lose one of them, and get it back.

usage: nodes-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Nodes(cluster.MemberTest):
    """n1 is the manager; each test begins with three hosts that are ready."""
    programs = PROGRAMS

    def refused(self, node, *arguments, naming):
        done = node.orch(*arguments, check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn(naming, done.stderr)

    def test_replicas_are_spread_and_move_when_a_host_dies(self):
        self.create("--replicas", "6")
        self.assertEqual(self.spread(), {"n1": 2, "n2": 2, "n3": 2})
        self.n3.poweroff()
        eventually("all run on the two that are left", lambda: self.spread() == {"n1": 3, "n2": 3})
        self.assertEqual(self.states(), {"n1": "ready", "n2": "ready", "n3": "down"})
        self.n3.start()
        eventually("it is back", lambda: self.states()["n3"] == "ready")
        # What was replaced stays so: nothing moves back, and nothing is left of it there.
        eventually("it has given up its tasks", lambda: not self.n3.webServers())
        self.assertEqual(self.spread(), {"n1": 3, "n2": 3})

    def test_a_host_that_is_cut_off_loses_its_tasks_and_gives_them_up_when_it_is_back(self):
        self.create("--replicas", "6")
        self.cluster.cut("n3")
        eventually("all run on the two others", lambda: self.spread() == {"n1": 3, "n2": 3})
        self.assertEqual(len(self.n3.webServers()), 2)
        before = self.ids()
        self.cluster.heal("n3")
        eventually("it is ready", lambda: self.states()["n3"] == "ready")
        eventually("it has given up its tasks", lambda: not self.n3.webServers())
        self.assertEqual(self.ids(), before)

    def test_a_manager_that_comes_back_finds_what_ran_meanwhile_running_still(self):
        self.create("--replicas", "6")
        before, servers = self.ids(), [self.n2.webServers(), self.n3.webServers()]
        self.n1.poweroff()
        self.assertEqual([self.n2.webServers(), self.n3.webServers()], servers)
        self.n1.start()
        eventually("three hosts are ready", lambda: set(self.states().values()) == {"ready"})
        eventually("six run", lambda: len(self.n1.running("web")) == 6)
        self.assertEqual([self.n2.webServers(), self.n3.webServers()], servers)
        self.assertEqual(sum(self.ids()[slot] == task for slot, task in before.items()), 4)

    def test_nobody_is_called_down_while_the_managers_disk_stands_still(self):
        self.create("--replicas", "6")
        before = self.ids()
        self.n1.stallDisk()
        try:
            # Longer than a node may be silent.
            single.sleepThrough(5, lambda: self.assertEqual(set(self.states().values()), {"ready"}))
        finally:
            self.n1.resumeDisk()
        self.n1.orch("service", "scale", "--verify", "0s", "web=7")
        after = self.ids()
        self.assertEqual({slot: after[slot] for slot in before}, before)

    def test_an_orchd_that_crashes_is_down(self):
        self.create("--replicas", "3")
        ids = {node["meta"]["id"] for node in self.n1.json("node", "ls")}
        self.n2.crash()
        eventually("its task runs elsewhere", lambda: "n2" not in self.spread() and len(self.n1.running("web")) == 3)
        self.n2.start()
        eventually("it is back", lambda: self.states()["n2"] == "ready")
        eventually("and has given up its task", lambda: not self.n2.webServers())
        # It is the node that it was.
        self.assertEqual({node["meta"]["id"] for node in self.n1.json("node", "ls")}, ids)

    def test_a_host_leaves_is_removed_and_joins_again(self):
        self.create("--replicas", "3")
        self.refused(self.n1, "node", "rm", "n3", naming="node 'n3' is ready; 'orch leave' on it first")
        self.n3.orch("leave")
        eventually("it is down, and its task elsewhere", lambda: self.states()["n3"] == "down" and len(self.n1.running("web")) == 3
                   and "n3" not in self.spread())
        self.n1.orch("node", "rm", "n3")
        self.assertEqual(self.states(), {"n1": "ready", "n2": "ready"})
        eventually("nothing runs there", lambda: not self.n3.webServers())
        self.n3.orch(*self.join[1:])
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})

    def test_a_removed_node_is_refused_and_its_tasks_are_orphans(self):
        self.create("--replicas", "3")
        lost = [task["meta"]["id"] for task in self.n1.running("web").values() if self.hostOf(task) == "n3"]
        self.n1.orch("node", "rm", "--force", "n3")
        eventually("it is told so", lambda: "this node was removed from the cluster" in self.n3.logTail())
        eventually("the others are ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})
        eventually("its task runs elsewhere", lambda: sum(self.spread().get(host, 0) for host in ("n1", "n2")) == 3)
        states = {task["meta"]["id"]: task["status"]["state"] for task in self.n1.json("service", "ps", "web")}
        self.assertEqual([states[task] for task in lost], ["orphaned"])
        self.n3.orch("leave")
        self.n3.orch(*self.join[1:])
        eventually("it is ready", lambda: self.states().get("n3") == "ready")

    def test_a_paused_host_keeps_its_tasks_and_gets_none(self):
        self.create("--replicas", "3")
        before = self.ids()
        self.n1.orch("node", "update", "--availability", "pause", "n2")
        self.addCleanup(self.n1.orch, "node", "update", "--availability", "active", "n2")
        self.n1.orch("service", "scale", "--verify", "0s", "web=7")
        self.assertEqual(self.spread(), {"n1": 3, "n2": 1, "n3": 3})
        self.assertEqual({slot: task for slot, task in self.ids().items() if slot in before}, before)

    def test_a_drained_host_loses_its_tasks_and_gets_none(self):
        self.create("--replicas", "3")
        self.n1.orch("node", "update", "--availability", "drain", "n2")
        eventually("its task has moved", lambda: "n2" not in self.spread() and len(self.n1.running("web")) == 3)
        self.n1.orch("service", "scale", "--verify", "0s", "web=6")
        self.assertNotIn("n2", self.spread())
        self.n1.orch("node", "update", "--availability", "active", "n2")
        self.n1.orch("service", "scale", "--verify", "0s", "web=9")
        self.assertIn("n2", self.spread())

    def test_a_drain_is_paced_and_can_be_waited_for(self):
        self.create("--replicas", "4", "--constraint", "node.hostname!=n1", "--update-order", "start-first")
        self.create("--mode", "global", name="everywhere")
        self.assertEqual(self.spread(), {"n2": 2, "n3": 2})
        drained = self.n1.orch("node", "update", "--availability", "drain", "--wait", "n2").stdout.splitlines()
        # Whoever asks cannot miss the last word, though it may miss others.
        self.assertEqual(drained[-1], "n2 is empty")
        self.assertRegex(drained[0], r"^n2: \d tasks? (is|are) left")
        self.assertEqual(self.n2.webServers(), {})
        self.assertEqual(self.spread(), {"n3": 4})
        self.assertEqual(self.spread("everywhere"), {"n1": 1, "n3": 1})
        self.n1.orch("node", "update", "--availability", "active", "n2")
        eventually("the global one is back", lambda: self.spread("everywhere") == {"n1": 1, "n2": 1, "n3": 1})

    def test_an_update_during_which_the_manager_dies_twice_ends_at_as_many_tasks_as_before(self):
        def updated():
            return sum("NEW=yes" in task["spec"]["container"].get("env", []) for task in self.n1.running("web").values())

        hosts = (self.n1, self.n2, self.n3)
        self.create("--replicas", "4", "--update-order", "start-first", "--update-monitor", "100ms")
        self.n1.orch("service", "update", "--detach", "--env-add", "NEW=yes", "web")
        for begun in (1, 2):
            eventually("it has begun", lambda: updated() >= begun)
            self.n1.crash()
            self.n1.start()
        eventually("all are new", lambda: updated() == 4)
        eventually("four run", lambda: sum(len(node.webServers()) for node in hosts) == 4 and len(self.n1.running("web")) == 4)

    def test_logs_of_all_hosts_are_one_stream_in_order_of_time(self):
        self.n1.orch("service", "create", "--name", "talk", "--verify", "0s", "--stop-grace-period", "0s", "--replicas", "6", "web:1",
                     "sh", "-c", "while :; do echo tick; sleep 0.1; done")

        def speakers(lines):
            return {word.split("@")[1] for line in lines for word in line.split() if "@" in word}

        eventually("each has said something", lambda: len(self.n1.orch("service", "logs", "talk").stdout.splitlines()) > 60)
        lines = self.n1.orch("service", "logs", "-t", "talk").stdout.splitlines()
        times = [line.split()[0] for line in lines]
        self.assertEqual(times, sorted(times))
        self.assertEqual(speakers(lines), {"n1", "n2", "n3"})
        command = self.n1.host.command(f"{self.n1.programs}/orch", "service", "logs", "-f", "-t", "--tail", "5", "talk")
        # What comes late on a busy machine is shown late: the order is tested where time is virtual.
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
            self.addCleanup(following.kill)
            lines = [following.stdout.readline()]
            while len(lines) <= 30 or speakers(lines[30:]) != {"n1", "n2", "n3"}:  # more than there was
                lines.append(following.stdout.readline())
                self.assertTrue(lines[-1], "it goes on until it is interrupted")
            following.send_signal(signal.SIGINT)
            following.communicate(timeout=single.PATIENCE)
        own = self.n2.orch("service", "logs", "talk")
        self.assertEqual(speakers(own.stdout.splitlines()), {"n2"})
        self.assertIn("only what is here: this node, 'n2', is a worker of the cluster; ask a manager: 10.90.0.1:2377", own.stderr)

    def test_every_host_says_what_it_is(self):
        self.assertIn("Role: manager", self.n1.orch("info").stdout)
        said = self.n2.orch("info").stdout
        self.assertIn("Role: worker", said)
        self.assertIn("Managers: 10.90.0.1:2377\n Connected: yes", said)
        ids = {node["description"]["hostname"]: node["meta"]["id"] for node in self.n1.json("node", "ls")}
        self.assertEqual(self.n2.json("info")["self"]["nodeId"], ids["n2"])
        addresses = {node["description"]["hostname"]: node["address"] for node in self.n1.json("node", "ls")}
        self.assertEqual(addresses, {f"n{number}": f"10.90.0.{number}:2377" for number in (1, 2, 3)})

    def test_a_global_service_has_one_task_on_each_host_that_fits(self):
        def row():
            service = self.n1.json("service", "ls")[0]
            return service["mode"], service["running"], service["desired"]

        everywhere = {"n1": 1, "n2": 1, "n3": 1}
        self.create("--mode", "global", "--constraint", "node.labels.edge==yes")
        self.assertEqual(row(), ("global", 0, 0))
        self.n1.orch("node", "update", "--label-add", "edge=yes", "n1", "n2", "n3")
        eventually("each has one", lambda: self.spread() == everywhere)
        self.assertEqual(row(), ("global", 3, 3))
        self.assertEqual(len(self.n3.webServers()), 1)
        self.assertEqual(self.n1.orch("node", "ps", "-q", "n3").stdout, self.n1.orch("service", "ps", "-q", "-f", "node=n3", "web").stdout)
        self.n3.poweroff()
        eventually("it is down, and nothing runs in its place", lambda: row() == ("global", 2, 2))
        self.assertEqual({host: len(host.webServers()) for host in (self.n1, self.n2)}, {self.n1: 1, self.n2: 1})
        self.n3.start()
        eventually("it is back with its task", lambda: row() == ("global", 3, 3) and len(self.n3.webServers()) == 1)
        self.n1.orch("node", "update", "--label-rm", "edge", "n2")
        eventually("n2 has none any more", lambda: row() == ("global", 2, 2) and not self.n2.webServers())
        scaled = self.n1.orch("service", "scale", "web=2", check=False)
        self.assertEqual(scaled.returncode, 2, scaled)
        self.assertIn("only replicated services can be scaled", scaled.stderr)
        self.n1.orch("node", "update", "--label-rm", "edge", "n1", "n3")

    def test_mistakes_are_one_line_and_change_nothing(self):
        token = self.join[3]
        n3 = self.n3
        self.refused(n3, "join", "--token", token, "10.90.0.1", naming="this node is in a cluster of several nodes already")
        self.refused(n3, "service", "ls", naming="is a worker of the cluster; ask a manager: 10.90.0.1:2377")
        n3.orch("leave")
        self.refused(n3, "join", "--token", token[:-3], "10.90.0.1", naming="the token is not valid")
        other = "ORCHTKN-1-" + "0" * 64 + "-secret"
        self.refused(n3, "join", "--token", other, "10.90.0.1", naming="it is of another cluster than the token, or its authority has been replaced since; nothing was sent to it")
        self.refused(n3, "join", "--token", token, "10.90.0.77", naming="manager '10.90.0.77:2377': ")
        old = self.n1.orch("join-token", "-q", "worker").stdout.strip()
        new = self.n1.orch("join-token", "-q", "--rotate", "worker").stdout.strip()
        self.refused(n3, "join", "--token", old, "10.90.0.1", naming="the token is not valid")
        self.assertEqual(n3.json("info")["nodes"], 1)
        type(self).join = [*self.join[:3], new, self.join[4]]
        self.n1.orch("node", "rm", "n3")
        n3.orch(*self.join[1:])
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
