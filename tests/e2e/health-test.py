#!/usr/bin/env python3
"""Health checks with real containers: they gate an update, replace a task that becomes unhealthy, and an
update whose tasks never become healthy goes back while the old ones serve.

usage: health-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
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
RUNNER = "orch-runner"


class Health(single.HostTest):
    programs = PROGRAMS
    images = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.makeFirst(PORT)

    def setUp(self):
        before = self.node.leftovers()
        self.node.orch("service", "create", "--verify", "0s", "--name", "web", "--replicas", "2", "-p", f"{PORT}:80",
                       "--health-cmd", "wget -q -O /dev/null http://127.0.0.1/ && ! test -e /ill",
                       "--health-interval", "200ms", "--health-retries", "2", "--health-start-period", "30s",
                       "--health-start-interval", "100ms", "--restart-delay", "0s", "--update-monitor", "100ms",
                       "--drain-timeout", "1s", "web:1", "/bin/web")
        self.addCleanup(self.node.awaitNothingLeft, before)
        self.addCleanup(self.node.orch, "service", "rm", "web")

    def tasks(self, **wanted):
        return [task for task in self.node.json("service", "ps", "web")
                if all(task["status"].get(key) == value for key, value in wanted.items())]

    def touch(self, task, name):
        inside = single.rootOf(task["status"]["container"]["pid"])
        self.node.host.run("touch", os.path.join(inside, name), check=True)

    def versions(self):
        seen = self.node.ask(PORT, 10)
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}))
        return {answer.split()[1] for answer in seen["answers"]}

    def test_an_update_waits_until_each_new_task_is_healthy(self):
        # A client is led to a healthy task at once: nothing has to be asked again.
        with self.node.asking(PORT) as asking:
            self.node.orch("service", "update", "--detach", "--image", "web:2", "--update-order", "start-first",
                           "--health-cmd", "test -e /well && wget -q -O /dev/null http://127.0.0.1/", "--health-interval", "100ms", "web")
            well = set()  # the first may not have been looked at again when the next is waited for
            for done in (0, 1):
                new, = eventually("the next new task has started, and waits", lambda: [
                    task for task in self.tasks(state="starting")
                    if task["status"]["message"] == "started, not healthy yet" and task["meta"]["id"] not in well])
                self.assertEqual(new["status"]["container"]["health"], "starting")
                self.assertEqual(len(self.node.running("web")), 2, "the old ones run on")
                self.assertEqual(self.versions(), {"1"} if done == 0 else {"1", "2"})
                self.touch(new, "well")
                well.add(new["meta"]["id"])
            eventually("the update is done",
                       lambda: self.node.json("service", "inspect", "web")[0]["update"]["state"] == "completed")
            seen = asking.stop()
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}), seen)
        self.assertEqual({answer.split()[1] for answer in seen["answers"]}, {"1", "2"})
        self.assertEqual(self.versions(), {"2"})

    def test_a_task_that_becomes_unhealthy_is_replaced(self):
        before = self.node.running("web")
        self.touch(before[1], "ill")
        eventually("slot 1 has another task",
                   lambda: self.node.running("web").get(1, before[1])["meta"]["id"] != before[1]["meta"]["id"])
        self.assertEqual(self.node.running("web")[2]["meta"]["id"], before[2]["meta"]["id"])
        failed, = self.tasks(state="failed")
        self.assertEqual(failed["status"]["container"]["health"], "unhealthy")
        self.assertIn("task: unhealthy container: health check: exit 1", self.node.orch("service", "ps", "--no-trunc", "web").stdout)
        self.assertEqual(self.versions(), {"1"})

    def test_an_update_that_never_becomes_healthy_goes_back_and_the_old_spec_serves(self):
        with self.node.asking(PORT) as asking:
            self.node.orch("service", "update", "--detach", "--image", "web:2", "--update-order", "start-first",
                           "--update-failure-action", "rollback", "--health-cmd", "echo not well; false",
                           "--health-interval", "100ms", "--health-start-period", "0s", "web")
            # What is 0 is the image's or docker's: no start period.
            eventually("it has gone back",
                       lambda: self.node.json("service", "inspect", "web")[0]["update"]["state"] == "rollbackCompleted")
            seen = asking.stop()
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}), seen)
        self.assertEqual({answer.split()[1] for answer in seen["answers"]}, {"1"})
        self.assertEqual(self.versions(), {"1"})
        errors = {task["status"]["error"] for task in self.tasks(state="failed")}
        self.assertEqual(errors, {"task: unhealthy container: health check: exit 1: not well"})

    def test_orchd_may_crash_and_looks_after_its_tasks_again(self):
        before = self.node.running("web")
        self.node.crash()
        eventually("nothing is left that runs checks", lambda: RUNNER not in self.node.leftovers()["programs"])
        self.node.start()
        after = eventually("both tasks run", lambda: self.both())
        self.assertEqual({slot: task["meta"]["id"] for slot, task in after.items()},
                         {slot: task["meta"]["id"] for slot, task in before.items()})
        self.touch(before[2], "ill")
        eventually("slot 2 has another task",
                   lambda: self.node.running("web").get(2, before[2])["meta"]["id"] != before[2]["meta"]["id"])

    def both(self):
        running = self.node.running("web")
        return running if len(running) == 2 else None

    def test_one_can_do_without(self):
        self.node.orch("service", "update", "--no-healthcheck", "web")
        for task in self.node.running("web").values():
            self.assertEqual(task["status"]["container"].get("health", "none"), "none")


if __name__ == "__main__":
    unittest.main()
