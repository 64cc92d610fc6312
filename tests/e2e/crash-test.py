#!/usr/bin/env python3
"""orchd is killed with SIGKILL at random instants while a service is created, scaled, updated and
removed. Afterwards the state is what was acknowledged, containers run under the same pids, and nothing
is left over.

usage: crash-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
ORCH_ROUNDS (3) kills per kind of change, ORCH_SEED (from the clock) for the instants.
"""
import os
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
ROUNDS = int(os.environ.get("ORCH_ROUNDS", "3"))
SEED = int(os.environ.get("ORCH_SEED", time.time_ns() % 1_000_000))
PORT = 8080
# The instants to kill at: within this time after the command was started. It is answered after about
# 0.15 s; containers start and stop in the rest.
WINDOW_S = 0.6


class Crash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"ORCH_SEED={SEED}", flush=True)
        cls.node = single.SingleHost(f"e2e-crash-{os.getpid()}", PROGRAMS).create()
        cls.addClassCleanup(cls.node.remove)
        cls.node.orch("init")
        cls.node.makeImages(1, 2)
        cls.node.orch("service", "create", "--verify", "0s", "--name", "first", "-p", f"{PORT}:80", "web:1", "/bin/web")
        cls.node.orch("service", "rm", "first")
        cls.clean = cls.node.leftovers()

    def setUp(self):
        self.random = random.Random(f"{SEED} {self.id()}")

    def killedDuring(self, *arguments):
        """Runs `orch` and kills orchd at a random instant meanwhile; starts it again. Whether the
        change was acknowledged: `--detach` returns as soon as it is."""
        process = subprocess.Popen(self.node.host.command(f"{PROGRAMS}/orch", *arguments), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        time.sleep(self.random.uniform(0, WINDOW_S))  # the instant, whatever goes on then
        self.node.crash()
        self.node.start()
        output, _ = process.communicate(timeout=single.PATIENCE)
        return process.returncode == 0, output

    def create(self, replicas):
        self.node.orch("service", "create", "--verify", "0s", "--name", "web", "--replicas", str(replicas), "-p", f"{PORT}:80",
                       "web:1", "/bin/web")

    def service(self):
        return next((row for row in self.node.json("service", "ls") if row["name"] == "web"), None)

    def runs(self, replicas, image="web:1"):
        """Waits until exactly so many containers run and answer."""
        eventually(f"{replicas} tasks run", lambda: len(self.node.running("web")) == replicas)
        version = image.split(":")[1]

        def answered():
            seen = self.node.ask(PORT, 6 * replicas)
            texts = seen["answers"]
            return seen["failed"] == 0 and len(texts) == replicas and all(text.endswith(f" {version}") for text in texts)
        eventually(f"{replicas} containers answer as {image}", answered)

    def nothingLeft(self):
        if self.service():
            self.node.orch("service", "rm", "web")

        def left():
            now = self.node.leftovers()
            return {kind: sorted(now[kind] - self.clean[kind]) for kind in now if now[kind] - self.clean[kind]}
        try:
            eventually("nothing is left", lambda: not left())
        except AssertionError:
            self.assertEqual(left(), {})

    def rounds(self, act):
        for round in range(ROUNDS):
            with self.subTest(round=round, seed=SEED):
                act()
                self.nothingLeft()

    def test_a_crash_during_create_keeps_what_was_acknowledged(self):
        def act():
            acknowledged, output = self.killedDuring("service", "create", "--detach", "--name", "web", "--replicas", "3",
                                                     "-p", f"{PORT}:80", "web:1", "/bin/web")
            there = self.service()
            self.assertTrue(there or not acknowledged, output)
            if there:
                self.runs(3)
        self.rounds(act)

    def test_a_crash_during_scale_keeps_running_containers(self):
        def act():
            self.create(2)
            before = self.node.pids("web")
            acknowledged, output = self.killedDuring("service", "scale", "--detach", "web=4")
            desired = self.service()["desired"]
            self.assertIn(desired, (4,) if acknowledged else (2, 4), output)
            self.runs(desired)
            after = self.node.pids("web")
            self.assertEqual({slot: after[slot] for slot in before}, before)
        self.rounds(act)

    def test_a_crash_during_update_ends_with_one_version(self):
        def act():
            self.create(2)
            acknowledged, output = self.killedDuring("service", "update", "--detach", "--image", "web:2", "web")
            image = self.service()["image"]
            self.assertIn(image, ("web:2",) if acknowledged else ("web:1", "web:2"), output)
            self.runs(2, image)
        self.rounds(act)

    def test_a_crash_during_remove_leaves_nothing(self):
        def act():
            self.create(3)
            acknowledged, output = self.killedDuring("service", "rm", "--detach", "web")
            self.assertFalse(self.service() and acknowledged, output)
        self.rounds(act)

    def test_a_crash_while_nothing_changes_keeps_all_pids(self):
        def act():
            self.create(3)
            before = self.node.pids("web")
            self.node.crash()
            self.node.start()
            self.runs(3)
            self.assertEqual(self.node.pids("web"), before)
        self.rounds(act)


if __name__ == "__main__":
    unittest.main(verbosity=2)
