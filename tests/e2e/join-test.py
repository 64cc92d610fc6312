#!/usr/bin/env python3
"""Hosts that find their manager by discovery, and hosts that join wrongly.

usage: join-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import OTHER_CLOCK, REPOSITORY, eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
HUB = "10.90.0.1:2378"
HUB_PLUGINS = f"""
[[plugin]]
id = "discovery.hub"
config = {{ listen = "{HUB}" }}
[[plugin]]
id = "discovery.token"
"""
HOSTS = "/etc/orch/hosts"


class JoinTest(cluster.ClusterTest):
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1 = cls.cluster.hosts[0]

    def refused(self, node, *arguments, naming, status=1):
        done = node.orch(*arguments, check=False)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn(naming, done.stderr)


class Discovery(JoinTest):
    """n2 has a file of hosts, n3 a list in its manifest, n4 a token at the hub of the manager."""
    hosts = 4

    def configure(self, node, *uris, plugins=""):
        with open(os.path.join(REPOSITORY, "configs", "single.toml")) as file:
            text = file.read()
        self.assertIn("[node]\n", text)
        listed = ", ".join(f'"{uri}"' for uri in uris)
        node._write(cluster.MANIFEST, text.replace("[node]\n", f"[node]\ndiscovery = [{listed}]\n", 1) + plugins)
        node.orch("config", "reload")

    def atHub(self, uri):
        """{address: all that the hub knows of it}"""
        path = uri.split(HUB)[1].replace("/v1/", "/v1/clusters/")
        done = self.n1.host.run("curl", "-sS", f"http://{HUB}{path}?details=1")
        if done.returncode != 0:
            return {}  # it does not listen yet
        return {entry["address"]: entry for entry in json.loads(done.stdout)}

    def test_hosts_find_their_manager(self):
        n1, n2, n3, n4 = self.cluster.hosts
        n1.orch("init")
        token = n1.orch("join-token", "-q", "worker").stdout.strip()
        self.refused(n2, "join", "--token", token, naming="name a manager, as in 10.0.0.1:2377, or say in the manifest", status=2)

        n2._write(HOSTS, "10.90.0.[1:4]:2377\n")
        self.configure(n2, f"file://{HOSTS}")
        self.configure(n3, "node://10.90.0.1:2377,10.90.0.77:2377")
        self.configure(n1, "node://10.90.0.1:2377", plugins=HUB_PLUGINS)
        hub = n1.orch("discovery", "create", f"token+http://{HUB}").stdout.strip()
        self.configure(n1, hub, plugins=HUB_PLUGINS)
        registered = lambda: self.atHub(hub)
        eventually("the manager is registered", lambda: registered().get("10.90.0.1:2377", {}).get("role") == "manager")
        self.configure(n4, hub)
        for node in (n2, n3, n4):
            node.orch("join", "--token", token)
        eventually("four are ready", lambda: self.states() == {f"n{number}": "ready" for number in (1, 2, 3, 4)})
        # Joining was a new beginning of the same process, by its name too.
        self.assertEqual(n2.host.run("ps", "-o", "comm=", str(n2.orchd)).stdout.strip(), "orchd")
        # A node registers itself where it can: role, node and cluster are told, too.
        eventually("n4 is registered at the hub", lambda: "10.90.0.4:2377" in registered())
        entry = registered()["10.90.0.4:2377"]
        self.assertEqual(entry["role"], "worker")
        self.assertEqual(entry["nodeId"], n4.json("info")["self"]["nodeId"])
        self.assertIn(f"-{entry['clusterDigest']}-", token)

        # Who is alive is not decided by discovery.
        n2._write(HOSTS, "10.90.0.77:2377\n")
        eventually("the file was read", lambda: "10.90.0.77:2377" in n2.orch("discovery", "ls", "-q").stdout.split())
        self.assertEqual(self.states(), {f"n{number}": "ready" for number in (1, 2, 3, 4)})

        # The manager moves: nothing that the nodes knew of it holds any more.
        n1.host.run("ip", "addr", "add", "10.90.0.101/24", "dev", "eth0", check=True)
        n1.orch("init", "--advertise-addr", "10.90.0.101")
        self.assertIn("10.90.0.101:2377", n1.orch("info", "--json").stdout)
        n2._write(HOSTS, "10.90.0.101:2377\n")
        eventually("n2 has found it", lambda: self.states().get("n2") == "ready")
        n2.crash()
        n2.start()
        eventually("n2 finds it after a restart", lambda: self.states().get("n2") == "ready" and n2.json("info")["self"]["connected"])


class Mistakes(JoinTest):
    """n1 is the manager; n2 has joined nothing."""
    hosts = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n2 = cls.cluster.hosts[1]
        cls.n1.orch("init")
        cls.token = cls.n1.orch("join-token", "-q", "worker").stdout.strip()

    def tearDown(self):
        """Nothing half-joined stays behind."""
        self.assertEqual(self.states(), {"n1": "ready"})
        self.assertFalse(self.n2.json("info")["self"].get("member"))
        self.assertFalse(os.path.exists(f"{self.n2.host.root()}/var/lib/orch/credentials"))
        self.assertEqual(self.n2.orch("node", "ls", "-q").returncode, 0)

    def occupied(self, node, address):
        """Another program has the port."""
        script = f"import socket, time; s = socket.create_server(('{address}', 2377)); print('ready', flush=True); time.sleep(600)"
        process = subprocess.Popen(node.host.command("python3", "-c", script), stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")

    def test_a_port_that_is_in_use(self):
        self.occupied(self.n2, "10.90.0.2")
        self.refused(self.n2, "join", "--token", self.token, "10.90.0.1",
                     naming="cannot listen at '10.90.0.2:2377': Address already in use; is another program using the port")

    def test_an_address_that_is_another_hosts(self):
        self.refused(self.n2, "join", "--advertise-addr", "10.90.0.99", "--token", self.token, "10.90.0.1",
                     naming="cannot listen at '10.90.0.99:2377': Cannot assign requested address")

    def test_managers_that_are_none(self):
        self.refused(self.n2, "join", "--token", self.token, "10.90.0.201", naming="manager '10.90.0.201:2377': Connection refused")
        self.refused(self.n2, "join", "--token", self.token, "10.90.0.77", naming="manager '10.90.0.77:2377': ")
        self.refused(self.n2, "join", "--token", self.token, "10.90.0.1:99", naming="manager '10.90.0.1:99': Connection refused")
        self.refused(self.n2, "join", "--token", self.token, "nosuchhost", naming="manager 'nosuchhost:2377': ")

    def test_a_manager_that_answers_too_late(self):
        """Its disk stands still for longer than a host waits that joins: nobody is left of it."""
        before = self.n1.orch("node", "ls", "-q").stdout
        self.n1.stallDisk()
        try:
            self.refused(self.n2, "join", "--token", self.token, "10.90.0.1", naming="it did not answer within 10 s")
        finally:
            self.n1.resumeDisk()
        self.n1.orch("join-token", "--rotate", "manager")  # is written after that
        eventually("no node is left of it", lambda: self.n1.orch("node", "ls", "-q").stdout == before)

    def test_tokens_that_are_none(self):
        self.refused(self.n2, "join", "10.90.0.1", naming="the token of the cluster, as 'orch join-token worker' prints it", status=2)
        self.refused(self.n2, "join", "--token", "x", "10.90.0.1", naming="this is no token of orch: expected ORCHTKN-1-", status=2)
        self.refused(self.n2, "join", "--token", self.token + "x", "10.90.0.1", naming="the token is not valid, or no longer: 'orch join-token worker'")

    def test_a_clock_that_is_a_year_off(self):
        self.addCleanup(self.n2.start)
        self.addCleanup(self.n2.stop)
        for offset, reason in (("-365d", "the authority of the cluster is not valid before 20"), ("+365d", "its certificate has expired, as this host's clock has it")):
            self.n2.stop()
            self.n2.start(*OTHER_CLOCK, f"FAKETIME={offset}")
            self.refused(self.n2, "join", "--token", self.token, "10.90.0.1", naming=reason)
            self.refused(self.n2, "join", "--token", self.token, "10.90.0.1", naming="clock")

    def test_a_cluster_of_its_own(self):
        self.refused(self.n1, "join", "--token", self.token, "10.90.0.1", naming="this node is in a cluster of several nodes already; 'orch leave' first")
        self.refused(self.n1, "leave", naming="this node is the only manager")
        self.refused(self.n2, "leave", naming="this host is in no cluster of several nodes: there is nothing to leave")

    def test_another_cluster_and_twice(self):
        """A node of one cluster joins no other, and none twice."""
        self.n2.orch("join", "--token", self.token, "10.90.0.1")
        other = "ORCHTKN-1-" + "0" * 64 + "-secret"
        for token in (self.token, other):
            self.refused(self.n2, "join", "--token", token, "10.90.0.1", naming="this node is in a cluster of several nodes already; 'orch leave' first")
        eventually("it is ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})
        self.refused(self.n1, "node", "rm", "n2", naming="node 'n2' is ready; 'orch leave' on it first, or use --force")
        self.n2.orch("leave")
        eventually("it is down", lambda: self.states()["n2"] == "down")
        self.n1.orch("node", "rm", "n2")


if __name__ == "__main__":
    unittest.main(verbosity=2)
