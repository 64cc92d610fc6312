"""scale: 1 to 50 and 50 to 0."""

import time

from machine import BenchError, poll

MOST = 50


def measure(setup, driver):
    """On every network but the host's."""
    driver.up()
    for net in setup.networks(("bridge",), ("bridge", "overlay")):
        if net in driver.networks:
            measure_network(setup, driver, net)


def measure_network(setup, driver, net):
    """All repetitions on one network."""
    setup.conditions.reset()
    up, up_api, dead, gone = [], [], [], []
    for _ in range(setup.repetitions(2, 3)):
        name = setup.new_label("c")
        driver.session.create(name, 1, net=net)
        setup.watch.wait_started(name, 1, 0, 60)
        poll(lambda: driver.session.running(name) == 1, 30)
        time.sleep(1)
        setup.conditions.quiet()
        grow(setup, driver, name, up, up_api)
        time.sleep(2)
        setup.conditions.quiet()
        shrink(setup, driver, name, dead, gone)
        driver.session.remove(name)
        time.sleep(0.5)
    parameters = {"sys": driver.name, "net": net}
    setup.results.figure("scale.1_to_50_exec", up, **parameters)
    setup.results.figure("scale.1_to_50_api", up_api, **parameters)
    setup.results.figure("scale.50_to_0_dead", dead, **parameters)
    setup.results.figure("scale.50_to_0_gone", gone, **parameters)


def grow(setup, driver, name, up, up_api):
    """1 to 50."""
    with setup.conditions.watch_foreign(driver.cpu):
        begin = time.monotonic()
        driver.session.scale(name, MOST)
        last = setup.watch.wait_started(name, MOST - 1, begin, 120)
        running = poll(lambda: driver.session.running(name) == MOST, 60)
    if last is None:
        raise BenchError(f"only {len(setup.watch.alive(name))} of {MOST} containers started")
    up.append(last - begin)
    up_api.append(running and running - begin)


def shrink(setup, driver, name, dead, gone):
    """50 to 0."""
    begin = time.monotonic()
    driver.session.scale(name, 0)
    last = setup.watch.wait_gone(name, 120)
    left = poll(lambda: driver.session.left() == 0, 120)
    if last is None or left is None:
        raise BenchError(f"{driver.session.left()} of {MOST} containers were left after scale 0")
    dead.append(last - begin)
    gone.append(left - begin)
