"""failover-scale: three managers with 10,000 or 100,000 tasks that wait for a node; the leader's host dies.

There are no nodes but the managers', which run nothing, so a task is one object of the state; one that has
run is two.
"""

import json
import os
import threading
import time

from machine import BenchError, memory_sum, poll, program
from measure_cluster_scale import ManagerDriver, ManagerNode

MANAGERS = 3
SERVICES = 100
QUICK = (10_000,)  # tasks
FULL = (10_000, 100_000)
SETTLED_SECONDS = 10
SECONDS = 60
FILL_SECONDS = 300
IMAGE = "bench@sha256:" + "0" * 64  # pinned, so that no registry is asked


class OneOfThree(ManagerNode):
    """With the store that all of them reach, too."""

    def manifest(self):
        """Beside the first one, where the state begins."""
        return super().manifest() + '[[plugin]]\nid = "store.etcd"\nconfig = { managed = true }\n'


class ThreeManagers(ManagerDriver):
    """They run nothing themselves."""

    def __init__(self, setup):
        super().__init__(setup)
        self.managers = MANAGERS

    def make_node(self, number, namespace):
        """Each of the three."""
        return OneOfThree(number, namespace, self.tag, self.setup, self.managers)

    def form_cluster(self):
        """In etcd from the start."""
        super().form_cluster()
        self.run("cluster", "migrate", node=1, options=["--to", "store.etcd"])

    def load_image(self, number):
        """Nothing runs."""


def measure(setup, driver):
    """Of the managers, and what a task takes in the stores."""
    if driver.name != "orch":
        setup.results.skip(driver.name, "nothing simulates its nodes", fig="loaded.")
        return
    for tasks in QUICK if setup.quick else FULL:
        measure_size(setup, tasks)


def measure_size(setup, tasks):
    """With so many tasks."""
    setup.conditions.reset()
    figures = {}
    try:
        for _ in range(setup.repetitions(1, 3)):
            with ThreeManagers(setup) as three:
                for name, value in sample(setup, three, tasks):
                    figures.setdefault(name, []).append(value)
        with ManagerDriver(setup) as alone:
            alone.start_nodes(1)
            empty = disk_bytes(alone.nodes[1], "store.local")
            fill(setup, alone, tasks)
            used = disk_bytes(alone.nodes[1], "store.local") - empty
            figures["local_bytes_per_task"] = [used / tasks]
    finally:  # what was taken before it broke off
        units = {"s": "s", "mib": "MiB", "task": "bytes"}
        for name, samples in figures.items():
            setup.results.figure(f"loaded.{name}", samples, units[name.rsplit("_", 1)[1]], sys="orch", tasks=tasks)


def create(driver, name, replicas, number=1):
    """A service that no node can run: by the command line, since the client names a runtime."""
    options = ["--detach", "--name", name, "--replicas", str(replicas), "--endpoint-mode", "dnsrr"]
    driver.run("service", "create", node=number, options=[*options, IMAGE])


def fill(setup, driver, tasks):
    """Seconds until all tasks are there."""
    begin = time.monotonic()
    name = setup.new_label("l")
    for number in range(SERVICES):
        create(driver, f"{name}-{number}", tasks // SERVICES)

    def objects():
        return int(json.loads(driver.run("cluster", "status", "--json", node=1))["objects"])

    if poll(lambda: objects() >= tasks, FILL_SECONDS, 0.5) is None:
        raise BenchError(f"the state has {objects()} objects after {FILL_SECONDS} s")
    return time.monotonic() - begin


def sample(setup, driver, tasks):
    """One cluster's figures, each with its name, as they are taken."""
    driver.start_nodes(MANAGERS)
    for number in range(2, MANAGERS + 1):
        driver.prepare_join(number, "manager")()
    driver.settle()
    empty = etcd_bytes(driver.nodes[1])
    yield "filled_s", fill(setup, driver, tasks)
    time.sleep(SETTLED_SECONDS)
    yield "etcd_bytes_per_task", (etcd_bytes(driver.nodes[1]) - empty) / tasks
    for role, number in (("leader", 1), ("follower", 2)):
        yield f"{role}_rss_mib", memory(driver.nodes[number], "orch")
        yield f"{role}_etcd_rss_mib", memory(driver.nodes[number], "etcd")
    yield "copied_s", first_copy(driver, MANAGERS)
    setup.conditions.quiet()
    yield "first_write_s", first_write(setup, driver)


def first_copy(driver, number):
    """From the start of a manager's host, which was off, until it has a copy of the state."""
    node = driver.nodes[number]

    def copied():
        status = json.loads(driver.run("cluster", "status", "--json", node=1))
        copies = [one for one in status["managers"] if one["reach"] == "reachable" and int(one["behindMs"]) >= 0]
        return len(copies) == MANAGERS - 1

    node.kill()
    if poll(lambda: not copied(), SECONDS, 0.5) is None:
        raise BenchError(f"node {number} is reachable though it is off")
    begin = time.monotonic()
    node.start()
    if poll(copied, FILL_SECONDS, 0.2) is None:
        raise BenchError(f"node {number} has no copy of the state after {FILL_SECONDS} s")
    return time.monotonic() - begin


def first_write(setup, driver):
    """From the death of the leader's host to the first service that another manager has taken."""
    accepted = []
    begin = time.monotonic()
    driver.nodes[1].kill()

    def repeat(number):
        while not accepted and time.monotonic() < begin + SECONDS:
            try:
                create(driver, setup.new_label("w"), 0, number)
                accepted.append(time.monotonic())
            except BenchError:
                time.sleep(0.05)

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(2, MANAGERS + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not accepted:
        raise BenchError(f"no manager has taken a service for {SECONDS} s")
    return min(accepted) - begin


def memory(node, prefix):
    """Of the daemons of that name."""
    pids = [pid for pid in node.processes()["daemons"] if program(pid).startswith(prefix)]
    return memory_sum(pids)["Rss"] / 1024


def etcd_bytes(node):
    """Of its database, without what is free in it."""
    return node.etcdctl("endpoint", "status")[0]["Status"]["dbSizeInUse"]


def disk_bytes(node, store):
    """Of its files."""
    total = 0
    for folder, _, files in os.walk(f"{node.folder}/data/{store}"):
        total += sum(os.path.getsize(os.path.join(folder, file)) for file in files)
    return total
