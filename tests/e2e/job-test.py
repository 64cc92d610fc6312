#!/usr/bin/env python3
"""Jobs on three hosts with real containers: so many tasks end well, so many at a time, wherever there is a host;
what has ended well is not done again; a schedule begins one.

usage: job-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
TOLD = "/var/lib/told"
MINUTE_NS = 60_000_000_000
# A task ends as the file in its host's folder says, once there is one.
WAITS = "until test -e /told/end; do sleep 0.1; done; exit $(cat /told/end)"


class Jobs(cluster.MemberTest):
    """n1 is the manager; each test begins with three hosts that are ready, and nothing told."""
    programs = PROGRAMS

    def setUp(self):
        super().setUp()
        for node in self.cluster.hosts:
            node.host.run("mkdir", "-p", TOLD, check=True)
            node.host.run("rm", "-f", f"{TOLD}/end", check=True)

    def job(self, *options, command=("true",), mode="replicated-job", check=True):
        return self.n1.orch("service", "create", "--name", "calc", "--mode", mode, "--restart-delay", "0s",
                            "--stop-grace-period", "0s", *options, "web:1", *command, check=check)

    def waiting(self, *options, **more):
        return self.job("--detach", "--mount", f"type=bind,source={TOLD},target=/told", *options,
                        command=("sh", "-c", WAITS), **more)

    def tell(self, status, *nodes):
        for node in nodes or self.cluster.hosts:
            node.host.run("sh", "-c", f"echo {status} > /var/lib/told/.end && mv /var/lib/told/.end /var/lib/told/end", check=True)

    def row(self):
        return self.n1.orch("service", "ls", "--format", "{{.Mode}}: {{.Replicas}}").stdout.strip()

    def service(self):
        return self.n1.json("service", "inspect", "calc")[0]

    def tasks(self, **wanted):
        return [task for task in self.n1.json("service", "ps", "calc")
                if all(task["status"].get(key) == value for key, value in wanted.items())]

    def ended(self):
        return eventually("the run has ended", lambda: int(self.service()["job"].get("endedAtNs", 0)) != 0)

    def test_five_complete_two_at_a_time_and_the_command_waits(self):
        said = self.job("--replicas", "5", "--max-concurrent", "2", command=("sh", "-c", "sleep 0.3")).stdout
        self.assertIn("job progress: 5 out of 5 complete\njob complete\n", said)
        self.assertEqual(self.row(), "replicated job: 0/2 (5/5 completed)")
        self.assertEqual({task["slot"] for task in self.tasks(state="complete")}, {1, 2, 3, 4, 5})
        shown = self.n1.orch("service", "ps", "--format", "{{.DesiredState}} {{.CurrentState}}", "calc").stdout
        self.assertEqual({tuple(line.split()[:2]) for line in shown.splitlines()}, {("Complete", "Complete")}, shown)
        # Never more than two ran at a time: each begins after the one but one before has ended.
        spans = sorted((int(task["status"]["runningAtNs"]), int(task["status"]["endedAtNs"])) for task in self.tasks())
        for index in range(2, 5):
            self.assertGreaterEqual(spans[index][0], sorted(end for _, end in spans)[index - 2])

    def test_a_task_that_fails_is_tried_again_and_given_up_with_the_reason(self):
        done = self.job("--restart-max-attempts", "1", command=("sh", "-c", "exit 3"), check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("job 'calc' failed: task calc.1: task: non-zero exit (3); no attempt is left of 1", done.stderr)
        self.assertEqual(len(self.tasks(state="failed")), 2)
        past, = self.service()["job"]["past"]
        self.assertEqual((past["failed"], past.get("completed", 0)), (1, 0))

    def test_a_node_that_dies_loses_what_had_not_ended_and_nothing_else(self):
        self.waiting("--replicas", "6")
        eventually("all run", lambda: self.spread("calc") == {"n1": 2, "n2": 2, "n3": 2})
        self.tell(0, self.n2)
        eventually("two have completed", lambda: len(self.tasks(state="complete")) == 2)
        before = {task["meta"]["id"] for task in self.tasks(state="complete")}
        self.n2.poweroff()
        self.n3.poweroff()
        eventually("those of n3 run on n1", lambda: self.spread("calc") == {"n1": 4})
        self.n1.crash()
        self.n1.start()
        self.tell(0, self.n1)
        self.ended()
        self.assertEqual(self.row(), "replicated job: 0/6 (6/6 completed)")
        completed = self.tasks(state="complete")
        self.assertEqual(len(completed), 6)
        self.assertLessEqual(before, {task["meta"]["id"] for task in completed})
        self.n2.start()
        self.n3.start()
        eventually("three hosts are ready", lambda: set(self.states().values()) == {"ready"})
        self.assertEqual(len(self.tasks(state="complete")), 6)
        self.assertEqual(self.spread("calc"), {})

    def test_a_global_one_runs_once_on_each_host_and_anew_when_it_is_changed(self):
        self.job("--constraint", "node.hostname!=n2", mode="global-job")
        self.assertEqual(self.row(), "global job: 0/0 (2/2 completed)")
        self.assertEqual({self.hostOf(task) for task in self.tasks()}, {"n1", "n3"})
        said = self.n1.orch("service", "update", "--force", "calc").stdout
        self.assertIn("job complete", said)
        self.assertEqual(len(self.tasks(state="complete")), 4)
        self.assertEqual([run["iteration"] for run in self.service()["job"]["past"]], [2, 1])

    def test_a_change_ends_the_tasks_of_the_run_before(self):
        self.waiting("--replicas", "3")
        eventually("three run", lambda: self.spread("calc") == {"n1": 1, "n2": 1, "n3": 1})
        self.n1.orch("service", "update", "--args", "true", "calc")
        self.assertEqual(len(self.tasks(state="complete")), 3)
        self.assertEqual(len(self.tasks(state="shutdown")), 3)
        self.assertIn("the service was changed", self.n1.orch("service", "inspect", "--pretty", "calc").stdout)
        self.assertEqual([len(node.host.run("pgrep", "-f", "told/end", check=False).stdout.split())
                          for node in self.cluster.hosts], [0, 0, 0])

    def test_a_schedule_begins_a_run(self):
        due = (time.time_ns() // MINUTE_NS + 1) * MINUTE_NS
        self.job("--schedule", "* * * * *", "--replicas", "2")
        job, tasks = self.service()["job"], self.tasks()
        self.assertEqual(int(job["nextAtNs"]) % MINUTE_NS, 0)
        if time.time_ns() < due:  # it may have been made at the very end of a minute
            self.assertEqual((int(job["nextAtNs"]), tasks), (due, []))
            self.assertNotIn("past", job)
        eventually("its minute has come, and the run has ended", lambda: self.service()["job"].get("past"), 150)
        run = self.service()["job"]["past"][0]
        self.assertEqual(run["completed"], 2)
        self.assertGreaterEqual(int(run["startedAtNs"]), due)
        self.assertEqual(len(self.tasks(state="complete")), 2)
        pretty = self.n1.orch("service", "inspect", "--pretty", "calc").stdout
        self.assertIn("Next run:", pretty)

    def test_what_is_no_job_is_refused_and_changes_nothing(self):
        for options, text in [
                (("--schedule", "0 3 * * monday"), "the day of the week is 0 to 7, or sun to sat at column 9"),
                (("--schedule", "0 0 30 2 *"), "such a day never comes"),
                (("--restart-condition", "any"), "use on-failure or none"),
                (("--update-parallelism", "2"), "are not for jobs")]:
            done = self.job(*options, check=False)
            self.assertEqual(done.returncode, 2, done)
            self.assertEqual(len(done.stderr.splitlines()), 1, done)
            self.assertIn(text, done.stderr)
        self.assertEqual(self.n1.json("service", "ls"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
