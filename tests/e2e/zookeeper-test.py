#!/usr/bin/env python3
"""The cluster's state in a ZooKeeper: orchd and ZooKeeper die, and nothing acknowledged is lost. And hosts that find each other in one.

usage: zookeeper-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import found_elsewhere  # noqa: E402
import java  # noqa: E402
import kept_elsewhere  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Zookeeper(kept_elsewhere.KeptElsewhere, unittest.TestCase):
    PROGRAMS = PROGRAMS
    SERVER = "zookeeper"
    URL = "127.0.0.1:2181"

    @classmethod
    def command(cls, folder):
        return java.zookeeper(f"{folder}/zookeeper", ["clientPortAddress=127.0.0.1", "tickTime=2000"])

    def keys(self, below):
        folder, kind = below.split("/")
        listed = java.ask(self.node.host, "127.0.0.1", "ls", "-R", f"/orch/{folder}")
        return [line for line in listed if f"/{kind.strip()}:" in line]


class Discovery(found_elsewhere.FoundElsewhere):
    programs = PROGRAMS
    SERVER = "zookeeper"
    URI = "zk://10.90.0.1:2181/lab"

    @classmethod
    def command(cls, folder):
        return java.zookeeper(folder, ["clientPortAddress=10.90.0.1", "tickTime=2000"])

    def get(self, key):
        return java.ask(self.n1.host, "10.90.0.1", "get", f"/lab/{key}")[-1]

    def put(self, key, value):
        java.ask(self.n1.host, "10.90.0.1", "create", f"/lab/{key}", value)


if __name__ == "__main__":
    unittest.main(verbosity=2)
