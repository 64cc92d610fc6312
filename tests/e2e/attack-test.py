#!/usr/bin/env python3
"""What a host that should not be there may try on the port of a manager. It stands on the cluster's
network and has, for some attacks, a key of the cluster's that leaked.

usage: attack-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import concurrent.futures
import contextlib
import os
import resource
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from certificates import Authority  # noqa: E402
import namespaces  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402
from wire import GATEWAY, SERVICE, VERSION, bootstrap, call, finish  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
PORT = 2377
# Far past the time that the manager gives to whoever does not say who it is.
PATIENCE = 60
# Half-open connections: far more than a manager keeps (512), from so many addresses that none has
# its own limit (64) filled by them.
HALF_OPEN = 10_000
ADDRESSES = 20
ATTACK_S = 200  # at most, on a busy machine
LINES_AT_ONCE, PERIOD_S = 5, 10  # in the log, of one kind: so many, then one in each period (orch/log-limit.h)


class Attacks(cluster.ClusterTest):
    """n1 is the manager, n2 and n3 are workers; c1 attacks."""
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        said = cls.n1.orch("init").stdout
        cls.join = said.splitlines()[-1].split()
        for node in (cls.n2, cls.n3):
            node.orch(*cls.join[1:])
        cls.folder = tempfile.mkdtemp(prefix=f"orch-attack-{os.getpid()}-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.authority = Authority.ofCluster(cls.n1, cls.folder)
        cls.ca = cls.authority.certificate

    def setUp(self):
        eventually("three hosts are ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})
        self.before = self.whole()
        self.begun = time.monotonic()
        with open(self.n1.log, "rb") as file:
            self.logged = len(file.read())

    def mostLines(self, kinds):
        """That the manager writes of so many kinds by now."""
        return kinds * (LINES_AT_ONCE + 1 + int((time.monotonic() - self.begun) / PERIOD_S))

    def tearDown(self):
        self.assertEqual(self.whole(), self.before)
        self.assertEqual(self.n1.state(), "running")

    def whole(self):
        nodes = sorted((node["meta"]["id"], node["description"]["hostname"], node["state"]) for node in self.n1.json("node", "ls"))
        return nodes, self.n1.json("service", "ls")

    # ---- at the port ----

    def connect(self, source=""):
        """From c1, or one of its other addresses: a socket stays in the network that it was made in."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open(f"/proc/{self.cluster.client.host.pid()}/ns/net", os.O_RDONLY)
        namespaces.setns(other)
        try:
            stream = socket.create_connection((self.n1.address, PORT), timeout=PATIENCE, source_address=(source, 0) if source else None)
        finally:
            namespaces.setns(own)
            os.close(own)
            os.close(other)
        self.addCleanup(stream.close)
        return stream

    def secure(self, certificate=None, stream=None):
        """`certificate`: with its key, as files."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        if certificate:
            context.load_cert_chain(*certificate)
        secured = context.wrap_socket(stream or self.connect(), server_hostname="manager.orch")
        self.addCleanup(secured.close)
        return secured

    def rest(self, stream):
        """All that comes until the manager closes the connection."""
        said = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while True:
                piece = stream.recv(65536)
                if not piece:
                    break
                said += piece
        return said

    def log(self, name):
        """The manager's lines of this kind since the test began."""
        with open(self.n1.log, "rb") as file:
            file.seek(self.logged)
            return [line for line in file.read().decode(errors="replace").splitlines() if f" {name} " in line]

    def assertTold(self, name, *words):
        """One line, with all of that."""
        lines = eventually(f"the manager tells {name}", lambda: self.log(name), PATIENCE)
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])

    def assertRefused(self, certificate, *words):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            stream = self.secure(certificate)
            stream.sendall(bootstrap())
            self.assertEqual(self.rest(stream), b"")
        self.assertTold("peer.refused", "from=10.90.0.201:", *words)

    # ---- who it says it is ----

    def test_without_a_certificate(self):
        self.assertRefused(None, "peer did not return a certificate")

    def test_the_openssl_command_without_a_certificate(self):
        done = self.cluster.client.host.run("openssl", "s_client", "-connect", f"{self.n1.address}:{PORT}", "-CAfile", self.ca,
                                            "-verify_return_error", "-servername", "manager.orch", input="", timeout=PATIENCE)
        self.assertIn("CN = ", done.stdout)
        self.assertTold("peer.refused", "peer did not return a certificate")

    def test_a_certificate_of_another_authority(self):
        foreign = Authority.make(self.folder, "foreign")
        self.assertRefused(foreign.sign(self.folder, "foreign-node", "orch-worker", "node1"), "certificate verify failed")

    def test_a_certificate_that_has_expired(self):
        self.assertRefused(self.authority.sign(self.folder, "expired", "orch-worker", self.before[0][1][0], days=-1),
                           "certificate verify failed")

    def test_a_role_that_does_not_exist(self):
        self.assertRefused(self.authority.sign(self.folder, "king", "orch-king", "node1"), "OU 'orch-king' is no role of orch")

    def test_a_worker_that_asks_for_what_is_not_for_workers(self):
        worker = self.authority.sign(self.folder, "worker", "orch-worker", self.before[0][1][0])
        for service in ("cluster", "store.local", "kernel"):
            stream = self.secure(worker)
            stream.sendall(bootstrap() + call(1, GATEWAY, SERVICE, service))
            said = b""
            while b"for other hosts" not in said:
                piece = stream.recv(65536)
                self.assertTrue(piece, said)
                said += piece
            self.assertIn(f"node 'n1' has no service '{service}' for other hosts".encode(), said)
        lines = self.log("peer.service-refused")
        self.assertEqual(len(lines), 3, lines)
        self.assertIn("role=worker", lines[0])
        self.assertIn("service=cluster", lines[0])

    def test_a_removed_node(self):
        self.n1.orch("node", "rm", "--force", "n3")
        eventually("it is told so", lambda: "this node was removed from the cluster" in self.n3.logTail())
        lines = eventually("so is the manager's log", lambda: self.log("manager.node-refused"))
        self.assertIn("it was removed from the cluster", lines[0])
        self.assertEqual(self.states(), {"n1": "ready", "n2": "ready"})
        # It tries for as long as it is there; the log does not grow with it.
        self.assertLessEqual(len(lines), LINES_AT_ONCE)
        self.n3.orch("leave")
        self.n3.orch(*self.join[1:])
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})
        self.before = self.whole()

    def test_tokens_of_another_cluster_and_rotated_ones(self):
        n3 = self.n3
        n3.orch("leave")
        eventually("it is down", lambda: self.states()["n3"] == "down")
        self.n1.orch("node", "rm", "n3")
        before = self.whole()
        old = self.n1.orch("join-token", "-q", "worker").stdout.strip()
        new = self.n1.orch("join-token", "-q", "--rotate", "worker").stdout.strip()
        other = "ORCHTKN-1-" + "0" * 64 + "-" + new.rpartition("-")[2]
        for token, reason in ((old, "the token is not valid"), (other, "it is of another cluster than the token, or its authority has been replaced since; nothing was sent to it")):
            done = n3.orch("join", "--token", token, self.n1.address, check=False)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(reason, done.stderr)
        self.assertTold("join.refused", "from=10.90.0.3:", "is not, or no longer, the cluster's")
        self.assertEqual(self.whole(), before)
        type(self).join = [*self.join[:3], new, self.join[4]]
        n3.orch(*self.join[1:])
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})
        self.before = self.whole()

    # ---- what it says ----

    def test_garbage_is_no_protocol(self):
        stream = self.connect()
        stream.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(self.rest(stream), b"")
        self.assertTold("peer.refused", "it speaks neither TLS nor the protocol of joining")

    def test_garbage_that_begins_like_tls(self):
        stream = self.connect()
        stream.sendall(b"\x16\x03\x01\x00\x05garbage")
        self.rest(stream)
        self.assertTold("peer.refused")

    def test_somebody_who_says_nothing(self):
        self.assertEqual(self.rest(self.connect()), b"")
        self.assertTold("peer.refused", "it said nothing")

    def test_a_message_that_is_too_long(self):
        worker = self.authority.sign(self.folder, "talker", "orch-worker", self.before[0][1][0])
        for stream, words in ((self.connect(), 1 << 14), (self.secure(worker), 1 << 26)):
            stream.sendall(struct.pack("<II", 0, words))
            self.rest(stream)
        lines = self.log("peer.refused")
        self.assertEqual(len(lines), 2, lines)
        for line in lines:
            self.assertIn("essage is too large", line)

    def test_a_stranger_that_does_not_end(self):
        stream = self.connect()
        with contextlib.suppress(ConnectionError):
            stream.sendall(b"".join(bootstrap(question) for question in range(10_000)))
        self.rest(stream)
        self.assertTold("peer.refused", "it says more than ")

    def halfOpen(self, count, sources):
        """The attacker's ends. One that is closed is opened again by nobody."""
        held = []
        for number in range(count):
            with contextlib.suppress(OSError):
                stream = self.connect(sources[number % len(sources)])
                held.append(stream)
                stream.sendall((b"", b"\x16", b"J", b"J\x16\x03\x01")[number % 4])
        return held

    def joinAgain(self):
        """n3 leaves and joins in the middle of the attack."""
        self.n3.orch(*self.join[1:])
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})
        self.before = self.whole()

    def outside(self):
        self.n3.orch("leave")
        eventually("it is down", lambda: self.states()["n3"] == "down")
        self.n1.orch("node", "rm", "n3")

    def test_half_open_handshakes_of_one_address(self):
        self.outside()
        held = self.halfOpen(300, [""])
        lines = eventually("the manager tells of it", lambda: self.log("peer.refused"))
        self.assertIn("too many connections of its address have not said yet who they are", lines[0])
        self.joinAgain()
        for stream in held:
            self.rest(stream)
        # Of three kinds at most: one address has too many, said nothing, did not end its handshake.
        self.assertLessEqual(len(self.log("peer.refused")), self.mostLines(kinds=3))

    def test_ten_thousand_half_open_handshakes(self):
        self.outside()
        sources = [f"10.90.0.{number}" for number in range(210, 210 + ADDRESSES)]
        for source in sources:
            self.cluster.client.host.run("ip", "addr", "add", f"{source}/24", "dev", "eth0", check=True)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, HALF_OPEN + 1000), max(hard, HALF_OPEN + 1000)))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, max(hard, HALF_OPEN + 1000)))
        descriptors = lambda: len(os.listdir(f"/proc/{self.n1.outside()}/fd"))
        before = descriptors()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            attack = pool.submit(self.halfOpen, HALF_OPEN, sources)
            eventually("the manager tells of it", lambda: self.log("peer.refused"))
            self.joinAgain()
            most = descriptors()
            held = attack.result(ATTACK_S)
            most = max(most, descriptors())
        self.assertGreater(len(held), HALF_OPEN / 2)
        self.assertLessEqual(most - before, 512 + 100)
        self.assertLessEqual(len(self.log("peer.refused")), self.mostLines(kinds=6))
        for stream in held:
            stream.close()

    def test_a_session_that_stops_reading(self):
        """It asks and asks, and takes no answer: nobody else waits for that. It says that it is done with each question,
        since it may not have too many open."""
        worker = self.authority.sign(self.folder, "deaf", "orch-worker", self.before[0][1][0])
        stream = self.secure(worker)
        stream.settimeout(5)
        stream.sendall(bootstrap())
        with contextlib.suppress(OSError):  # what the manager does not read any more does not fit either
            for first in range(1, 500_000, 100):
                stream.sendall(b"".join(call(question, GATEWAY, VERSION) + finish(question)
                                        for question in range(first, first + 100)))
        self.n1.orch("service", "ls")
        self.assertEqual(self.states(), {"n1": "ready", "n2": "ready", "n3": "ready"})
        self.assertTold("peer.refused", "from=10.90.0.201:", "it has taken nothing of what it was sent for")


if __name__ == "__main__":
    unittest.main(verbosity=2)
