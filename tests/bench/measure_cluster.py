"""cluster: a manager and two workers: a join, replicas over all three, a drain, the death of a worker.

crash: SIGKILL of everything on it (the manager sees its connections close); poweroff: its cable is
cut first (the manager sees nothing).
"""

import time

from machine import BenchError, poll, process_tree

REPLICAS = 100
DRAINED = 20
LOST = 3
NODES = 3
SECONDS = 120
SETTLED_SECONDS = 7


def measure(setup, driver):
    """Each death with a cluster of its own; the first of them is used for the rest as well."""
    setup.conditions.reset()
    figures = {"join_ready": [], "all_exec": [], "drain_moved": []}
    deaths = {"poweroff": [], "crash": []}
    for _ in range(setup.repetitions(1, 3)):
        for death, samples in deaths.items():
            if death == "poweroff":
                figures["join_ready"].append(join(setup, driver))
                figures["all_exec"].append(create(setup, driver))
                figures["drain_moved"].append(drain(setup, driver))
                driver.down()
            driver.up(NODES, role="worker")
            samples.append(kill(setup, driver, death))
            driver.down()
    for name, samples in figures.items():
        setup.results.figure(f"cluster.{name}", samples, sys=driver.name)
    for death, samples in deaths.items():
        setup.results.figure("cluster.tasks_back_exec", samples, sys=driver.name, death=death)


def join(setup, driver):
    """From the request to the manager's saying that the third node is ready."""
    driver.start_nodes(NODES)
    driver.prepare_join(2, "worker")()
    wait("two nodes are ready", lambda: driver.session.ready() == 2)
    join_third = driver.prepare_join(3, "worker")
    setup.conditions.quiet()
    begin = time.monotonic()
    join_third()
    wait("three nodes are ready", lambda: driver.session.ready() == NODES)
    return time.monotonic() - begin


def create(setup, driver):
    """From the request to the last exec."""
    name = setup.new_label("s")
    setup.conditions.quiet()
    begin = time.monotonic()
    driver.session.create(name, REPLICAS)
    last = setup.watch.wait_started(name, REPLICAS, begin, SECONDS)
    wait("all run", lambda: driver.session.running(name) == REPLICAS)
    driver.session.remove(name)
    if setup.watch.wait_gone(name, SECONDS) is None:
        raise BenchError("what was removed runs still")
    time.sleep(SETTLED_SECONDS)
    return last - begin if last else None


def drain(setup, driver):
    """From the request until as many run elsewhere, and none there."""
    name = begin_service(setup, driver, NODES * DRAINED)
    doomed = on_node(setup, driver, name, NODES)
    setup.conditions.quiet()
    begin = time.monotonic()
    driver.session.drain(NODES)
    last = setup.watch.wait_started(name, len(doomed), begin, SECONDS)
    wait("the drained node is empty", lambda: all(workload.end for workload in doomed))
    return max([last, *(workload.end for workload in doomed)]) - begin if last else None


def kill(setup, driver, death):
    """From the death to the exec of as many as were lost."""
    name = begin_service(setup, driver, NODES * LOST)
    lost = len(on_node(setup, driver, name, NODES))
    setup.conditions.quiet()
    begin = time.monotonic()
    if death == "poweroff":
        driver.hub.cut(NODES)
    driver.nodes[NODES].kill()
    last = setup.watch.wait_started(name, lost, begin, SECONDS)
    return last - begin if last else None


def begin_service(setup, driver, replicas):
    """A service that has run long enough for nobody to watch it any more."""
    name = setup.new_label("c")
    driver.session.create(name, replicas, delay=0)
    wait("all run", lambda: driver.session.running(name) == replicas)
    time.sleep(SETTLED_SECONDS)
    return name


def on_node(setup, driver, name, number):
    """The workloads there."""
    pids = set(process_tree(driver.nodes[number].process.pid))
    found = [workload for workload in setup.watch.alive(name) if workload.pid in pids]
    if not found:
        raise BenchError(f"nothing of {name} runs on node {number}")
    return found


def wait(what, condition):
    """Asks every 5 ms."""
    if poll(condition, SECONDS, 0.005) is None:
        raise BenchError(f"after {SECONDS} s still not so: {what}")
