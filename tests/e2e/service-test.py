#!/usr/bin/env python3
"""A service on one host, from the command line down to the containers.

usage: service-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from registry import Registry  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
PORT = 8080


class Service(single.HostTest):
    programs = PROGRAMS
    images = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.makeFirst(PORT)

    def setUp(self):
        self.before = self.node.leftovers()
        self.node.orch("service", "create", "--verify", "0s", "--name", "web", "--replicas", "3", "-p", f"{PORT}:80",
                       "--stop-grace-period", "5s", "--update-monitor", "100ms", "web:1", "/bin/web")
        self.addCleanup(self.removeWeb)

    def removeWeb(self):
        if any(service["name"] == "web" for service in self.node.json("service", "ls")):
            self.node.orch("service", "rm", "web")

    def hosts(self, version, count):
        """The hosts that answer, all of them with `version`, once so many listen."""
        self.node.awaitServers(PORT, count)
        seen = self.node.ask(PORT, 8 * count)
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}))
        self.assertEqual({answer.split()[1] for answer in seen["answers"]}, {str(version)})
        return {answer.split()[0] for answer in seen["answers"]}

    def test_create_returns_when_all_replicas_run_and_they_answer_on_the_published_port(self):
        self.assertEqual(len(self.node.running("web")), 3)
        self.assertEqual(len(self.hosts(version=1, count=3)), 3)
        row = self.node.json("service", "ls")[0]
        self.assertEqual((row["name"], row["running"], row["desired"], row["image"]), ("web", 3, 3, "web:1"))
        self.assertIn("3/3", self.node.orch("service", "ls").stdout)

    def test_logs_of_the_service_come_from_all_its_tasks(self):
        lines = lambda: self.node.orch("service", "logs", "web").stdout.splitlines()
        eventually("each has said that it listens", lambda: len([line for line in lines() if "web 1 listens on port 80" in line]) == 3)

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
        self.node.orch("service", "scale", "--verify", "0s", "web=6")
        self.assertEqual(len(self.hosts(version=1, count=6)), 6)
        six = self.node.pids("web")
        self.assertEqual({slot: six[slot] for slot in before}, before)
        self.node.orch("service", "scale", "--verify", "0s", "web=2")
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

    def test_an_update_whose_tasks_end_soon_has_not_converged(self):
        # The delay keeps the update at its first slot until that has failed.
        done = self.node.orch("service", "update", "--update-monitor", "1m", "--update-delay", "1m",
                              "--args", "sh -c 'sleep 1; exit 4'", "web", check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("the update of service 'web' is paused: task web.", done.stderr)
        self.assertIn("; the old spec still serves, in 2 of 3 tasks; ", done.stderr)
        self.assertNotIn("converged", done.stdout)
        # A change that the pause does not stand in the way of succeeds.
        self.node.orch("service", "scale", "--verify", "0s", "web=2")
        # Taking it back replaces what the update had reached, and nothing else.
        before = {slot: task["status"]["container"]["pid"] for slot, task in self.node.running("web").items()
                  if task["spec"]["container"]["args"] == ["/bin/web"]}
        self.assertTrue(before)
        self.node.orch("service", "update", "--update-monitor", "100ms", "--update-delay", "0s", "--args", "/bin/web", "web")
        after = self.node.pids("web")
        self.assertEqual(len(after), 2)
        self.assertEqual({slot: after[slot] for slot in before}, before)

    def test_a_removal_of_what_is_not_there_is_a_warning_and_an_image_that_is_the_same_replaces_nothing(self):
        before = self.node.pids("web")
        done = self.node.orch("service", "update", "--env-rm", "NOSUCH", "web")
        self.assertIn("warning: --env-rm 'NOSUCH' names nothing of the service", done.stderr)
        self.node.orch("service", "update", "--image", "web:1", "--label-add", "a=1", "web")
        self.assertEqual(self.node.pids("web"), before)

    def test_a_tag_that_moved_is_taken_up_by_an_update_and_by_nothing_else(self):
        registry = Registry(self.node.host)
        self.addCleanup(registry.stop)
        eventually("the registry answers", registry.answers)
        name = f"{registry.address}/app:latest"
        self.node.orch("service", "rm", "web")
        registry.push(1, name)
        self.node.orch("service", "create", "--verify", "0s", "--name", "web", "--replicas", "2", "-p", f"{PORT}:80",
                       "--stop-grace-period", "5s", "--update-monitor", "100ms", name, "/bin/web")
        self.hosts(version=1, count=2)
        registry.push(2, name)
        self.node.orch("image", "pull", name)
        self.node.orch("service", "scale", "--verify", "0s", "web=4")
        self.hosts(version=1, count=4)
        self.node.orch("service", "update", "--verify", "0s", "--image", name, "web")
        self.hosts(version=2, count=4)
        digest = self.node.json("service", "inspect", "web")[0]["spec"]["task"]["container"]["imageDigest"]
        self.assertIn(f"{name}@{digest.partition(':')[2][:12]} ", self.node.orch("service", "ps", "web").stdout)
        registry.stop()
        before = self.node.pids("web")
        done = self.node.orch("service", "update", "--image", name, "web")
        self.assertIn(f"warning: cannot tell what image '{name}' is now (", done.stderr)
        self.assertEqual(self.node.pids("web"), before)

    def test_updates_at_the_same_time_all_count(self):
        before = self.node.json("service", "inspect", "web")[0]
        commands = [self.node.host.command(f"{PROGRAMS}/orch", "service", "update", "--detach", "--env-add", f"A{i}=1", "web")
                    for i in range(4)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                     for command in commands]
        for process in processes:
            output, _ = process.communicate(timeout=single.PATIENCE)
            self.assertEqual(process.returncode, 0, output)
        after = self.node.json("service", "inspect", "web")[0]
        self.assertEqual(int(after["specVersion"]), int(before["specVersion"]) + 4)
        self.assertEqual(sorted(after["spec"]["task"]["container"]["env"]), ["A0=1", "A1=1", "A2=1", "A3=1"])
        eventually("three tasks run", lambda: len(self.node.running("web")) == 3)

    def test_orchd_killed_and_started_again_adopts_what_runs(self):
        self.node.awaitServers(PORT, 3)
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
        def left():
            after = self.node.leftovers()
            return {kind: after[kind] - before for kind, before in self.before.items() if after[kind] - before}
        # What the node has of a task goes soon after the task, and the tables of published ports with the last of them.
        eventually("nothing is left", lambda: left() == {})
        self.assertEqual(self.node.json("service", "ls"), [])
        self.assertEqual(self.node.ask(PORT, 1)["errors"], {"ConnectionRefusedError": 1})


class NeverStarts(single.HostTest):
    """What can never run ends the command with the reason; the service stays."""
    programs = PROGRAMS

    def givesUp(self, *arguments, naming):
        done = self.node.orch("service", "create", "--name", "web", *arguments, check=False)
        self.addCleanup(self.node.orch, "service", "rm", "web")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("service 'web' cannot converge: task web.1: ", done.stderr)
        self.assertIn("it stays and goes on trying: see 'orch service ps web', end it with 'orch service rm web'", done.stderr)
        self.assertIn(naming, done.stderr)
        self.assertEqual(len(self.node.json("service", "ls")), 1)

    def test_a_program_that_is_not_in_the_image(self):
        self.givesUp("web:1", "/nonexistent", naming="/nonexistent")

    def test_a_bind_mount_of_nothing(self):
        self.givesUp("--mount", "type=bind,source=/no/such/folder,target=/data", "web:1", "/bin/web", naming="/no/such/folder")

    def test_a_program_that_ends_at_once_again_and_again(self):
        for program, reason in (("false", "non-zero exit (1)"), ("true", "finished")):
            self.givesUp("web:1", program, naming=f"{reason}, three times in a row within 5 s of its start; "
                         "what it wrote: 'orch service logs web'")
            self.doCleanups()

    def test_tasks_that_complete_by_design_have_converged(self):
        self.node.orch("service", "create", "--name", "web", "--replicas", "2", "--restart-condition", "on-failure", "web:1", "true")
        self.addCleanup(self.node.orch, "service", "rm", "web")
        eventually("both have completed", lambda: [task["status"]["state"] for task in self.node.json("service", "ps", "web")] ==
                   ["complete", "complete"])


class Volumes(single.HostTest):
    """Volumes outlive their tasks, and are seen, kept while they are used, and removed."""
    programs = PROGRAMS

    def test_a_volume_is_listed_with_who_uses_it_and_removed_when_nobody_does(self):
        listed = ("volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.UsedBy}}")
        self.node.orch("service", "create", "--name", "web", "--mount", "source=data,target=/data", "web:1", "/bin/web")
        self.assertEqual(self.node.orch(*listed).stdout, "data local web.1\n")
        self.assertIn("/data", self.node.orch("volume", "inspect", "--format", "{{.Mountpoint}}", "data").stdout)
        done = self.node.orch("volume", "rm", "data", check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("cannot remove the volume 'data'", done.stderr)
        self.assertEqual(self.node.orch("volume", "prune", check=False).returncode, 2)
        self.node.orch("service", "rm", "web")
        self.assertEqual(self.node.orch(*listed).stdout, "data local \n")
        self.assertEqual(self.node.orch("volume", "rm", "data").stdout, "data\n")
        self.assertEqual(self.node.orch(*listed).stdout, "")
        self.assertIn("no volume 'data'", self.node.orch("volume", "rm", "data", check=False).stderr)
        self.assertEqual(self.node.orch("volume", "prune", "--all", "--force").stdout, "")


class BadInput(single.HostTest):
    """One line that names the input and says what is accepted, and nothing has changed."""
    programs = PROGRAMS

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

    def test_a_reservation_above_the_limit_names_both_flags_and_values(self):
        self.refused(2, "service", "create", "--reserve-memory", "16m", "--limit-memory", "8m", "web:1",
                     naming=["--reserve-memory 16m", "--limit-memory 8m"])

    def test_ports_on_a_network_without_any_are_refused(self):
        self.refused(2, "service", "create", "-p", "80:80", "--network", "none", "web:1", naming=["--publish", "--network none"])

    def test_a_kernel_parameter_of_the_node_is_refused(self):
        self.refused(2, "service", "create", "--sysctl", "vm.swappiness=1", "web:1", naming=["--sysctl 'vm.swappiness'"])

    def test_a_bad_service_name_is_refused(self):
        self.refused(2, "service", "create", "--name", "-web-", "web:1", naming=["-web-"])

    def test_a_service_that_does_not_exist_is_named(self):
        self.refused(1, "service", "inspect", "nosuch", naming=["nosuch"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
