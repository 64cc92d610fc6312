"""create: from the request to the N-th exec, its CPU time, and removal until nothing is left."""

import statistics
import time

from machine import BenchError, poll

START_SECONDS = 90
REMOVE_SECONDS = 60


class Samples:
    """Of one network and size."""

    def __init__(self):
        self.post = []
        self.first = []
        self.all = []
        self.api = []
        self.cpu = []
        self.dead = []
        self.gone = []
        self.remove_cpu = []


def measure(setup, driver):
    """Every size on every network that the driver has."""
    driver.up()
    for net in setup.networks(("bridge",), ("bridge", "overlay", "host")):
        if net not in driver.networks:
            continue
        for count in (1, 100) if setup.quick else (1, 10, 50, 100):
            measure_size(setup, driver, net, count)


def measure_size(setup, driver, net, count):
    """All repetitions of one size on one network."""
    setup.conditions.reset()
    samples = Samples()
    small = count <= 10
    repetitions = setup.repetitions(5 if small else 2, 5 if small else 3)
    for _ in range(repetitions):
        name = setup.new_label("s")
        start(setup, driver, name, net, count, samples)
        time.sleep(1)
        remove(setup, driver, name, samples)
        time.sleep(0.5)
    report(setup.results, driver.name, net, count, samples)


def start(setup, driver, name, net, count, samples):
    """One service."""
    session = driver.session
    setup.conditions.quiet()
    with setup.conditions.watch_foreign(driver.cpu):
        cpu = driver.cpu()
        begin = time.monotonic()
        session.create(name, count, net=net)
        posted = time.monotonic()
        last = setup.watch.wait_started(name, count, begin, START_SECONDS)
        if last is None:
            started = len(setup.watch.starts(name))
            raise BenchError(f"only {started} of {count} containers on {net} started")
        running = poll(lambda: session.running(name) == count, 60, 0.02)
    samples.cpu.append((driver.cpu() - cpu) / count * 100)
    samples.post.append(posted - begin)
    samples.first.append(setup.watch.starts(name, begin)[0] - begin)
    samples.all.append(last - begin)
    samples.api.append(running and running - begin)


def remove(setup, driver, name, samples):
    """The same service. Exits are seen by the kernel; that nothing is left is polled."""
    session = driver.session
    count = len(setup.watch.alive(name))
    setup.conditions.quiet()
    cpu = driver.cpu()
    begin = time.monotonic()
    session.remove(name)
    dead = setup.watch.wait_gone(name, REMOVE_SECONDS)
    gone = poll(lambda: session.left() == 0, REMOVE_SECONDS)
    if dead is None or gone is None:
        raise BenchError(f"{session.left()} of {count} containers were left after a removal")
    samples.dead.append(dead - begin)
    samples.gone.append(gone - begin)
    samples.remove_cpu.append((driver.cpu() - cpu) / count * 100)


def report(results, system, net, count, samples):
    """The figures of one size."""
    parameters = {"sys": system, "N": count, "net": net}
    rate = round(count / statistics.median(samples.all), 2)
    results.figure("create.all_exec", samples.all, per_s=rate, **parameters)
    results.figure("create.first_exec", samples.first, **parameters)
    results.figure("create.api_running", samples.api, **parameters)
    results.figure("create.post", samples.post, **parameters)
    results.figure("create.cpu_s_per_100", samples.cpu, unit="cpu_s", **parameters)
    results.figure("remove.all_dead", samples.dead, **parameters)
    results.figure("remove.containers_gone", samples.gone, **parameters)
    results.figure("remove.cpu_s_per_100", samples.remove_cpu, unit="cpu_s", **parameters)
