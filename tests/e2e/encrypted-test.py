#!/usr/bin/env python3
"""Encrypted networks on three hosts, with the programs that a user has: their tasks find each other, nobody on
the wire can read what they say, and they go on while orchd is away. One host cannot be on them, and says so.

usage: encrypted-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""

# Counts frames that pass the host's own device until it is ended: those with what the tasks say, those of
# VXLAN as it is, and those of WireGuard.
CAPTURE = """
import os, signal, socket, sys
counts = {"readable": 0, "4789": 0, "51820": 0}
def end(*_):
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(" ".join(f"{key}={count}" for key, count in counts.items()))
    os.rename(file.name, sys.argv[1])
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(("eth0", 0))
open(sys.argv[1] + ".ready", "w").close()
while True:
    frame = wire.recv(65536)
    counts["readable"] += b"HTTP/1." in frame
    kind = frame[12:14]
    at = 14 + 20 if kind == b"\\x08\\x00" else 14 + 40
    udp = frame[14 + 9:14 + 10] == b"\\x11" if kind == b"\\x08\\x00" else frame[14 + 6:14 + 7] == b"\\x11"
    port = str(int.from_bytes(frame[at + 2:at + 4], "big")) if udp else ""
    if port in counts:
        counts[port] += 1
"""


class Encrypted(cluster.NetworkTest):
    programs = PROGRAMS

    def taskOn(self, service, node):
        return next(task for task in self.n1.running(service).values() if self.hostOf(task) == node.name)

    def ask(self, node, url, pid=None):
        """Which server answered the client task on the host; empty: none."""
        pid = pid or str(self.taskOn("client", node)["status"]["container"]["pid"])
        asked = node.host.run("timeout", "5", "nsenter", "-t", pid, "-n", "-m", "--", "/bin/wget", "-q", "-O", "-", url)
        return asked.stdout.split(" ")[0]

    def capture(self, node, act):
        """{what: how many frames} on the host's wire during `act`."""
        file = f"{node.host.folder}/frames"
        pid, _ = node.host.spawn([sys.executable, "-c", CAPTURE, file], "/dev/null")
        eventually("the capture runs", lambda: os.path.exists(f"{file}.ready"))
        act()
        node.host.run("kill", str(pid))
        eventually("the capture has ended", lambda: os.path.exists(file))
        with open(file) as read:
            found = dict(entry.split("=") for entry in read.read().split())
        os.remove(file)
        os.remove(f"{file}.ready")
        return {key: int(count) for key, count in found.items()}

    def tunnels(self, node):
        """Of wireguard-go that runs there: process ids, by device."""
        listed = node.host.run("ps", "-eo", "pid=,stat=,args=").stdout.splitlines()
        found = [line.split() for line in listed if "wireguard-go" in line]
        return {words[-1]: int(words[0]) for words in found if not words[1].startswith("Z")}

    def set(self, node, line):
        path = node.host.root() + cluster.MANIFEST
        with open(path) as file:
            text = file.read()
        node._write(cluster.MANIFEST, text.replace('id = "network.overlay"\n', f'id = "network.overlay"\n{line}', 1))
        node.crash()
        node.start()
        return lambda: node._write(cluster.MANIFEST, text)

    def run_services(self):
        self.n1.orch("network", "create", "--opt", "encrypted", "secret")
        self.create("--mode", "global", "--network", "secret")
        self.create("--mode", "global", "--network", "secret", name="client")
        eventually("one each on three hosts", lambda: self.spread() == self.spread("client") == {"n1": 1, "n2": 1, "n3": 1})

    def test_tasks_find_each_other_and_nobody_reads_it(self):
        for node in self.cluster.hosts:
            described = self.n1.json("node", "inspect", node.name)[0]["description"]
            self.assertEqual(len(described["encryptionKey"]), 44, described)
            self.assertFalse(self.tunnels(node), "it is made when it is needed")
        self.run_services()

        for node in self.cluster.hosts:
            eventually(f"{node.name} is led to all", lambda: len({self.ask(node, "http://web/") for _ in range(3)} - {""}) == 3)

        def askAll():
            for node in self.cluster.hosts:
                answers = {self.ask(node, "http://web/") for _ in range(6)}
                self.assertEqual(len(answers - {""}), 3, answers)
        seen = self.capture(self.n2, askAll)
        self.assertGreater(seen["51820"], 10, seen)
        self.assertEqual((seen["readable"], seen["4789"]), (0, 0), seen)
        # What is not encrypted can be read: so it would be seen.
        self.n1.orch("network", "create", "open")
        self.create("--mode", "global", "--network", "open", name="plain")
        eventually("one each of those", lambda: self.spread("plain") == {"n1": 1, "n2": 1, "n3": 1})
        pid = str(self.taskOn("plain", self.n2)["status"]["container"]["pid"])
        eventually("it is led to all", lambda: len({self.ask(self.n2, "http://plain/", pid) for _ in range(3)} - {""}) == 3)
        seen = self.capture(self.n2, lambda: [self.ask(self.n2, "http://plain/", pid) for _ in range(3)])
        self.assertGreater(seen["readable"], 0, seen)
        self.assertGreater(seen["4789"], 0, seen)
        eventually("all is as it should be", lambda: self.n1.orch("network", "check", check=False).returncode == 0)

        for service in ("web", "client", "plain"):
            self.n1.orch("service", "rm", service)
        for node in self.cluster.hosts:
            eventually(f"no tunnel is left on {node.name}", lambda: not self.tunnels(node))
            left = node.host.run("ip", "-o", "link").stdout + node.host.run("nft", "list", "tables").stdout
            self.assertNotIn("wg", left)

    def test_it_outlives_orchd_and_the_end_of_its_program(self):
        self.run_services()
        pids = {node: str(self.taskOn("client", node)["status"]["container"]["pid"]) for node in self.cluster.hosts}
        tunnels = {node: self.tunnels(node) for node in self.cluster.hosts}
        self.assertTrue(all(len(found) == 1 for found in tunnels.values()), tunnels)
        # By its address: names are orchd's.
        web = self.n1.json("service", "inspect", "web")[0]["addresses"][0]["address"]
        others = lambda node: [self.ask(node, f"http://{web}/", pids[node]) for _ in range(6)]
        for node in self.cluster.hosts:
            eventually(f"all answer on {node.name}", lambda: len(set(others(node)) - {""}) == 3)
        for node in self.cluster.hosts:  # the manager first: it would tell the others who is gone
            node.crash()
        answers = {node.name: others(node) for node in self.cluster.hosts}
        for node in self.cluster.hosts:
            node.start()
        self.assertEqual({name: len(set(found) - {""}) for name, found in answers.items()}, {"n1": 3, "n2": 3, "n3": 3}, answers)
        eventually("three hosts are ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})
        for node in self.cluster.hosts:
            answers = others(node)
            self.assertEqual(len(set(answers) - {""}), 3, answers)
            self.assertEqual(self.tunnels(node), tunnels[node], "taken over")
        eventually("all is as it should be", lambda: self.n1.orch("network", "check", check=False).returncode == 0)

        # Nothing else goes wrong when its program does.
        (device, pid), = tunnels[self.n2].items()
        self.n2.host.run("kill", "-9", str(pid))
        eventually("another one runs", lambda: self.tunnels(self.n2).get(device, pid) != pid)
        eventually("all answer on n2", lambda: len(set(others(self.n2)) - {""}) == 3)

        # A host that is gone takes its key with it, and has it when it comes again.
        self.n3.poweroff()
        eventually("those on two answer", lambda: len(set(others(self.n2)) - {""}) == 2)
        self.n3.start()
        eventually("three again", lambda: self.spread() == {"n1": 1, "n2": 1, "n3": 1} and len(set(others(self.n2)) - {""}) == 3)

    def test_a_host_without_wireguard_says_so_and_gets_no_task(self):
        back = self.set(self.n3, 'config = { wireguardGo = "/nowhere/wireguard-go" }\n')
        self.addCleanup(lambda: (back(), self.n3.crash(), self.n3.start()))
        reason = "there is no '/nowhere/wireguard-go'"
        eventually("n3 says why",
                   lambda: reason in self.n1.json("node", "inspect", "n3")[0]["description"].get("encryptionProblem", ""))
        self.n1.orch("network", "create", "--opt", "encrypted", "secret")
        self.create("--replicas", "4", "--network", "secret")
        self.assertEqual(self.spread(), {"n1": 2, "n2": 2})
        self.n1.orch("service", "create", "--name", "only", "--detach", "--constraint", "node.hostname==n3", "--network", "secret",
                     "web:1", "/bin/web")
        why = lambda: self.n1.orch("service", "ps", "--no-trunc", "only").stdout
        eventually("it says why", lambda: "cannot be on the encrypted network 'secret'" in why() and reason in why())
        refused = self.n1.orch("network", "create", "--opt", "encrypted=no", "other", check=False)
        self.assertIn("--opt encrypted has no value but true, not 'no'", refused.stderr)


if __name__ == "__main__":
    unittest.main()
