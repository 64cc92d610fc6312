#!/usr/bin/env python3
"""orchd is killed with SIGKILL at random instants while a service is created, scaled, updated and
removed, and at each of the places that POINTS names. Afterwards the state is what was acknowledged, the containers that ran run under the same pids,
logs are complete, the end of a container that ended meanwhile is known, and nothing is left over.

usage: crash-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
ORCH_ROUNDS (2) kills per kind of change, ORCH_SEED (from the clock) for the instants.
"""
import collections
import os
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
ROUNDS = int(os.environ.get("ORCH_ROUNDS", "2"))
SEED = int(os.environ.get("ORCH_SEED", time.time_ns() % 1_000_000))
PORT = 8080
# The instants to kill at: within this time after the command was started. It is answered after about
# 0.15 s; containers start and stop in the rest.
WINDOW_S = 0.6
# Writes a number per line, all through the crashes.
COUNT = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"
# Ends with this status when it is told to.
STATUS = 42
WAIT = f"trap 'echo ends; exit {STATUS}' TERM; echo waits; sleep 1000 & wait"

# Where a kill has to come at least once per run, as Env::failPoint says, and how often each is reached for certain
# while a service of three is created: several commits may be noted at once, several reports be one commit.
POINTS = {f"{owner} {place}": times for owner, places in (
    ("store.local", {"commit-begins": 2, "commit-written": 2, "commit-noted": 1}),
    ("store.local#agent", {"commit-begins": 2, "commit-written": 2, "commit-noted": 1}),
    ("control.agent", {"start-begins": 3, "start-done": 3})) for place, times in places.items()}
# The file that arms it, with the number of times.
ARMED = "/run/orch-kill-at"

# What a kill left: whether the change was acknowledged, what the command said, and which web servers
# ran while orchd was dead, as {pid: version}.
Killed = collections.namedtuple("Killed", "acknowledged output survivors")


class Crashing(single.HostTest):
    programs = PROGRAMS
    images = 2

    @classmethod
    def setUpClass(cls):
        print(f"ORCH_SEED={SEED}", flush=True)
        super().setUpClass()
        cls.makeFirst(PORT)

    def setUp(self):
        self.random = random.Random(f"{SEED} {self.id()}")
        self.node.orch("service", "create", "--verify", "0s", "--name", "counter", "--stop-grace-period", "0s",
                       "web:1", "sh", "-c", COUNT)
        self.addCleanup(self.node.orch, "service", "rm", "counter")
        self.counter = self.node.pids("counter")
        self.counted = 0
        self.clean = self.node.leftovers()
        self.clean["programs"].add("sleep")  # the counter's, which comes and goes

    def killedDuring(self, *arguments, at=None):
        """Runs `orch` and kills orchd meanwhile, at a random instant or `at` a point, (name, number of
        times); starts it again. `--detach` returns as soon as the change is acknowledged."""
        if at:
            self.node.stop()
            self.node.start(f"ORCH_KILL_AT={at[0]},{ARMED}")
        self.node.orch("service", "create", "--verify", "0s", "--name", "waiter", "--restart-condition", "none",
                       "web:1", "sh", "-c", WAIT)
        waiter = self.node.pids("waiter")[1]
        eventually("the waiter waits", lambda: self.logs("waiter") == ["waits"])
        if at:
            self.node.host.run("sh", "-c", f"echo {at[1]} >{ARMED}", check=True)
        process = subprocess.Popen(self.node.host.command(f"{PROGRAMS}/orch", *arguments), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        if at:
            said = f"killed at '{at[0]}', as ORCH_KILL_AT asks"
            eventually(said, lambda: not self.node.runs(self.node.orchd))
            self.assertIn(said, self.node.logTail(5))
            self.node.host.run("rm", ARMED, check=True)
        else:
            time.sleep(self.random.uniform(0, WINDOW_S))  # the instant, whatever goes on then
            self.node.crash()
        self.node.kill(waiter, signal.SIGTERM)
        eventually("the waiter has ended", lambda: not self.node.runs(waiter))
        survivors = self.node.webServers()
        self.node.start()
        output, _ = process.communicate(timeout=single.PATIENCE)
        self.endIsKnown()
        return Killed(process.returncode == 0, output, survivors)

    def logs(self, service):
        return self.node.orch("service", "logs", "--raw", service).stdout.splitlines()

    def endIsKnown(self):
        """That of the container that ended while orchd was dead."""
        def ended():
            task, = self.node.json("service", "ps", "waiter")
            return task["status"]["state"] == "failed" and task["status"]
        self.assertEqual(eventually("the waiter's end is known", ended)["container"]["exitCode"], STATUS)
        self.assertEqual(self.logs("waiter"), ["waits", "ends"])
        self.node.orch("service", "rm", "waiter")

    def counterGoesOn(self):
        """In the same container, with no line missing."""
        self.assertEqual(self.node.pids("counter"), self.counter)
        before, lines = self.counted, self.logs("counter")
        self.assertEqual(lines, [str(number) for number in range(len(lines))])
        self.assertGreater(len(lines), before)
        self.counted = len(lines)

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
        self.node.awaitNothingLeft(self.clean)

    def survived(self, killed, version):
        """The web servers of this version that ran while orchd was dead still do."""
        survivors = {pid for pid, theirs in killed.survivors.items() if theirs == version}
        self.assertLessEqual(survivors, set(self.node.pids("web").values()))

    def createKilled(self, at=None):
        killed = self.killedDuring("service", "create", "--detach", "--name", "web", "--replicas", "3",
                                   "-p", f"{PORT}:80", "web:1", "/bin/web", at=at)
        there = self.service()
        self.assertTrue(there or not killed.acknowledged, killed.output)
        if there:
            self.runs(3)
            self.survived(killed, 1)


class Instants(Crashing):
    def rounds(self, act):
        for round in range(ROUNDS):
            with self.subTest(round=round, seed=SEED):
                act()
                self.counterGoesOn()
                self.nothingLeft()

    def test_a_crash_during_create_keeps_what_was_acknowledged(self):
        self.rounds(self.createKilled)

    def test_a_crash_during_scale_keeps_running_containers(self):
        def act():
            self.create(2)
            before = self.node.pids("web")
            killed = self.killedDuring("service", "scale", "--detach", "web=4")
            desired = self.service()["desired"]
            self.assertIn(desired, (4,) if killed.acknowledged else (2, 4), killed.output)
            self.runs(desired)
            after = self.node.pids("web")
            self.assertEqual({slot: after[slot] for slot in before}, before)
            self.survived(killed, 1)
        self.rounds(act)

    def test_a_crash_during_update_ends_with_one_version(self):
        def act():
            self.create(2)
            killed = self.killedDuring("service", "update", "--detach", "--image", "web:2", "web")
            image = self.service()["image"]
            self.assertIn(image, ("web:2",) if killed.acknowledged else ("web:1", "web:2"), killed.output)
            self.runs(2, image)
            self.survived(killed, int(image.removeprefix("web:")))
        self.rounds(act)

    def test_a_crash_during_remove_leaves_nothing(self):
        def act():
            self.create(3)
            before = self.node.pids("web")
            killed = self.killedDuring("service", "rm", "--detach", "web")
            there = self.service()
            self.assertFalse(there and killed.acknowledged, killed.output)
            if there:
                self.assertEqual(self.node.pids("web"), before)
        self.rounds(act)

    def test_a_crash_while_nothing_changes_keeps_all_pids(self):
        def act():
            self.create(3)
            before = self.node.pids("web")
            # A task runs from when its program is being started: who it is one sees a moment later.
            eventually("all serve", lambda: self.node.webServers() == {pid: 1 for pid in before.values()})
            self.node.crash()
            self.node.start()
            self.runs(3)
            self.assertEqual(self.node.pids("web"), before)
        self.rounds(act)


class Places(Crashing):
    def test_a_crash_at_each_place_of_a_commit_and_of_a_start_is_survived(self):
        reached = collections.Counter()
        for point, times in POINTS.items():
            with self.subTest(point=point, seed=SEED):
                self.createKilled(at=(point, self.random.randint(1, times)))
                reached[point] += 1
                self.counterGoesOn()
                self.nothingLeft()
        print(f"killed at {dict(reached)}", flush=True)
        self.assertEqual(set(reached), set(POINTS))


if __name__ == "__main__":
    unittest.main(verbosity=2)
