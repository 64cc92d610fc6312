#!/usr/bin/env python3
"""The state of a cluster moves from store to store under load, and from one manager to three.

usage: migrate-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
from single import eventually  # noqa: E402
from several_managers import MANAGERS, Creating, StoreCluster, defaultManifest, leaderOf, services, status, storeEntry  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
SERVERS = [server for server in ("etcd", "consul", "zookeeper") if server != "consul" or shutil.which("consul")]


class Migrate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        name = f"test-migrate-{os.getpid()}"
        manifest = os.path.join("/var/tmp", f"{name}.toml")
        cls.addClassCleanup(lambda: os.path.exists(manifest) and os.remove(manifest))
        with open(manifest, "w") as file:
            file.write(defaultManifest() + "".join("\n[[plugin]]\n" + storeEntry(server) for server in SERVERS))
        cls.cluster = StoreCluster(name, PROGRAMS, MANAGERS, manifest)
        cls.cluster.servers = SERVERS
        cls.cluster.create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        worker = cls.n1.orch("init").stdout.splitlines()[-1].split()
        for node in (cls.n2, cls.n3):
            node.orch(*worker[1:])
        cls.n1.makeImages(1)

    def migrate(self, asked, store, creatingAt, prefix="to", named=None):
        """Under a loop of `service create`, of which none is refused; answers what was made."""
        with Creating(creatingAt, f"{prefix}-{store}-") as creating:
            eventually("some are made", lambda: len(creating.acknowledged) > 3)
            said = asked.orch("cluster", "migrate", "--to", named or f"store.{store}").stdout
            before = len(creating.acknowledged)
            eventually("some are made in the other store", lambda: len(creating.acknowledged) > before + 3)
        self.assertIn(f"is in 'store.{store}' from now on; changes waited for ", said)
        self.assertEqual(creating.refused, [])
        self.assertEqual(asked.json("info")["store"], f"store.{store}")
        return set(creating.acknowledged)

    def test_it_moves_while_all_runs_and_the_leader_may_go(self):
        eventually("all are ready", lambda: sorted(status(self.n1).values()) == ["ready leader", "ready worker", "ready worker"])
        self.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--replicas", "6", "--restart-delay", "0s", "web:1", "/bin/web")
        kept = {node: set(node.webServers()) for node in self.cluster.hosts}
        made = {"web"}

        refused = self.n1.orch("node", "promote", "n2", check=False)
        self.assertIn("say where to: 'orch cluster migrate --to store.consul' or 'orch cluster migrate --to store.etcd' or ", refused.stderr)
        refused = self.n1.orch("cluster", "migrate", "--to", "store.nosuch", check=False)
        self.assertIn("there is no plugin 'store.nosuch' in the manifest", refused.stderr)
        self.assertEqual(self.n1.json("info")["store"], "store.local")
        refused = self.n1.orch("cluster", "migrate", "--to", "etcd://10.90.0.1:2379/lab", check=False)
        self.assertIn("on each manager (n1) put this line into a file of /etc/orch/plugins.d", refused.stderr)
        self.assertEqual(self.n1.json("info")["store"], "store.local")
        made |= self.migrate(self.n1, "etcd", self.n1, named="etcd://10.90.0.2:2379")
        self.n1.orch("node", "promote", "n2", "n3")
        eventually("three manage", lambda: sorted(status(self.n1).values()) == ["ready leader", "ready manager", "ready manager"])
        eventually("they answer", lambda: all(node.orch("service", "ls", check=False).returncode == 0 for node in (self.n2, self.n3)))
        for store in (*SERVERS[1:], "etcd"):
            made |= self.migrate(self.n3, store, self.n2, "on")
        refused = self.n2.orch("cluster", "migrate", "--to", "store.local", check=False)
        self.assertIn("would not reach the store 'store.local'", refused.stderr)
        self.assertEqual(services(self.n2), made)
        for node, servers in kept.items():
            self.assertLessEqual(servers, set(node.webServers()), f"{node.name} has kept its tasks")

        with Creating(self.n2, "after") as creating:
            eventually("some are made", lambda: len(creating.acknowledged) > 3)
            self.n1.poweroff()
            before = len(creating.acknowledged)
            eventually("another manager accepts them", lambda: len(creating.acknowledged) > before + 3)
        made |= set(creating.acknowledged)
        self.assertLessEqual(made, services(self.n3))
        second = leaderOf(self.cluster, self.n2, self.n3)
        eventually("all run on the others", lambda: len(self.n3.running("web")) == 6)
        # The manifest of the one that comes back names the store that the state was in at first.
        self.n1.host.boot()
        self.n1.plug()
        self.cluster.startServers(self.n1)
        self.n1.start()
        eventually("it follows", lambda: status(self.n1).get("n1") == "ready manager")
        self.assertEqual(leaderOf(self.cluster, self.n1, self.n2, self.n3), second)
        self.assertLessEqual(made, services(self.n1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
