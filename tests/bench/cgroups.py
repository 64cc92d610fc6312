"""Cgroups of the benchmarks: a private view with what crun needs, CPU accounts, taking away."""

import os
import time

from machine import BenchError, read_text, run

ROOT = "/sys/fs/cgroup"


def check_host():
    """Refuses a host that the CPU figures cannot be taken on."""
    if not os.path.exists(f"{ROOT}/cpuacct/cpuacct.usage"):
        raise BenchError(
            f"cannot account CPU time: '{ROOT}/cpuacct' is no cgroup v1 hierarchy; the benchmarks"
            " need a host with cgroup v1 or hybrid"
        )


def mount_private_view(scratch):
    """Replaces this mount namespace's cgroup folder by one that has hugetlb as a v1 hierarchy.

    crun refuses a hybrid host whose v2 hierarchy still has a controller. Nothing of it is seen
    outside of the mount namespace, and it ends with it.
    """
    if os.path.ismount(f"{ROOT}/hugetlb"):
        return
    os.makedirs(scratch, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "cgroup", scratch])
    for name in sorted(os.listdir(ROOT)):
        source = f"{ROOT}/{name}"
        if os.path.islink(source):
            os.symlink(os.readlink(source), f"{scratch}/{name}")
        elif os.path.ismount(source):
            os.mkdir(f"{scratch}/{name}")
            run(["mount", "--rbind", source, f"{scratch}/{name}"])
    os.makedirs(f"{scratch}/hugetlb", exist_ok=True)
    run(["mount", "-t", "cgroup", "-o", "hugetlb", "hugetlb", f"{scratch}/hugetlb"])
    run(["umount", "--recursive", "--lazy", ROOT])
    run(["mount", "--move", scratch, ROOT])
    os.rmdir(scratch)


def remove(name):
    """Takes the cgroup `name` and all below it away in every hierarchy."""
    for hierarchy in os.listdir(ROOT):
        top = f"{ROOT}/{hierarchy}/{name}"
        if os.path.isdir(top) and not os.path.islink(f"{ROOT}/{hierarchy}"):
            for folder, _, _ in os.walk(top, topdown=False):
                _remove_folder(folder)


def _remove_folder(folder):
    """The kernel frees a cgroup a little after its last process: tries for a second."""
    for _ in range(20):
        try:
            os.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)


class CpuAccount:
    """A cpuacct group: the CPU seconds of all that is started from inside it."""

    def __init__(self, name):
        self.name = name
        self.path = f"{ROOT}/cpuacct/{name}"
        os.makedirs(self.path, exist_ok=True)

    def seconds(self):
        """Used so far, by the groups below it as well."""
        return int(read_text(f"{self.path}/cpuacct.usage", "0")) / 1e9


class OwnAccount:
    """A context in which this process and what it starts are accounted for."""

    def __init__(self, name):
        self.account = CpuAccount(name)

    def __enter__(self):
        self.before = own_group()
        _move(os.getpid(), self.account.path)
        return self.account

    def __exit__(self, *_):
        for pid in read_text(f"{self.account.path}/cgroup.procs").split():
            _move(pid, self.before)
        remove(self.account.name)


def own_group():
    """The folder of the cpuacct group that this process is in."""
    for line in read_text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            return f"{ROOT}/cpuacct{path}"
    raise BenchError("this process is in no cpuacct group")


def _move(pid, folder):
    try:
        with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(pid))
    except ProcessLookupError:
        pass
