#!/usr/bin/env python3
"""The cluster's state in a consul: orchd and consul die, and nothing acknowledged is lost. And hosts that find each other in one.

usage: consul-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import found_elsewhere  # noqa: E402
import kept_elsewhere  # noqa: E402
import single  # noqa: E402
from several_managers import MANAGER, defaultManifest  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
# Elections come as fast as on a network without delay.
HCL = "-hcl=disable_update_check = true performance { raft_multiplier = 1 }"


class Consul(kept_elsewhere.KeptElsewhere, unittest.TestCase):
    PROGRAMS = PROGRAMS
    SERVER = "consul"
    URL = "http://127.0.0.1:8500"

    @classmethod
    def command(cls, folder):
        return ["consul", "agent", "-server", "-bootstrap-expect=1", f"-data-dir={folder}/consul", "-bind=127.0.0.1",
                "-log-level=warn", HCL]

    def keys(self, below):
        told = self.node.host.run("consul", "kv", "get", "-keys", "-separator=", "orch/" + below)
        return told.stdout.splitlines()


class Refused(unittest.TestCase):
    """A consul with ACLs, and a token that may not do what it has to any more."""
    MASTER = "11111111-2222-3333-4444-555555555555"
    made = 0

    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-consul-acl-{os.getpid()}", PROGRAMS)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        cls.folder = folder = cls.node.host.folder
        acl = f'acl {{ enabled = true default_policy = "deny" tokens {{ master = "{cls.MASTER}" }} }}'
        cls.node.host.spawn([*Consul.command(folder), f"-hcl={acl}"], f"{folder}/consul.log")
        eventually("it knows its master", lambda: cls.consul("acl", "token", "list", check=False).returncode == 0)
        cls.may("write")
        cls.token = json.loads(cls.consul("acl", "token", "create", "-policy-name=orch", "-format=json").stdout)
        cls.keep(cls.token["SecretID"])
        store = f'id = "store.consul"\nconfig = {{ endpoints = ["{Consul.URL}"], tokenFile = "{folder}/token", timeoutMs = 1500 }}\n'
        text = defaultManifest().replace('id = "store.local"\n', store, 1)
        cls.node.config = f"{folder}/orchd.toml"
        with open(cls.node.config, "w") as file:
            file.write(text.replace(MANAGER, MANAGER + 'config = { store = "store.consul" }\n', 1))
        cls.node.start()
        cls.node.orch("init")

    @classmethod
    def consul(cls, *words, check=True):
        return cls.node.host.run("env", f"CONSUL_HTTP_TOKEN={cls.MASTER}", "consul", *words, check=check)

    @classmethod
    def may(cls, what):
        """The token, with what is below `orch/`."""
        rules = f'-rules=key_prefix "orch/" {{ policy = "{what}" }}'
        there = cls.consul("acl", "policy", "read", "-name=orch", "-format=json", check=False)
        if there.returncode == 0:
            cls.consul("acl", "policy", "update", f"-id={json.loads(there.stdout)['ID']}", "-name=orch", rules)
        else:
            cls.consul("acl", "policy", "create", "-name=orch", rules)

    @classmethod
    def keep(cls, token):
        with open(f"{cls.folder}/token", "w") as file:
            file.write(token + "\n")

    def problem(self):
        said = self.node.json("cluster", "status")
        return said["store"].get("problem", "") or said.get("problem", "")

    def create(self):
        self.made += 1
        return self.node.orch("service", "create", "--name", f"s{self.made}", "--detach", "--replicas", "0", "web:1", "/bin/web", check=False)

    def checkTold(self, words):
        def refused():
            tried = self.create()
            self.assertLessEqual(tried.stderr.count("\n"), 1, tried.stderr)
            return tried.returncode == 1 and words in tried.stderr
        eventually(f"a change is refused: {words}", refused)
        eventually(f"it is told: {words}", lambda: words in self.problem())
        self.assertIn(words, self.node.orch("cluster", "status").stdout)

    def checkWell(self):
        eventually("all is well", lambda: self.create().returncode == 0 and self.problem() == "")

    def test_what_its_token_lacks_is_said(self):
        self.checkWell()
        self.may("read")
        words = "refuses: Permission denied; 'tokenFile' has to name a file with a token whose policy lets it write there"
        self.checkTold(words)
        self.may("write")
        self.checkWell()
        self.consul("acl", "token", "delete", f"-id={self.token['AccessorID']}")
        self.checkTold("refuses: ACL not found; see that 'tokenFile' names a file with a token of this")
        self.node.crash()
        self.node.start()
        eventually("it is told after a start, too", lambda: "refuses: ACL not found" in self.problem())
        self.keep(self.MASTER)
        self.checkWell()


class Discovery(found_elsewhere.FoundElsewhere):
    programs = PROGRAMS
    SERVER = "consul"
    URI = "consul://10.90.0.1:8500/lab"

    @classmethod
    def command(cls, folder):
        return ["consul", "agent", "-server", "-bootstrap-expect=1", f"-data-dir={folder}", "-bind=10.90.0.1", "-client=0.0.0.0",
                "-log-level=warn", HCL]

    def get(self, key):
        return self.ask("get", f"lab/{key}")

    def put(self, key, value):
        self.ask("put", f"lab/{key}", value)

    def ask(self, *words):
        return self.n1.host.run("consul", "kv", *words, check=True).stdout.strip()


if __name__ == "__main__":
    if shutil.which("consul") is None:
        print("consul is not installed: its tests are skipped (scripts/setup)")
        sys.exit(77)
    unittest.main(verbosity=2)
