#!/usr/bin/env python3
"""A mount that hangs under a bind holds up its own tasks and nobody else, and they say why they wait.

usage: hanging-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
# More than there are threads of a plugin, places of a runtime, and containers that an agent makes at once.
STUCK = 20


class Hanging(single.HostTest):
    programs = PROGRAMS
    images = 1

    def setUp(self):
        self.source = f"{self.node.host.folder}/nfs-{self._testMethodName[:20]}"
        os.mkdir(self.source)
        log = f"{self.source}.log"
        self.server, _ = self.node.host.spawn([f"{single.REPOSITORY}/tests/testbed/hanging-mount", self.source], log)
        self.addCleanup(self.unmount)
        eventually("the file system is mounted", lambda: self.says(log, "mounted"))
        self.create("stuck", STUCK, "-d")
        eventually("every stuck task says what it waits for", self.allSay)

    @staticmethod
    def says(path, text):
        with open(path) as file:
            return text in file.read()

    def unmount(self):
        # Without a server the kernel answers everybody with an error: nobody is left behind in it.
        self.node.kill(self.server)
        self.node.host.run("umount", "-l", self.source)
        self.node.orch("service", "rm", "stuck", check=False)
        eventually("no stuck task is left", lambda: not self.stuckTasks())

    def create(self, name, replicas, *options):
        self.node.orch("service", "create", *options, "--verify", "0s", "--name", name, "--replicas", str(replicas),
                       "--stop-grace-period", "1s", "--mount", f"type=bind,src={self.source},dst=/data", "web:1", "/bin/web")

    def stuckTasks(self):
        if not any(service["name"] == "stuck" for service in self.node.json("service", "ls")):
            return []
        return self.node.json("service", "ps", "stuck")

    def allSay(self):
        said = [task["status"].get("error", "") for task in self.stuckTasks()]
        reason = f"waits for the mount source '{self.source}': it has not answered for "
        return len(said) == STUCK and all(text.startswith(reason) for text in said)

    def othersGoOn(self, name):
        """Creates, commits, starts, logs, scales and stops of a service that has nothing to do with it."""
        self.node.orch("service", "create", "--verify", "0s", "--name", name, "--replicas", "3", "web:1", "/bin/web")
        self.assertEqual(len(self.node.running(name)), 3)
        self.node.orch("service", "create", "--verify", "0s", "--name", f"{name}-runc", "--runtime", "runc", "--mount",
                       "type=volume,src=fresh,dst=/etc", "web:1", "/bin/web")
        lines = eventually("the service logs", lambda: self.node.orch("service", "logs", name).stdout)
        self.assertIn("web 1 listens", lines)
        self.node.orch("service", "scale", "--verify", "0s", f"{name}=5")
        self.assertEqual(len(self.node.running(name)), 5)
        self.node.orch("service", "rm", name, f"{name}-runc")
        self.assertFalse([task for task in self.node.json("service", "ls") if task["name"].startswith(name)])

    def test_other_services_go_on_and_the_stuck_one_can_be_removed(self):
        self.othersGoOn("other")
        self.node.orch("service", "rm", "stuck")
        eventually("nothing of it is left", lambda: not self.stuckTasks())
        self.assertFalse([line for line in self.node.webServers()])

    def test_orchd_starts_again_while_it_hangs_and_what_waited_runs_when_it_answers(self):
        self.node.crash()
        self.node.start()
        eventually("every stuck task says it again", self.allSay)
        self.othersGoOn("again")
        self.node.stop()
        self.node.start()
        self.node.kill(self.server, signal.SIGUSR1)
        eventually("all run", lambda: len(self.node.running("stuck")) == STUCK)
        self.assertTrue(all(not task["status"].get("error") for task in self.stuckTasks()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
