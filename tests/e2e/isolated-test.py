#!/usr/bin/env python3
"""Runtime, network, store and scheduler run in processes of their own, with the rights that they ask for; a
runtime that dies takes neither its containers nor the node's idea of them with it.

usage: isolated-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Isolated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        name = f"e2e-isolated-{os.getpid()}"
        cls.node = single.SingleHost(name, PROGRAMS)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        with open(cls.node.config) as file:
            text = file.read()
        cls.node.config = os.path.join(cls.node.host.folder, "orchd.toml")
        with open(cls.node.config, "w") as file:
            file.write(re.sub(r'^(id = "(?!image|control)\S+")$', r'\1\nisolation = "process"', text,
                              flags=re.MULTILINE))
        cls.node.start()
        cls.node.makeImages(1)

    def plugin(self, id):
        return next(row for row in self.node.json("plugin", "ls") if row["id"] == id)

    def isBack(self, id, restarts):
        def back():
            plugin = self.plugin(id)
            return plugin["state"] == "running" and int(plugin["restarts"]) > restarts
        eventually(f"{id} runs again", back)

    def runtimeIsBack(self, restarts):
        self.isBack("runtime.crun", restarts)

    def test_a_filter_that_dies_is_asked_again(self):
        for name, term in (("linux", "node.platform.os==linux"), ("here", "node.hostname!=elsewhere")):
            self.node.orch("service", "create", "--name", name, "--constraint", term, "--affinity", f"service!={name}",
                           "web:1", "/bin/web")
            self.assertEqual(len(self.node.running(name)), 1)
            for id in ("filter.constraint", "filter.affinity"):
                before = self.plugin(id)
                self.node.kill(before["pid"])
                self.isBack(id, int(before["restarts"]))
        self.node.orch("service", "rm", "linux", "here")

    def test_a_runtime_that_dies_leaves_tasks_and_containers_alone(self):
        self.node.orch("service", "create", "--name", "web", "--replicas", "3", "web:1", "/bin/web")
        before, pids = self.node.running("web"), self.node.pids("web")
        restarts = int(self.plugin("runtime.crun")["restarts"])
        self.node.kill(self.plugin("runtime.crun")["pid"])
        self.runtimeIsBack(restarts)
        # Asked of the runtime's new life: what it answers is what it has found again.
        self.node.orch("service", "scale", "web=4")
        after = self.node.running("web")
        self.assertEqual({slot: after[slot]["meta"]["id"] for slot in before},
                         {slot: task["meta"]["id"] for slot, task in before.items()})
        self.assertEqual({slot: self.node.pids("web")[slot] for slot in pids}, pids)
        # Its end is seen by the new life, too.
        self.node.kill(pids[1])
        eventually("the killed container is replaced",
                   lambda: self.node.pids("web").get(1) not in (None, pids[1]))
        self.node.orch("service", "rm", "web")
        eventually("no container is left", lambda: "conmon" not in self.node.leftovers()["programs"])

    def test_a_runtime_that_dies_ends_what_a_user_runs_in_a_container(self):
        self.node.orch("service", "create", "--name", "web", "web:1", "/bin/web")
        restarts = int(self.plugin("runtime.crun")["restarts"])
        command = self.node.host.command(f"{PROGRAMS}/orch", "task", "exec", "web.1", "sh", "-c", "echo ready; sleep 7659")
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(running.stdout.readline(), "ready\n")
        self.node.kill(self.plugin("runtime.crun")["pid"])
        said = running.communicate(timeout=single.PATIENCE)[1]
        self.assertEqual((running.returncode, said.count("\n")), (125, 1), said)
        eventually("nothing is left of it", lambda: "sleep 7659" not in self.node.host.run("ps", "-e", "-o", "args=").stdout)
        self.runtimeIsBack(restarts)
        self.assertEqual(self.node.orch("task", "exec", "web.1", "echo", "again").stdout, "again\n")
        self.node.orch("service", "rm", "web")


if __name__ == "__main__":
    unittest.main(verbosity=2)
