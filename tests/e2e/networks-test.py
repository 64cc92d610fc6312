#!/usr/bin/env python3
"""What users can say of networks that span hosts, on three of them, with the programs that a user has.

usage: networks-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import ipaddress
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Networks(cluster.NetworkTest):
    programs = PROGRAMS

    def network(self, name):
        return self.n1.json("network", "inspect", name)[0]

    def node(self, name):
        return self.n1.json("node", "inspect", name)[0]

    def refused(self, *arguments, status):
        """The one line that the command fails with."""
        done = self.n1.orch(*arguments, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (status, "", 1), done.stderr)
        return done.stderr

    def inTasks(self, service, *command, mount=True):
        """What a program does in each task of the service: {host: what `run` answers}."""
        done = {}
        for task in self.n1.running(service).values():
            host = self.cluster.host(self.hostOf(task))
            pid = str(task["status"]["container"]["pid"])
            enter = ["nsenter", "-t", pid, "-n", *(["-m"] if mount else []), "--"]
            done[host.name] = host.host.run("timeout", "4", *enter, *command)
        return done

    def reaches(self, service, url):
        """The hosts whose task of the service gets an answer."""
        answers = self.inTasks(service, "/bin/wget", "-q", "-O", "-", url)
        return {host for host, done in answers.items() if done.stdout.strip()}

    def routes(self, service):
        return {host: done.stdout for host, done in self.inTasks(service, "ip", "route", mount=False).items()}

    def test_an_internal_network_has_no_way_out_and_its_names_work(self):
        self.n1.orch("network", "create", "--internal", "vault")
        self.n1.orch("network", "create", "open")
        listed = self.n1.orch("network", "ls", "--format", "{{.Name}} {{.Internal}}").stdout.splitlines()
        self.assertIn("vault true", listed)
        self.assertIn("open false", listed)
        self.create("--replicas", "2", "--network", "vault")
        self.create("--mode", "global", "--network", "vault", name="inside")
        self.create("--mode", "global", "--network", "vault", "--network", "open", name="both")
        self.create("--replicas", "1", "--network", "vault", "-p", "8080:80", name="door")
        everywhere = {"n1", "n2", "n3"}
        for service in ("inside", "both"):
            eventually(f"all of {service} reach it", lambda: self.reaches(service, "http://web/") == everywhere)
        for service in ("web", "inside", "both"):
            for host, done in self.inTasks(service, "cat", "/proc/net/nf_conntrack", mount=False).items():
                self.assertEqual(done.stdout, "", f"tracked in the task of {service} on {host}")
        for host, routes in self.routes("inside").items():
            self.assertNotIn("default", routes, host)
        for host, routes in self.routes("both").items():
            self.assertIn("default", routes, host)
        out = self.inTasks("inside", "ip", "route", "get", self.n2.address, mount=False)
        self.assertEqual({done.returncode for done in out.values()}, {2}, "the way to a host")
        unknown = self.inTasks("inside", "/bin/busybox", "nslookup", "example.com", "127.0.0.11")
        for done in unknown.values():
            self.assertIn("NXDOMAIN", done.stdout + done.stderr)
        for host, done in self.inTasks("both", "/bin/cat", "/etc/hosts").items():
            names = [line.split() for line in done.stdout.splitlines()]
            own = [address for address, name, *_ in names if name == names[-1][1]]
            self.assertEqual([address.split(".")[0] for address in own], ["10", "10", "172"], host)
        # Published ports answer all the same, on every host; that is no way out.
        client = self.cluster.client.host
        for node in self.cluster.hosts:
            eventually(f"{node.name} answers", lambda: client.run(
                "timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{node.address}:8080/").stdout)
        eventually("all of both reach it", lambda: self.reaches("both", f"http://{self.n1.address}:8080/") == everywhere)
        self.assertEqual(self.reaches("door", f"http://{self.n1.address}:8080/"), set())
        eventually("it reaches its own", lambda: len(self.reaches("door", "http://web/")) == 1)

    def test_inspect_shows_services_and_tasks(self):
        self.n1.orch("network", "create", "--label", "team=a", "front")
        self.create("--replicas", "3", "--network", "front,alias=db")
        self.create("--mode", "global", "--endpoint-mode", "dnsrr", "--network", "front", name="agent")
        front = self.network("front")
        subnet = ipaddress.ip_network(front["subnet"])
        services = {service["name"]: service for service in front["services"]}
        self.assertEqual(sorted(services), ["agent", "web"])
        self.assertIn(ipaddress.ip_address(services["web"]["address"]), subnet)
        self.assertEqual(services["web"]["aliases"], ["db"])
        self.assertNotIn("address", {key for key, value in services["agent"].items() if value})
        tasks = {task["name"]: task for task in front["tasks"]}
        self.assertEqual(sorted(tasks), ["agent.n1", "agent.n2", "agent.n3", "web.1", "web.2", "web.3"])
        for slot, task in self.n1.running("web").items():
            shown = tasks[f"web.{slot}"]
            self.assertEqual((shown["node"], shown["address"]), (self.hostOf(task), task["legs"][0]["address"]))
        said = self.n1.orch("network", "inspect", "--pretty", "front").stdout
        for word in ("web.2", services["web"]["address"], "n3"):
            self.assertIn(word, said)
        said = self.n1.orch("network", "inspect", "--format", "{{json .Services}}", "front").stdout
        self.assertIn(services["web"]["address"], said)

    def test_what_a_host_reaches_is_no_networks(self):
        way = lambda node, verb, subnet: self.assertEqual(
            node.host.run("ip", "route", verb, subnet, "via", self.cluster.client.address).returncode, 0)
        told = lambda name, subnet: subnet in self.node(name)["description"].get("routes", [])
        self.assertTrue(told("n1", "10.90.0.0/24"), "the hosts' own network")
        self.n1.orch("network", "create", "--subnet", "10.78.3.0/24", "old")
        way(self.n3, "add", "10.0.0.0/15")
        way(self.n2, "add", "10.78.0.0/16")
        eventually("n3 says its route", lambda: told("n3", "10.0.0.0/15"))
        eventually("n2 says its route", lambda: told("n2", "10.78.0.0/16"))
        said = self.refused("network", "create", "--subnet", "10.1.7.0/24", "new", status=1)
        self.assertIn("the subnet 10.1.7.0/24 is taken: node 'n3' has a route to 10.0.0.0/15", said)
        self.n1.orch("network", "create", "new")
        self.assertEqual(self.network("new")["subnet"], "10.2.0.0/24")
        problems = self.node("n2")["problems"]
        self.assertEqual(len(problems), 1)
        self.assertIn("node 'n2' has a route to 10.78.0.0/16, which meets the network 'old' (10.78.3.0/24)", problems[0])
        with open(self.n1.log) as file:
            self.assertEqual(file.read().count("manager.subnet-overlaps"), 1)
        way(self.n3, "del", "10.0.0.0/15")
        way(self.n2, "del", "10.78.0.0/16")
        eventually("nothing is wrong any more", lambda: not self.node("n2").get("problems"))
        eventually("the subnet is free", lambda: self.n1.orch(
            "network", "create", "--subnet", "10.1.7.0/24", "more", check=False).returncode == 0)

    def test_addresses_are_of_the_range_and_suffice(self):
        self.n1.orch("network", "create", "--subnet", "10.50.0.0/24", "--gateway", "10.50.0.254", "--ip-range", "10.50.0.64/29",
                     "--aux-address", "router=10.50.0.65", "narrow")
        mayBe = {f"10.50.0.{number}" for number in (64, 66, 67, 68, 69, 70, 71)}
        said = self.refused("service", "create", "--name", "web", "--replicas", "7", "--network", "narrow", "web:1", status=1)
        self.assertIn("network 'narrow' has 7 addresses for tasks, but 8 would be needed (7 tasks, the service itself)", said)
        self.assertEqual(self.n1.json("service", "ls"), [])
        self.create("--replicas", "6", "--network", "narrow")
        narrow = self.network("narrow")
        has = {task["address"].split("/")[0] for task in narrow["tasks"]} | {narrow["services"][0]["address"]}
        self.assertEqual(has, mayBe)
        self.assertIn("8 would be needed", self.refused("service", "scale", "web=7", status=1))
        for flag, value in (("--subnet", "10.60.0.1/24"), ("--driver", "vlan"), ("--opt", "com.docker.network.driver.mtu=1"),
                            ("--gateway", "10.60.0.1"), ("--aux-address", "x"), ("--scope", "local")):
            self.assertIn(flag if flag != "--gateway" else "--subnet", self.refused("network", "create", flag, value, "wrong", status=2))
        self.assertIn("exists already", self.refused("network", "create", "narrow", status=1))
        names = self.n1.orch("network", "ls", "--format", "{{.Name}}").stdout.split()
        self.assertEqual(sorted(names), ["bridge", "host", "narrow", "none"])

    def test_a_service_goes_from_one_network_to_another(self):
        self.n1.orch("network", "create", "first")
        self.n1.orch("network", "create", "--label", "kept", "second")
        dangling = lambda: self.n1.orch("network", "ls", "--filter", "dangling=true", "--format", "{{.Name}}").stdout.split()
        self.create("--replicas", "2", "--network", "first")
        self.assertEqual(dangling(), ["second"])
        self.assertIn("network 'first' is in use by 'web'", self.refused("network", "rm", "first", status=1))
        update = lambda *flags: self.n1.orch("service", "update", "--update-parallelism", "0", "--update-monitor", "0s", *flags, "web")
        update("--network-add", "second")
        for name in ("first", "second"):
            self.assertEqual(len(self.network(name)["tasks"]), 2)
        eventually("each reaches it there", lambda: len(self.reaches("web", "http://web.1.second/")) == len(self.spread()))
        update("--network-rm", "first")
        self.assertEqual(self.network("first").get("services", []), [])
        eventually("the first is free", lambda: self.n1.orch("network", "rm", "first", check=False).returncode == 0)
        self.assertEqual(len(self.network("second")["tasks"]), 2)
        self.n1.orch("network", "prune", "--force", "--filter", "label=kept")
        self.assertEqual(self.network("second")["name"], "second")

    def test_clients_of_a_virtual_address_are_led_as_its_service_says(self):
        self.n1.orch("network", "create", "front")
        self.create("--replicas", "3", "--network", "front")
        self.create("--mode", "global", "--network", "front", name="client")

        def answers():
            """{host: what its client gets to, asked six times}."""
            asking = "for i in 1 2 3 4 5 6; do /bin/wget -q -O - http://web/ || echo none; done"
            return {host: {line.split()[0] for line in done.stdout.splitlines()}
                    for host, done in self.inTasks("client", "/bin/sh", "-c", asking).items()}

        def stay():
            return all(len(got) == 1 and "none" not in got for got in answers().values())
        eventually("they go round", lambda: [len(got) for got in answers().values()] == [3, 3, 3])
        running = self.n1.running("web").keys()
        update = lambda *flags: self.n1.orch("service", "update", *flags, "web")
        traced = self.n1.orch("net", "trace", "web:80", "--from", "n2").stdout
        for part in (" on front is the virtual address of web; n2 leads a new connection to the next of 3, by nft\n",
                     f"to {self.n1.address}\n", f"to {self.n3.address}\n", "on n2 itself\n", "the kernels on its way have it so\n"):
            self.assertIn(part, traced)
        update("--lb-algorithm", "sh")
        eventually("by the client's address", stay)
        update("--lb-algorithm", "rr", "--lb-persistence", "10m")
        eventually("they stay", stay)
        self.assertEqual(self.n1.running("web").keys(), running)
        update("--lb-persistence", "0s")
        eventually("they go round again", lambda: [len(got) for got in answers().values()] == [3, 3, 3])
        self.assertIn("--lb-persistence must be 0s, or 1s to 720h",
                      self.n1.orch("service", "update", "--lb-persistence", "10ms", "web", check=False).stderr)

    def test_what_a_host_lost_is_found_by_name_and_repaired(self):
        self.n1.orch("network", "create", "front")
        self.create("--replicas", "3", "--network", "front", "-p", "8080:80")
        check = lambda *more: self.n1.orch("net", "check", *more, check=False)
        clean = lambda done: done.returncode == 0 and " on 3 nodes are as they should be" in done.stdout
        eventually("nothing is wrong", lambda: clean(check()))
        front, task = self.network("front"), self.network("front")["tasks"][0]
        address = task["address"].split("/")[0]
        mac = "02:42:" + ":".join(f"{int(byte):02x}" for byte in address.split("."))
        broken = next(node for node in self.cluster.hosts if node.name != task["node"])
        inside = ["nsenter", "--net=/run/orch/network.overlay/netns/" + front["meta"]["id"]]
        done = broken.host.run(*inside, "bridge", "fdb", "del", mac, "dev", "vxlan0", "self", "master")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(clean(check()))
        said = check("--format", "{{.Node}} {{.Network}} {{.Object}}: {{.Expected}}, {{.Found}}", "front")
        self.assertEqual((said.returncode, said.stdout.splitlines()), (1, [
            f"{broken.name} front forwarding entry (host) of {address} ({task['name']}): "
            f"{self.cluster.host(task['node']).address}, nothing",
            f"{broken.name} front forwarding entry (port) of {address} ({task['name']}): vxlan0, nothing"]))
        self.assertEqual(check("bridge").returncode, 0)
        traced = self.n1.orch("net", "trace", "web", "--from", broken.name, check=False)
        self.assertEqual(traced.returncode, 1)
        self.assertIn(f"warning: on {broken.name} forwarding entry (host) of {address} ({task['name']}) is nothing, not "
                      f"{self.cluster.host(task['node']).address}\n", traced.stderr)
        mended = check("--repair")
        self.assertEqual(mended.returncode, 0, mended.stdout + mended.stderr)
        self.assertIn("they are now", mended.stdout)
        done = check()
        self.assertTrue(clean(done), done.stdout + done.stderr)
        self.assertEqual(self.reaches("web", f"http://{address}/"), self.spread().keys())
        # And of published ports.
        done = broken.host.run("nft", "delete", "element", "ip", "orch-ingress", "active", "{ tcp . 8080 }")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(check("--json").stdout)["findings"]
        self.assertEqual([(one["node"], one["object"]) for one in found],
                         [(broken.name, "table ip orch-ingress: element tcp . 8080 of active")])
        self.assertEqual(check("--repair").returncode, 0)
        self.assertTrue(clean(check()))


if __name__ == "__main__":
    unittest.main()
