#!/usr/bin/env python3
"""Services that wait for others, templates, and the way back to an older spec, with real containers.

usage: depends-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Depends(single.HostTest):
    programs = PROGRAMS

    def setUp(self):
        self.made = []
        self.addCleanup(self.removeAll)

    def removeAll(self):
        if self.made:
            self.node.orch("service", "rm", *self.made)

    def create(self, name, *words, detach=True):
        self.made.append(name)
        self.node.orch("service", "create", "--name", name, *(["--detach"] if detach else ["--verify", "0s"]), *words,
                       "web:1", "/bin/web")

    def inside(self, service, path, slot=1):
        """What a file in its container says."""
        root = single.rootOf(self.node.pids(service)[slot])
        return self.node.host.run("cat", os.path.join(root, path), check=True).stdout

    def environment(self, service, slot=1):
        pid = self.node.pids(service)[slot]
        text = self.node.host.run("cat", f"/proc/{pid}/environ", check=True).stdout
        return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)

    def only(self, service):
        task, = self.node.json("service", "ps", service)
        return task

    def test_a_service_starts_when_the_one_that_it_needs_is_healthy(self):
        self.create("web", "--depends-on", "db:healthy")
        eventually("it waits for what is not there",
                   lambda: "waits for service 'db', which does not exist" in self.node.orch("service", "ps", "web").stdout)
        self.create("db", "--health-cmd", "test -e /well", "--health-interval", "100ms", "--health-retries", "10000")
        db = eventually("db is checked", lambda: [task for task in self.node.json("service", "ps", "db")
                                                  if task["status"]["state"] == "starting"
                                                  and task["status"]["container"].get("pid")])[0]
        self.assertEqual(self.only("web")["status"]["error"], "waits for service 'db' to be healthy")
        self.assertIn("waits for service 'db' to be healthy", self.node.orch("why", "web").stdout)
        root = single.rootOf(db["status"]["container"]["pid"])
        self.node.host.run("touch", os.path.join(root, "well"), check=True)
        eventually("both run", lambda: self.node.running("db") and self.node.running("web"))
        # What runs goes on when the other one goes, and is told of.
        before = self.node.pids("web")
        said = self.node.orch("service", "rm", "db")
        self.made.remove("db")
        self.assertIn("service 'db' is needed by 'web'", said.stderr)
        self.assertEqual(self.node.pids("web"), before)

    def test_what_depends_on_another_is_gone_before_it(self):
        self.create("back", detach=False)
        self.create("front", "--depends-on", "back", detach=False)
        self.node.orch("service", "rm", *self.made)
        self.made.clear()
        events = self.node.events("service.removed", "task.removed")
        ended, = (i for i, line in enumerate(events) if line.startswith("task.removed") and "service=front" in line)
        gone, = (i for i, line in enumerate(events) if line.startswith("service.removed") and "name=back" in line)
        self.assertLess(ended, gone, events)

    def test_templates_are_filled_in_for_each_task(self):
        self.create("pair", "--replicas", "2", "-l", "tier={{.Task.ID}}", "--hostname", "{{.Service.Name}}-{{.Task.Slot}}",
                    "-e", "WHERE={{.Node.Hostname}}/{{.Node.Platform.OS}}", "-e", "WHO={{.Task.Name}}",
                    "-e", "TIER={{index .Service.Labels \"tier\"}}",
                    "--mount", "type=volume,source=data-{{.Task.Slot}},target=/{{.Service.Name}}", detach=False)
        hostname = self.node.json("node", "ls")[0]["description"]["hostname"]
        for slot, task in self.node.running("pair").items():
            variables = self.environment("pair", slot)
            self.assertEqual(variables["WHERE"], f"{hostname}/linux")
            self.assertEqual(variables["WHO"], f"pair.{slot}.{task['meta']['id']}")
            self.assertEqual(variables["TIER"], "{{.Task.ID}}")
            self.assertEqual(self.inside("pair", "etc/hostname", slot).strip(), f"pair-{slot}")
            mounts = self.node.host.run("cat", f"/proc/{task['status']['container']['pid']}/mountinfo").stdout
            self.assertIn(" /pair ", mounts)
        used = {volume["name"]: volume["usedBy"] for volume in self.node.json("volume", "ls")}
        self.assertEqual((used["data-1"], used["data-2"]), (["pair.1"], ["pair.2"]))
        refused = self.node.orch("service", "create", "-e", "A={{.Node.Nme}}", "web:1", check=False)
        self.assertEqual(refused.returncode, 2, refused)
        self.assertIn("there is no '.Nme'; there are .ID, .Hostname, .Platform, at column 10", refused.stderr)
        self.node.orch("service", "rm", "pair")
        self.made.clear()
        self.node.orch("volume", "prune", "--all", "--force")

    def test_the_way_back_to_an_older_spec(self):
        self.create("web", "-e", "STEP=1", "--update-monitor", "0s", detach=False)
        for step in ("2", "3"):
            self.node.orch("service", "update", "--env-add", f"STEP={step}", "web")
        rows = self.node.orch("service", "history", "--format", "{{.Version}}: {{.Changed}}: {{.Outcome}}",
                              "web").stdout.splitlines()
        self.assertEqual(rows, ["3: env STEP: update completed", "2: env STEP: update completed", "1: : "])
        unknown = self.node.orch("service", "rollback", "--to", "7", "web", check=False)
        self.assertEqual(unknown.stderr, "orch: service 'web' has no version 7 to go back to; there is 1 and 2\n")
        self.node.orch("service", "rollback", "--to", "1", "web")
        self.assertEqual(self.environment("web")["STEP"], "1")


if __name__ == "__main__":
    unittest.main(verbosity=2)
