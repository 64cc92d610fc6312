#!/usr/bin/env python3
"""Published ports answer on every host of a cluster, with the client's address at the container.

usage: mesh-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import unittest

TESTBED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed")
sys.path.insert(0, TESTBED)
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
ALL = ("n1", "n2", "n3")


def tool(name):
    return os.path.abspath(os.path.join(TESTBED, name))


class Mesh(cluster.MemberTest):
    programs = PROGRAMS

    @property
    def client(self):
        return self.cluster.client

    def get(self, host, port, source=None):
        """What the web server says that a client gets to by that host's port; empty if nobody answers."""
        run = (source or self.client).host.run
        return run("timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{host}:{port}/").stdout.split(" ")[0]

    @staticmethod
    def logOf(node):
        with open(node.log) as file:
            return file.read()

    def node(self, name):
        return next(node for node in self.cluster.hosts if node.name == name)

    def settled(self, port, replicas, hosts=ALL):
        """Returns when all of them are reached by each of the hosts."""
        for host in hosts:
            eventually(f"{replicas} answer on {host}",
                       lambda: len({self.get(host, port) for _ in range(replicas)} - {""}) == replicas)

    def serve(self, service, *ports):
        """An `echo-peer` for each of the ports, beside each container of the service."""
        for task in self.n1.running(service).values():
            node = self.node(self.hostOf(task))
            pid = str(task["status"]["container"]["pid"])
            for port in ports:
                self.spawn(node, "nsenter", "-t", pid, "-n", "--", tool("echo-peer"), str(port))

    def spawn(self, node, *command):
        """A program on the host until the end of the test; where its output is."""
        log = f"{node.host.folder}/{os.path.basename(command[0])}-{len(os.listdir(node.host.folder))}.log"
        started, _ = node.host.spawn(command, log)
        self.addCleanup(node.host.run, "kill", "-9", str(started))  # unless it has ended with its connection
        return log

    def peers(self, *options, port=5000):
        """A service of `echo-peer`s that all hosts lead to."""
        self.create("-p", f"8080:{port}", "-p", f"8080:{port}/udp", *options, name="peer")
        self.serve("peer", port)
        for node in ALL:
            eventually(f"peers answer on {node}", lambda: self.askAll("tcp", 0, f"{node}:8080")[0].count(":") == 1)

    def keepAsking(self, target, source=None, *into):
        """Over one connection from now on, of `source` (the client). What it answers tells how often it was
        answered; it fails if the connection is broken."""
        host, port = target.split(":")
        address = self.node(host).address if host in ALL else host
        log = self.spawn(source or self.client, *into, tool("keep-asking"), f"{address}:{port}")

        def count():
            with open(log) as file:
                lines = file.read().splitlines()
            counts = [line.split() for line in lines if line[0].isdigit()]
            self.assertEqual(len(counts), len(lines), lines[-1:])
            return int(counts[-1][0]) if counts else 0
        eventually("the connection is used", count)
        return count

    def goesOn(self, count):
        before = count()
        eventually("the connection goes on", lambda: count() > before + 20)

    def left(self, node):
        """What there is of the mesh and of published ports."""
        run = lambda *command: node.host.run(*command).stdout
        found = [line for line in run("nft", "list", "tables").splitlines() if "orch-ingress" in line]
        found += ["orch-mesh"] if "orch-mesh" in run("ip", "-o", "link") else []
        found += [line for line in run("ip", "rule").splitlines() if "0x6f726368" in line]
        found += run("ip", "route", "show", "table", "28530").splitlines()
        return found + [line for line in run("ss", "-lntu").splitlines() if ":8080" in line]

    def askAll(self, protocol, sourcePort, *targets, source=None):
        """`targets`: host:port; each host by its name."""
        addresses = [f"{self.node(target.split(':')[0]).address}:{target.split(':')[1]}" for target in targets]
        asked = (source or self.client).host.run(tool("ask-all"), protocol, str(sourcePort), *addresses)
        return asked.stdout.splitlines() or [asked.stderr]

    def test_every_host_answers_and_all_tasks_take_turns(self):
        self.create("--replicas", "6", "-p", "8080:80")
        self.assertEqual(self.spread(), {"n1": 2, "n2": 2, "n3": 2})
        self.settled(8080, 6)
        for host in ALL:
            answers = [self.get(host, 8080) for _ in range(12)]
            self.assertEqual(len(set(answers)), 6, answers)
            self.assertEqual({answers.count(one) for one in answers}, {2}, f"each in turn, by {host}")
        for node in self.cluster.hosts:
            for host in ("127.0.0.1", *ALL):
                self.assertTrue(self.get(host, 8080, source=node), f"{node.name} asks {host}")

        # Where there is no task any more the port answers all the same, and nobody is sent to a host
        # that is gone.
        self.n1.orch("service", "scale", "web=1")
        self.settled(8080, 1)
        last = self.node(next(iter(self.spread())))
        if last is not self.n1:
            last.poweroff()
            eventually("the one that takes its place answers",
                       lambda: all(self.get(node.name, 8080) for node in self.cluster.hosts if node is not last))
            last.start()
        self.n1.orch("service", "rm", "web")
        for node in self.cluster.hosts:
            eventually(f"{node.name} lets go of the port",
                       lambda: ":8080" not in node.host.run("ss", "-lntu").stdout)

    def test_a_host_leads_to_its_own_tasks_alone_where_they_are_preferred(self):
        self.create("--replicas", "2", "--constraint", "node.hostname!=n3", "-p", "published=8080,target=80,prefer=local")
        self.assertEqual(self.spread(), {"n1": 1, "n2": 1})
        answers = lambda host: {self.get(host, 8080) for _ in range(6)}
        for host, count in (("n1", 1), ("n2", 1), ("n3", 2)):
            eventually(f"{count} answer on {host}", lambda: len(answers(host)) == count and "" not in answers(host))
        self.assertNotEqual(answers("n1"), answers("n2"))
        trace = lambda host: self.n1.orch("net", "trace", ":8080", "--from", host).stdout
        self.assertIn("port 8080/tcp is published by web, of which it prefers its own; n1 leads a new connection to the next of 1\n",
                      trace("n1"))
        self.assertIn("n3 leads a new connection to the next of 2\n", trace("n3"))
        self.assertIn(f"by orch-mesh to {self.node('n2').address}, which leads it to one of its tasks", trace("n3"))
        self.n1.orch("service", "scale", "web=1")
        there = next(iter(self.spread()))
        for host in ALL:
            eventually(f"the one on {there} answers on {host}", lambda: len(answers(host)) == 1 and "" not in answers(host))

    def test_containers_see_the_client(self):
        self.peers("--replicas", "1")
        for protocol in ("tcp", "udp"):
            for host in ALL:
                answers = self.askAll(protocol, 0, f"{host}:8080")
                self.assertEqual(answers[0].split(":")[0], self.client.address, f"{protocol} by {host}")

    def test_equal_clients_by_three_hosts_are_connections_of_their_own(self):
        self.peers("--replicas", "1")
        for protocol in ("tcp", "udp"):
            for port in range(31000, 31020):
                answers = self.askAll(protocol, port, *(f"{host}:8080" for host in ALL))
                self.assertEqual([answer.split(":")[0] for answer in answers], [self.client.address] * 3, protocol)

    def test_containers_reach_published_ports_of_any_host_and_their_own(self):
        self.create("--mode", "global", "-p", "8080:80")
        self.settled(8080, 3)
        for task in self.n1.running("web").values():
            node = self.node(self.hostOf(task))
            pid = str(task["status"]["container"]["pid"])
            for host in self.cluster.hosts:
                answers = {node.host.run("timeout", "5", "nsenter", "-t", pid, "-n", "--", "busybox", "wget", "-q", "-O", "-",
                                         f"http://{host.address}:8080/").stdout.split(" ")[0] for _ in range(3)}
                self.assertEqual(len(answers - {""}), 3, f"a task of {node.name} asks {host.name}: {answers}")

    def test_a_port_that_a_program_of_a_host_has_is_left_to_it_and_named(self):
        program, _ = self.n3.host.spawn([tool("echo-peer"), "8080"], f"{self.n3.host.folder}/program.log")
        eventually("it listens", lambda: ":8080" in self.n3.host.run("ss", "-lnt").stdout)
        self.create("--replicas", "1", "--constraint", "node.hostname==n1", "-p", "8080:80")
        self.settled(8080, 1, hosts=("n1", "n2"))
        eventually("n3 says which port", lambda: "8080/tcp: another program listens on it" in self.logOf(self.n3))
        port = "port 8080/tcp is not answered on n3: another program listens on it"
        eventually("who looks after the service is told", lambda: port in self.n1.orch(
            "service", "scale", "--verify", "0s", "web=1").stderr)
        self.n3.kill(program)
        eventually("n3 answers once the port is free", lambda: self.get("n3", 8080))
        eventually("it is told of no more", lambda: port not in self.n1.orch("service", "scale", "--verify", "0s", "web=1").stderr)

    def test_ranges_of_ports_are_answered_on_by_all_hosts(self):
        self.create("--replicas", "1", "-p", "8000-8010:80-90")
        self.serve("web", *range(81, 91))
        self.settled(8000, 1)
        for host in ALL:
            for port in range(8001, 8011):
                eventually(f"{port} is answered on by {host}",
                           lambda: self.askAll("tcp", 0, f"{host}:{port}")[0].startswith(self.client.address))

    def test_connections_go_on_while_orchd_is_killed_and_starts_again(self):
        self.peers("--replicas", "1")
        held = self.askAll("tcp", 31500, *(f"{host}:8080" for host in ALL))
        self.assertEqual(len(held), 3)
        for node in self.cluster.hosts:
            node.crash()
        for host in ALL:
            answers = self.askAll("tcp", 0, f"{host}:8080")
            self.assertEqual(answers[0].split(":")[0], self.client.address, f"without orchd, by {host}")
        for node in self.cluster.hosts:
            node.launch()
        for node in self.cluster.hosts:
            node.awaitAnswers()
        for host in ALL:
            eventually(f"{host} answers", lambda: self.askAll("tcp", 0, f"{host}:8080")[0].startswith(self.client.address))

    def test_a_host_without_tasks_leads_on_while_its_orchd_is_killed_and_hears_of_no_manager(self):
        self.peers("--replicas", "1", "--constraint", "node.hostname==n3")
        asked = self.keepAsking("n2:8080")
        self.n2.crash()
        self.goesOn(asked)
        self.cluster.cut("n1", "n2")
        self.addCleanup(self.cluster.heal)
        self.n2.launch()
        self.n2.awaitAnswers()
        self.goesOn(asked)
        for _ in range(3):
            self.assertTrue(self.askAll("tcp", 0, "n2:8080")[0].startswith(self.client.address))
        self.cluster.heal()
        eventually("n2 is ready", lambda: self.states()["n2"] == "ready")
        self.goesOn(asked)
        self.n2.stop()
        self.goesOn(asked)
        self.n2.start()
        self.goesOn(asked)

    def test_connections_to_a_host_go_on_while_its_orchd_is_away(self):
        self.n1.orch("network", "create", "net")
        self.addCleanup(self.n1.orch, "network", "rm", "net")
        self.peers("--replicas", "1", "--constraint", "node.hostname==n3", "--network", "net")
        self.create("--replicas", "1", "--constraint", "node.hostname==n2", "--network", "net", name="client")
        inside = next(iter(self.n1.running("client").values()))["status"]["container"]["pid"]
        address = self.n1.json("service", "inspect", "peer")[0]["addresses"][0]["address"]
        asked = [self.keepAsking("n1:8080"), self.keepAsking(f"{address}:5000", self.n2, "nsenter", "-t", str(inside), "-n", "--")]
        for away in (self.n3.crash, self.n3.stop):
            away()
            eventually("n3 is called down", lambda: self.states()["n3"] == "down")
            for count in asked:
                self.goesOn(count)
            self.n3.start()
            eventually("n3 is ready", lambda: self.states()["n3"] == "ready")
            for count in asked:
                self.goesOn(count)

    def test_nothing_is_left_on_any_host_when_the_service_is_gone(self):
        self.peers("--replicas", "1")
        self.assertTrue(all(self.left(node) for node in self.cluster.hosts))
        self.n2.crash()
        self.n2.start()
        self.n1.orch("service", "rm", "peer")
        for node in self.cluster.hosts:
            eventually(f"nothing is left on {node.name}", lambda: not self.left(node))


if __name__ == "__main__":
    unittest.main()
