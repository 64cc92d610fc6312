#!/usr/bin/env python3
"""Tests of the clusters of test hosts: what happens to a host is what its name says.

usage: cluster-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import glob
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import namespaces  # noqa: E402
import single  # noqa: E402
import testbed  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
DATA = testbed.DATA
PORT = 9000
# Writes each datagram as a line.
LISTEN = f"""
import socket
listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listening.bind(("0.0.0.0", {PORT}))
while True:
    print(listening.recv(1000).decode(), flush=True)
"""
COUNT = "i=0; while :; do i=$((i+1)); echo $i; done"


def script(name, *arguments):
    command = [f"{single.REPOSITORY}/scripts/cluster", "--name", name, *arguments]
    return subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL)


def processes(host):
    """As this machine numbers them, in all control groups of the host."""
    groups = glob.glob(f"{namespaces.CGROUPS}/{host.cgroup}/**/cgroup.procs", recursive=True)
    groups += glob.glob(f"{namespaces.CGROUPS}/*/{host.cgroup}/**/cgroup.procs", recursive=True)
    found = set()
    for group in groups:
        with open(group) as file:
            found |= {int(line) for line in file}
    return found


class Faults(unittest.TestCase):
    """They share a cluster: each has to end with all hosts running and the network whole."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(f"cluster-test-{os.getpid()}", PROGRAMS, hosts=3).create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts

    def setUp(self):
        self.logs = {}
        self.addCleanup(self.cluster.heal)

    # ---- datagrams ----

    def listen(self, *members):
        """Those who listen know each other's addresses, so that a cut shows in what is sent, not in how
        neighbours are found."""
        for member in members:
            self.logs[member] = f"{member.host.folder}/heard-{self._testMethodName}"
            pid, _ = member.host.spawn([sys.executable, "-c", LISTEN], self.logs[member])
            self.addCleanup(member.host.run, "kill", str(pid))
            for other in members:
                if other is not member:
                    member.host.run("ip", "neighbour", "replace", other.address, "lladdr", other.mac, "dev", "eth0",
                                    check=True)
        for member in members:
            for other in members:
                if other is not member:
                    self.arrives(member, other, f"hello from {member.name}")

    def heard(self, member):
        with open(self.logs[member]) as file:
            return set(file.read().splitlines())

    def say(self, source, target, text):
        source.host.run("bash", "-c", f"echo -n '{text}' >/dev/udp/{target.address}/{PORT}")

    def arrives(self, source, target, text):
        def once():
            self.say(source, target, text)
            return text in self.heard(target)
        eventually(f"{target.name} hears '{text}'", once)

    # ---- tests ----

    def test_hosts_reach_each_other_and_the_client_by_name(self):
        for one in self.cluster.members():
            for other in self.cluster.members():
                if one is not other:
                    eventually(f"{one.name} reaches {other.name}",
                               lambda: one.host.run("busybox", "ping", "-c", "1", other.name).returncode == 0)
        self.assertEqual(self.n2.host.run("hostname").stdout, "n2\n")
        self.assertEqual(script(self.cluster.name, "exec", "c1", "orch", "--version").returncode, 0)

    def test_a_cut_pair_hears_nothing_of_each_other_until_healed(self):
        self.listen(self.n1, self.n2, self.n3)
        self.cluster.cut("n1", "n3")
        self.say(self.n1, self.n3, "lost")
        self.say(self.n3, self.n1, "lost")
        for one, other in ((self.n1, self.n2), (self.n2, self.n1), (self.n2, self.n3), (self.n3, self.n2)):
            self.arrives(one, other, "passes")
        self.cluster.heal()
        self.arrives(self.n1, self.n3, "healed")
        self.arrives(self.n3, self.n1, "healed")
        # Nothing overtakes: what was sent before would be here.
        self.assertNotIn("lost", self.heard(self.n1) | self.heard(self.n3))

    def test_a_one_way_cut_lets_the_other_way_pass(self):
        self.listen(self.n1, self.n3)
        self.cluster.cut("n1", "n3", oneWay=True)
        self.say(self.n1, self.n3, "lost")
        self.arrives(self.n3, self.n1, "passes")
        self.cluster.heal("n3")
        self.arrives(self.n1, self.n3, "healed")
        self.assertNotIn("lost", self.heard(self.n3))

    def test_a_host_that_is_cut_off_is_cut_off_from_all(self):
        self.listen(self.n1, self.n3, self.cluster.client)
        self.cluster.cut("n3")
        for other in (self.n1, self.cluster.client):
            self.say(self.n3, other, "lost")
            self.say(other, self.n3, "lost")
        self.arrives(self.n1, self.cluster.client, "passes")
        self.assertEqual(self.cluster.faults("n3"), ["cut n3>all", "cut all>n3"])
        self.cluster.heal("n3")
        for other in (self.n1, self.cluster.client):
            self.arrives(self.n3, other, "healed")
            self.arrives(other, self.n3, "healed")
            self.assertNotIn("lost", self.heard(other) | self.heard(self.n3))

    def test_a_cut_outlives_a_boot(self):
        self.cluster.cut("n3")
        self.n3.poweroff()
        self.n3.start()
        self.listen(self.n1, self.n2)
        self.assertNotEqual(self.n1.host.run("busybox", "ping", "-c", "1", "-W", "1", "n3").returncode, 0)

    def test_a_host_without_power_has_no_process_and_keeps_what_it_had_synced(self):
        host = self.n3.host
        host.spawn(["unshare", "--fork", "--pid", "sleep", "1000"], "/dev/null")
        host.run("sh", "-c", f"echo synced | tee {DATA}/synced /etc/orch/synced >/run/kept-nowhere; sync -f {DATA}",
                 check=True)
        before = processes(host)
        self.assertGreaterEqual(len(before), 4)
        host.run("sh", "-c", f"echo unsynced >{DATA}/unsynced", check=True)
        self.n3.poweroff()
        self.assertEqual((self.n3.state(), processes(host)), ("off", set()))
        self.assertEqual([pid for pid in before if testbed.startTime(pid)], [])
        self.assertNotIn("n3", self.cluster.underlay.host.run("ls", "/sys/class/net").stdout.split())
        with self.assertRaisesRegex(testbed.Failed, "host 'n3' is off, not running, stopped or frozen"):
            self.n3.poweroff()
        self.n3.start()
        self.assertEqual(self.n3.state(), "running")
        done = host.run("cat", f"{DATA}/synced", "/etc/orch/synced", "/run/kept-nowhere", f"{DATA}/unsynced")
        self.assertEqual(done.stdout, "synced\nsynced\n")

    def test_only_orchd_is_killed_and_starts_again(self):
        pid, _ = self.n2.host.spawn(["sleep", "1000"], "/dev/null")
        self.n2.crash()
        self.assertEqual(self.n2.state(), "stopped")
        self.assertTrue(self.n2.runs(pid))
        self.n2.start()
        self.assertTrue(self.n2.runs(pid))
        self.n2.kill(pid)

    def test_a_command_that_cannot_be_says_why_in_one_line(self):
        name = self.cluster.name
        for arguments, said in (
                (["poweroff", "n9"], f"cluster '{name}' has no host 'n9'; it has n1 n2 n3 c1"),
                (["start", "n1"], "host 'n1' is running, not off or stopped"),
                (["kill", "c1"], "host 'c1' has no orchd"),
                (["cut", "--one-way", "n1"], "--one-way needs two hosts: from which, to which"),
                (["up", "2", "--programs", PROGRAMS], f"cluster '{name}' exists; remove it with: scripts/cluster --name {name} rm")):
            done = script(name, *arguments)
            self.assertEqual((done.returncode, done.stderr), (1, f"cluster: {said}\n"))
        done = script("no-such", "ls")
        self.assertEqual((done.returncode, done.stderr),
                         (1, "cluster: no cluster 'no-such' is up; make one with: scripts/cluster --name no-such up 3\n"))


class Life(unittest.TestCase):
    def test_a_cluster_that_is_removed_leaves_nothing(self):
        name = f"cluster-life-{os.getpid()}"
        self.addCleanup(script, name, "rm")
        done = script(name, "up", "2", "--programs", PROGRAMS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([line.split() for line in script(name, "ls").stdout.splitlines()],
                         [["n1", "10.90.0.1", "fd90::1", "running"], ["n2", "10.90.0.2", "fd90::2", "running"],
                          ["c1", "10.90.0.201", "fd90::201", "running"]])
        self.assertEqual(script(name, "exec", "n1", "sh", "-c", "pwd; exit 7").stdout, "/\n")
        self.assertEqual(script(name, "exec", "n1", "sh", "-c", "exit 7").returncode, 7)
        script(name, "poweroff", "n2")
        found = cluster.Cluster.find(name)
        hosts = [found.underlay.host, *(member.host for member in found.members())]
        networks = {os.readlink(f"/proc/{host.pid()}/ns/net") for host in hosts if host.pid()}
        self.assertEqual(len(networks), 3)
        self.assertEqual(script(name, "rm").returncode, 0)
        self.assertEqual([processes(host) for host in hosts], [set()] * 4)
        self.assertEqual(glob.glob(f"{namespaces.CGROUPS}/**/orch-testbed-{name}*", recursive=True), [])
        self.assertEqual([path for path in (found.folder, f"{testbed.CLUSTERS}/{name}") if os.path.exists(path)], [])
        left = [path for path in glob.glob("/proc/[0-9]*/ns/net") if linkOf(path) in networks]
        self.assertEqual(left, [])
        for path in ("/proc/self/mountinfo", *glob.glob("/sys/block/loop*/loop/backing_file")):
            with open(path) as file:
                self.assertNotIn(name, file.read())
        self.assertFalse({"underlay", "n1", "c1"} & set(os.listdir("/sys/class/net")))
        self.assertEqual(script(name, "rm").returncode, 0)  # gone already is success


def linkOf(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


if __name__ == "__main__":
    unittest.main(verbosity=2)
