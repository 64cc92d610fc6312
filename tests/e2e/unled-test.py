#!/usr/bin/env python3
"""Three managers whose etcd has no quorum any more: what can be read, and how the cluster goes on without them.

usage: unled-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import concurrent.futures
import os
import stat
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
from single import eventually  # noqa: E402
from several_managers import MANAGERS, StoreCluster, defaultManifest, leaderOf, services, status, storeEntry  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
BACKUP = "/var/lib/cluster.backup"  # on a host's own disk


class Unled(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        name = f"test-unled-{os.getpid()}"
        manifest = os.path.join("/var/tmp", f"{name}.toml")
        cls.addClassCleanup(lambda: os.path.exists(manifest) and os.remove(manifest))
        with open(manifest, "w") as file:
            file.write(defaultManifest() + "\n[[plugin]]\n" + storeEntry("etcd"))
        # Three managers, a worker, and a host that is in no cluster.
        cls.cluster = StoreCluster(name, PROGRAMS, MANAGERS + 2, manifest)
        cls.cluster.servers = ("etcd",)
        cls.cluster.create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3, cls.n4, cls.n5 = cls.cluster.hosts
        worker = cls.n1.orch("init").stdout.splitlines()[-1].split()
        for node in (cls.n2, cls.n3, cls.n4):
            node.orch(*worker[1:])
        cls.n1.makeImages(1)
        cls.n1.orch("cluster", "migrate", "--to", "store.etcd")
        eventually("all are ready", lambda: sorted(status(cls.n1).values()) == ["ready leader"] + 3 * ["ready worker"])
        cls.n1.orch("node", "promote", "n2", "n3")
        eventually("three manage", lambda: sorted(status(cls.n2).values()) == [
            "ready leader", "ready manager", "ready manager", "ready worker"])

    def said(self, node):
        return node.json("cluster", "status")

    @staticmethod
    def reach(said):
        return {manager["name"]: manager["reach"] for manager in said["managers"]}

    def awaitSaid(self, what, node, condition):
        """What it says as soon as that is so: one who is late with a beat is not reached for that long."""
        return eventually(what, lambda: condition(said := self.said(node)) and said)

    def test_the_cluster_goes_on_without_its_store_and_without_its_managers(self):
        self.statusWhileAllIsWell()
        self.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--replicas", "6", "--restart-delay", "0s", "web:1", "/bin/web")
        eventually("they run", lambda: len(self.n2.running("web")) == 6)
        eventually("the copies are there", lambda: all(
            manager.get("behindMs", -1) >= 0 for manager in self.said(self.n1)["managers"] if manager["reach"] != "leader"))
        made = self.n2.orch("cluster", "backup", BACKUP).stdout
        self.assertIn("It has the keys of the cluster: keep it where nobody else reads it.", made)
        self.assertEqual(stat.S_IMODE(os.stat(self.n2.host.root() + BACKUP).st_mode), 0o600)
        with open(self.n2.host.root() + BACKUP, "rb") as file:
            backup = file.read()
        self.withoutQuorum()
        self.alone()
        self.restored(backup)

    def statusWhileAllIsWell(self):
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
        reached = {name: "leader" if name == leader.name else "reachable" for name in ("n1", "n2", "n3")}
        for node in (self.n1, self.n2, self.n3):
            said = self.awaitSaid("all managers are there", node, lambda said: (self.reach(said), said["canLose"]) == (reached, 2))
            self.assertEqual((said["leader"], said["node"]), (leader.name, node.name))
            self.assertEqual((said["store"]["name"], said["store"]["shared"], said["store"].get("problem", "")), ("store.etcd", True, ""))
        follower = next(node for node in (self.n1, self.n2, self.n3) if node is not leader)
        for line in (f"Leader: {leader.name}\n", " Can be lost: 2 managers", "Store: store.etcd\n At: etcd://10.90.0.1:2379,", "/orch\n Answers in: "):
            eventually(f"it is told: {line}", lambda: line in follower.orch("cluster", "status").stdout)
        gone = next(node for node in (self.n1, self.n2, self.n3) if node not in (leader, follower))
        gone.crash()
        missed = {**reached, gone.name: "unreachable"}
        self.awaitSaid("it is missed", follower, lambda said: (self.reach(said), said["canLose"]) == (missed, 1))
        gone.start()
        self.awaitSaid("it is back", follower, lambda said: self.reach(said) == reached)
        self.assertIn("is a worker of the cluster; ask a manager", self.n4.orch("cluster", "status", check=False).stderr)

    def withoutQuorum(self):
        """Two of three members of the etcd are gone."""
        kept = {node: set(node.webServers()) for node in self.cluster.hosts}
        for node in (self.n2, self.n3):
            node.kill(node.servers["etcd"])
        managers = (self.n1, self.n2, self.n3)
        eventually("nobody leads", lambda: all(self.said(node).get("leader", "") == "" for node in managers))
        with concurrent.futures.ThreadPoolExecutor(len(managers)) as pool:  # what is refused has waited for ten seconds
            list(pool.map(self.readsAndRefuses, managers))
        self.assertIn("the key", self.n3.orch("cluster", "backup", "/var/lib/unled.backup").stdout)
        for node, servers in kept.items():
            self.assertEqual(servers, set(node.webServers()), f"the tasks of {node.name} run on")
        for node in (self.n2, self.n3):
            self.cluster.startServers(node)
        eventually("somebody leads again", lambda: self.n1.orch("service", "scale", "--detach", "web=6", check=False).returncode == 0)
        for node in managers:
            eventually("nothing is old", lambda: node.orch("service", "ls").stderr == "")
        for node, servers in kept.items():
            self.assertEqual(servers, set(node.webServers()), f"the tasks of {node.name} have run on")

    def readsAndRefuses(self, node):
        read = node.orch("service", "ls")
        self.assertIn("web", read.stdout)
        self.assertRegex(read.stderr, r"orch: as of .* ago: no manager leads the cluster \(")
        for command in (("ps",), ("node", "ls"), ("service", "inspect", "web"), ("info",), ("network", "ls")):
            command = ("service", "ps", "web") if command == ("ps",) else command
            self.assertIn("ago: no manager leads the cluster", node.orch(*command).stderr)
        refused = node.orch("service", "create", "--name", "late", "web:1", "/bin/web", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("no manager leads the cluster at the moment; tasks run on (", refused.stderr)
        self.assertIn("does not answer", refused.stderr)
        self.awaitSaid("the store is the problem", node, lambda said: set(self.reach(said).values()) == {"reachable"} and all(
            "does not answer" in where.get("problem", "") for where in (said, said["store"])))

    def alone(self):
        """All members are gone for good, and so are two managers: the third goes on."""
        refused = self.n2.orch("init", "--force-new-cluster", check=False)
        self.assertIn("a manager leads the cluster", refused.stderr)
        kept = {node: set(node.webServers()) for node in (self.n2, self.n4)}
        for node in (self.n1, self.n2, self.n3):
            node.kill(node.servers["etcd"])
        for node in (self.n1, self.n3):
            node.poweroff()
        eventually("nobody leads", lambda: self.said(self.n2).get("leader", "") == "")
        said = self.n2.orch("init", "--force-new-cluster").stdout
        self.assertIn("in 'store.local' of its own", said)
        self.assertIn("Not of the cluster any more: n1, n3.", said)
        eventually("the worker is there", lambda: status(self.n2) == {"n2": "ready leader", "n4": "ready worker"})
        self.assertEqual(services(self.n2), {"web"})
        eventually("all run on what is left", lambda: len(self.n2.running("web")) == 6)
        for node, servers in kept.items():
            self.assertLessEqual(servers, set(node.webServers()), f"{node.name} has kept its tasks")
        self.n2.orch("service", "scale", "web=5")
        # It begins there from now on.
        self.n2.crash()
        self.n2.start()
        eventually("it leads again", lambda: status(self.n2) == {"n2": "ready leader", "n4": "ready worker"})
        self.assertEqual((self.said(self.n2)["store"]["name"], self.said(self.n2)["canLose"]), ("store.local", 0))

    def restored(self, backup):
        """That one is lost, too: what was backed up goes on on a host that was in no cluster."""
        path = self.n5.host.root() + BACKUP
        for wrong, why in ((backup[:-1], "it is not whole"), (b"orchbkup\x02" + backup[9:], "it is of format 2"),
                           (backup[:99] + bytes([backup[99] ^ 1]) + backup[100:], "cannot use the backup")):
            with open(path, "wb") as file:
                file.write(wrong)
            refused = self.n5.orch("cluster", "restore", BACKUP, check=False)
            self.assertIn(why, refused.stderr)
            self.assertIn(BACKUP, refused.stderr)
        self.assertEqual(services(self.n5), set())
        with open(path, "wb") as file:
            file.write(backup)
        token = self.n2.orch("join-token", "--quiet", "worker").stdout
        self.n2.poweroff()
        said = self.n5.orch("cluster", "restore", BACKUP).stdout
        self.assertIn("This node is the manager of cluster 'default'", said)
        eventually("its worker has come", lambda: status(self.n5) == {"n5": "ready leader", "n4": "ready worker"})
        self.assertEqual(self.n5.orch("join-token", "--quiet", "worker").stdout, token)
        eventually("all run, as they were", lambda: len(self.n5.running("web")) == 6)
        refused = self.n5.orch("cluster", "restore", BACKUP, check=False)
        self.assertIn("this host is a node of a cluster already", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
