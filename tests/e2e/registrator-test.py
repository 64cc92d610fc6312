#!/usr/bin/env python3
"""What runs on a host is in the catalog of a real consul, and nothing else that orch has put there.

usage: registrator-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from several_managers import defaultManifest  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
ADDRESS = "127.0.0.1"
PORT = 7070
HCL = "-hcl=disable_update_check = true performance { raft_multiplier = 1 }"


def manifestWith(settings, isolation="kernel"):
    return f"""{defaultManifest()}
[[plugin]]
id = "integration.registrator"
isolation = "{isolation}"
config = {{ resyncMs = 500, noticeMs = 1000, {settings} }}
"""


class Catalog:
    """Asked on `node`, in which consul runs."""

    @classmethod
    def startConsul(cls, *options):
        folder = cls.node.host.folder
        command = ["consul", "agent", "-server", "-bootstrap-expect=1", f"-data-dir={folder}/consul", "-log-level=warn", HCL, *options]
        cls.server, _ = cls.node.host.spawn(command, f"{folder}/consul.log")
        eventually("consul has a leader", lambda: cls.node.host.run("consul", "kv", "get", "-keys", "none").returncode == 0)

    @classmethod
    def makeHttpd(cls):
        tar = f"{cls.node.host.folder}/httpd.tar"
        subprocess.run([f"{single.REPOSITORY}/tests/testbed/make-image", "1", tar], check=True)
        cls.node.orch("image", "import", tar, "--name", "httpd:2.4")

    def create(self, *options, command=("/bin/web",)):
        self.node.orch("service", "create", "--verify", "0s", "--name", "httpd", *options, "httpd:2.4", *command)

    def catalog(self):
        return sorted(self.node.host.run("consul", "catalog", "services", check=True).stdout.split())

    def get(self, path):
        done = self.node.host.run("curl", "-sS", "--fail", f"http://127.0.0.1:8500/v1/{path}", check=True)
        return json.loads(done.stdout)

    def entries(self, name="httpd"):
        """{id: (address, port)} in the catalog."""
        return {row["ServiceID"]: (row["ServiceAddress"], row["ServicePort"]) for row in self.get(f"catalog/service/{name}")}

    def ids(self):
        """What should be there, of the tasks that run."""
        names = {node["meta"]["id"]: node["description"]["hostname"] for node in self.node.json("node", "ls")}
        return {f"{names[task['nodeId']]}:httpd.{task['slot']}.{task['meta']['id']}:80" for task in self.node.running("httpd").values()}

    def agrees(self, count):
        eventually("the catalog has what runs", lambda: len(self.ids()) == count and set(self.entries()) == self.ids())


class OneHost(Catalog, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-registrator-{os.getpid()}", PROGRAMS)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        cls.node.config = os.path.join(cls.node.host.folder, "orchd.toml")
        with open(cls.node.config, "w") as file:
            file.write(manifestWith(f'address = "{ADDRESS}"'))
        cls.startConsul("-bind=127.0.0.1")
        cls.node.start()
        cls.node.orch("init")
        cls.makeHttpd()

    def tearDown(self):
        for row in self.node.json("service", "ls"):
            self.node.orch("service", "rm", row["name"])
        eventually("nothing is left in the catalog", lambda: self.catalog() == ["consul"])

    def test_httpd_published_on_7070_is_in_the_catalog_while_it_runs(self):
        self.assertEqual(self.catalog(), ["consul"])
        self.create("-p", f"{PORT}:80")
        eventually("httpd is in the catalog", lambda: "httpd" in self.catalog())
        (address, port), = self.entries().values()
        self.assertEqual((address, port), (ADDRESS, PORT))
        self.agrees(1)
        answer = eventually("it answers there", lambda: self.node.host.run("curl", "-s", f"http://{address}:{port}/").stdout)
        self.assertIn(" 1", answer)
        self.node.orch("service", "scale", "--verify", "0s", "httpd=3")
        self.agrees(3)
        self.node.orch("service", "rm", "httpd")
        eventually("httpd is gone from the catalog", lambda: "httpd" not in self.catalog())

    def test_what_a_container_says_of_itself_is_in_the_catalog(self):
        self.create("-p", f"{PORT}:80", "--container-label", "SERVICE_NAME=site", "--env", "SERVICE_TAGS=a,{{.Task.Slot}}",
                    "--env", "SERVICE_80_CHECK_TCP=true", "--env", "SERVICE_80_CHECK_INTERVAL=1s")
        eventually("it is there", lambda: "site" in self.catalog())
        row, = self.get("catalog/service/site")
        self.assertEqual(sorted(row["ServiceTags"]), ["1", "a"])
        eventually("consul finds it well", lambda: [check["Status"] for check in self.get("health/checks/site")] == ["passing"])

    def test_it_is_out_before_it_is_stopped(self):
        self.create("-p", f"{PORT}:80", "--stop-grace-period", "5m",
                    command=("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"))
        self.agrees(1)
        pid, = self.node.pids("httpd").values()
        self.node.orch("service", "scale", "--detach", "httpd=0")
        eventually("it is out of the catalog", lambda: "httpd" not in self.catalog())
        self.assertTrue(self.node.runs(pid))
        self.node.kill(pid)

    def test_who_goes_by_the_catalog_never_asks_a_task_that_has_stopped(self):
        """Each task has a port of its own; whoever asks goes by what consul says, as it says it."""
        self.create("--replicas", "3", "-p", "mode=host,target=80", "--env", "SERVICE_CHECK_HTTP=/", "--env", "SERVICE_CHECK_INTERVAL=1s",
                    "--update-monitor", "100ms")
        self.agrees(3)
        self.assertEqual(len(set(self.entries().values())), 3)
        client = self.node.host.command(f"{single.REPOSITORY}/tests/testbed/ask-by-consul", "httpd", "--parallel", "2")
        with single.Asking(client) as asking:
            for order in ("start-first", "stop-first"):
                self.node.orch("service", "update", "--update-order", order, "--force", "httpd")
            self.node.orch("service", "scale", "--verify", "0s", "httpd=5")
            self.node.orch("service", "scale", "--verify", "0s", "httpd=2")
            self.agrees(2)
            seen = asking.stop()
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}), seen)
        self.assertGreater(len(seen["answers"]), 6)  # of the first tasks, of those of both updates, and more

    def test_orchd_and_consul_die_and_the_catalog_has_what_runs(self):
        self.node.host.run("consul", "services", "register", "-name=other", "-id=other", check=True)
        self.addCleanup(self.node.host.run, "consul", "services", "deregister", "-id=other")
        self.create("--replicas", "3", "-p", f"{PORT}:80")
        self.agrees(3)
        before = {row["ServiceID"]: row["ModifyIndex"] for row in self.get("catalog/service/httpd")}
        pids = self.node.pids("httpd")
        self.node.crash()
        self.assertEqual(set(self.entries()), set(before))
        self.node.start()
        eventually("all run as before", lambda: self.node.pids("httpd") == pids)
        self.node.orch("service", "scale", "--verify", "0s", "httpd=4")
        self.agrees(4)
        now = {row["ServiceID"]: row["ModifyIndex"] for row in self.get("catalog/service/httpd")}
        self.assertEqual({name: now[name] for name in before}, before)  # nobody was told that they had gone
        # A task ends while nobody is there to tell of it.
        self.node.crash()
        self.node.kill(pids[2])
        self.node.start()
        self.agrees(4)
        self.assertIn("other", self.catalog())
        self.node.kill(self.server)
        eventually("consul is gone", lambda: not self.node.runs(self.server))
        self.node.orch("service", "scale", "--verify", "0s", "httpd=2")
        self.startConsul("-bind=127.0.0.1")
        self.agrees(2)
        self.assertIn("other", self.catalog())
        self.node.host.run("consul", "services", "deregister", "-id=other", check=True)


class LostHost(Catalog, cluster.ClusterTest):
    """Three hosts and one consul, on the manager's: what a host that is gone has registered there, the manager takes out."""
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", prefix=f"e2e-registrator-{os.getpid()}-", suffix=".toml") as file:
            file.write(manifestWith('registry = "consul://10.90.0.1:8500"', "process"))
            file.flush()
            cls.config = file.name
            super().setUpClass()
        cls.node, cls.n2, cls.n3 = cls.cluster.hosts
        cls.startConsul("-bind=10.90.0.1", "-client=0.0.0.0")
        said = cls.node.orch("init").stdout
        for node in (cls.n2, cls.n3):
            node.orch(*said.splitlines()[-1].split()[1:])
        cls.makeHttpd()

    def registering(self):
        return {name.split(":")[0] for name in self.entries()}

    def test_the_catalog_has_what_runs_on_hosts_that_are_there(self):
        eventually("three are ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})
        self.create("--replicas", "6", "-p", f"{PORT}:80")
        self.agrees(6)
        self.assertEqual(self.registering(), {"n1", "n2", "n3"})
        self.assertEqual(set(self.entries().values()), {(f"10.90.0.{number}", PORT) for number in (1, 2, 3)})
        self.n2.poweroff()
        eventually("nothing of it is left", lambda: self.registering() == {"n1", "n3"})
        self.agrees(6)
        self.n2.start()
        eventually("it is back", lambda: self.states()["n2"] == "ready")
        self.cluster.cut("n1", "n3")
        eventually("nothing of the other one is left", lambda: "n3" not in self.registering())
        self.cluster.heal()
        eventually("it is back", lambda: self.states()["n3"] == "ready")
        self.node.orch("service", "scale", "--verify", "0s", "httpd=9")
        self.agrees(9)
        # Its process ends, and a task while it is away.
        plugin, = (row for row in self.n2.json("plugin", "ls") if row["id"] == "integration.registrator")
        self.n2.kill(plugin["pid"])
        self.node.orch("service", "scale", "--verify", "0s", "httpd=3")
        self.agrees(3)
        self.node.orch("service", "rm", "httpd")
        eventually("nothing is left", lambda: not self.entries())


if __name__ == "__main__":
    if shutil.which("consul") is None:
        print("consul is not installed: its tests are skipped (scripts/setup)")
        sys.exit(77)
    unittest.main(verbosity=2)
