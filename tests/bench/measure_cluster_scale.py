"""cluster-scale: one manager with 1,000 nodes that run nothing (orch-bench-agents), and 30,000 tasks of 100 services."""

import json
import subprocess
import time

from machine import BenchError, memory_sum
from orch_driver import OrchDriver, OrchNode

NODES = 1000
SERVICES = 100
REPLICAS = 300
SETTLED_SECONDS = 10
IDLE_SECONDS = 20


class ManagerNode(OrchNode):
    """A manager that runs nothing itself."""

    PLUGINS = ("store.local", "scheduler.spread", "filter.constraint", "control.manager")

    def manifest(self):
        """The [node] that the others have."""
        node = super().manifest().split("[[plugin]]", 1)[0]
        return node + "".join(f'[[plugin]]\nid = "{plugin}"\ncritical = true\n' for plugin in self.PLUGINS)


class ManagerDriver(OrchDriver):
    """Of one such node."""

    def make_node(self, number, namespace):
        """The only one."""
        return ManagerNode(number, namespace, self.tag, self.setup)

    def form_cluster(self):
        """That others can join. It has no agent, so no node is ready."""
        self.connect().command("init", "default")
        self.run("init", node=1, options=["--advertise-addr", self.nodes[1].address])
        self.nodes[1].wait_ready()


class Load:
    """The simulated nodes, and services of `replicas` tasks each, on a network if there is one. A context."""

    def __init__(self, setup, driver, nodes=NODES, services=SERVICES, replicas=REPLICAS, network=None):
        token = json.loads(driver.run("join-token", "worker", node=1, options=["--json"]))["token"]
        node = driver.nodes[1]
        self.command = ["nsenter", f"--net=/run/netns/{node.namespace}", f"{setup.programs}/orch-bench-agents"]
        self.command += [f"{node.address}:2377", token, node.socket(), str(nodes), str(services), str(replicas)]
        self.command += [network] if network else []
        self.process = None

    def __enter__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()

    def figures(self, word):
        """What it answers to the next line."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        if not words or words[0] != word:
            raise BenchError(f"orch-bench-agents says {words}, not '{word}'")
        return [float(text) for text in words[1:]]


def measure(setup, driver):
    """Of the manager: memory, CPU without changes, how long it holds up others."""
    if driver.name != "orch":
        setup.results.skip(driver.name, "nothing simulates its nodes", fig="manager.")
        return
    setup.conditions.reset()
    figures = {}
    try:
        for _ in range(setup.repetitions(1, 3)):
            with ManagerDriver(setup) as manager:
                manager.start_nodes(1)
                with Load(setup, manager) as load:
                    for name, value in sample(setup, manager.nodes[1], load):
                        figures.setdefault(name, []).append(value)
    finally:  # what was taken before it broke off
        units = {"s": "s", "ms": "ms", "mib": "MiB", "percent": "% core"}
        size = {"nodes": NODES, "services": SERVICES, "tasks": SERVICES * REPLICAS}
        for name, samples in figures.items():
            unit = units[name.rsplit("_", 1)[1]]
            setup.results.figure(f"manager.{name}", samples, unit, sys="orch", **size)


def sample(setup, node, load):
    """One cluster's figures, each with its name, as they are taken."""
    yield "joined_s", load.figures("joined")[0]
    time.sleep(SETTLED_SECONDS)
    setup.conditions.quiet()
    yield "idle_percent", idle(node)
    yield "longest_idle_ms", load.figures("longest")[0]
    yield "rss_mib", memory(node)
    seconds, longest = load.figures("running")
    yield "running_s", seconds
    yield "longest_busy_ms", longest
    yield "busy_rss_mib", memory(node)
    time.sleep(SETTLED_SECONDS)
    yield "idle_with_tasks_percent", idle(node)


def idle(node):
    """CPU of the daemons, in percent of one core."""
    before, begin = node.cpu(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return 100 * (node.cpu() - before) / (time.monotonic() - begin)


def memory(node):
    """Of the daemons."""
    return memory_sum(node.processes()["daemons"])["Rss"] / 1024
