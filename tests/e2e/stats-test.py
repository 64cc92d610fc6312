#!/usr/bin/env python3
"""What tasks on other hosts use, and what somebody sees who attaches to them.

usage: stats-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import select
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
PORT = 8080
QUICKLY = ("--no-stream", "--interval", "300ms")


class Stats(cluster.MemberTest):
    """n1 is the manager, and its user asks; what he asks about is on n2 or n3."""
    programs = PROGRAMS

    def begin(self, name, *command, on="n2", options=()):
        self.n1.orch("service", "create", "--detach", "--name", name, "--constraint", f"node.hostname=={on}", "--restart-condition", "none",
                     "--stop-grace-period", "0s", *options, "web:1", *command)
        eventually(f"{name} runs", lambda: self.spread(name) == {on: 1})

    def usage(self, *names):
        rows = json.loads(self.n1.orch("stats", *QUICKLY, "--json", *names).stdout)
        return {row["task"]: row for row in rows}

    def command(self, *arguments):
        return self.n1.host.command(f"{self.programs}/orch", *arguments)

    def terminal(self, *arguments, **options):
        terminal = Terminal(self.command(*arguments), **options)
        self.addCleanup(terminal.close)
        return terminal

    def attached(self, *arguments):
        process = subprocess.Popen(self.command("task", "attach", *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.__exit__, None, None, None)
        self.addCleanup(process.kill)
        return process

    def said(self, process):
        """The next line of its output, of which there is none yet."""
        self.assertTrue(select.select([process.stdout], [], [], PATIENCE)[0], "nothing is said")
        return process.stdout.readline()

    def test_what_tasks_use_and_do_is_seen_from_another_host(self):
        self.begin("burn", "sh", "-c", "while :; do :; done", options=("--limit-memory", "64m"))
        self.create("--constraint", "node.hostname==n3", "-p", f"{PORT}:80")
        eventually("it runs", lambda: self.spread() == {"n3": 1})
        before = self.usage()
        self.assertEqual({name: row["node"] for name, row in before.items()}, {"burn.1": "n2", "web.1": "n3"})
        self.assertGreater(before["burn.1"]["cpuNanos"], 0)
        self.assertEqual(before["burn.1"]["usage"]["memoryLimitBytes"], 64 << 20)
        self.assertGreater(before["burn.1"]["usage"]["memoryBytes"], 0)
        self.assertEqual(before["burn.1"]["usage"]["pids"], 1)
        self.n1.awaitServers(PORT, 1)
        asked = self.n1.ask(PORT, 20)
        self.assertEqual(asked["failed"], 0, asked)
        after = self.usage("web")
        self.assertEqual(list(after), ["web.1"])
        for way in ("receivedBytes", "sentBytes"):
            self.assertGreater(after["web.1"]["usage"][way], before["web.1"]["usage"][way])
        table = self.n1.orch("stats", *QUICKLY, "burn.1").stdout.splitlines()
        self.assertRegex(table[0], r"^TASK +NODE +CPU % +MEM USAGE / LIMIT +MEM % +NET I/O +BLOCK I/O +PIDS$")
        self.assertRegex(table[1], r"^burn.1 +n2 +[0-9.]+% +[0-9.]+[KM]iB / 64MiB ")
        top = self.n1.orch("top", *QUICKLY).stdout
        self.assertRegex(top, r"(?m)^n2 +1 +[0-9.]+ +0.00 ")
        self.assertRegex(top, r"(?m)^burn.1 +n2 ")
        processes = self.n1.json("task", "top", "burn")
        self.assertEqual([(one["user"], one["command"]) for one in processes], [("root", "sh -c while :; do :; done")])

    def test_a_host_that_is_cut_off_is_said_and_not_waited_for(self):
        self.begin("one", "sleep", "1000")
        self.begin("two", "sleep", "1000", on="n3")
        watching = self.terminal("stats", "--interval", "300ms", rows=24, columns=160)
        watching.waitFor(r"two.1 +n3 +[0-9.]+%")
        self.cluster.cut("n3")
        self.addCleanup(self.cluster.heal, "n3")
        watching.waitFor(r"two.1 +n3 +-- .*n3' (is down|was lost|has )")
        self.assertIn("n3", self.usage("two")["two.1"]["missing"])
        self.assertGreater(self.usage("one")["one.1"]["usage"]["memoryBytes"], 0)
        self.cluster.heal("n3")
        watching.seen = ""
        watching.waitFor(r"two.1 +n3 +[0-9.]+%")
        watching.type("\x03")
        watching.process.wait(PATIENCE)  # what it ends with is that of whatever runs it in the host
        self.assertNotIn("orch:", watching.seen)

    def test_a_terminal_is_attached_to_left_and_attached_to_again(self):
        self.begin("shell", "sh", options=("--tty",))
        first = self.terminal("task", "attach", "shell.1", rows=30, columns=100)
        first.type("echo a$((20 + 1))b\n")
        first.waitFor("a21b")
        first.type("trap 'echo resized' WINCH; echo re''ady; while :; do sleep 0.1; done\n")
        first.waitFor("ready")
        first.resize(50, 132)
        first.waitFor("resized")
        first.type("\x03")
        first.type("\x10\x11")
        self.assertEqual(first.process.wait(PATIENCE), 0)
        self.assertTrue(first.isAsBefore())
        again = self.terminal("task", "attach", "shell")
        again.type("echo c$((20 + 2))d\n")
        again.waitFor("c22d")
        self.assertNotIn("a21b", again.seen)
        again.type("exit 5\n")
        self.assertEqual(again.process.wait(PATIENCE), 5)

    def test_input_and_signals_are_passed_on_and_the_end_is_told(self):
        self.begin("reader", "sh", "-c", "trap 'echo heard; exit 9' INT; while :; do read -r line; echo \"got $line\"; done", options=("-i",))
        one = self.attached("reader")
        one.stdin.write("one\n")
        one.stdin.flush()
        self.assertEqual(self.said(one), "got one\n")
        looker = self.attached("--no-stdin", "--sig-proxy=false", "reader")
        eventually("he looks on", lambda: sum("reader.1" in line for line in self.n1.events("task.attach")) == 2)
        one.stdin.write("two\n")
        one.stdin.flush()
        self.assertEqual(self.said(one), "got two\n")
        self.assertEqual(self.said(looker), "got two\n")
        looker.send_signal(signal.SIGINT)
        self.assertEqual(looker.wait(PATIENCE), 130)
        one.send_signal(signal.SIGINT)
        self.assertEqual(self.said(one), "heard\n")
        self.assertEqual(one.wait(PATIENCE), 9)

    def test_the_end_of_a_node_ends_the_command(self):
        self.begin("quiet", "sleep", "1000")
        looker = self.attached("quiet")
        eventually("he looks on", lambda: any("quiet.1" in line for line in self.n1.events("task.attach")))
        self.n2.crash()
        said = looker.communicate(timeout=PATIENCE)[1]
        self.assertEqual((looker.returncode, said.count("\n")), (125, 1), said)
        self.assertIn("node 'n2' was lost", said)
        self.n2.start()


if __name__ == "__main__":
    unittest.main(verbosity=2)
