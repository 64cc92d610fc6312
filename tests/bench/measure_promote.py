"""promote: a worker becomes the third manager of a cluster of two."""

import time

from machine import BenchError, poll

MANAGERS = 2
SECONDS = 60
# etcd takes no new member before all that it has have been together for five seconds.
SETTLED_SECONDS = 7


def measure(setup, driver):
    """From the request until it could lead."""
    setup.conditions.reset()
    samples = []
    for _ in range(setup.repetitions(1, 5)):
        samples.append(sample(setup, driver))
        driver.down()
    setup.results.figure("promote.ready", samples, sys=driver.name, managers=MANAGERS + 1)


def sample(setup, driver):
    """With a cluster of its own."""
    driver.managers = MANAGERS
    driver.start_nodes(MANAGERS + 1)
    driver.prepare_join(2, "manager")()
    driver.prepare_join(3, "worker")()
    wait("three nodes are ready", lambda: driver.session.ready() == MANAGERS + 1)
    driver.settle()
    wait("two could lead", lambda: driver.managing() == MANAGERS)
    time.sleep(SETTLED_SECONDS)
    setup.conditions.quiet()
    begin = time.monotonic()
    driver.promote(MANAGERS + 1)
    wait("three could lead", lambda: driver.managing() == MANAGERS + 1)
    return time.monotonic() - begin


def wait(what, condition):
    """Asks every 20 ms."""
    if poll(condition, SECONDS, 0.02) is None:
        raise BenchError(f"after {SECONDS} s still not so: {what}")
