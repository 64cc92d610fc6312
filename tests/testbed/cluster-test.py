#!/usr/bin/env python3
"""Tests of the clusters of test hosts: what happens to a host is what its name says.

usage: cluster-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import contextlib
import glob
import os
import re
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
# Sends the numbers from 1 on as datagrams.
SEND = f"""
import socket, sys
sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(1, int(sys.argv[2]) + 1):
    sending.sendto(str(number).encode(), (sys.argv[1], {PORT}))
"""
# Sends so many bytes to who connects; the other end says how many came.
GIVE = f"""
import socket
with socket.create_server(("0.0.0.0", {PORT})) as listening:
    taker, _ = listening.accept()
    taker.sendall(bytes(2_000_000))
"""
TAKE = f"""
import socket, sys
taking, got = socket.create_connection((sys.argv[1], {PORT})), 0
while part := taking.recv(1 << 16):
    got += len(part)
print(got)
"""
# A byte per round. Nothing is truncated: that can wait for a busy disk, and the file is empty meanwhile.
COUNT = 'while :; do printf . >>"$1"; sleep 0.01; done'


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


class Faults(cluster.ClusterTest):
    """Each has to end with all hosts running and the network whole."""
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
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
        self.assertEqual(self.n3.faults(), ["cut n3>all", "cut all>n3"])
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

    def test_of_a_thousand_datagrams_some_are_lost_and_some_arrive(self):
        self.listen(self.n1, self.n3)
        self.cluster.lose("n3", 30)
        self.n1.host.run(sys.executable, "-c", SEND, self.n3.address, "1000", check=True)
        self.assertGreater(self.cluster.underlay.dropped(), 0)
        self.cluster.heal()
        self.arrives(self.n1, self.n3, "healed")
        numbers = self.heard(self.n3) & {str(number) for number in range(1, 1001)}
        self.assertTrue(0 < len(numbers) < 1000, len(numbers))

    def test_a_delay_is_not_shorter_than_said_and_outlives_a_boot(self):
        self.cluster.delay("n3", 20)
        self.assertGreaterEqual(self.roundTrip(self.n1, self.n3), 40)
        self.assertGreaterEqual(self.roundTrip(self.n3, self.n1), 40)
        self.n3.poweroff()
        self.n3.start()
        self.assertGreaterEqual(self.roundTrip(self.n1, self.n3), 40)
        self.cluster.delay("n3", 50)
        self.assertGreaterEqual(self.roundTrip(self.n1, self.n3), 100)
        self.assertEqual(self.n3.faults(), ["delay 50ms"])
        self.cluster.heal()
        self.roundTrip(self.n1, self.n3)
        self.assertNotIn("n3.slow", self.cluster.underlay.host.run("ls", "/sys/class/net").stdout)

    def test_streams_pass_a_delay_in_both_directions_and_a_cut_holds_behind_it(self):
        self.cluster.delay("n3", 5)
        for giver, taker in ((self.n1, self.n3), (self.n3, self.n1)):
            giver.host.spawn([sys.executable, "-c", GIVE], "/dev/null")
            eventually("it listens", lambda: f":{PORT}" in giver.host.run("ss", "-ltn").stdout)
            self.assertEqual(taker.host.run(sys.executable, "-c", TAKE, giver.address, timeout=single.PATIENCE).stdout, "2000000\n")
        self.cluster.cut("n1", "n3")
        before = self.cluster.underlay.dropped()
        self.say(self.n1, self.n3, "lost")
        eventually("the cut drops", lambda: self.cluster.underlay.dropped() > before)

    def roundTrip(self, one, other):
        """Milliseconds."""
        def ping():
            return re.search(r"time=([\d.]+) ms", one.host.run("busybox", "ping", "-c", "1", other.address).stdout)
        return float(eventually(f"{one.name} reaches {other.name}", ping)[1])

    def test_a_frozen_host_counts_on_when_it_is_thawed(self):
        files = {}
        for node in (self.n1, self.n2):
            files[node] = f"{node.host.folder}/count"
            pid, _ = node.host.spawn(["sh", "-c", COUNT, "count", files[node]], "/dev/null")
            self.addCleanup(node.kill, pid)
            eventually(f"{node.name} counts", lambda: self.counted(files[node]) > 0)
        self.n2.freeze()
        self.assertEqual(self.n2.state(), "frozen")
        stopped, other = self.counted(files[self.n2]), self.counted(files[self.n1])
        eventually("n1 counts on", lambda: self.counted(files[self.n1]) > other + 100)
        self.assertEqual(self.counted(files[self.n2]), stopped)
        self.assertIn("is frozen; thaw it first", self.n2.host.run("true").stderr)
        self.n2.thaw()
        eventually("n2 counts on", lambda: self.counted(files[self.n2]) > stopped + 100)
        self.assertEqual(self.n2.state(), "running")

    def counted(self, path):
        return os.path.getsize(path) if os.path.exists(path) else 0

    def test_a_frozen_host_can_lose_its_power(self):
        self.n2.freeze()
        self.n2.poweroff()
        self.assertEqual(processes(self.n2.host), set())
        self.n2.start()

    def test_what_writes_to_a_stalled_disk_waits_and_then_goes_on(self):
        self.n2.stallDisk()
        with self.assertRaisesRegex(testbed.Failed, "the disk is stalled already"):
            self.n2.stallDisk()
        log = f"{self.n2.host.folder}/writer"
        _, writer = self.n2.host.spawn(["sh", "-c", f"echo text >{DATA}/stalled && cat {DATA}/stalled"], log)
        eventually("it waits", lambda: self.waitsInKernel(writer))
        self.assertEqual(self.n2.host.run("cat", f"{DATA}/stalled").stdout, "")
        self.n2.resumeDisk()
        eventually("it has written", lambda: self.n2.host.run("cat", log).stdout == "text\n")
        self.assertEqual(script(self.cluster.name, "stall-disk", "n2", "5ms").returncode, 0)
        self.n2.host.run("touch", f"{DATA}/stalled", check=True)

    def waitsInKernel(self, pid):
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "D"

    def test_a_host_with_a_stalled_disk_can_lose_its_power(self):
        self.n2.stallDisk()
        _, writer = self.n2.host.spawn(["touch", f"{DATA}/never"], "/dev/null")
        eventually("it waits", lambda: self.waitsInKernel(writer))
        self.n2.poweroff()
        self.assertEqual(processes(self.n2.host), set())
        self.n2.start()
        self.assertNotEqual(self.n2.host.run("ls", f"{DATA}/never").returncode, 0)

    def test_a_full_disk_takes_no_more_until_it_is_freed(self):
        write = ("dd", "if=/dev/zero", f"of={DATA}/big", "bs=1M", "count=1", "conv=fsync")
        self.n2.fillDisk()
        done = self.n2.host.run(*write)
        self.assertIn("No space left on device", done.stderr)
        self.assertEqual((done.returncode, self.n2.faults()), (1, ["disk full"]))
        self.assertEqual(self.n1.host.run(*write).returncode, 0)
        self.n2.freeDisk()
        self.assertEqual(self.n2.host.run(*write).returncode, 0)
        self.assertEqual(self.n2.faults(), [])

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
                (["thaw", "n1"], "host 'n1' is running, not frozen"),
                (["lose", "n1", "101%"], "a loss is 0% to 100%, not 101%"),
                (["cut", "--one-way", "n1"], "--one-way needs two hosts: from which, to which"),
                (["up", "2", "--programs", PROGRAMS], f"cluster '{name}' exists; remove it with: scripts/cluster --name {name} rm")):
            done = script(name, *arguments)
            self.assertEqual((done.returncode, done.stderr), (1, f"cluster: {said}\n"))
        done = script(name, "delay", "n1", "20")
        self.assertIn("'20' is no time; write 20ms or 1.5s", done.stderr)
        done = script("no-such", "ls")
        self.assertRegex(done.stderr, rf"^cluster: no cluster 'no-such' is up \(there is .*{name}.*\); "
                                      "make one with: scripts/cluster --name no-such up 3\n$")


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
        held = [os.open(f"/proc/{host.pid()}/ns/net", os.O_RDONLY) for host in hosts if host.pid()]
        self.addCleanup(lambda: [os.close(one) for one in held])
        # What is open is no other's soon: the kernel gives numbers away again, and other tests make namespaces.
        networks = {f"net:[{os.fstat(one).st_ino}]" for one in held}
        self.assertEqual(len(networks), 3)
        self.assertEqual(script(name, "rm").returncode, 0)
        self.assertEqual([processes(host) for host in hosts], [set()] * 4)
        self.assertEqual(glob.glob(f"{namespaces.CGROUPS}/**/orch-testbed-{name}*", recursive=True), [])
        self.assertEqual([path for path in (found.folder, f"{testbed.CLUSTERS}/{name}") if os.path.exists(path)], [])
        left = [path for path in glob.glob("/proc/[0-9]*/ns/net") if linkOf(path) in networks]
        self.assertEqual(left, [])
        for path in ("/proc/self/mountinfo", *glob.glob("/sys/block/loop*/loop/backing_file")):
            with contextlib.suppress(OSError), open(path) as file:  # another's may go just now
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
