#!/usr/bin/env python3
"""Who is taken for down, and who is not.

usage: beats-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
ORCH_BEATS_ROUNDS (4) rounds of small faults; 200 are the long run.
"""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
import thread  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
LONGER_THAN_SILENCE = 4  # seconds; a node may be silent for 2.5
ROUNDS = int(os.environ.get("ORCH_BEATS_ROUNDS", "4"))  # of small faults, four seconds each


class Beats(cluster.MemberTest):
    """n1 is the manager; each test begins with three hosts that are ready. The watchdog of orchd leaves a
    loop that stands still alone for a minute."""
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        with open(os.path.join(single.REPOSITORY, "configs", "single.toml")) as file:
            manifest = file.read()
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(manifest.replace("[node]\n", '[node]\nloopLimit = "1m"\n', 1))
            file.flush()
            cls.config = file.name
            super().setUpClass()

    def allReady(self):
        self.assertEqual(set(self.states().values()), {"ready"})

    def row(self, name):
        return next(line for line in self.n1.orch("node", "ls").stdout.splitlines() if f" {name} " in line)

    def test_neither_a_busy_loop_nor_a_disk_that_stands_still_makes_a_host_look_dead(self):
        self.create("--replicas", "6")
        before = self.ids()
        self.n3.stallDisk()
        try:
            with thread.stopped(self.n2.outside()):
                single.sleepThrough(LONGER_THAN_SILENCE, self.allReady)
        finally:
            self.n3.resumeDisk()
        self.assertEqual(self.ids(), before)
        eventually("all answer again", lambda: self.n2.orch("version", check=False).returncode == 0)

    def test_busy_cores_stops_of_a_second_losses_and_slow_disks_take_nobody_down(self):
        hosts = (self.n1, self.n2, self.n3)
        self.create("--replicas", "6")
        before = self.ids()
        begun = self.n1.events("node.down", "node.unknown", "task.created")
        for _ in range(os.cpu_count()):
            pid, _ = self.n3.host.spawn(["sh", "-c", "while :; do :; done"], f"{self.n3.host.folder}/busy.log")
            self.addCleanup(self.n3.kill, pid)
        self.addCleanup(self.cluster.heal)
        for name in ("n2", "n3"):
            self.cluster.lose(name, 5)
        for _ in range(ROUNDS):
            for node in hosts:
                self.forAWhile(node.freeze, node.thaw, 1)
                self.forAWhile(node.stallDisk, node.resumeDisk, 0.3)
                self.allReady()
        self.assertEqual(self.ids(), before)
        self.assertEqual(self.n1.events("node.down", "node.unknown", "task.created"), begun)

    @staticmethod
    def forAWhile(begin, end, seconds):
        begin()
        try:
            single.sleepThrough(seconds, lambda: None)
        finally:
            end()

    def test_a_loop_that_does_not_turn_for_long_is_unknown(self):
        self.create("--replicas", "3")
        before = self.ids()
        with thread.stopped(self.n2.outside()):
            eventually("nobody knows what it does", lambda: self.states()["n2"] == "unknown")
            self.assertRegex(self.row("n2"), r"its loop has stood still for \d\d+s")
            self.n1.orch("service", "scale", "--verify", "0s", "web=4")
            self.assertEqual(self.spread()["n2"], 1)
        eventually("it is ready", lambda: self.states()["n2"] == "ready")
        self.assertEqual({slot: task for slot, task in self.ids().items() if slot in before}, before)

    def test_a_manager_that_hangs_for_20_s_restarts_nothing(self):
        self.create("--replicas", "6")
        before, servers = self.ids(), [node.webServers() for node in (self.n1, self.n2, self.n3)]
        begun = self.n1.events("node.down", "task.created")
        with thread.stopped(self.n1.outside()):
            single.sleepThrough(20, lambda: self.assertEqual(self.n2.webServers(), servers[1]))
        eventually("three hosts are ready", lambda: set(self.states().values()) == {"ready"})
        self.assertEqual(self.ids(), before)
        self.assertEqual([node.webServers() for node in (self.n1, self.n2, self.n3)], servers)
        self.assertEqual(self.n1.events("node.down", "task.created"), begun)

    def test_an_idle_cluster_writes_nothing(self):
        self.create("--replicas", "3")
        hosts = (self.n1, self.n2, self.n3)
        eventually("it is quiet", lambda: self.written(hosts) == (single.sleepThrough(3, lambda: None), self.written(hosts))[1])
        before = self.written(hosts)
        single.sleepThrough(15, lambda: None)
        self.assertEqual(self.written(hosts), before)

    @staticmethod
    def written(hosts):
        """Bytes that orchd of each has caused to be written."""
        counts = []
        for node in hosts:
            with open(f"/proc/{node.outside()}/io") as file:
                counts.append(dict(line.split(": ") for line in file.read().splitlines())["write_bytes"])
        return counts

    def test_without_datagrams_hosts_are_asked_in_their_sessions(self):
        self.create("--replicas", "6")
        before = self.ids()
        drop = "add table inet deaf; add chain inet deaf out { type filter hook output priority 0; }; add rule inet deaf out udp dport 2377 counter drop"
        self.n2.host.run("nft", drop, check=True)
        try:
            single.sleepThrough(2 * LONGER_THAN_SILENCE, self.allReady)
            rules = self.n2.host.run("nft", "list", "table", "inet", "deaf", check=True).stdout
        finally:
            self.n2.host.run("nft", "delete table inet deaf", check=True)
        self.assertNotIn("packets 0 ", rules, "it sent none")
        self.assertEqual(self.ids(), before)

    def test_a_host_that_is_gone_is_down_and_says_why(self):
        self.addCleanup(self.startAll)
        self.n2.crash()
        self.n3.poweroff()
        eventually("both are down", lambda: self.states() == {"n1": "ready", "n2": "down", "n3": "down"})
        self.assertRegex(self.row("n2"), r"Down .* ago: connection closed")
        self.assertRegex(self.row("n3"), r"Down .* ago: no heartbeat for 2.5s")
        seen = {node["description"]["hostname"]: node for node in self.n1.json("node", "ls")}
        # A manager that starts again still knows.
        self.n1.crash()
        self.n1.start()
        for node in self.n1.json("node", "ls"):
            name = node["description"]["hostname"]
            if name == "n1":
                continue
            for key in ("state", "message", "stateSinceNs"):
                self.assertEqual(node[key], seen[name][key])

    def startAll(self):
        for node in (self.n1, self.n2, self.n3):
            if node.state() in ("off", "stopped"):
                node.start()


if __name__ == "__main__":
    unittest.main(verbosity=2)
