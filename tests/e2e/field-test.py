#!/usr/bin/env python3
"""What broke for people who run systems of this kind, with three managers on an etcd of three members, a worker, and a host
without orchd.

usage: field-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
import thread  # noqa: E402
from several_managers import MANAGERS, StoreCluster, leaderOf, manifestOn, services, status  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
HANGS_S, STALLS_S, IDLE_S = 20, 40, 20
DAY_S = 24 * 60 * 60
READY = ["ready leader", "ready manager", "ready manager", "ready worker"]
BUDGET = 1 << 20  # bytes that a node may write in a day without changes


class Servers(StoreCluster):
    """Knows the processes of its servers."""
    servers = ("etcd",)

    def startServers(self, node):
        log = os.path.join(self.folder, f"etcd-{node.name}.log")
        self.pids = {**getattr(self, "pids", {}), node.name: node.host.spawn(self.etcd(node), log)[1]}


class Field:
    @classmethod
    def setUpClass(cls):
        name = f"test-{cls.__name__.lower()}-{os.getpid()}"
        manifest = os.path.join("/var/tmp", f"{name}.toml")
        cls.addClassCleanup(lambda: os.path.exists(manifest) and os.remove(manifest))
        with open(manifest, "w") as file:
            # The watchdog of orchd leaves a loop that stands still alone for a minute.
            file.write(manifestOn("etcd").replace("[node]\n", '[node]\nloopLimit = "1m"\n', 1))
        cls.cluster = Servers(name, PROGRAMS, MANAGERS + 1, manifest).create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3, cls.n4 = cls.cluster.hosts
        cls.cluster.form()
        cls.n1.makeImages(1)

    def setUp(self):
        eventually("all are ready, and one leads", lambda: sorted(status(self.n2).values()) == READY)

    def tearDown(self):
        for name in services(self.n2):
            self.n2.orch("service", "rm", name)

    def create(self, name, *options):
        self.n2.orch("service", "create", "--name", name, "--verify", "0s", "--stop-grace-period", "0s", *options, "web:1", "/bin/web")

    def events(self, *topics):
        return {node.name: node.events(*topics) for node in (self.n1, self.n2, self.n3)}

    def servers(self):
        return {node.name: node.webServers() for node in self.cluster.hosts}

    def ids(self, name):
        return {slot: task["meta"]["id"] for slot, task in self.n2.running(name).items()}

    def notDown(self, node):
        told = status(node)
        self.assertFalse([host for host, what in told.items() if what.startswith("down")], told)


class Power(Field, unittest.TestCase):
    def test_a_host_that_is_power_cycled_while_no_manager_can_be_reached_starts_its_tasks_on_their_networks(self):
        self.n2.orch("network", "create", "net")
        self.addCleanup(lambda: eventually("nobody is on the network", lambda: self.n2.orch("network", "rm", "net", check=False).returncode == 0))
        for name in ("front", "back"):
            self.create(name, "--network", "net", "--constraint", "node.hostname==n4", "--tolerate-down", "10m")
        self.assertEqual(len(self.n4.webServers()), 2)
        self.addCleanup(self.cluster.heal)
        self.cluster.cut("n4")
        eventually("it is called down", lambda: status(self.n2).get("n4") == "down worker")
        self.n4.poweroff()
        self.n4.start()
        pids = eventually("its tasks run", lambda: len(self.n4.webServers()) == 2 and list(self.n4.webServers()))

        def answers(pid, name):
            asked = self.n4.host.run("timeout", "5", "nsenter", "-t", str(pid), "-n", "-m", "--", "/bin/wget", "-q", "-O", "-", f"http://{name}/")
            return asked.stdout.split()[1:] == ["1"]
        for pid in pids:
            for name in ("front", "back"):
                eventually(f"'{name}' is there by name", lambda: answers(pid, name))
        self.cluster.heal()
        eventually("it is ready", lambda: status(self.n2).get("n4") == "ready worker")
        eventually("both run", lambda: len(self.ids("front")) == len(self.ids("back")) == 1)
        self.assertEqual(sorted(self.n4.webServers()), sorted(pids), "nobody has started them again")

    def bootManager(self, node):
        node.host.boot()
        node.plug()
        self.cluster.startServers(node)
        node.start()

    def test_a_command_that_waits_for_a_manager_whose_host_loses_its_power_goes_on_with_another_one(self):
        self.addCleanup(lambda: self.n1.state() == "off" and self.bootManager(self.n1))
        folder = tempfile.mkdtemp(prefix=f"{self.cluster.name}-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, folder)
        credentials = f"{folder}/ann"
        self.n2.orch("admin", "add", "--out", credentials, "ann")
        words = ["service", "create", "--name", "web", "--constraint", "node.hostname==n4", "--verify", f"{HANGS_S}s", "web:1", "/bin/web"]
        command = self.cluster.client.host.command(f"{self.cluster.programs}/orch", "--host", "tcp://n1,n2,n3", "--credentials", credentials,
                                                   *words)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        eventually("it waits", lambda: "verify: waiting" in process.stdout.readline())
        self.n1.poweroff()
        out, said = process.communicate(timeout=single.PATIENCE)
        self.assertEqual((process.returncode, said), (0, ""), out)
        self.assertIn("verify: service web converged", out)
        self.bootManager(self.n1)


class Leader(Field, unittest.TestCase):
    def test_while_the_leader_hangs_another_one_leads_and_no_task_of_the_other_hosts_is_restarted(self):
        """What the leader's own host has is another matter: nobody there answers."""
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
        self.create("web", "--replicas", "8", "--restart-delay", "0s", "--constraint", f"node.hostname!={leader.name}")
        others = [node for node in self.cluster.hosts if node is not leader]
        before, servers, begun = self.ids("web"), self.servers(), self.events("task.created")
        self.assertEqual(sum(len(servers[node.name]) for node in others), 8)

        def goOn():
            for node in others:
                self.assertEqual(node.webServers(), servers[node.name])
        with thread.stopped(leader.outside()):
            eventually("another one leads", lambda: set(status(others[0]).values()) & {"ready leader"} and
                       not status(others[0]).get(leader.name, "").endswith("leader"))
            others[1].orch("service", "create", "--name", "meanwhile", "--detach", "--replicas", "0", "web:1", "/bin/web")
            single.sleepThrough(HANGS_S, goOn)
        eventually("all are ready", lambda: sorted(status(leader).values()) == READY)
        self.assertEqual(services(leader), {"web", "meanwhile"})
        goOn()
        self.assertEqual((self.ids("web"), self.events("task.created")), (before, begun))


class Store(Field, unittest.TestCase):
    @contextlib.contextmanager
    def stalled(self):
        for pid in self.cluster.pids.values():
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in self.cluster.pids.values():
                os.kill(pid, signal.SIGCONT)

    def test_while_the_store_stalls_no_node_is_called_down(self):
        self.create("web", "--replicas", "8", "--restart-delay", "0s")
        before, servers, begun = self.ids("web"), self.servers(), self.events("node.down", "task.created")
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
        with self.stalled():
            single.sleepThrough(STALLS_S, lambda: self.notDown(leader))
            refused = leader.orch("service", "scale", "--detach", "web=9", check=False)
            self.assertNotEqual(refused.returncode, 0)
        eventually("all are ready", lambda: sorted(status(self.n2).values()) == READY)
        single.sleepThrough(3, lambda: self.notDown(self.n2))  # longer than a node may be silent
        now = {slot: task for slot, task in self.ids("web").items() if slot in before}
        self.assertEqual((now, self.events("node.down")), (before, {name: [line for line in lines if line.startswith("node.down")]
                                                                   for name, lines in begun.items()}))
        for name, pids in servers.items():
            self.assertLessEqual(set(pids), set(self.cluster.host(name).webServers()))


class Idle(Field, unittest.TestCase):
    def written(self, *pids):
        """Bytes that these processes have caused to be written."""
        count = 0
        for pid in pids:
            with open(f"/proc/{pid}/io") as file:
                count += int(dict(line.split(": ") for line in file.read().splitlines())["write_bytes"])
        return count

    def led(self):
        """Which election the etcd is led by, and who leads the managers."""
        asked = self.n1.host.run("env", "ETCDCTL_API=3", "etcdctl", f"--endpoints=http://{self.n1.address}:2379", "endpoint", "status",
                                 "--write-out=json", check=True)
        return json.loads(asked.stdout)[0]["Status"]["header"]["raft_term"], status(self.n2)

    def test_a_day_without_changes_writes_less_than_the_budget(self):
        self.create("web", "--replicas", "8")

        def all():
            return {node.name: self.written(node.outside(), *filter(None, [self.cluster.pids.get(node.name)])) for node in self.cluster.hosts}
        eventually("it is quiet", lambda: all() == (single.sleepThrough(3, lambda: None), all())[1])

        def aDay():
            before, led = all(), self.led()
            single.sleepThrough(IDLE_S, lambda: None)
            written = {name: (count - before[name]) * DAY_S // IDLE_S for name, count in all().items()}
            print(f"bytes a day: {written}", flush=True)
            return self.led() == led and max(written.values()) <= BUDGET
        # Somebody else may come to lead, which is written, and one page that is written once is more than a day's.
        eventually("no node writes more than the budget", aDay, 6 * IDLE_S)


if __name__ == "__main__":
    unittest.main(verbosity=2)
