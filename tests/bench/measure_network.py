"""network: what tasks of two hosts get of the network, beside a VXLAN and a DNAT made by hand.

Both sides of a comparison are measured by turns, so that what else the machine does meets both.
"""

import json
import time

from bare_network import BareHosts
from hub import address
from machine import BenchError, poll, process_tree, run
from traffic import Servers, inside

HOSTS = (1, 2)
PORT = 80
PUBLISHED = 8080
SECONDS = 120
REST_SECONDS = 0.1  # the traffic keeps others from both cores


def measure(setup, driver):
    """Each comparison with all of its turns."""
    driver.up(len(HOSTS), role="worker")
    driver.hub.add_client()
    with BareHosts(setup.new_tag("bare")) as bare, Servers(setup.programs) as servers:
        tasks = start_tasks(setup, driver, servers)
        for number in HOSTS:
            servers.serve_stream(bare.task(number))
        servers.serve(bare.task(1), PORT)
        bare.publish(1, PUBLISHED, PORT)
        pairs = Pairs(setup, driver, servers)
        measure_stream(pairs, bare, tasks)
        measure_virtual(pairs, tasks)
        measure_published(pairs, bare, tasks)


class Tasks:
    """What runs: per host a client and a server on the overlay, and one task with a published port."""

    def __init__(self):
        self.client = {}  # by host: paths of network namespaces
        self.server = {}
        self.addresses = []  # of the servers, on the overlay
        self.virtual = None  # address of the servers, None if there is none
        self.published = None  # host of the task with a published port


def start_tasks(setup, driver, servers):
    """They are workloads that wait; the traffic is that of programs in their namespaces."""
    tasks = Tasks()
    names = {kind: setup.new_label(kind) for kind in ("client", "server", "port")}
    driver.serve(names["client"], len(HOSTS))
    driver.serve(names["server"], len(HOSTS))
    driver.serve(names["port"], 1, published=(PUBLISHED, PORT))
    for name, count in zip(names.values(), (len(HOSTS), len(HOSTS), 1)):
        await_running(driver.session, name, count)
    for number in HOSTS:
        tasks.client[number] = place(setup, driver, names["client"], number)
        tasks.server[number] = place(setup, driver, names["server"], number)
    tasks.published = next(n for n in HOSTS if place(setup, driver, names["port"], n))
    for number in HOSTS:
        servers.serve(tasks.server[number], PORT)
        servers.serve_stream(tasks.server[number])
    servers.serve(place(setup, driver, names["port"], tasks.published), PORT)
    tasks.addresses = [overlay_address(driver, tasks.server[number]) for number in HOSTS]
    tasks.virtual = driver.virtual_address(names["server"])
    return tasks


def await_running(session, name, count):
    """Returns when they do."""
    if poll(lambda: session.running(name) == count, SECONDS) is None:
        raise BenchError(f"only {session.running(name)} of {count} tasks of {name} run")


def place(setup, driver, name, number):
    """The network namespace of the service's task on that host; None if it has none."""
    pids = set(process_tree(driver.nodes[number].process.pid))
    found = [workload.pid for workload in setup.watch.alive(name) if workload.pid in pids]
    return f"/proc/{found[0]}/ns/net" if found else None


def overlay_address(driver, namespace):
    """Of the task there."""
    prefix = driver.OVERLAY_SUBNET.rsplit(".", 2)[0] + "."
    for device in json.loads(run(inside(namespace, "ip", "-4", "-j", "addr"))):
        for found in device["addr_info"]:
            if found["local"].startswith(prefix):
                return found["local"]
    raise BenchError(f"a task has no address of {driver.OVERLAY_SUBNET}")


class Pairs:
    """Comparisons of one orchestrator."""

    def __init__(self, setup, driver, servers):
        self.setup = setup
        self.driver = driver
        self.name = driver.name
        self.servers = servers
        self.turns = setup.repetitions(15, 41)

    def compare(self, figure, unit, base, ours):
        """By turns, beginning with another one each time; figures of both and of their ratio."""
        self.setup.conditions.reset()
        sides = {"limit": base, self.name: ours}
        samples = {side: [] for side in sides}
        for side in sides.values():
            side()  # whatever is set up with the first packets
        for turn in range(self.turns):
            for side in sorted(sides, reverse=turn % 2 == 1):
                time.sleep(REST_SECONDS)
                samples[side].append(sides[side]())
        ratios = [mine / limit for mine, limit in zip(samples[self.name], samples["limit"])]
        for side, taken in samples.items():
            self.setup.results.figure(figure, taken, unit=unit, sys=side, beside=self.name)
        self.setup.results.figure(f"{figure}_ratio", ratios, unit="of the limit", sys=self.name)


def measure_stream(pairs, bare, tasks):
    """A TCP connection from a task of one host to one of the other."""
    servers = pairs.servers
    pairs.compare(
        "network.stream",
        "MiB/s",
        lambda: servers.stream(bare.task(1), bare.task_address(2)),
        lambda: servers.stream(tasks.client[1], tasks.addresses[1]),
    )


def measure_virtual(pairs, tasks):
    """New connections through the virtual address; the limit are the tasks' own addresses."""
    if tasks.virtual is None:
        reason = "no virtual addresses: this kernel has no IPVS"
        pairs.setup.results.skip(pairs.name, reason, fig="network.virtual")
        return
    ask = pairs.servers.ask
    pairs.compare(
        "network.virtual",
        "connections/s",
        lambda: ask(tasks.client[1], PORT, *tasks.addresses),
        lambda: ask(tasks.client[1], PORT, tasks.virtual),
    )


def measure_published(pairs, bare, tasks):
    """New connections from outside by the port of the host that has the task, and by the other's."""
    ask = pairs.servers.ask
    client = pairs.driver.hub.client()
    other = next(number for number in HOSTS if number != tasks.published)
    cases = {"here": tasks.published}
    if pairs.driver.answers_everywhere:
        cases["elsewhere"] = other
    for task, number in cases.items():
        pairs.compare(
            f"network.published_{task}",
            "connections/s",
            lambda: ask(bare.hub.client(), PUBLISHED, address(1)),
            lambda number=number: ask(client, PUBLISHED, address(number)),
        )
