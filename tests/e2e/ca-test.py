#!/usr/bin/env python3
"""Another authority takes the place of the cluster's while tasks run, nodes are away and managers die.

usage: ca-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
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
import cluster  # noqa: E402
from certificates import Authority  # noqa: E402
from several_managers import MANAGERS, StoreCluster, leaderOf, manifestOn, services, status  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


def rotation(node):
    return json.loads(node.orch("ca", "--json").stdout).get("rotation", {})


def runs(node):
    return rotation(node).get("runs", False)


def digest(node):
    return node.json("info")["self"]["cluster"]


class Rotation(cluster.ClusterTest):
    """n1 is the manager, n2 and n3 are workers; c1 has an admin."""
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        cls.join = cls.n1.orch("init").stdout.splitlines()[-1].split()[1:]
        for node in (cls.n2, cls.n3):
            node.orch(*cls.join)
        cls.n1.makeImages(1)
        cls.folder = tempfile.mkdtemp(prefix=f"orch-ca-{os.getpid()}-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--mode", "global", "web:1", "/bin/web")

    def setUp(self):
        self.allReady()
        self.kept = {node.name: set(node.webServers()) for node in self.cluster.hosts}

    def allReady(self):
        eventually("all are ready", lambda: self.states() == {"n1": "ready", "n2": "ready", "n3": "ready"})

    def assertKept(self, *nodes):
        for node in nodes:
            self.assertEqual(set(node.webServers()), self.kept[node.name], f"{node.name} has kept its tasks")

    def admin(self, name, *words, check=True):
        return self.cluster.client.orch("--host", f"tcp://{self.n1.address}", "--credentials", f"/var/lib/{name}", *words, check=check)

    def add(self, name):
        request = self.cluster.client.orch("admin", "request", "--out", f"/var/lib/{name}").stdout
        granted = self.n1.host.run(f"{PROGRAMS}/orch", "admin", "add", "--request", "-", name, input=request, check=True)
        with open(f"{self.cluster.client.host.root()}/var/lib/{name}/admin.pem", "w") as file:
            file.write(granted.stdout)

    def test_all_follow_while_tasks_run(self):
        self.add("ann")
        self.add("bob")
        before, old = digest(self.n1), self.n1.orch("join-token", "-q", "worker").stdout.strip()
        stolen = Authority.ofCluster(self.n1, self.folder)
        done = self.admin("ann", "ca", "--rotate")
        self.assertIn("3 out of 3 nodes have a certificate of the new authority", done.stderr)
        self.assertEqual(done.stdout, self.n1.orch("ca").stdout)
        eventually("the one before is dropped everywhere", lambda: not runs(self.n1))
        after = digest(self.n1)
        self.assertNotEqual(after, before)
        for node in (self.n2, self.n3):
            eventually(f"{node.name} has followed", lambda: digest(node) == after)
        self.allReady()
        self.assertKept(*self.cluster.hosts)
        # One who has done nothing meanwhile follows with the next command, and trusts the new one alone then.
        self.assertIn("web", self.admin("bob", "service", "ls").stdout)
        for name in ("ann", "bob"):
            self.admin(name, "service", "ls")
            with open(f"{self.cluster.client.host.root()}/var/lib/{name}/admin.pem") as file:
                self.assertEqual(file.read().count("BEGIN CERTIFICATE"), 2, name)
        # Whoever has stolen the key of before, or a token, has nothing.
        node = self.n1.json("node", "ls")[0]["meta"]["id"]
        forged, key = stolen.sign(self.folder, "forged", "orch-manager", node)
        self.assertRefused(forged, key)
        self.n3.orch("leave")
        self.n1.orch("node", "rm", "--force", "n3")
        refused = self.n3.orch("join", "--token", old, self.n1.address, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("or its authority has been replaced since; nothing was sent to it", refused.stderr)
        secret = old.rpartition("-")[2]
        refused = self.n3.orch("join", "--token", f"ORCHTKN-1-{after}-{secret}", self.n1.address, check=False)
        self.assertIn("the token is not valid, or no longer", refused.stderr)
        self.n3.orch(*self.n1.orch("join-token", "worker").stdout.split()[1:])
        self.allReady()
        self.assertKept(self.n1, self.n2)

    def assertRefused(self, certificate, key):
        """By the manager, whose log says so."""
        self.cluster.client.host.run("openssl", "s_client", "-connect", f"{self.n1.address}:2377", "-cert", certificate, "-key", key,
                                     "-quiet", check=False, input="")
        eventually("it is refused by name", lambda: "of an authority that 'orch ca --rotate' has replaced" in self.n1.logTail(200))

    def test_one_that_was_off_follows_when_it_returns(self):
        self.n3.poweroff()
        eventually("it is down", lambda: self.states()["n3"] == "down")
        for _ in range(2):
            said = self.n1.orch("ca", "--rotate").stderr
            self.assertIn("'n3' is away and follows when it returns", said)
        self.assertTrue(runs(self.n1))
        eventually("the others have followed", lambda: rotation(self.n1).get("renewed") == 2)
        # The manager starts again meanwhile.
        self.n1.crash()
        self.n1.start()
        self.assertTrue(runs(self.n1))
        self.n3.start()
        self.allReady()
        eventually("it has followed", lambda: not runs(self.n1))
        eventually("it has the new authority", lambda: digest(self.n3) == digest(self.n1))
        self.assertKept(self.n1, self.n2)

    def test_the_manager_dies_at_once(self):
        for _ in range(3):
            before = self.n1.orch("ca").stdout
            self.n1.orch("ca", "--rotate", "-d")
            self.n1.crash()
            self.n1.start()
            self.allReady()
            eventually("it ends", lambda: not runs(self.n1))
            self.assertNotEqual(self.n1.orch("ca").stdout, before)
            for node in (self.n2, self.n3):
                eventually(f"{node.name} has followed", lambda: digest(node) == digest(self.n1))
        self.assertKept(*self.cluster.hosts)

    def test_one_that_does_not_return_is_removed(self):
        self.n3.poweroff()
        eventually("it is down", lambda: self.states()["n3"] == "down")
        self.n1.orch("ca", "--rotate")
        self.n1.orch("node", "rm", "n3")
        eventually("nobody is waited for", lambda: not runs(self.n1))
        self.n3.start()
        eventually("its log says that it is not there any more", lambda: "uplink.lost" in self.n3.logTail())
        self.n3.orch("leave")
        self.n3.orch(*self.n1.orch("join-token", "worker").stdout.split()[1:])
        self.allReady()

    def test_an_authority_of_ones_own(self):
        base = f"{self.n1.host.root()}/var/lib/acme"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "300",
                        "-subj", "/O=Acme/CN=Root", "-keyout", f"{base}.key", "-out", f"{base}.pem"], check=True, capture_output=True)
        wrong = self.n1.orch("ca", "--rotate", "--ca-cert", "/var/lib/acme.pem", "--ca-key", "/var/lib/acme.pem", check=False)
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("this is no key in PEM", wrong.stderr)
        self.assertFalse(runs(self.n1))
        self.n3.poweroff()
        eventually("it is down", lambda: self.states()["n3"] == "down")
        said = self.n1.orch("ca", "--rotate", "--ca-cert", "/var/lib/acme.pem", "--ca-key", "/var/lib/acme.key").stdout
        with open(f"{base}.pem") as file:
            self.assertEqual(said, file.read())
        self.n3.start()
        self.allReady()
        eventually("all have followed", lambda: not runs(self.n1))
        # And on to one of the cluster's own again.
        self.n1.orch("ca", "--rotate")
        eventually("all have followed", lambda: not runs(self.n1))
        self.allReady()
        self.assertKept(self.n1, self.n2)


class WithManagers(unittest.TestCase):
    """Three managers on an etcd of three members."""

    @classmethod
    def setUpClass(cls):
        name = f"test-ca-{os.getpid()}"
        manifest = os.path.join("/var/tmp", f"{name}.toml")
        cls.addClassCleanup(lambda: os.path.exists(manifest) and os.remove(manifest))
        with open(manifest, "w") as file:
            file.write(manifestOn("etcd"))
        cls.cluster = StoreCluster(name, PROGRAMS, MANAGERS, manifest)
        cls.cluster.servers = ("etcd",)
        cls.cluster.create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        cls.cluster.form()

    def allReady(self, node):
        eventually("all are ready", lambda: sorted(status(node).values()) == ["ready leader", "ready manager", "ready manager"])

    def test_the_leader_dies_and_another_one_goes_on(self):
        self.allReady(self.n1)
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
        others = [node for node in self.cluster.hosts if node is not leader]
        before = self.n1.orch("ca").stdout
        # It has not ended by then, whatever the leader manages to do: one that is to follow stands still.
        others[1].kill(others[1].orchd, signal.SIGSTOP)
        others[0].orch("ca", "--rotate", "-d")
        self.assertTrue(runs(others[0]))
        leader.crash()
        others[1].kill(others[1].orchd, signal.SIGCONT)
        second = leaderOf(self.cluster, *others, after=leader)
        self.assertNotEqual(others[0].orch("ca").stdout, before)
        eventually("those that are there follow", lambda: not rotation(second).get("waiting"))
        leader.start()
        self.allReady(second)
        eventually("it ends", lambda: not runs(second))
        for node in self.cluster.hosts:
            eventually(f"{node.name} has followed", lambda: digest(node) == digest(second))
        # Whoever leads has the key.
        second.orch("ca", "--rotate")
        eventually("it ends", lambda: not runs(others[0]))
        self.allReady(second)

    def unlock(self, node, key, check=True):
        return node.host.run(f"{PROGRAMS}/orch", "unlock", input=key, check=check)

    def onDisk(self, node):
        """Private keys in what the node keeps."""
        folder = f"{node.host.root()}/var/lib/orch"
        found = []
        for name in ("credentials", "control.manager.authority"):
            with open(f"{folder}/{name}", "rb") as file:
                found += [name] * (b"PRIVATE KEY" in file.read())
        return found

    def test_managers_that_start_again_wait_for_the_key(self):
        self.allReady(self.n1)
        self.n1.makeImages(1)
        self.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--mode", "global", "web:1", "/bin/web")
        self.assertIn("managers are not locked", self.n1.orch("unlock-key", "-q", check=False).stderr)
        said = self.n1.orch("cluster", "update", "--autolock=true").stdout
        first = next(line.strip() for line in said.splitlines() if "ORCHKEY-1-" in line)
        key = self.n2.orch("unlock-key", "-q", "--rotate").stdout.strip()
        self.assertNotEqual(key, first)
        for node in self.cluster.hosts:
            eventually(f"{node.name} keeps no key", lambda: not self.onDisk(node))
            self.assertEqual(node.orch("unlock-key", "-q").stdout.strip(), key)
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
        others = [node for node in self.cluster.hosts if node is not leader]
        kept = set(leader.webServers())
        leader.crash()
        leader.start()
        second = leaderOf(self.cluster, *others, after=leader)
        for words in (["service", "ls"], ["node", "ls"], ["ca"], ["init"], ["unlock-key"], ["join-token", "worker"]):
            refused = leader.orch(*words, check=False)
            self.assertEqual(refused.returncode, 1, refused)
            self.assertEqual(len(refused.stderr.strip().splitlines()), 1)
            self.assertIn("this manager is locked, and its tasks run on: 'orch unlock'", refused.stderr)
        self.assertIn(" Locked: yes", leader.orch("info").stdout)
        self.assertIn("this manager is locked", leader.orch("cluster", "status").stdout)
        self.assertEqual(set(leader.webServers()), kept)
        for wrong, reason in ((first, "this is not the key that this node was locked with, nothing has changed"), ("secret", "this is no unlock key")):
            refused = self.unlock(leader, wrong, check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(reason, refused.stderr)
        # Neither the nodes' authority nor the lock waits for it.
        second.orch("ca", "--rotate")
        self.assertTrue(runs(second))
        last = second.orch("unlock-key", "-q", "--rotate").stdout.strip()
        self.assertIn("the one of before the last 'orch unlock-key --rotate' is wanted", self.unlock(leader, last, check=False).stderr)
        self.unlock(leader, key)
        self.allReady(second)
        eventually("it follows", lambda: not runs(second) and digest(leader) == digest(second))
        self.assertEqual(set(leader.webServers()), kept)
        self.assertIn("this node is not locked", self.unlock(leader, key, check=False).stderr)
        eventually("it has the last key", lambda: not self.onDisk(leader))
        # All at once, after a loss of power.
        for node in self.cluster.hosts:
            node.poweroff()
        for node in self.cluster.hosts:
            node.host.boot()
            node.plug()
            self.cluster.startServers(node)
            node.start()
        for node in self.cluster.hosts:
            eventually(f"{node.name} takes the last key", lambda: self.unlock(node, last, check=False).returncode == 0)
        self.allReady(self.n1)
        self.assertEqual(services(self.n2), {"web"})
        self.n1.orch("cluster", "update", "--autolock=false")
        for node in self.cluster.hosts:
            eventually(f"{node.name} starts by itself", lambda: len(self.onDisk(node)) == 2)
        self.n2.crash()
        self.n2.start()
        self.allReady(self.n1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
