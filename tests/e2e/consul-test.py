#!/usr/bin/env python3
"""The cluster's state in a consul: orchd and consul die, and nothing acknowledged is lost. And hosts that find each other in one.

usage: consul-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import found_elsewhere  # noqa: E402
import kept_elsewhere  # noqa: E402

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
