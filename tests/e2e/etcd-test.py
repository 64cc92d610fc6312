#!/usr/bin/env python3
"""The cluster's state in an etcd: orchd and etcd die, and nothing acknowledged is lost. And hosts that find each other in one.

usage: etcd-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import found_elsewhere  # noqa: E402
import kept_elsewhere  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Etcd(kept_elsewhere.KeptElsewhere, unittest.TestCase):
    PROGRAMS = PROGRAMS
    SERVER = "etcd"
    URL = "http://127.0.0.1:2379"

    @classmethod
    def command(cls, folder):
        return ["etcd", f"--data-dir={folder}/etcd", f"--listen-client-urls={cls.URL}", f"--advertise-client-urls={cls.URL}",
                "--listen-peer-urls=http://127.0.0.1:2380"]

    def keys(self, below, prefix="/orch/"):
        told = self.node.host.run("env", "ETCDCTL_API=3", "etcdctl", "get", "--prefix", "--keys-only", prefix + below)
        return [key for key in told.stdout.split("\n") if key]

    def test_it_moves_to_where_a_uri_says_and_the_refusal_is_what_to_put_into_the_manifest(self):
        self.addCleanup(self.removeAll)
        self.create("web")
        pids = self.node.pids("web")
        wanted = "etcd://127.0.0.1:2379/lab"
        refused = self.node.orch("cluster", "migrate", "--to", wanted, check=False)
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
        self.assertIn(f"no store of this host's is at '{wanted}'; on each manager (", refused.stderr)
        line = "plugin = [{" + refused.stderr.partition("plugin = [{")[2]
        folder = os.path.join(os.path.dirname(self.node.config), "plugins.d")
        os.makedirs(folder)
        with open(os.path.join(folder, "store.toml"), "w") as file:
            file.write(line)
        self.node.orch("config", "reload")

        def moved():
            return self.node.orch("cluster", "migrate", "--to", wanted, check=False)
        said = eventually("the plugin runs", lambda: (tried := moved()).returncode == 0 and tried.stdout)
        self.assertIn("is in 'store.etcd#2' from now on", said)
        self.assertIn("is in 'store.etcd#2' already", moved().stdout)
        self.assertEqual(len(self.keys("object/service ", "/lab/")), 1)
        self.assertIn(f"Store: store.etcd#2\n At: {wanted}\n", self.node.orch("cluster", "status").stdout)
        self.node.crash()
        self.node.start()
        self.assertEqual(self.services(), ["web"])
        # And home, by its servers as well.
        self.assertIn("is in 'store.etcd' from now on", self.node.orch("cluster", "migrate", "--to", "etcd://127.0.0.1").stdout)
        self.assertEqual(self.node.pids("web"), pids)


class Discovery(found_elsewhere.FoundElsewhere):
    programs = PROGRAMS
    SERVER = "etcd"
    URI = "etcd://10.90.0.1:2379/lab"

    @classmethod
    def command(cls, folder):
        return ["etcd", f"--data-dir={folder}", "--listen-client-urls=http://0.0.0.0:2379",
                "--advertise-client-urls=http://10.90.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380"]

    def get(self, key):
        return self.ask("get", "--print-value-only", f"lab/{key}")

    def put(self, key, value):
        self.ask("put", f"lab/{key}", value)

    def ask(self, *words):
        return self.n1.host.run("env", "ETCDCTL_API=3", "etcdctl", *words, check=True).stdout.strip()


if __name__ == "__main__":
    unittest.main(verbosity=2)
