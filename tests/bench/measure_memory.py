"""memory: what daemons and containers take, and the CPU time of a node that does nothing."""

import os
import time

from machine import BenchError, memory_sum, poll, read_text

CONTAINERS = 100
KERNEL_FIELDS = ("Slab", "KernelStack", "PageTables", "Percpu")


class Snapshot:
    """Memory of one node by kind of process, in MiB, and of the kernel."""

    def __init__(self, node):
        pids = node.processes()
        self.count = {kind: len(found) for kind, found in pids.items()}
        self.memory = {kind: memory_sum(found) for kind, found in pids.items()}
        self.threads = sum(threads(pid) for kind in ("daemons", "shim") for pid in pids[kind])
        self.kernel = kernel_mib()

    def mib(self, field, *kinds):
        """Of these kinds together, of all without one."""
        kinds = kinds or tuple(self.memory)
        return sum(self.memory[kind][field] for kind in kinds) / 1024


def threads(pid):
    """Of a process; 0 if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return 0


def kernel_mib():
    """Kernel memory that containers cause, of the whole machine."""
    fields = {}
    for line in read_text("/proc/meminfo").splitlines():
        words = line.split()
        fields[words[0].rstrip(":")] = int(words[1])
    return sum(fields[field] for field in KERNEL_FIELDS) / 1024


def idle_fraction(driver, seconds):
    """The part of a core that the node uses while nothing is asked of it."""
    before = driver.cpu()
    time.sleep(seconds)
    return (driver.cpu() - before) / seconds


def measure(setup, driver):
    """On the bridge."""
    setup.conditions.reset()
    driver.up()
    node = driver.nodes[1]
    seconds = setup.repetitions(20, 60)
    time.sleep(setup.repetitions(5, 10))
    empty = Snapshot(node)
    idle_empty = idle_fraction(driver, setup.repetitions(5, 60))
    name = setup.new_label("m")
    driver.session.create(name, CONTAINERS, net="bridge")
    if setup.watch.wait_started(name, CONTAINERS, 0, 90) is None:
        raise BenchError(f"only {len(setup.watch.alive(name))} of {CONTAINERS} containers started")
    poll(lambda: driver.session.running(name) == CONTAINERS, 60)
    time.sleep(setup.repetitions(10, 15))
    idle_full = idle_fraction(driver, seconds)
    full = Snapshot(node)
    report(setup.results, driver.name, empty, full)
    parameters = {"sys": driver.name, "net": "bridge", "N": CONTAINERS}
    figure = setup.results.figure
    figure("idle.cpu_frac_0_containers", [idle_empty * 100], unit="% core", **parameters)
    figure(f"idle.cpu_frac_{CONTAINERS}_containers", [idle_full * 100], unit="% core", **parameters)


def report(results, system, empty, full):
    """The memory figures."""

    def figure(name, value, unit="MiB", **more):
        results.figure(name, [value], unit=unit, sys=system, net="bridge", N=CONTAINERS, **more)

    figure("mem.daemons_idle_rss", empty.mib("Rss", "daemons"))
    figure("mem.daemons_idle_pss", empty.mib("Pss", "daemons"))
    figure("mem.daemons_idle_private_dirty", empty.mib("Private_Dirty", "daemons"))
    figure("mem.daemons_full_pss", full.mib("Pss", "daemons"))
    figure("mem.shim_pss_per_container", full.mib("Pss", "shim") / CONTAINERS)
    figure("mem.shim_rss_per_container", full.mib("Rss", "shim") / CONTAINERS)
    figure("mem.workload_pss_per_container", full.mib("Pss", "wl") / CONTAINERS)
    growth = (full.mib("Pss") - empty.mib("Pss")) / CONTAINERS
    figure("mem.total_pss_growth_per_container", growth)
    kernel = (full.kernel - empty.kernel) / CONTAINERS
    figure("mem.kernel_growth_per_container", kernel, note="of the whole machine")
    figure("mem.processes_per_container", full.count["shim"] / CONTAINERS, "processes")
    figure("mem.threads_per_container", full.threads / CONTAINERS, "threads")
