"""update: a rolling update of 20 replicas, two at a time, without delay."""

import time

from machine import BenchError, poll

REPLICAS = 20
PARALLELISM = 2


def measure(setup, driver):
    """Both orders on every network but the host's."""
    driver.up()
    cases = [("bridge", "start-first")]
    if not setup.quick:
        cases += [("bridge", "stop-first"), ("overlay", "stop-first"), ("overlay", "start-first")]
    if setup.quick and setup.network == "overlay":
        cases = [("overlay", "stop-first")]
    for net, order in cases:
        if net in driver.networks and setup.network in (None, net):
            measure_case(setup, driver, net, order)


def measure_case(setup, driver, net, order):
    """All repetitions on one service."""
    setup.conditions.reset()
    session = driver.session
    name = setup.new_label("u")
    old = f"{name}v0"
    session.create(
        name, REPLICAS, net=net, order=order, parallelism=PARALLELISM, label=old, delay=0
    )
    setup.watch.wait_started(old, REPLICAS, 0, 90)
    poll(lambda: session.running(name) == REPLICAS, 30)
    taken, completed, fewest, most = [], [], [], []
    for number in range(1, setup.repetitions(1, 2) + 1):
        time.sleep(2)
        setup.conditions.quiet()
        new = f"{name}v{number}"
        begin = time.monotonic()
        session.relabel(name, new)
        last_start = setup.watch.wait_started(new, REPLICAS, begin, 180)
        last_exit = setup.watch.wait_gone(old, 90)
        if last_start is None or last_exit is None:
            raise BenchError(f"the update on {net} ({order}) did not end within 180 s")
        taken.append(max(last_start, last_exit) - begin)
        done = poll(lambda: session.update_done(name), 60)
        completed.append(done and done - begin)
        low, high = extremes(setup.watch, (old, new), begin, REPLICAS)
        fewest.append(low)
        most.append(high)
        old = new
    parameters = {"sys": driver.name, "net": net, "order": order}
    parameters.update(N=REPLICAS, parallelism=PARALLELISM)
    setup.results.figure("update.all_new_exec_old_dead", taken, **parameters)
    setup.results.figure("update.status_completed", completed, **parameters)
    setup.results.figure("update.min_alive", fewest, unit="replicas", **parameters)
    setup.results.figure("update.max_alive", most, unit="replicas", **parameters)
    session.remove(name)
    setup.watch.wait_gone(old, 60)
    poll(lambda: session.left() == 0, 60)


def extremes(watch, labels, begin, alive):
    """The fewest and the most replicas that were alive at once since `begin`, when so many were."""
    seen = [workload for label in labels for workload in watch.workloads(label)]
    events = [(w.start, 1) for w in seen if w.start > begin]
    events += [(w.end, -1) for w in seen if w.end and w.end > begin]
    counts = [alive]
    for _, change in sorted(events):
        alive += change
        counts.append(alive)
    return min(counts), max(counts)
