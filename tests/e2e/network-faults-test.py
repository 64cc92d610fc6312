#!/usr/bin/env python3
"""Networks of a cluster where those of others have broken: field-reported faults, on three hosts with real containers.
The hosts' data port is not the usual one, nor are the cluster's address pools.

usage: network-faults-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import ipaddress
import os
import signal
import sys
import tempfile
import unittest

TESTBED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed")
sys.path.insert(0, TESTBED)
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
ALL = {"n1", "n2", "n3"}
DATA_PORT = 4790
POOL = ipaddress.ip_network("10.77.0.0/16")


# Sends so many bytes in one packet that nobody may cut into pieces (IP_MTU_DISCOVER, IP_PMTUDISC_DO).
WHOLE = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.setsockopt(socket.IPPROTO_IP, 10, 2)
client.settimeout(3)
try:
    client.sendto(bytes(int(sys.argv[3])), (sys.argv[1], int(sys.argv[2])))
    client.recv(2000)
    print("answered")
except OSError as error:
    print(error.strerror or "")
"""


# Connects, is answered, and says nothing more.
IDLE = """
import signal, socket, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
client.sendall(b"who am I?")
print(client.recv(2000), flush=True)
signal.pause()
"""


def tool(name):
    return os.path.abspath(os.path.join(TESTBED, name))


class Faults(cluster.NetworkTest):
    programs = PROGRAMS
    init = ("--default-addr-pool", str(POOL), "--default-addr-pool-mask-length", "26")

    @classmethod
    def setUpClass(cls):
        with open(os.path.join(single.REPOSITORY, "configs", "single.toml")) as file:
            usual = file.read()
        for name in ("ingress", "overlay"):
            line = f'id = "network.{name}"\n'
            usual = usual.replace(line, f"{line}config = {{ dataPort = {DATA_PORT} }}\n")
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(usual)
            file.flush()
            cls.config = file.name
            super().setUpClass()

    def setUp(self):
        super().setUp()
        self.started = []

    def tearDown(self):
        for node, pid in self.started:
            if node.host.pid() is not None:
                node.host.run("kill", "-9", str(pid))
        super().tearDown()

    # ---- tasks ----

    def tasksOf(self, service):
        """[(host, task)] of those that run."""
        hosts = {node["meta"]["id"]: node["description"]["hostname"] for node in self.n1.json("node", "ls")}
        return [(self.cluster.host(hosts[task["nodeId"]]), task) for task in self.n1.running(service).values()]

    def update(self, *options, name="web"):
        self.n1.orch("service", "update", "--verify", "0s", "--update-monitor", "0s", *options, name)

    @staticmethod
    def inside(task, *command):
        """In the network of a task; the files are the host's."""
        return ["nsenter", "-t", str(task["status"]["container"]["pid"]), "-n", "--", *command]

    def run_in(self, node, task, *command, patience="5"):
        return node.host.run("timeout", patience, *self.inside(task, *command))

    def spawn(self, node, *command):
        """A program on the host until the end of the test; where its output is."""
        log = f"{node.host.folder}/spawned-{len(os.listdir(node.host.folder))}.log"
        pid, _ = node.host.spawn(command, log)
        self.started.append((node, pid))
        return log

    def serve(self, node, task):
        """An `echo-peer` beside the task, on port 5000."""
        self.spawn(node, *self.inside(task, tool("echo-peer"), "5000"))
        eventually("it listens", lambda: ":5000" in self.run_in(node, task, "ss", "-Hlnt").stdout)

    def fetch(self, node, task, *urls, patience="5"):
        """The host names of the web servers that answer; empty for one that does not."""
        pid = str(task["status"]["container"]["pid"])
        script = f"for url in {' '.join(urls)}; do echo $(/bin/busybox timeout {patience} /bin/wget -q -O - $url); done"
        done = node.host.run("timeout", "60", "nsenter", "-t", pid, "-n", "-m", "--", "/bin/sh", "-c", script)
        return [line.split(" ")[0] for line in done.stdout.splitlines()]

    def resolve(self, node, task, *names):
        """{name: its addresses}, as the task's own name server says."""
        script = f"for name in {' '.join(names)}; do echo =$name; busybox nslookup -type=a $name 127.0.0.11; done"
        found, name = {}, ""
        seen = False
        for line in self.run_in(node, task, "sh", "-c", script, patience="20").stdout.splitlines():
            if line.startswith("="):
                name, seen = line[1:], False
                found[name] = set()
            seen |= line.startswith("Name:")
            if seen and line.startswith("Address"):
                found[name].add(line.split()[-1])
        return found

    def addressOf(self, service, network):
        """The virtual one."""
        ids = {net["name"]: net["meta"]["id"] for net in self.n1.json("network", "ls")}
        addresses = self.n1.json("service", "inspect", service)[0]["addresses"]
        return next(one["address"] for one in addresses if one["network"] == ids[network])

    def legsOf(self, service, network):
        """{name of a task: its address in the network}"""
        wanted = self.n1.json("network", "inspect", network)[0]["meta"]["id"]
        return {f"{service}.{number}": leg["address"].split("/")[0] for number, task in self.n1.running(service).items()
                for leg in task["legs"] if leg["network"] == wanted}

    def namesOf(self, services, network):
        """{name: the addresses that it has to stand for} of these services and their tasks."""
        names = {}
        for service in services:
            legs = self.legsOf(service, network)
            names[service] = {self.addressOf(service, network)}
            names[f"tasks.{service}"] = set(legs.values())
            names.update({name: {address} for name, address in legs.items()})
        return names

    def everywhere(self, client, services, network):
        """Whether all names of the services are right in each task of the client, and each of these reaches all."""
        wanted = self.namesOf(services, network)
        for node, task in self.tasksOf(client):
            if self.resolve(node, task, *wanted) != wanted:
                return False
            if not all(self.fetch(node, task, *(f"http://{name}/" for name in wanted))):
                return False
        return True

    # ---- the cases ----

    def test_a_host_that_was_cut_off_finds_every_name_again(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "3", "--network", "net")
        self.create("--mode", "global", "--network", "net", name="client")
        self.assertEqual(self.spread("client"), dict.fromkeys(ALL, 1))
        self.cluster.cut("n3")
        self.addCleanup(self.cluster.heal)
        eventually("its tasks run elsewhere", lambda: "n3" not in self.spread() and sum(self.spread().values()) == 3)
        self.create("--replicas", "2", "--network", "net", name="late")
        self.update("--replicas", "4", name="web")
        self.cluster.heal()
        eventually("n3 has a client", lambda: self.spread("client") == dict.fromkeys(ALL, 1))
        eventually("all names are right on all hosts", lambda: self.everywhere("client", ["web", "late"], "net"))

    def test_an_alias_that_an_update_drops_is_gone(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "3", "--network", "net,alias=db,alias=store")
        self.create("--mode", "global", "--network", "net", name="client")
        address = {self.addressOf("web", "net")}
        clients = self.tasksOf("client")
        asked = lambda: [self.resolve(node, task, "web", "db", "store", "db.net") for node, task in clients]
        self.assertEqual(asked(), [{"web": address, "db": address, "store": address, "db.net": address}] * 3)
        self.update("--update-parallelism", "2", "--network-add", "net,alias=store")
        eventually("the alias is gone everywhere",
                   lambda: asked() == [{"web": address, "db": set(), "store": address, "db.net": set()}] * 3)

    def test_hosts_that_join_at_once_know_all_names(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "2", "--constraint", "node.hostname==n1", "--network", "net")
        self.create("--mode", "global", "--network", "net", name="client")
        for node in (self.n2, self.n3):
            node.orch("leave")
        eventually("they have left", lambda: {self.states().get(name) for name in ("n2", "n3")} <= {"down", None})
        for node in self.n1.json("node", "ls"):
            if node["state"] == "down":
                self.n1.orch("node", "rm", "--force", node["meta"]["id"])
        join = " ".join([os.path.join(PROGRAMS, "orch"), *self.join[1:]])
        for node in (self.n2, self.n3):
            self.spawn(node, "sh", "-c", join)
        eventually("they are ready", lambda: self.states() == dict.fromkeys(ALL, "ready"))
        eventually("they have clients", lambda: self.spread("client") == dict.fromkeys(ALL, 1))
        eventually("all names are right on all hosts", lambda: self.everywhere("client", ["web", "client"], "net"))

    def test_a_host_starts_its_last_plan_without_a_manager(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "2", "--constraint", "node.hostname!=n1", "--replicas-max-per-node", "1", "--network", "net")
        self.create("--mode", "global", "--network", "net", name="client")
        names = self.namesOf(["web", "client"], "net")
        wanted = {name: addresses for name, addresses in names.items() if not name.endswith(".n1")}
        eventually("n3 has noted its plan", lambda: self.noted(self.n3, "web", "client"))
        self.n1.poweroff()
        self.n3.poweroff()
        self.n3.start()
        servers = eventually("both of its tasks run again",
                             lambda: len(self.n3.webServers()) == 2 and sorted(self.n3.webServers()))
        for pid in servers:
            task = {"status": {"container": {"pid": pid}}}
            eventually("all names are right", lambda: self.resolve(self.n3, task, *wanted) == wanted)
            hosts = eventually("both answer by the virtual address", lambda: self.both(task))
            self.assertEqual(len(hosts), 2)
            self.assertTrue(all(self.fetch(self.n3, task, "http://web.1/", "http://web.2/")))
        self.n1.start()

    def noted(self, node, *services):
        """Whether its disk has what the managers told of tasks on other hosts."""
        ids = {task["meta"]["id"] for service in services for host, task in self.tasksOf(service) if host is not node}
        return all(node.host.run("grep", "-aqr", one, "/var/lib/orch").returncode == 0 for one in ids)

    def both(self, task):
        hosts = set(self.fetch(self.n3, task, *["http://web/"] * 4)) - {""}
        return hosts if len(hosts) == 2 else None

    def test_rules_that_somebody_flushed_are_back(self):
        self.create("--mode", "global", "-p", "8080:80")
        client = self.cluster.client.host
        ask = lambda host: client.run("timeout", "3", "busybox", "wget", "-q", "-O", "-", f"http://{host}:8080/").stdout
        for host in ALL:
            eventually(f"{host} leads to all", lambda: len({ask(host) for _ in range(3)} - {""}) == 3)
        rules = lambda: self.rulesOf(self.n2)
        before = rules()
        for turn, flush in enumerate(("flush ruleset", "flush table ip orch; flush table ip orch-ingress"), 1):
            self.n2.host.run("nft", flush, check=True)
            eventually(f"the rules are back after {flush}", lambda: rules() == before)
            self.assertTrue(ask("n2"))
            for plugin in ("network.bridge", "network.ingress"):
                eventually(f"{plugin} says so", lambda: sum(plugin in line for line in self.n2.events("rules.restored")) >= turn)
        node, task = next((node, task) for node, task in self.tasksOf("web") if node is self.n2)
        self.assertTrue(all(self.fetch(node, task, f"http://{self.n1.address}:8080/")), "out of a container")

    @staticmethod
    def rulesOf(node):
        """Those of orch, without counters and in an order of their own."""
        return sorted(node.host.run("nft", "-s", "list", "ruleset").stdout.splitlines())

    def test_a_network_without_addresses_refuses_whoever_asks(self):
        self.n1.orch("network", "create", "--subnet", "10.78.0.0/29", "tiny")
        refused = lambda *command: self.n1.orch(*command, check=False)
        self.create("--mode", "global", "--network", "tiny")
        said = refused("service", "create", "--name", "more", "--mode", "global", "--network", "tiny", "web:1", "/bin/web")
        self.assertEqual(said.returncode, 1, said.stdout)
        self.assertIn("network 'tiny' has 5 addresses for tasks", said.stderr)
        self.assertEqual([service["name"] for service in self.n1.json("service", "ls")], ["web"])

    def test_a_balancer_that_does_not_answer_holds_up_no_stop_for_ever(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "2", "--constraint", "node.hostname!=n3", "--replicas-max-per-node", "1", "--network", "net", "-p", "8080:80")
        self.create("--replicas", "1", "--constraint", "node.hostname==n3", "--network", "net", name="client")
        (node, client), = self.tasksOf("client")
        address = self.addressOf("web", "net")
        answers = lambda: set(self.fetch(node, client, *[f"http://{address}/"] * 4))
        eventually("it is led to both", lambda: len(answers() - {""}) == 2)
        self.n3.kill(self.n3.orchd, signal.SIGSTOP)
        try:
            self.update("--replicas", "1", name="web")
            eventually("one has ended", lambda: len(self.n1.webServers()) + len(self.n2.webServers()) == 1)
        finally:
            self.n3.kill(self.n3.orchd, signal.SIGCONT)
        eventually("it is led to the one that is left", lambda: len(answers()) == 1 and "" not in answers())
        eventually("so are clients of n3", lambda: self.cluster.client.host.run(
            "timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{self.n3.address}:8080/").stdout)

    def test_which_address_is_on_which_network_is_told(self):
        for network in ("front", "back"):
            self.n1.orch("network", "create", network)
        self.create("--replicas", "2", "--network", "front", "--network", "back", name="both")
        for network in ("front", "back"):
            self.create("--replicas", "1", "--network", network, name=f"in-{network}")
        ids = {net["meta"]["id"]: net["name"] for net in self.n1.json("network", "ls")}
        told = {task["slot"]: {ids[leg["network"]]: leg["address"].split("/")[0] for leg in task["legs"]}
                for task in self.n1.json("service", "ps", "both")}
        for network in ("front", "back"):
            shown = {task["name"]: task["address"].split("/")[0] for task in self.n1.json("network", "inspect", network)[0]["tasks"]}
            for slot, legs in told.items():
                self.assertEqual(shown[f"both.{slot}"], legs[network])
            for node, task in self.tasksOf(f"in-{network}"):
                names = self.resolve(node, task, "tasks.both", "both.1", "both")
                self.assertEqual(names["tasks.both"], {legs[network] for legs in told.values()})
                self.assertEqual(names["both.1"], {told[1][network]})
                self.assertEqual(names["both"], {self.addressOf("both", network)})
                here = [f"http://{legs[network]}/" for legs in told.values()]
                self.assertTrue(all(self.fetch(node, task, *here)), f"{told} from {network}")
                elsewhere = told[1]["back" if network == "front" else "front"]
                self.assertEqual(self.fetch(node, task, f"http://{elsewhere}/", patience="2"), [""], f"from {network}")
        # A task of both is told the one that the network's name asks for.
        for node, task in self.tasksOf("both"):
            names = self.resolve(node, task, "both.2.front", "both.2.back")
            self.assertEqual(names, {f"both.2.{network}": {told[2][network]} for network in ("front", "back")})

    def test_an_idle_connection_is_known_for_longer_than_twenty_minutes(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "1", "--constraint", "node.hostname==n2", "--network", "net", "-p", "8080:80")
        self.create("--replicas", "1", "--constraint", "node.hostname==n3", "--network", "net", name="client")
        address = self.addressOf("web", "net")
        (node, task), = self.tasksOf("client")
        (far, server), = self.tasksOf("web")
        self.serve(far, server)
        self.spawn(node, *self.inside(task, "python3", "-c", IDLE, address, "5000"))
        sandbox = f"/run/orch/network.overlay/netns/{self.n1.json('network', 'inspect', 'net')[0]['meta']['id']}"
        seconds = lambda: self.remembered(node, ["nsenter", f"--net={sandbox}", "--"], f"dst={address} sport", "dport=5000")
        # It is short while a packet is not acknowledged yet.
        eventually("it would be known in twenty minutes", lambda: (seconds() or 0) > 20 * 60)

    @staticmethod
    def remembered(node, enter, *words):
        """For how many seconds the kernel will know the established connection without a packet."""
        for line in node.host.run(*enter, "cat", "/proc/net/nf_conntrack").stdout.splitlines():
            if "ESTABLISHED" in line and all(word in line for word in words):
                return int(line.split()[4])
        return None

    def test_a_virtual_address_stays_over_updates_of_both_orders(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "3", "--network", "net")
        self.create("--mode", "global", "--network", "net", name="client")
        address = self.addressOf("web", "net")
        for order in ("stop-first", "start-first"):
            self.update("--update-parallelism", "0", "--update-order", order, "--force")
            self.assertEqual(self.addressOf("web", "net"), address)
        self.update("--replicas", "1", name="web")
        self.assertEqual(self.addressOf("web", "net"), address)
        for node, task in self.tasksOf("client"):
            eventually(f"{node.name} is led to the one that is left",
                       lambda: self.resolve(node, task, "web")["web"] == {address} and all(self.fetch(node, task, "http://web/")))

    def test_the_data_port_and_the_pools_are_those_that_were_chosen(self):
        self.n1.orch("network", "create", "one")
        self.n1.orch("network", "create", "two")
        subnets = [ipaddress.ip_network(self.n1.json("network", "inspect", name)[0]["subnet"]) for name in ("one", "two")]
        self.assertTrue(all(subnet.subnet_of(POOL) and subnet.prefixlen == 26 for subnet in subnets), subnets)
        self.assertNotEqual(*subnets)
        self.create("--mode", "global", "--network", "one", "-p", "8080:80")
        eventually("all reach all", lambda: self.everywhere("web", ["web"], "one"))
        for node in self.cluster.hosts:
            ports = {line.split()[3].rpartition(":")[2] for line in node.host.run("ss", "-Hlnu").stdout.splitlines()}
            self.assertTrue(str(DATA_PORT) in ports and "4789" not in ports, ports)

    def test_a_service_that_goes_leaves_the_ports_of_others(self):
        self.create("--replicas", "2", "-p", "8080:80", name="stays")
        self.create("--replicas", "2", "-p", "8081:80", name="goes")
        client = self.cluster.client.host
        ask = lambda host, port: client.run("timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{host}:{port}/").stdout
        for host in ALL:
            eventually(f"{host} answers", lambda: ask(host, 8080) and ask(host, 8081))
        self.n1.orch("service", "rm", "goes")
        for host in ALL:
            eventually(f"{host} lets go", lambda: not ask(host, 8081))
            self.assertTrue(ask(host, 8080), host)

    def test_the_network_of_published_ports_is_none_that_one_could_take_away(self):
        for command in (("network", "rm", "ingress"), ("network", "inspect", "ingress"),
                        ("service", "create", "--name", "web", "--network", "ingress", "web:1")):
            done = self.n1.orch(*command, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn("ingress", done.stderr)
        self.assertEqual(self.n1.json("service", "ls"), [])

    # ---- what virtual addresses carry ----

    def test_a_virtual_address_is_for_udp_and_for_its_own_tasks_too(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "3", "--network", "net")
        self.assertEqual(self.spread(), dict.fromkeys(ALL, 1))
        address = self.addressOf("web", "net")
        tasks = self.tasksOf("web")
        for node, task in tasks:
            self.serve(node, task)
        gateway = self.n1.json("network", "inspect", "net")[0]["gateway"]
        for node, task in tasks:
            own = next(leg["address"] for leg in task["legs"]).split("/")[0]
            for protocol in ("tcp", "udp"):
                ask = lambda: self.run_in(node, task, tool("ask-all"), protocol, "0", *[f"{address}:5000"] * 3,
                                          patience="90").stdout.splitlines()
                answers = eventually("all answer", lambda: len({line for line in ask() if line.startswith("10.")}) == 3 and ask())
                # The one that it is itself sees the gateway's address.
                self.assertEqual(sorted(line.split(":")[0] for line in answers), sorted([own, own, gateway]), protocol)
            self.assertEqual(len(set(self.fetch(node, task, *["http://web/"] * 3)) - {""}), 3, "it gets itself, too")

    def test_full_frames_pass_and_larger_ones_are_refused_at_once(self):
        self.n1.orch("network", "create", "net")
        self.create("--replicas", "2", "--constraint", "node.hostname!=n1", "--replicas-max-per-node", "1", "--network", "net")
        (node, task), (far, other) = self.tasksOf("web")
        address = other["legs"][0]["address"].split("/")[0]
        self.serve(far, other)
        for size, answer in ((1450 - 28, "answered"), (1451 - 28, "Message too long")):
            sent = eventually("it is answered, or refused",
                              lambda: self.run_in(node, task, "python3", "-c", WHOLE, address, "5000", str(size)).stdout.strip())
            self.assertEqual(sent, answer)
        folder = os.path.join("/proc", str(other["status"]["container"]["pid"]), "root", "www")
        far.host.run("sh", "-c", f"head -c 5000000 /dev/urandom >{folder}/large", check=True)
        wanted = far.host.run("md5sum", f"{folder}/large").stdout.split()[0]
        for host in (address, self.addressOf("web", "net")):
            got = eventually("it is fetched", lambda: self.run_in(
                node, task, "sh", "-c", f"busybox wget -q -O - http://{host}/large | md5sum", patience="60").stdout.split()[:1] == [wanted])
            self.assertTrue(got)


if __name__ == "__main__":
    unittest.main()
