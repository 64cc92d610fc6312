#!/usr/bin/env python3
"""The two-part article that introduced many to swarm mode, typed on three hosts: what it shows of hosts that
are one cluster and of the networks between them.

usage: article-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
PORT = 5000
# As the article's nginx with `proxy_pass`.
PROXY = """mkdir -p /www/cgi-bin
printf '#!/bin/sh\necho Content-Type: text/plain\necho\nwget -q -O - http://test:5000/\n' >/www/cgi-bin/pass
/bin/busybox chmod 755 /www/cgi-bin/pass
exec httpd -f -p 80 -h /www"""
LABEL = 'labels = { "com.example.storage" = "ssd" }\n'


class Article(cluster.ClusterTest):
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        cls.label(cls.n2)
        cls.n1.makeImages(1, 2)

    @classmethod
    def label(cls, node):
        """As the article's daemon with --label; here the manifest says it."""
        path = node.host.root() + cluster.MANIFEST
        with open(path) as file:
            text = file.read()
        node.stop()
        with open(path, "w") as file:
            file.write(re.sub(r"^(\[node\]\n)", rf"\1{LABEL}", text, count=1, flags=re.MULTILINE))
        node.start()

    def service(self, verb, *arguments):
        """Without the seconds for which one would watch that all stays up."""
        watched = ["--verify", "0s"] if verb in ("create", "scale", "update") else []
        return self.n1.orch("service", verb, *watched, *arguments).stdout

    def where(self, service):
        """{host: how many of its tasks run there}"""
        counts = {}
        for task in self.n1.running(service).values():
            counts[self.names()[task["nodeId"]]] = counts.get(self.names()[task["nodeId"]], 0) + 1
        return counts

    def names(self):
        return {node["meta"]["id"]: node["description"]["hostname"] for node in self.n1.json("node", "ls")}

    def become(self, service, **counts):
        eventually(f"'{service}' runs as {counts}", lambda: self.where(service) == counts)

    def table(self, *arguments):
        """The rows of a list, as {column: text}, by their first column."""
        lines = self.n1.orch(*arguments).stdout.splitlines()
        starts = [match.start() for match in re.finditer(r"(?<!\S)\S+(?: \S+)*", lines[0])] + [None]
        cut = lambda line: [line[start:end].strip() for start, end in zip(starts, starts[1:])]
        return [dict(zip(cut(lines[0]), cut(line))) for line in lines[1:]]

    def answers(self, host, place=f"{PORT}/"):
        """Which containers a client far away hears of at that host's port. A server that does not listen yet
        is waited for."""
        load = f"{single.REPOSITORY}/tests/testbed/load"
        done = self.cluster.client.host.run(load, f"http://{host.address}:{place}", "--count", "12", "--retry", str(single.PATIENCE), check=True)
        seen = json.loads(done.stdout)
        self.assertEqual(seen["failed"], 0, seen)
        return seen["answers"]

    def test_what_the_article_does_works_as_it_says(self):
        for step in (self.aClusterInTwoCommands, self.servicesOnANetwork, self.aProxyInFrontOfSix, self.aServiceOfOne, self.sixOnThreeHosts, self.oneInFrontOfAll,
                     self.aHostLeaves, self.twoHostsFail, self.onHostsWithALabel, self.twoAtATime):
            with self.subTest(step.__name__):
                step()

    def aClusterInTwoCommands(self):
        said = self.n1.orch("init", "--advertise-addr", self.n1.address).stdout
        self.join = next(line.split() for line in said.splitlines() if " join " in line)
        self.assertEqual(self.join[:3], ["orch", "join", "--token"])
        for node in (self.n2, self.n3):
            node.orch(*self.join[1:])
        eventually("three are ready", lambda: {row["STATUS"] for row in self.table("node", "ls")} == {"Ready"})
        rows = {row["HOSTNAME"]: row for row in self.table("node", "ls")}
        self.assertEqual(sorted(rows), ["n1", "n2", "n3"])
        self.assertEqual({row["AVAILABILITY"] for row in rows.values()}, {"Active"})
        self.assertEqual([rows[name]["MANAGER STATUS"] for name in ("n1", "n2", "n3")], ["Leader", "", ""])

    def servicesOnANetwork(self):
        """They reach each other from host to host, by name."""
        self.n1.orch("network", "create", "-d", "overlay", "mynet")
        self.service("create", "--replicas", "3", "--name", "frontend", "--network", "mynet", "--publish", "80:80/tcp", "web:1", "/bin/web")
        self.service("create", "--name", "redis", "--network", "mynet", "web:1", "/bin/web")
        self.become("frontend", n1=1, n2=1, n3=1)
        for host in self.cluster.hosts:
            eventually(f"three answer on {host.name}", lambda: sorted(self.answers(host, "80/").values()) == [4] * 3)
        for name, tasks in (("redis", 1), ("frontend", 3)):
            for slot in self.n1.running("frontend"):
                heard = {self.fromInside("frontend", slot, f"http://{name}/") for _ in range(tasks)}
                self.assertEqual(len(heard - {""}), tasks, f"frontend.{slot} asks {name}: {heard}")
        self.removed("mynet", "frontend", "redis")

    def aProxyInFrontOfSix(self):
        """The name of the service is an address that stands for all of its tasks, on whichever hosts."""
        self.n1.orch("network", "create", "-d", "overlay", "test")
        self.service("create", "--name", "test", "--replicas", "6", "--network", "test", "-e", f"PORT={PORT}", "web:1", "/bin/web")
        self.service("create", "--name", "nginx", "--replicas", "3", "--network", "test", "-p", "80:80", "web:1", "/bin/sh", "-c", PROXY)
        self.become("test", n1=2, n2=2, n3=2)
        self.become("nginx", n1=1, n2=1, n3=1)
        address = self.n1.json("service", "inspect", "test")[0]["addresses"][0]["address"]
        said = self.enter("nginx", 1, "/bin/busybox", "nslookup", "-type=a", "test", "127.0.0.11")
        self.assertEqual([line.split()[-1] for line in said.partition("Name:")[2].splitlines() if line.startswith("Address")], [address])
        for host in self.cluster.hosts:
            seen = set()
            eventually(f"six answer behind {host.name}", lambda: seen.update(self.answers(host, "80/cgi-bin/pass")) or len(seen) == 6)
        self.removed("test", "nginx", "test")

    def enter(self, service, slot, *command):
        """What a program says in one of its tasks."""
        task = self.n1.running(service)[slot]
        host = self.cluster.host(self.names()[task["nodeId"]])
        return host.host.run("nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "-m", "--", *command).stdout

    def fromInside(self, service, slot, url):
        return eventually(f"{url} is heard of", lambda: self.enter(service, slot, "/bin/busybox", "timeout", "5", "/bin/wget", "-q", "-O", "-", url))

    def removed(self, network, *services):
        for name in services:
            self.service("rm", name)
        eventually("nobody is on the network", lambda: self.n1.orch("network", "rm", network, check=False).returncode == 0)

    def aServiceOfOne(self):
        self.n1.orch("service", "create", "--detach", "--name", "test", "-p", f"{PORT}:{PORT}", "-e", f"PORT={PORT}", "web:1", "/bin/web")
        eventually("1/1", lambda: self.table("service", "ls")[0]["REPLICAS"] == "1/1")
        row, = self.table("service", "ps", "test")
        self.assertIn(row["NODE"], ("n1", "n2", "n3"))
        self.assertTrue(row["CURRENT STATE"].startswith("Running"), row)

    def sixOnThreeHosts(self):
        self.service("scale", "test=6")
        self.become("test", n1=2, n2=2, n3=2)
        for host in self.cluster.hosts:
            eventually(f"six answer in turn on {host.name}", lambda: self.sixInTurn(host))

    def sixInTurn(self, host):
        return sorted(self.answers(host).values()) == [2] * 6

    def oneInFrontOfAll(self):
        """On every host, also on those that come later."""
        self.n3.orch("leave")
        self.n1.orch("node", "rm", "n3")
        self.service("create", "--mode=global", "--name", "extend_frontend", "web:1", "/bin/web")
        self.become("extend_frontend", n1=1, n2=1)
        self.n3.orch(*self.join[1:])
        self.become("extend_frontend", n1=1, n2=1, n3=1)
        self.service("rm", "extend_frontend")

    def aHostLeaves(self):
        """By a command, and by its daemon's end: the rest goes on."""
        self.service("scale", "test=1")
        self.service("scale", "test=6")
        self.become("test", n1=2, n2=2, n3=2)
        self.n3.orch("leave")
        self.become("test", n1=3, n2=3)
        for host in (self.n1, self.n2):
            eventually(f"six answer on {host.name}", lambda: self.sixInTurn(host))
        self.n1.orch("node", "rm", "n3")
        self.n3.orch(*self.join[1:])
        eventually("three are ready", lambda: {row["STATUS"] for row in self.table("node", "ls")} == {"Ready"})

    def twoHostsFail(self):
        self.service("create", "--replicas", "3", "--name", "frontend", "web:1", "/bin/web")
        self.become("frontend", n1=1, n2=1, n3=1)
        for host in (self.n2, self.n3):
            host.poweroff()
        self.become("frontend", n1=3)
        self.service("scale", "frontend=6")
        self.become("frontend", n1=6)
        for host in (self.n2, self.n3):
            host.start()
        eventually("three are ready", lambda: {row["STATUS"] for row in self.table("node", "ls")} == {"Ready"})
        self.service("rm", "frontend")

    def onHostsWithALabel(self):
        """With the single '=' that docker itself refuses."""
        self.service("create", "--name", "fast", "--replicas", "3", "--constraint",
                     "engine.labels.com.example.storage=ssd", "web:1", "/bin/web")
        self.assertEqual(self.where("fast"), {"n2": 3})
        self.service("rm", "fast")

    def twoAtATime(self):
        """A rolling update, and back."""
        self.service("scale", "test=1")
        self.service("scale", "test=6")
        self.become("test", n1=2, n2=2, n3=2)
        self.service("update", "--update-parallelism", "2", "--update-delay", "1s", "--update-order", "start-first",
                     "--image", "web:2", "test")
        self.assertEqual(self.versions(), {"2"})
        self.service("update", "--image", "web:1", "test")
        self.assertEqual(self.versions(), {"1"})

    def versions(self):
        """That answer; an update that starts first may leave a host without a task."""
        hosts = [self.cluster.host(name) for name in self.where("test")]
        return {name.split()[1] for host in hosts for name in self.answers(host)}


if __name__ == "__main__":
    unittest.main(verbosity=2)
