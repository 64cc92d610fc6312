"""isolation: that nobody is fast by leaving something out. What one running container has."""

import os
import re

from machine import BenchError, poll, read_text, run

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts")
# Of cgroup v1; on v2 one path has them all.
CONTROLLERS = ("cpu", "memory", "pids", "devices", "freezer")
# What docker lets a container's root have unless told otherwise.
DOCKER_CAPABILITIES = 0xA80425FB
SECCOMP_FILTER = "2"


def measure(setup, driver):
    """One container on the bridge."""
    driver.up()
    name = setup.new_label("i")
    driver.session.create(name, 1, net="bridge")
    if setup.watch.wait_started(name, 1, 0, 60) is None:
        raise BenchError("the container did not start within 60 s")
    poll(lambda: driver.session.running(name) == 1, 30)
    pid = setup.watch.alive(name)[0].pid
    found = examine(pid, driver.nodes[1].init_pid())
    setup.results.write({"isolation": driver.name, **found})
    driver.session.remove(name)
    missing = lacks(found)
    if missing:
        raise BenchError(f"a container of {driver.name} has no {', no '.join(missing)}")


def examine(pid, host):
    """Of the process `pid`, beside the first process of its host."""
    status = dict(re.findall(r"^(\w+):\s*(.*)$", read_text(f"/proc/{pid}/status"), re.MULTILINE))
    mounts = [line.split()[4] for line in read_text(f"/proc/{pid}/mountinfo").splitlines()]
    return {
        "seccomp": status["Seccomp"],
        "capabilities": status["CapEff"].lstrip("0"),
        "namespaces": [kind for kind in NAMESPACES if namespace(pid, kind) != namespace(host, kind)],
        "cgroups": own_controllers(pid, host),
        "addresses": addresses(pid),
        "covered": sorted(path for path in mounts if path.startswith(("/proc/", "/sys/firmware"))),
    }


def namespace(pid, kind):
    """Its name, as the kernel gives it."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def own_controllers(pid, host):
    """In which of them the process is elsewhere than its host's first process."""
    mine, theirs = controllers(pid), controllers(host)
    if "" in mine and not set(CONTROLLERS) & set(mine):
        return list(CONTROLLERS) if mine[""] != theirs.get("") else []
    return [name for name in CONTROLLERS if name in mine and mine[name] != theirs.get(name)]


def controllers(pid):
    """{controller: path}; v2 has no name."""
    found = {}
    for line in read_text(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        found.update((name, path) for name in names.split(","))
    return found


def addresses(pid):
    """IPv4, without the loopback's."""
    text = run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-4", "-o", "addr", "show", "scope", "global"])
    return [line.split()[3] for line in text.splitlines()]


def lacks(found):
    """What docker's containers have and this one does not."""
    missing = [f"own {kind} namespace" for kind in NAMESPACES if kind not in found["namespaces"]]
    missing += [f"own cgroup of {name}" for name in CONTROLLERS if name not in found["cgroups"]]
    if found["seccomp"] != SECCOMP_FILTER:
        missing.append("seccomp filter")
    if int(found["capabilities"] or "0", 16) & ~DOCKER_CAPABILITIES:
        missing.append(f"bound to its capabilities ({found['capabilities']})")
    if not found["addresses"]:
        missing.append("address")
    if "/proc/sys" not in found["covered"]:
        missing.append("cover over /proc/sys")
    return missing
