"""heal: SIGKILL of one of five tasks, to the exec of its replacement."""

import os
import signal
import time

from machine import BenchError, poll

REPLICAS = 5


def measure(setup, driver):
    """With restart delay 0 on every network, and with the default one on the bridge."""
    driver.up()
    cases = [("bridge", 0, setup.repetitions(5, 7))]
    if not setup.quick:
        cases += [("host", 0, 7), ("overlay", 0, 7), ("bridge", None, 3)]
    for net, delay, repetitions in cases:
        if net in driver.networks:
            measure_case(setup, driver, net, delay, repetitions)


def measure_case(setup, driver, net, delay, repetitions):
    """All repetitions on one service."""
    setup.conditions.reset()
    session = driver.session
    name = setup.new_label("h")
    session.create(name, REPLICAS, net=net, delay=delay)
    setup.watch.wait_started(name, REPLICAS, 0, 60)
    poll(lambda: session.running(name) == REPLICAS, 30)
    exec_times, api_times, cpu_times = [], [], []
    for _ in range(repetitions):
        time.sleep(1.5)
        setup.conditions.quiet()
        victim = setup.watch.alive(name)[0]
        cpu = driver.cpu()
        begin = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        started = setup.watch.wait_started(name, 1, begin, 40)
        if started is None:
            raise BenchError(f"a killed task on {net} was not replaced within 40 s")
        healed = poll(lambda: is_whole(setup, session, name), 30, 0.01)
        exec_times.append(started - begin)
        api_times.append(healed and healed - begin)
        cpu_times.append(driver.cpu() - cpu)
    label = "default" if delay is None else delay
    parameters = {"sys": driver.name, "net": net, "restart_delay": label}
    setup.results.figure("heal.exec", exec_times, **parameters)
    setup.results.figure("heal.api_running", api_times, **parameters)
    setup.results.figure("heal.cpu_s", cpu_times, unit="cpu_s", **parameters)
    session.remove(name)
    setup.watch.wait_gone(name, 60)
    poll(lambda: session.left() == 0, 60)


def is_whole(setup, session, name):
    """In fact and as reported."""
    return len(setup.watch.alive(name)) == REPLICAS and session.running(name) == REPLICAS
