"""floor: below the runtimes: clone and exec, network namespaces made by ip, syncs of the disk."""

import json
import time

import cgroups
from machine import run

STARTS = 200
NAMESPACES = 100
MODES = ("", "p", "pmn", "pmnuio", "pmuio", "pmnuioc")


def measure(setup):
    """All three."""
    with cgroups.OwnAccount(f"{setup.new_tag('floor')}-cpu") as account:
        for mode in MODES:
            for workers in (1, 2, 4):
                measure_clone(setup, account, mode, workers)
    measure_namespaces(setup)
    for size in (512, 4096):
        lines = run([f"{setup.programs}/fsynclat", setup.data, "1000", str(size)]).splitlines()
        for line in lines:
            setup.results.write(json.loads(line))


def measure_clone(setup, account, mode, workers):
    """Milliseconds per start, see nsfloor.c for the modes."""
    setup.conditions.reset()
    program = f"{setup.programs}/nsfloor"
    command = [program, str(STARTS), str(workers), mode, setup.rootfs, f"{setup.programs}/wl"]

    def once():
        return json.loads(run(command))["total_s"] / STARTS * 1e3

    times = [setup.conditions.fair(once, account.seconds) for _ in range(setup.repetitions(1, 5))]
    parameters = {"sys": "limit", "mode": mode or "none", "par": workers}
    setup.results.figure("limit.floor_ms", times, unit="ms", **parameters)


def measure_namespaces(setup):
    """Namespace, veth, bridge port, address and route by `ip -batch`, per container."""
    setup.conditions.reset()
    tag = setup.new_tag("net")
    together, removal = [], []
    for _ in range(setup.repetitions(1, 3)):
        setup.conditions.quiet()
        run(["ip", "netns", "add", tag])
        run(["ip", "-n", tag, "-batch", "-"], input="link add br0 type bridge\nlink set br0 up\n")
        try:
            begin = time.monotonic()
            outer = "".join(outer_commands(tag, i) for i in range(NAMESPACES))
            run(["nsenter", f"--net=/run/netns/{tag}", "ip", "-batch", "-"], input=outer)
            for i in range(NAMESPACES):
                run(["ip", "-n", f"{tag}-{i}", "-batch", "-"], input=inner_commands(i))
            together.append((time.monotonic() - begin) / NAMESPACES * 1e3)
        finally:
            begin = time.monotonic()
            names = "".join(f"netns del {tag}-{i}\n" for i in range(NAMESPACES))
            run(["ip", "-force", "-batch", "-"], check=False, input=names)
            removal.append((time.monotonic() - begin) / NAMESPACES * 1e3)
            run(["ip", "netns", "del", tag])
    setup.results.figure("limit.net_ms_per_container", together, unit="ms", sys="limit")
    setup.results.figure("limit.netns_del_ms", removal, unit="ms", sys="limit")


def outer_commands(tag, number):
    """In the bridge's namespace."""
    return (
        f"netns add {tag}-{number}\n"
        f"link add v{number} type veth peer name eth0 netns {tag}-{number}\n"
        f"link set v{number} master br0 up\n"
    )


def inner_commands(number):
    """In the container's namespace."""
    return (
        f"addr add 10.211.0.{number + 1}/16 dev eth0\nlink set eth0 up\nlink set lo up\n"
        "route add default via 10.211.255.254\n"
    )
