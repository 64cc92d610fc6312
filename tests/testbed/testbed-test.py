#!/usr/bin/env python3
"""Tests of the test hosts themselves. Each starts with nothing and has to leave nothing.

usage: testbed-test.py ENTER [TEST...]     ENTER: the program of enter.c
"""
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import namespaces  # noqa: E402
import testbed  # noqa: E402

ENTER = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
LISTENS = "trap 'echo heard; exit 3' TERM; echo ready; while :; do sleep 0.05; done"


class TestHost(unittest.TestCase):
    """By `host exec`."""
    enters = None

    def setUp(self):
        self.host = testbed.Host(f"testbed-{os.getpid()}").create()
        self.host.enters = self.enters
        self.addCleanup(self.host.remove)

    def test_a_program_in_it_sees_its_own_name_processes_network_and_groups(self):
        self.assertEqual(self.host.run("hostname").stdout.strip(), self.host.name)
        processes = self.host.run("sh", "-c", "echo /proc/[0-9]*").stdout.split()
        self.assertEqual((processes[0], len(processes)), ("/proc/1", 2))
        self.assertEqual(self.host.run("ls", "/sys/class/net").stdout.split(), ["lo"])
        self.assertNotIn(self.host.name, self.host.run("cat", "/proc/self/cgroup").stdout)
        self.assertEqual(self.host.run("ls", "/run", testbed.DATA).stdout.split(), ["/run:", f"{testbed.DATA}:"])

    def test_exit_statuses_come_back(self):
        self.assertEqual(self.host.run("sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(self.host.run("sh", "-c", "kill -9 $$").returncode, 137)
        self.assertEqual(self.host.run("no-such-program").returncode, 127)

    def test_signals_and_the_end_of_who_started_it_are_passed_on(self):
        begin = lambda: subprocess.Popen(self.host.command("sh", "-c", LISTENS), stdout=subprocess.PIPE, text=True)
        with begin() as told:
            self.assertEqual(told.stdout.readline(), "ready\n")
            told.send_signal(signal.SIGTERM)
            self.assertEqual((told.stdout.readline(), told.wait()), ("heard\n", 3))
        with begin() as killed:
            self.assertEqual(killed.stdout.readline(), "ready\n")
            killed.kill()
            self.assertEqual(killed.stdout.read(), "")  # nobody has it open any more

    def test_the_folder_it_is_started_in_is_its_own_if_the_host_has_it(self):
        self.assertEqual(self.host.run("pwd", cwd="/usr").stdout, "/usr\n")
        self.assertEqual(self.host.run("pwd", cwd=f"/proc/{os.getpid()}").stdout, "/\n")

    def test_a_spawned_program_goes_on_until_the_host_is_removed(self):
        log = f"{self.host.folder}/log"
        pid, _ = self.host.spawn(["sh", "-c", "echo here; exec sleep 1000"], log)
        self.assertEqual(self.host.run("kill", "-0", str(pid)).returncode, 0)
        groups = [os.path.join(namespaces.CGROUPS, folder, self.host.cgroup) for folder, _, _ in namespaces.hierarchies()]
        self.assertTrue(all(os.path.isdir(group) for group in groups))
        first = self.host.pid()
        self.host.remove()
        self.assertFalse(any(os.path.exists(path) for path in [self.host.folder, *groups]))
        self.assertIsNone(testbed.startTime(first))
        self.host.remove()  # gone already is success

    def test_files_under_var_lib_stay_in_it(self):
        self.host.run("touch", f"{testbed.DATA}/inside", "/var/lib/inside", check=True)
        self.assertFalse(os.path.exists("/var/lib/inside"))
        self.assertTrue(os.path.exists(f"{self.host.folder}/disk/data/inside"))

    def test_a_second_one_of_the_same_name_is_refused(self):
        with self.assertRaisesRegex(testbed.Failed, f"host '{self.host.name}' exists; remove it with"):
            testbed.Host(self.host.name).create()


class TestEntered(TestHost):
    """By the program that tests use."""
    enters = ENTER


if __name__ == "__main__":
    unittest.main()
