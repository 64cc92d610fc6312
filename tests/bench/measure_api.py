"""api: the latency of the control plane, with services that have no replicas."""

import subprocess
import threading
import time

from machine import BenchError, run

CALLS = 100
CLIENTS = 8
SERVICES = 1000


def measure(setup, driver):
    """One manager."""
    measure_managers(setup, driver, 1)


def measure_three(setup, driver):
    """Three managers, through the leader and through a follower."""
    measure_managers(setup, driver, 3)


def measure_managers(setup, driver, managers):
    """Creates services, one client then several, lists them, and removes some."""
    driver.up(managers)
    names = Names(setup.new_label("z"))
    for number, role in ((1, "leader"), (2, "follower"))[: min(managers, 2)]:
        setup.conditions.reset()
        setup.conditions.quiet()
        session = driver.connect(number)
        times = create_all(session, [names.new() for _ in range(CALLS)])
        setup.results.figure(
            "api.create0_keepalive", times, unit="ms", sys=driver.name, managers=managers, via=role
        )
    several(setup, driver, managers, names)
    create_all(driver.session, [names.new() for _ in range(SERVICES - names.count)])
    listing(setup, driver, managers)
    removal(setup, driver, managers, names)


class Names:
    """Of the services made so far."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.count = 0

    def new(self):
        """One more."""
        self.count += 1
        return f"{self.prefix}-{self.count}"


def create_all(session, names):
    """Milliseconds of each call."""
    times = []
    for name in names:
        session.create(name, 0)
        times.append(session.last_ms)
    return times


def several(setup, driver, managers, names):
    """Several clients at once, each on its own connection."""
    setup.conditions.reset()
    shares = [[names.new() for _ in range(setup.repetitions(50, CALLS))] for _ in range(CLIENTS)]
    sessions = [driver.connect() for _ in shares]
    times = []

    def client(session, share):
        times.extend(create_all(session, share))

    threads = [threading.Thread(target=client, args=pair) for pair in zip(sessions, shares)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.monotonic() - begin
    calls = sum(map(len, shares))
    if len(times) != calls:
        raise BenchError(f"only {len(times)} of {calls} services could be created by {CLIENTS} clients")
    parameters = {"sys": driver.name, "managers": managers, "per_s": round(calls / taken, 1)}
    setup.results.figure("api.create0_8clients", times, unit="ms", **parameters)


def listing(setup, driver, managers):
    """By the API and by the command line, with what the command line's process itself costs."""
    setup.conditions.reset()
    count = driver.session.services()
    if count != SERVICES:
        raise BenchError(f"{count} services are listed instead of {SERVICES}")
    parameters = {"sys": driver.name, "managers": managers, "services": count}
    times = []
    for _ in range(50):
        begin = time.monotonic()
        driver.session.services()
        times.append((time.monotonic() - begin) * 1e3)
    setup.results.figure("api.list_services", times, unit="ms", **parameters)
    command, environment = driver.service_ls()
    lines = run(command, env=environment).splitlines()
    if len(lines) != SERVICES:
        raise BenchError(f"'{' '.join(command)}' printed {len(lines)} lines instead of {SERVICES}")
    setup.conditions.quiet()
    setup.results.figure("cli.service_ls", process_times(command, environment), **parameters)
    times = process_times(driver.version_only(), environment)
    setup.results.figure("cli.process_start_only", times, sys=driver.name, managers=managers)


def process_times(command, environment):
    """Seconds from the start of a process to its end."""
    times = []
    for _ in range(20):
        begin = time.monotonic()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - begin)
    return times


def removal(setup, driver, managers, names):
    """Of the first services."""
    setup.conditions.reset()
    times = []
    for number in range(1, CALLS + 1):
        driver.session.remove(f"{names.prefix}-{number}")
        times.append(driver.session.last_ms)
    parameters = {"sys": driver.name, "managers": managers}
    setup.results.figure("api.delete0_keepalive", times, unit="ms", **parameters)
