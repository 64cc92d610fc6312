"""rollback: a rolling update of 20 replicas to a program that is not there, taken back by itself."""

import time

from machine import BenchError, poll
from measure_update import PARALLELISM, REPLICAS, extremes

PROGRAM = "/bin/not-there"
ORDERS = ("stop-first", "start-first")


def measure(setup, driver):
    """Both orders on the bridge."""
    driver.up()
    for order in ORDERS[:1] if setup.quick else ORDERS:
        measure_order(setup, driver, order)


def measure_order(setup, driver, order):
    """A service of its own for each repetition."""
    setup.conditions.reset()
    serves, told, fewest = [], [], []
    for _ in range(setup.repetitions(1, 2)):
        setup.conditions.quiet()
        served, said, low = take_back(setup, driver.session, order)
        serves.append(served)
        told.append(said)
        fewest.append(low)
    parameters = {"sys": driver.name, "net": "bridge", "order": order}
    parameters.update(N=REPLICAS, parallelism=PARALLELISM)
    setup.results.figure("rollback.old_serves", serves, **parameters)
    setup.results.figure("rollback.told", told, **parameters)
    setup.results.figure("rollback.min_alive", fewest, unit="replicas", **parameters)


def take_back(setup, session, order):
    """Seconds until all replicas serve again, and until the rollback is reported; the fewest that did."""
    name = setup.new_label("r")
    session.create(name, REPLICAS, order=order, parallelism=PARALLELISM, delay=0)
    setup.watch.wait_started(name, REPLICAS, 0, 90)
    poll(lambda: session.running(name) == REPLICAS, 30)
    begin = time.monotonic()
    session.fail(name, PROGRAM)
    told = poll(lambda: session.rolled_back(name), 180)
    if told is None or len(setup.watch.alive(name)) != REPLICAS:
        alive = len(setup.watch.alive(name))
        raise BenchError(f"the update was not taken back ({order}); {alive} of {REPLICAS} replicas serve")
    serves = max(setup.watch.starts(name, begin), default=begin) - begin
    low, _ = extremes(setup.watch, (name,), begin, REPLICAS)
    session.remove(name)
    setup.watch.wait_gone(name, 60)
    poll(lambda: session.left() == 0, 60)
    return serves, told - begin, low
