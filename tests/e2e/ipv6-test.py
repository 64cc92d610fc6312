#!/usr/bin/env python3
"""IPv6 beside IPv4 on three hosts, with the programs that a user has: networks that span them, and
published ports.

usage: ipv6-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402

TESTBED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed")
PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


def tool(name):
    return os.path.abspath(os.path.join(TESTBED, name))


class Networks(cluster.NetworkTest):
    programs = PROGRAMS

    def get(self, kind, service, host):
        """What the web server says that a program in a container of the service gets to at `http://host/`. The
        program knows one kind of addresses alone, and asks the container's name server."""
        task = min(self.n1.running(service).values(), key=self.hostOf)  # not on n3, which will be gone
        node = next(node for node in self.cluster.hosts if node.name == self.hostOf(task))
        pid = task["status"]["container"]["pid"]
        names = os.path.join(single.rootOf(pid), "etc", "resolv.conf")
        script = (f"mount -t tmpfs none /mnt && cp {names} /mnt/ && "
                  f"mount --bind /mnt/resolv.conf /etc/resolv.conf && exec curl -s -{kind} --max-time 5 'http://{host}/'")
        done = node.host.run("nsenter", "-t", str(pid), "-n", "--", "unshare", "-m", "sh", "-c", script)
        return done.stdout.split(" ")[0]

    def test_services_find_each_other_by_either_kind_on_all_hosts(self):
        self.n1.orch("network", "create", "--ipv6", "--subnet", "fd77:1::/64", "--subnet", "10.77.0.0/24", "front")
        self.n1.orch("network", "create", "--ipv6", "other")
        shown = json.loads(self.n1.orch("network", "inspect", "front").stdout)[0]
        self.assertEqual((shown["subnet6"], shown["gateway6"]), ("fd77:1::/64", "fd77:1::1"))
        self.create("--replicas", "6", "--network", "front,alias=db")
        self.create("--mode", "global", "--network", "front", name="client")
        self.create("--network", "other", name="stranger")
        self.assertEqual(self.spread(), {"n1": 2, "n2": 2, "n3": 2})
        for kind in (6, 4):
            eventually("six answer", lambda: len({self.get(kind, "client", "web") for _ in range(6)} - {""}) == 6)
            answers = [self.get(kind, "client", "web") for _ in range(12)]
            self.assertEqual(sorted(answers.count(one) for one in set(answers) - {""}), [2] * 6, f"in turn: {answers}")
            self.assertIn(self.get(kind, "client", "db.front"), answers)
        for slot, task in self.n1.running("web").items():
            leg = task["legs"][0]
            place = int(leg["address"].split("/")[0].split(".")[3])
            self.assertEqual(leg["address6"], f"fd77:1::{place:x}/64")
            by = {self.get(6, "client", host) for host in (f"web.{slot}", f"[fd77:1::{place:x}]")}
            self.assertEqual(len(by - {""}), 1, "a name and its address are the same task's")
        self.assertEqual(self.get(6, "stranger", "web"), "", "it is on another network")
        eventually("all is as it should be", lambda: self.n1.orch("network", "check", check=False).returncode == 0)

        # Nobody is sent to the tasks of a host that is gone, and those that take their place are found.
        self.n3.poweroff()
        eventually("six answer again",
                   lambda: len({self.get(6, "client", "web") for _ in range(6)} - {""}) == 6)
        self.n3.start()

    def test_subnets_that_hosts_have_are_refused(self):
        refused = self.n1.orch("network", "create", "--ipv6", "--subnet", "fd90::/64", "front", check=False)
        self.assertRegex(refused.stderr, "the subnet fd90::/64 is taken: node 'n.' has a route to fd90::/64")
        refused = self.n1.orch("network", "create", "--subnet", "fd77:1::/64", "front", check=False)
        self.assertIn("--subnet 'fd77:1::/64' is of IPv6: add --ipv6", refused.stderr)


class Ports(cluster.MemberTest):
    programs = PROGRAMS

    def test_published_ports_answer_by_ipv6_on_every_host_with_the_clients_address(self):
        self.create("--replicas", "3", "-p", "8080:80", "-p", "8080:53/udp")
        self.assertEqual(self.spread(), {"n1": 1, "n2": 1, "n3": 1})
        client = self.cluster.client
        places = {node.name: f"fd90::{number}" for number, node in enumerate(self.cluster.hosts, 1)}
        for task in self.n1.running("web").values():
            node = next(node for node in self.cluster.hosts if node.name == self.hostOf(task))
            pid = str(task["status"]["container"]["pid"])
            started, _ = node.host.spawn(("nsenter", "-t", pid, "-n", "--", tool("echo-peer"), "53"),
                                         f"{node.host.folder}/echo-peer.log")
            self.addCleanup(node.kill, started)
            eventually("it listens", lambda: ":53 " in node.host.run("nsenter", "-t", pid, "-n", "--", "ss", "-Hlnu").stdout)
        get = lambda place: client.host.run("curl", "-s", "-6", "--max-time", "5", f"http://[{place}]:8080/").stdout.split(" ")[0]
        for name, place in places.items():
            eventually(f"three answer on {name}", lambda: len({get(place) for _ in range(3)} - {""}) == 3)
            answers = [get(place) for _ in range(12)]
            self.assertEqual(sorted(answers.count(one) for one in set(answers)), [4] * 3, f"in turn, on {name}: {answers}")
            said = client.host.run(tool("ask-all"), "udp", "0", *[f"[{place}]:8080"] * 6).stdout.split()
            self.assertEqual({one.rsplit(":", 1)[0] for one in said}, {f"[fd90::{cluster.CLIENT_NUMBER}]"}, f"on {name}")
        # The hosts themselves, by their own addresses.
        for node in self.cluster.hosts:
            run = lambda: node.host.run("curl", "-s", "-6", "--max-time", "5", f"http://[{places[node.name]}]:8080/").stdout
            self.assertEqual(len({run() for _ in range(3)} - {""}), 3, f"{node.name} itself")
        eventually("all is as it should be", lambda: self.n1.orch("network", "check", check=False).returncode == 0)


if __name__ == "__main__":
    unittest.main()
