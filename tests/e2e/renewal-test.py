#!/usr/bin/env python3
"""Certificates that come to their end, and those that have. A worker is given one that was signed long ago, as
if its clock had been turned.

usage: renewal-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import datetime
import os
import shutil
import socket
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import wire  # noqa: E402
from certificates import Authority  # noqa: E402
from single import PATIENCE, eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
END = b"-----END CERTIFICATE REQUEST-----\n"


class Renewal(cluster.ClusterTest):
    programs = PROGRAMS
    hosts = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2 = cls.cluster.hosts
        cls.join = cls.n1.orch("init").stdout.splitlines()[-1].split()[1:]
        cls.n2.orch(*cls.join)
        cls.folder = tempfile.mkdtemp(prefix=f"orch-renewal-{os.getpid()}-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.authority = Authority.ofCluster(cls.n1, cls.folder)

    def setUp(self):
        eventually("both are ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})

    def itself(self):
        return self.n2.json("info")["self"]

    def until(self):
        return int(self.itself()["notAfterNs"])

    def lines(self, *words):
        with open(self.n2.log, errors="replace") as file:
            return [line for line in file.read().splitlines() if all(word in line for word in words)]

    def giveCertificate(self, start, end):
        """The worker's next one is valid from and to so many hours from now. Its key stays where it is."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(f"{self.n2.host.root()}/run/orch/orchd.sock")
            stream.sendall(wire.bootstrap() + wire.call(1, wire.GATEWAY, wire.SERVICE, "trust") +
                           wire.call(2, wire.TRUST, wire.REQUEST, service=1))
            said = b""
            while END not in said:
                said += self._piece(stream)
            request = said[said.index(b"-----BEGIN"):said.index(END) + len(END)].decode()
            now = datetime.datetime.now(datetime.timezone.utc)
            hours = lambda count: now + datetime.timedelta(hours=count)
            certificate = self.authority.signFor(self.folder, request, "orch-worker", self.itself()["nodeId"], hours(start), hours(end))
            before = self.until()
            stream.sendall(wire.call(3, wire.TRUST, wire.RENEW, certificate, service=1))
            eventually("it has another certificate", lambda: self.until() != before)

    def _piece(self, stream):
        piece = stream.recv(65536)
        self.assertTrue(piece, "orchd closed the connection")
        return piece

    def test_a_worker_renews_in_time_and_keeps_its_session(self):
        self.giveCertificate(-1000, 24)
        soon = self.until()
        self.assertEqual(self.states(), {"n1": "ready", "n2": "ready"})
        self.n2.crash()
        before = len(self.lines("connected to a manager"))
        self.n2.start()
        eventually("it is renewed", lambda: self.until() > soon)
        self.assertEqual(len(self.lines("this node's certificate has been renewed")), 1)
        # Over the connection that it had, which goes on.
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})
        self.assertEqual(len(self.lines("connected to a manager")), before + 1)
        self.assertFalse(self.lines("trust.renewal-failed"))
        # The next one is made with the new certificate.
        self.n1.crash()
        self.n1.start()
        eventually("both are ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})

    def test_one_that_was_off_for_too_long_is_told_what_to_do(self):
        self.giveCertificate(-1000, -1)
        # Whoever is connected stays so.
        self.assertEqual(self.states(), {"n1": "ready", "n2": "ready"})
        before = len(self.lines("uplink.lost"))
        self.n2.crash()
        self.n2.start()
        eventually("it reaches no manager", lambda: len(self.lines("uplink.lost")) > before)
        eventually("its log says what to do", lambda: self.lines("trust.certificate-expired", "'orch leave', then 'orch join' with a token"))
        said = self.n2.orch("info").stdout
        self.assertIn(": it has expired; 'orch leave', then 'orch join' with a token\n", said)
        eventually("it is down", lambda: self.states() == {"n1": "ready", "n2": "down"})
        self.n2.orch("leave")
        self.n1.orch("node", "rm", "n2")
        self.n2.orch(*self.join)
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
