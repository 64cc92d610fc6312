"""A node whose state is kept by another server: what a test of any such server has in common."""
import os

import single
from several_managers import manifestOn
from single import eventually


class KeptElsewhere:
    """Beside it, a test has PROGRAMS; SERVER, the plugin's name; its URL; `command(folder)`, which runs it with its data
    there; and `keys(below)`, what it has below the prefix."""

    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-{cls.SERVER}-{os.getpid()}", cls.PROGRAMS)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        cls.node.config = os.path.join(cls.node.host.folder, "orchd.toml")
        with open(cls.node.config, "w") as file:
            file.write(manifestOn(cls.SERVER, [cls.URL]))
        cls.startServer()
        cls.node.start()
        cls.node.orch("init")
        cls.node.makeImages(1)

    @classmethod
    def startServer(cls):
        """In the host, as a service beside orchd."""
        folder = cls.node.host.folder
        cls.server, _ = cls.node.host.spawn(cls.command(folder), f"{folder}/{cls.SERVER}.log")

    def killServer(self):
        self.node.kill(self.server)
        eventually(f"{self.SERVER} is gone", lambda: not self.node.runs(self.server))

    def create(self, name, check=True):
        return self.node.orch("service", "create", "--name", name, "--replicas", "2", "web:1", "/bin/web", check=check)

    def services(self):
        return sorted(row["name"] for row in self.node.json("service", "ls"))

    def containersOf(self, name):
        return {slot: task["meta"]["id"] for slot, task in self.node.running(name).items()}

    def removeAll(self):
        for name in self.services():
            self.node.orch("service", "rm", name)

    def test_what_was_made_is_there_after_orchd_and_the_server_have_died(self):
        self.addCleanup(self.removeAll)
        self.create("web")
        before, pids = self.containersOf("web"), self.node.pids("web")
        self.assertEqual(len(before), 2)
        self.node.crash()
        self.killServer()
        # Which of them comes back first does not matter.
        self.node.start()
        self.startServer()
        eventually("the state is loaded", lambda: self.node.orch("service", "ls", check=False).returncode == 0)
        self.assertEqual(self.services(), ["web"])
        eventually("the tasks run as before", lambda: self.containersOf("web") == before)
        self.assertEqual(self.node.pids("web"), pids)
        self.node.orch("service", "scale", "web=3")
        self.assertEqual(len(self.containersOf("web")), 3)
        self.assertEqual(len(self.keys("object/service ")), 1)

    def test_tasks_run_on_without_the_server_and_it_goes_on_with_it(self):
        self.addCleanup(self.removeAll)
        self.create("web")
        pids = self.node.pids("web")
        self.killServer()
        refused = self.create("late", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("does not answer", refused.stderr)
        self.assertEqual(self.node.pids("web"), pids)
        self.startServer()

        def created():
            return self.create("again", check=False).returncode == 0 or "again" in self.services()
        eventually("a service can be made again", created)
        self.assertEqual(self.node.pids("web"), pids)
        # The first one was made after all, or it was not: who asked was told that nobody knew.
        self.assertIn(self.services(), (["again", "web"], ["again", "late", "web"]))
        self.assertTrue("late" not in self.services() or "not known whether it was done" in refused.stderr, refused.stderr)
        eventually("it runs", lambda: len(self.containersOf("again")) == 2)
