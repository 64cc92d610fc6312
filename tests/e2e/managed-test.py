#!/usr/bin/env python3
"""A cluster that runs its etcd itself: its members come and go with the managers, and any host may go.

usage: managed-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import shutil
import signal
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from certificates import Authority  # noqa: E402
from single import eventually  # noqa: E402
from several_managers import Creating, leaderOf, services, status  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
FOLDER = "/var/lib/orch/store.etcd"


def etcdctl(node, *words):
    files = [f"--cacert={FOLDER}/tls/ca.pem", f"--cert={FOLDER}/tls/member.pem", f"--key={FOLDER}/tls/member.key"]
    return node.host.run("env", "ETCDCTL_API=3", "etcdctl", "--endpoints=https://127.0.0.1:2374", "--command-timeout=2s", *files, *words)


def members(node):
    """{address: whether it votes}, as its etcd says; nothing if that does not answer."""
    asked = etcdctl(node, "member", "list", "--write-out=json")
    if asked.returncode != 0:
        return {}
    return {each["peerURLs"][0].split("/")[-1].split(":")[0]: "isLearner" not in each for each in json.loads(asked.stdout)["members"]}


class Managed(unittest.TestCase):
    HOSTS = 4

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(f"test-managed-{os.getpid()}", PROGRAMS, cls.HOSTS)
        cls.cluster.create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3, cls.n4 = cls.cluster.hosts
        worker = cls.n1.orch("init").stdout.splitlines()[-1].split()
        for node in (cls.n2, cls.n3, cls.n4):
            node.orch(*worker[1:])
        cls.n1.makeImages(1)

    def etcdOf(self, node):
        """Its process, or nothing."""
        found = node.host.run("pgrep", "-x", "etcd").stdout.split()
        return int(found[0]) if found else None

    def told(self, node, what):
        return node.orch("cluster", "status", "--format", what).stdout.strip()

    def awaitMembers(self, *nodes):
        """Those, all with a vote, as each of them says."""
        wanted = {node.address: True for node in nodes}
        eventually(f"the etcd's members are {', '.join(node.name for node in nodes)}",
                   lambda: all(members(node) == wanted for node in nodes))

    def test_it_comes_with_a_second_manager_and_grows_and_any_host_may_go(self):
        eventually("all are ready", lambda: sorted(status(self.n1).values()) == ["ready leader"] + ["ready worker"] * 3)
        self.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--replicas", "4", "--restart-delay", "0s", "web:1", "/bin/web")
        eventually("they run", lambda: len(self.n1.running("web")) == 4)
        kept = {node: set(node.webServers()) for node in (self.n2, self.n3, self.n4)}
        with Creating(self.n1, "m") as creating:
            eventually("some are made", lambda: len(creating.acknowledged) > 3)
            self.n1.orch("node", "promote", "n2")
            before = len(creating.acknowledged)
            eventually("some are made in the other store", lambda: len(creating.acknowledged) > before + 3)
            self.assertEqual(self.told(self.n1, "{{.Store.Name}}"), "store.etcd")
            self.n1.orch("node", "promote", "n3")
            self.awaitMembers(self.n1, self.n2, self.n3)
        self.assertEqual(creating.refused, [])
        made = {"web"} | set(creating.acknowledged)
        eventually("three manage", lambda: sorted(status(self.n1).values()) == ["ready leader", "ready manager", "ready manager", "ready worker"])
        self.assertIsNone(self.etcdOf(self.n4))
        eventually("one can be lost, of all hosts", lambda: self.told(self.n2, "{{.CanLose}}") == "1")

        # All of the leader's host.
        with Creating(self.n2, "a") as creating:
            eventually("some are made", lambda: len(creating.acknowledged) > 3)
            self.n1.poweroff()
            before = len(creating.acknowledged)
            eventually("another manager accepts them", lambda: len(creating.acknowledged) > before + 3)
        made |= set(creating.acknowledged)
        self.assertLessEqual(made, services(self.n3))
        second = leaderOf(self.cluster, self.n2, self.n3)
        eventually("its tasks run elsewhere", lambda: len(self.n3.running("web")) == 4)
        for node, servers in kept.items():
            self.assertLessEqual(servers, set(node.webServers()), f"{node.name} has kept its tasks")

        # It comes back, with the etcd that it had.
        self.n1.start()
        self.awaitMembers(self.n1, self.n2, self.n3)
        eventually("it follows", lambda: status(self.n1).get("n1") == "ready manager")
        self.assertEqual(leaderOf(self.cluster, self.n1, self.n2, self.n3), second)

        # orchd and etcd die on the leader's host, one at a time.
        for round, die in (("b", lambda node: node.kill(self.etcdOf(node), signal.SIGKILL)), ("c", lambda node: node.crash())):
            leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
            others = [node for node in (self.n1, self.n2, self.n3) if node is not leader]
            with Creating(others[0], round) as creating:
                eventually("some are made", lambda: len(creating.acknowledged) > 3)
                die(leader)
                before = len(creating.acknowledged)
                eventually("they are accepted", lambda: len(creating.acknowledged) > before + 3)
            if leader.state() == "stopped":
                eventually("its etcd is gone with it", lambda: self.etcdOf(leader) is None)
                leader.start()
            made |= set(creating.acknowledged)
            self.assertLessEqual(made, services(others[1]))
            self.awaitMembers(self.n1, self.n2, self.n3)

        # A manager goes, and another one comes; then one has lost its etcd's data.
        leader = leaderOf(self.cluster, self.n1, self.n2, self.n3)
        gone, stays = [node for node in (self.n1, self.n2, self.n3) if node is not leader]
        eventually("all are ready", lambda: sorted(status(leader).values()) == ["ready leader", "ready manager", "ready manager", "ready worker"])
        leader.orch("node", "demote", gone.name)
        eventually("its etcd is gone", lambda: self.etcdOf(gone) is None)
        eventually("and its data", lambda: gone.host.run("ls", FOLDER).stdout.split() == [])
        self.awaitMembers(leader, stays)
        leader.orch("node", "promote", "n4")
        self.awaitMembers(leader, stays, self.n4)
        eventually("it manages", lambda: status(self.n4).get("n4") == "ready manager")
        self.loses(stays, self.n4)
        self.awaitMembers(leader, stays, self.n4)
        self.assertLessEqual(made, services(stays))
        eventually("four run", lambda: len(self.n4.running("web")) == 4)

        # The first one again, which was a worker meanwhile.
        leader.orch("node", "promote", gone.name)
        self.awaitMembers(*self.cluster.hosts)

    def loses(self, node, other):
        """Its etcd's data. Without the other one nobody can give it a new member: it says what is missing meanwhile."""
        for each in (node, other):
            each.stop()
        node.host.run("rm", "-rf", f"{FOLDER}/etcd", check=True)
        node.start()
        words = f"this host's etcd has lost its data, '{FOLDER}/etcd', and is made anew once most of the other managers' answer"
        eventually("it says so", lambda: self.told(node, "{{.Store.Problem}}").count(words) == 1)
        self.assertIn(f" Problem: {words}", node.orch("cluster", "status").stdout)
        other.start()
        eventually("it says so no more", lambda: self.told(node, "{{.Store.Problem}}") in ("", "<no value>"))

    def test_its_ports_are_closed_to_workers(self):
        """One who has a worker's certificate, and one who has none, from another host and from a manager's own."""
        self.n1.orch("cluster", "migrate", "--to", "store.etcd")  # or it is there already
        eventually("an etcd runs", lambda: self.etcdOf(self.n1))
        folder = tempfile.mkdtemp(prefix=f"orch-managed-{os.getpid()}-")
        self.addCleanup(shutil.rmtree, folder)
        worker = Authority.ofCluster(self.n1, folder).sign(folder, "worker", "orch-worker", "n" * 25)
        shown = ["--cert", worker[0], "--key", worker[1]]

        def ask(host, address, *options):
            return host.run("curl", "--silent", "--show-error", "--http1.1", "--insecure", "--max-time", "10", *options, f"https://{address}")
        outside, own = self.cluster.client.host, self.n1.host
        self.assertIn("Failed to connect", ask(outside, f"{self.n1.address}:2374", *shown).stderr)
        for host, address in ((outside, f"{self.n1.address}:2378/members"), (own, f"{self.n1.address}:2378/members"), (own, "127.0.0.1:2374/version")):
            for options in (shown, []):
                asked = ask(host, address, *options)
                # It connects; the alert comes after its end of the handshake, or is lost in a reset: curl has many names for that.
                self.assertNotIn(asked.returncode, (0, 7, 28), asked.stdout + asked.stderr)
                self.assertEqual(asked.stdout, "")
        member = ["--cert", f"{FOLDER}/tls/member.pem", "--key", f"{FOLDER}/tls/member.key"]
        self.assertIn("etcdserver", ask(own, "127.0.0.1:2374/version", *member).stdout)
        allowed = ask(own, f"{self.n1.address}:2378/members", *member)
        self.assertIn("peerURLs", allowed.stdout, allowed.stderr)

    def test_the_authority_is_another_one_in_an_etcd_that_is_made_anew(self):
        self.n1.orch("cluster", "migrate", "--to", "store.etcd")
        last = leaderOf(self.cluster, *self.cluster.hosts)
        for node in self.cluster.hosts:
            if node is not last and status(last)[node.name] != "ready worker":
                last.orch("node", "demote", node.name)
        # Also those that have been demoted before.
        eventually("the others' etcd is gone", lambda: not any(self.etcdOf(node) for node in self.cluster.hosts if node is not last))
        before = last.host.run("cat", f"{FOLDER}/tls/ca.pem", check=True).stdout
        last.orch("cluster", "migrate", "--to", "store.local")
        last.stop()
        last.host.run("rm", "-r", FOLDER, check=True)
        last.start()
        eventually("it leads again", lambda: status(last)[last.name] == "ready leader")
        last.orch("cluster", "migrate", "--to", "store.etcd")
        self.assertNotEqual(last.host.run("cat", f"{FOLDER}/tls/ca.pem", check=True).stdout, before)

    def test_who_goes_on_alone_leaves_no_member_to_those_who_come_back(self):
        """Two of three are gone, as it seems for good, and the one that led comes back."""
        back = leaderOf(self.cluster, *self.cluster.hosts)
        staying, gone, worker = [node for node in self.cluster.hosts if node is not back]
        eventually("all are ready", lambda: all(said.startswith("ready") for said in status(back).values()))
        for node in (staying, gone):
            if status(back)[node.name] == "ready worker":
                back.orch("node", "promote", node.name)
        self.awaitMembers(back, staying, gone)
        eventually("one can be lost", lambda: self.told(back, "{{.CanLose}}") == "1")
        eventually("the copies are there", lambda: all(
            manager.get("behindMs", -1) >= 0 for manager in back.json("cluster", "status")["managers"] if manager["reach"] != "leader"))
        before = services(staying)
        for node in (back, gone):
            node.poweroff()
        eventually("nobody leads", lambda: self.told(staying, "{{.Leader}}") == "")
        self.assertIn("in 'store.local' of its own", staying.orch("init", "--force-new-cluster").stdout)
        self.assertIsNone(self.etcdOf(staying))
        self.assertEqual(services(staying), before)
        back.start()
        eventually("its etcd runs, and is one of three", lambda: self.etcdOf(back))
        refused = back.orch("service", "create", "--name", "other", "web:1", "/bin/web", check=False)
        self.assertNotEqual(refused.returncode, 0)
        eventually("the worker has stayed", lambda: status(staying).get(worker.name) == "ready worker")
        # It is a node of the cluster that there is, and a manager, as anybody.
        back.orch("leave", "--force")
        eventually("its member is gone", lambda: self.etcdOf(back) is None)
        token = staying.orch("join-token", "worker").stdout.splitlines()[-1].split()
        eventually("it joins", lambda: back.orch(*token[1:], check=False).returncode == 0)
        eventually("it is there", lambda: status(staying).get(back.name) == "ready worker")
        staying.orch("node", "promote", back.name)
        self.awaitMembers(staying, back)
        self.assertEqual(services(back), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
