#!/usr/bin/env python3
"""Programs that a user runs in containers of other hosts.

usage: exec-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import PATIENCE, eventually  # noqa: E402
from terminal import Terminal  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
RUNNER = "orch-runner"


class Exec(cluster.MemberTest):
    """n1 is the manager, and its user asks; the one task of `web` is on n2."""
    programs = PROGRAMS

    def setUp(self):
        super().setUp()
        self.create("--constraint", "node.hostname==n2")
        eventually("it runs", lambda: self.spread() == {"n2": 1})

    def exec(self, *arguments, **options):
        return self.n1.host.run(f"{self.programs}/orch", "task", "exec", *arguments, timeout=PATIENCE, **options)

    def command(self, *arguments):
        return self.n1.host.command(f"{self.programs}/orch", "task", "exec", *arguments)

    def terminal(self, *arguments, **options):
        terminal = Terminal(self.command("-it", *arguments), **options)
        self.addCleanup(terminal.close)
        return terminal

    def programsOn(self, node, words):
        """How many processes have these words in their command line."""
        listed = node.host.run("ps", "-e", "-o", "args=", check=True).stdout.splitlines()
        return sum(words in line for line in listed)

    def assertRefused(self, done, status, text):
        self.assertEqual((done.returncode, done.stdout), (status, ""), done)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(text, done.stderr)

    def test_output_and_exit_status_come_from_another_host(self):
        name = self.exec("web.1", "cat", "/etc/hostname")
        self.assertEqual((name.returncode, name.stderr), (0, ""), name)
        task = self.n1.running("web")[1]["meta"]["id"]
        for named in ("web", task, task[:10], f"web.1.{task}"):
            self.assertEqual(self.exec(named, "cat", "/etc/hostname").stdout, name.stdout)
        apart = self.exec("web.1", "sh", "-c", "echo said; echo sworn >&2; exit 7")
        self.assertEqual((apart.returncode, apart.stdout, apart.stderr), (7, "said\n", "sworn\n"))
        more = self.exec("-e", "ROLE=test", "-u", "nobody", "-w", "/tmp", "web.1", "sh", "-c", "echo $ROLE; id -u; pwd; exit 3")
        self.assertEqual((more.returncode, more.stdout), (3, "test\n65534\n/tmp\n"), more)
        self.assertEqual(self.exec("-i", "web.1", "cat", input="one\ntwo\n").stdout, "one\ntwo\n")
        self.assertEqual(self.exec("web.1", "cat", input="unread").stdout, "")
        told = "\n".join(self.n1.events("task.exec", "task.exec-ended"))
        self.assertIn("command=cat /etc/hostname", told.replace('"', ""))
        self.assertIn("exitCode=7", told.replace('"', ""))

    def test_on_its_own_host_without_any_manager(self):
        task = self.n1.running("web")[1]["meta"]["id"]
        self.cluster.cut("n1", "n2")
        self.addCleanup(self.cluster.heal)
        eventually("n2 is taken for down", lambda: self.states()["n2"] == "down")
        listed = self.n2.orch("task", "ls")
        self.assertIn("n2", listed.stdout)
        self.assertIn(task[:12], listed.stdout)
        self.assertIn("is a worker of the cluster; ask a manager:", listed.stderr)
        self.assertEqual(self.n2.orch("task", "exec", "web.1", "echo", "here").stdout, "here\n")
        self.assertIn("/bin/web", self.n2.orch("task", "top", "web.1").stdout)
        self.assertIn("web.1", self.n2.orch("stats", "--no-stream").stdout)
        refused = self.n2.orch("service", "ls", check=False)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("is a worker of the cluster; ask a manager:", refused.stderr)
        self.cluster.heal()
        eventually("it is back", lambda: self.states()["n2"] == "ready")

    def test_what_cannot_be_is_said_in_a_line(self):
        self.assertRefused(self.exec("web.1", "nothing-there"), 127, "cannot run 'nothing-there': No such file or directory")
        self.assertRefused(self.exec("web.1", "/etc"), 126, "cannot run '/etc': Permission denied")
        self.assertRefused(self.exec("-d", "web.1", "nothing-there"), 127, "cannot run 'nothing-there'")
        self.assertRefused(self.exec("web.2", "true"), 1, "no task 'web.2': service 'web' has web.1; see 'orch service ps web'")
        self.assertRefused(self.exec("-u", "stranger", "web.1", "true"), 126, "unknown user 'stranger'")
        self.assertRefused(self.exec("-it", "web.1", "true", input=""), 2, "needs a terminal as input")
        self.n1.orch("service", "scale", "web=2")
        self.assertRefused(self.exec("web", "true"), 1, "service 'web' has 2 tasks that run: web.1, web.2; name one")

    def test_much_output_comes_whole_and_much_input_goes_whole(self):
        size = 64 << 20
        flood = self.n1.host.run("sh", "-c", f"{self.programs}/orch task exec web.1 sh -c 'yes | head -c {size} || yes' | head -c {size} | wc -c")
        self.assertEqual(flood.stdout.strip(), str(size), flood)
        counted = self.n1.host.run("sh", "-c", f"yes | head -c {size} | {self.programs}/orch task exec -i web.1 sh -c 'cat | cat >/tmp/all; ls -l /tmp/all'")
        self.assertIn(f" {size} ", counted.stdout, counted)

    def test_a_session_in_a_terminal(self):
        shell = self.terminal("web.1", "sh", rows=30, columns=100)
        shell.type("echo a$((20 + 1))b\n")
        shell.waitFor("a21b")
        self.assertFalse(shell.isAsBefore())
        shell.type("sleep 7654\n")
        eventually("it sleeps", lambda: self.programsOn(self.n2, "sleep 7654"))
        shell.type("\x03")
        eventually("it does not", lambda: not self.programsOn(self.n2, "sleep 7654"))
        shell.type("exit 5\n")
        self.assertEqual(shell.process.wait(PATIENCE), 5)
        self.assertTrue(shell.isAsBefore())

    def test_a_terminal_that_is_resized_is_so_there_too(self):
        shell = self.terminal("web.1", "sh", "-c", "trap 'echo resized; exit 4' WINCH; echo ready; while :; do sleep 0.1; done")
        shell.waitFor("ready")
        shell.resize(50, 132)
        shell.waitFor("resized")
        self.assertEqual(shell.process.wait(PATIENCE), 4)

    def test_a_user_may_leave_a_program_to_itself(self):
        shell = self.terminal("web.1", "sh", "-c", "echo ready; sleep 7655")
        shell.waitFor("ready")
        shell.type("\x10\x11")
        self.assertEqual(shell.process.wait(PATIENCE), 0)
        self.assertTrue(shell.isAsBefore())
        self.assertTrue(self.programsOn(self.n2, "sleep 7655"))
        self.assertEqual(self.exec("-d", "web.1", "sleep", "7656").returncode, 0)
        self.assertTrue(self.programsOn(self.n2, "sleep 7656"))

    def test_nothing_is_left_of_a_program_whose_user_has_gone(self):
        for options in ([], ["-it"]):
            terminal = Terminal(self.command(*options, "web.1", "sh", "-c", "trap '' HUP; sleep 7657 & sleep 7657"))
            self.addCleanup(terminal.close)
            eventually("it runs", lambda: self.programsOn(self.n2, "sleep 7657"))
            for pid in self.n1.host.run("pidof", "orch", check=True).stdout.split():
                self.n1.kill(int(pid))
            eventually("nothing is left", lambda: not self.programsOn(self.n2, "sleep 7657"))

    def test_a_signal_is_the_programs(self):
        process = subprocess.Popen(self.command("web.1", "sh", "-c", "trap 'echo heard; exit 9' INT; echo ready; while :; do sleep 0.1; done"),
                                   stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=PATIENCE)[0], "heard\n")
        self.assertEqual(process.returncode, 9)

    def during(self, fault, status, text):
        begun = len(self.n1.events("task.exec"))
        process = subprocess.Popen(self.command("web.1", "sh", "-c", "echo ready; sleep 7658"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        # What a program prints can come before the word that it runs.
        eventually("it is known to run", lambda: len(self.n1.events("task.exec")) > begun)
        fault()
        said = process.communicate(timeout=PATIENCE)[1]
        self.assertEqual((process.returncode, said.count("\n")), (status, 1), said)
        self.assertIn(text, said)

    def test_the_end_of_a_node_ends_the_command(self):
        self.during(self.n2.poweroff, 125, "node 'n2' was lost while this ran; how it ended is not known")
        self.n2.start()
        eventually("it runs again", lambda: self.states()["n2"] == "ready" and self.spread() == {"n2": 1})
        self.during(self.n2.crash, 125, "node 'n2' was lost")
        eventually("nothing is left", lambda: not self.programsOn(self.n2, "sleep 7658"))
        self.n2.start()
        eventually("programs run there again", lambda: self.exec("web.1", "true").returncode == 0)
        self.during(lambda: self.cluster.cut("n2"), 125, "node 'n2' was lost")
        eventually("its user cannot come back", lambda: not self.programsOn(self.n2, "sleep 7658"))
        self.cluster.heal("n2")
        eventually("it is back", lambda: self.states()["n2"] == "ready")

    def test_the_end_of_a_container_ends_the_command(self):
        self.during(lambda: self.n1.orch("service", "scale", "--detach", "web=0"), 137, "its container has ended")


if __name__ == "__main__":
    unittest.main(verbosity=2)
