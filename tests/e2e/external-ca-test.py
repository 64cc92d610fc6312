#!/usr/bin/env python3
"""A cluster whose authority's key others have: Debian's cfssl signs, on a host that is none of the cluster.

usage: external-ca-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from certificates import Authority  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
CONFIG = {"signing": {
    "default": {"expiry": "720h", "usages": ["digital signature", "server auth", "client auth"]},
    "profiles": {"CA": {"expiry": "8760h", "usages": ["cert sign", "crl sign"], "ca_constraint": {"is_ca": True}}}}}


def runs(node):
    return json.loads(node.orch("ca", "--json").stdout).get("rotation", {}).get("runs", False)


class Cfssl:
    """Signs on a host, as an authority that it makes or is given, at an address of its until `stop`."""

    def __init__(self, node, folder, name, port, authority=None):
        self.host = node.host
        self.log = f"{folder}/{name}.log"
        self.port = port
        self.url = f"https://{node.address}:{port}"
        self.authority = authority or Authority.make(folder, name, days=400)
        self.config = f"{folder}/config.json"
        with open(self.config, "w") as file:
            json.dump(CONFIG, file)
        self.certificate, self.key = self.authority.sign(folder, f"{name}-server", "server", "ca", names=f"IP:{node.address}")
        self.address = node.address
        self.pid = None

    def start(self):
        open(self.log, "w").close()
        self.pid, _ = self.host.spawn(
            ["cfssl", "serve", f"-address={self.address}", f"-port={self.port}", f"-ca={self.authority.certificate}",
             f"-ca-key={self.authority.key}", f"-config={self.config}", f"-tls-cert={self.certificate}", f"-tls-key={self.key}"], self.log)

        def listens():
            with open(self.log) as file:
                return "Now listening on" in file.read()
        eventually("cfssl listens", listens)

    def stop(self):
        if self.pid:
            self.host.run("kill", "-9", str(self.pid), check=True)
        self.pid = None


class External(cluster.ClusterTest):
    """n1 is the manager; cfssl runs where no orchd does."""
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        cls.folder = tempfile.mkdtemp(prefix=f"orch-external-ca-{os.getpid()}-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.server = Cfssl(cls.cluster.client, cls.folder, "acme", 8888)
        cls.other = Cfssl(cls.cluster.client, cls.folder, "other", 8889)
        cls.moved = Cfssl(cls.cluster.client, cls.folder, "moved", 8890, cls.server.authority)
        cls.addClassCleanup(cls.moved.stop)
        for server in (cls.server, cls.other):
            cls.addClassCleanup(server.stop)
            shutil.copy(server.authority.certificate, f"{cls.n1.host.root()}/var/lib")
        cls.spec = f"protocol=cfssl,url={cls.server.url},cacert=/var/lib/acme.pem"

    def hasKey(self, node):
        with open(f"{node.host.root()}/var/lib/orch/control.manager.authority", "rb") as file:
            return b"PRIVATE KEY" in file.read()

    def signAt(self, server, authority="acme", check=True):
        spec = f"protocol=cfssl,url={server.url},cacert=/var/lib/{authority}.pem"
        return self.n1.orch("cluster", "update", "--external-ca", spec, check=check)

    def assertNotMoved(self, server, status, reason, authority="acme"):
        before = self.n1.orch("info").stdout
        refused = self.signAt(server, authority, check=False)
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (status, 1), refused)
        self.assertIn(reason, refused.stderr)
        self.assertEqual(*(next((line for line in text.splitlines() if "External CA" in line), "none") for text in (before, self.n1.orch("info").stdout)))

    def signElsewhere(self, join):
        """The same authority at another server, while the first one is away for good."""
        self.assertNotMoved(self.moved, 1, f"the external authority at '{self.moved.url}': cannot connect: Connection refused")
        self.assertNotMoved(self.other, 2, f"the external authority at '{self.other.url}' is another one than the cluster's", "other")
        before = self.n1.orch("ca").stdout
        self.moved.start()
        self.signAt(self.moved)
        self.assertIn(f" External CA: cfssl at {self.moved.url}\n", self.n1.orch("info").stdout)
        self.assertEqual(self.n1.orch("ca").stdout, before)
        self.server.stop()
        self.n3.orch("leave")
        eventually("it is away", lambda: self.states()["n3"] == "down")
        self.n1.orch("node", "rm", "n3")
        eventually("it joins", lambda: self.n3.orch(*join, check=False).returncode == 0)

    def follow(self):
        eventually("all have followed", lambda: not runs(self.n1))
        eventually("all are ready", lambda: set(self.states().values()) == {"ready"})

    def test_it_signs_for_the_cluster(self):
        # Nobody signs yet: nothing has changed.
        refused = self.n1.orch("init", "--external-ca", self.spec, check=False)
        self.assertEqual(refused.returncode, 1, refused)
        self.assertEqual(len(refused.stderr.strip().splitlines()), 1)
        self.assertIn(f"the external authority at '{self.server.url}': cannot connect: Connection refused", refused.stderr)
        self.assertIn("nobody can join this cluster yet", self.n1.orch("ca", check=False).stderr)
        self.server.start()
        said = self.n1.orch("init", "--external-ca", self.spec).stdout
        self.assertFalse(self.hasKey(self.n1))
        with open(self.server.authority.certificate) as file:
            self.assertEqual(self.n1.orch("ca").stdout, file.read())
        self.n2.orch(*said.splitlines()[-1].split()[1:])
        eventually("both are ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})
        # While it is away, what there is goes on, and nobody joins.
        self.server.stop()
        refused = self.n3.orch(*said.splitlines()[-1].split()[1:], check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("the external authority at", refused.stderr)
        self.n1.crash()
        self.n1.start()
        eventually("both are ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})
        self.server.start()
        self.n3.orch(*said.splitlines()[-1].split()[1:])
        self.follow()
        self.signElsewhere(said.splitlines()[-1].split()[1:])
        self.follow()
        # One of the cluster's own in its place, and again another one that others have the key of.
        self.n1.orch("ca", "--rotate")
        self.follow()
        self.assertTrue(self.hasKey(self.n1))
        self.assertNotMoved(self.moved, 2, "the managers have the key of this cluster's authority themselves")
        self.other.start()
        self.n1.orch("ca", "--rotate", "--ca-cert", "/var/lib/other.pem", "--external-ca", f"protocol=cfssl,url={self.other.url}")
        self.follow()
        self.assertFalse(self.hasKey(self.n1))
        refused = self.n1.orch("ca", "--rotate", "--external-ca", self.spec, check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("an external authority cannot take the place of another one", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
