"""commit: what store.etcd takes for a change, beside a bare transaction of the same client on the same servers.

They take turns, on one etcd and on three, on loopback and with their data on the disk.
"""

import re

from machine import BenchError, run

SERVERS = re.compile(r"^(\d+) servers$")
LINE = re.compile(r"^ +a (bare change|commit): p10 ([\d.]+) ms, p50 ([\d.]+)")
SYSTEMS = {"bare change": "limit", "commit": "orch"}


def measure(setup):
    """By the hidden test of the store."""
    setup.conditions.reset()
    samples = {}
    for _ in range(setup.repetitions(1, 3)):
        setup.conditions.quiet()
        for key, value in medians(setup):
            samples.setdefault(key, []).append(value)
    if not samples:
        raise BenchError("orch_store_etcd_test says nothing of commits")
    for (system, servers), values in samples.items():
        setup.results.figure("commit.p50", values, unit="ms", sys=system, servers=servers)


def medians(setup):
    """Of a thousand each."""
    servers = None
    for line in run([f"{setup.build}/bin/orch_store_etcd_test", "[.latency]"]).splitlines():
        counted = SERVERS.match(line)
        found = LINE.match(line)
        if counted:
            servers = int(counted.group(1))
        elif found:
            yield (SYSTEMS[found.group(1)], servers), float(found.group(3))
