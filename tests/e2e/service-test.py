#!/usr/bin/env python3
"""A service on one host, from the command line down to the containers.

usage: service-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
PORT = 8080


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-service-{os.getpid()}", PROGRAMS).create()
        cls.addClassCleanup(cls.node.remove)
        cls.node.orch("init")
        cls.node.makeImages(1, 2)
        # What is made once, with the first container, is no leftover.
        cls.node.orch("service", "create", "--name", "first", "-p", f"{PORT}:80", "web:1", "/bin/web")
        cls.node.orch("service", "rm", "first")

    def setUp(self):
        self.before = self.node.leftovers()
        self.node.orch("service", "create", "--name", "web", "--replicas", "3", "-p", f"{PORT}:80", "--stop-grace-period", "5s",
                       "web:1", "/bin/web")
        self.addCleanup(self.removeWeb)

    def removeWeb(self):
        if any(service["name"] == "web" for service in self.node.json("service", "ls")):
            self.node.orch("service", "rm", "web")

    def hosts(self, version, count):
        """The hosts that answer, all of them with `version`."""
        seen = self.node.ask(PORT, 8 * count)
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}))
        self.assertEqual({answer.split()[1] for answer in seen["answers"]}, {str(version)})
        return {answer.split()[0] for answer in seen["answers"]}

    def test_create_returns_when_all_replicas_answer_on_the_published_port(self):
        self.assertEqual(len(self.hosts(version=1, count=3)), 3)
        row = self.node.json("service", "ls")[0]
        self.assertEqual((row["name"], row["running"], row["desired"], row["image"]), ("web", 3, 3, "web:1"))
        self.assertIn("3/3", self.node.orch("service", "ls").stdout)

    def test_logs_of_the_service_come_from_all_its_tasks(self):
        lines = self.node.orch("service", "logs", "web").stdout.splitlines()
        self.assertEqual(len([line for line in lines if "web 1 listens on port 80" in line]), 3, lines)

    def test_a_killed_container_is_replaced_in_its_slot(self):
        before = self.node.pids("web")
        self.node.kill(before[2])
        after = eventually("slot 2 runs again", lambda: self.healed(before))
        self.assertEqual({slot: after[slot] for slot in (1, 3)}, {slot: before[slot] for slot in (1, 3)})
        self.assertEqual(len(self.hosts(version=1, count=3)), 3)

    def healed(self, before):
        now = self.node.pids("web")
        return now if len(now) == 3 and now[2] != before[2] else None

    def test_scaling_keeps_what_runs(self):
        before = self.node.pids("web")
        self.node.orch("service", "scale", "web=6")
        self.assertEqual(len(self.hosts(version=1, count=6)), 6)
        six = self.node.pids("web")
        self.assertEqual({slot: six[slot] for slot in before}, before)
        self.node.orch("service", "scale", "web=2")
        self.assertEqual(len(self.hosts(version=1, count=2)), 2)

    def test_an_update_loses_no_request(self):
        # A started container gets its share at once; until its server listens, it refuses.
        for order in ("start-first", "stop-first"):
            with self.subTest(order), self.node.asking(PORT, retry=2) as asking:
                version = {"start-first": 2, "stop-first": 1}[order]
                self.node.orch("service", "update", "--image", f"web:{version}", "--update-order", order, "web")
                seen = asking.stop()
                self.assertEqual((seen["failed"], seen["errors"]), (0, {}), seen)
                self.assertGreater(seen["answered"], 0)
                self.assertEqual({answer.split()[1] for answer in seen["answers"]}, {"1", "2"})
                self.assertEqual(len(self.hosts(version, count=3)), 3)

    def test_orchd_killed_and_started_again_adopts_what_runs(self):
        before = self.node.pids("web")
        with self.node.asking(PORT) as asking:
            self.node.crash()
            self.node.start()
            eventually("three tasks run", lambda: len(self.node.pids("web")) == 3)
            self.assertEqual(self.node.pids("web"), before)
            seen = asking.stop()
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}), seen)
        self.assertEqual(len(self.hosts(version=1, count=3)), 3)

    def test_a_container_that_ended_while_orchd_was_away_is_replaced(self):
        before = self.node.pids("web")
        self.node.crash()
        self.node.kill(before[1])
        self.node.start()
        eventually("slot 1 runs again", lambda: self.node.pids("web").get(1) not in (None, before[1]))
        after = self.node.pids("web")
        self.assertEqual({slot: after[slot] for slot in (2, 3)}, {slot: before[slot] for slot in (2, 3)})

    def test_removing_leaves_nothing(self):
        self.node.orch("service", "rm", "web")
        after = self.node.leftovers()
        for kind, before in self.before.items():
            self.assertEqual(after[kind] - before, set(), kind)
        self.assertEqual(self.node.json("service", "ls"), [])
        self.assertEqual(self.node.ask(PORT, 1)["errors"], {"ConnectionRefusedError": 1})


class BadInput(unittest.TestCase):
    """One line that names the input and says what is accepted, and nothing has changed."""

    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-bad-input-{os.getpid()}", PROGRAMS).create()
        cls.addClassCleanup(cls.node.remove)
        cls.node.orch("init")
        cls.node.makeImages(1)

    def refused(self, status, *arguments, naming):
        done = self.node.orch(*arguments, check=False)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for text in naming:
            self.assertIn(text, done.stderr)
        self.assertEqual(self.node.json("service", "ls"), [])

    def test_a_mistyped_command_is_answered_with_a_suggestion(self):
        self.refused(2, "servcie", "ls", naming=["servcie", "service"])

    def test_an_unknown_flag_is_answered_with_a_suggestion(self):
        self.refused(2, "service", "create", "--replica", "3", "web:1", naming=["--replica", "--replicas"])

    def test_a_replica_count_that_is_no_number_is_refused(self):
        self.refused(2, "service", "create", "--replicas", "many", "web:1", naming=["many", "--replicas"])

    def test_a_memory_limit_below_the_minimum_is_refused(self):
        self.refused(2, "service", "create", "--limit-memory", "1m", "web:1", naming=["memory", "4"])

    def test_a_bad_service_name_is_refused(self):
        self.refused(2, "service", "create", "--name", "-web-", "web:1", naming=["-web-"])

    def test_a_service_that_does_not_exist_is_named(self):
        self.refused(1, "service", "inspect", "nosuch", naming=["nosuch"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
