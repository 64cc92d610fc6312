"""endpoints: what the tasks of other hosts cost a node: time to the kernel, and memory of orchd."""

import itertools
import os
import time

from machine import BenchError, memory_sum, poll, run
from measure_cluster_scale import Load
from orch_driver import RUN_DIR

ENDPOINTS = 10_000
SERVICES = 100
NETWORKS = 10
NODES = 10
SETTLED_SECONDS = 5
SUBNETS = itertools.count(100)


def measure_changes(setup):
    """One of 10,000 tasks starts or stops serving, or is replaced; of one service, and of a hundred.

    Before all else on the machine, but not alone on it: the median of each run, and of five runs.
    """
    for services in (1, SERVICES):
        setup.conditions.reset()
        taken = {"start_ms": [], "stop_ms": [], "replace_ms": [], "grown_mib": []}
        for _ in range(setup.repetitions(3, 5)):
            for name, value in changes(setup, services).items():
                if name in taken:
                    taken[name].append(value)
        for name, samples in taken.items():
            unit = name.rsplit("_", 1)[1].replace("mib", "MiB")
            parameters = {"endpoints": ENDPOINTS, "services": services}
            setup.results.figure(f"endpoints.{name}", samples, unit=unit, sys="orch", **parameters)


def changes(setup, services):
    """The figures of one run by their names."""
    said = run(["chrt", "-f", "1", f"{setup.programs}/orch-bench-endpoints", str(ENDPOINTS), str(services)])
    words = [line.split() for line in said.splitlines()]
    return {line[0]: float(line[1]) for line in words if line[0] != "balancer"}


def measure_memory(setup, driver):
    """Of the daemons of a worker: by networks that it has a task on, and by tasks of others on one."""
    if driver.name != "orch":
        setup.results.skip(driver.name, "nothing simulates its nodes", fig="endpoints.memory")
        return
    setup.conditions.reset()
    driver.up(2, role="worker")
    serve(setup, driver, 1, overlay=True)  # what is made once
    serve(setup, driver, 1, overlay=False)
    empty = memory(driver)
    serve(setup, driver, NETWORKS, overlay=False)
    tasks = memory(driver)
    network = serve(setup, driver, NETWORKS, overlay=True)
    networks = memory(driver)
    per_network = (networks - tasks - (tasks - empty)) / NETWORKS
    with Load(setup, driver, NODES, SERVICES, ENDPOINTS // SERVICES, network) as load:
        load.figures("joined")
        load.figures("longest")
        load.figures("running")
        awaits = lambda: peers(driver) >= ENDPOINTS  # noqa: E731
        if poll(awaits, 60, 1) is None:
            raise BenchError(f"the worker has {peers(driver)} of {ENDPOINTS} tasks of others in its kernel")
        grown = memory(driver) - networks

    def figure(name, value, unit):
        setup.results.figure(f"endpoints.{name}", [value], unit=unit, sys=driver.name)

    figure("memory_kib_per_network", per_network, "KiB")
    figure("memory_kib_per_1000", grown * 1000 / ENDPOINTS, "KiB")
    figure("memory_mib", grown / 1024, "MiB")


def serve(setup, driver, count, overlay):
    """So many services with a task on each node, each on a network of its own; the last network."""
    names = [setup.new_label("m") for _ in range(count)]
    for name in names:
        options = ["--name", name, "--replicas", "2", "--verify", "0s"]
        if overlay:
            driver.run("network", "create", node=1, options=["--subnet", f"10.{next(SUBNETS)}.0.0/16", f"net{name}"])
            options += ["--network", f"net{name}"]
        driver.run("service", "create", node=1, options=[*options, "bench:1", "/bin/wl", name])
    for name in names:
        if poll(lambda name=name: driver.session.running(name) == 2, 60) is None:
            raise BenchError(f"the tasks of {name} do not run")
    return f"net{names[-1]}"


def memory(driver):
    """KiB that the daemons of the worker have to themselves, once they have settled."""
    time.sleep(SETTLED_SECONDS)
    return memory_sum(driver.nodes[2].processes()["daemons"])["Private_Dirty"]


def peers(driver):
    """How many tasks of others the worker's kernel knows, on all networks."""
    root = f"/proc/{driver.nodes[2].init_pid()}/root{RUN_DIR}/network.overlay/netns"
    enter = ["nsenter", "-t", str(driver.nodes[2].init_pid()), "-m"]
    found = 0
    for name in os.listdir(root):
        command = [*enter, "nsenter", f"--net={RUN_DIR}/network.overlay/netns/{name}", "bridge", "fdb"]
        found += run(command).count(" dst ")
    return found
