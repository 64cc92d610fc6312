"""The system calls behind a test host: mounts, namespaces and control groups.

Python 3.11 has no setns, unshare or mount, so they are called through libc.
"""
import ctypes
import glob
import os
import select
import signal
import time

_libc = ctypes.CDLL(None, use_errno=True)

NEWNS, NEWCGROUP, NEWUTS, NEWPID, NEWNET = 0x00020000, 0x02000000, 0x04000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
CGROUPS = "/sys/fs/cgroup"
PATIENCE_S = 60  # for what the kernel does when it gets to it


class Failed(Exception):
    """One line for the user."""


def waitUntil(what, condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"after {PATIENCE_S} s still not so: {what}")
        time.sleep(0.005)


def _call(name, what, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", what)


def unshare(flags):
    _call("unshare", hex(flags), flags)


def setns(fd, flags=0):
    _call("setns", str(fd), fd, flags)


def mount(source, target, kind=None, flags=0, data=None):
    encode = lambda text: text.encode() if text else None
    _call("mount", target, encode(source), target.encode(), encode(kind), flags, encode(data))


def umount(target, flags=0):
    _call("umount2", target, target.encode(), flags)


def setHostname(name):
    _call("sethostname", name, name.encode(), len(name))


def loopbackUp():
    """Sets IFF_UP on lo of the current network namespace (ioctl SIOCGIFFLAGS, SIOCSIFFLAGS)."""
    import fcntl
    import socket
    import struct
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, 0x8913, request))[1]
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))


def endOnParentDeath():
    _call("prctl", "PR_SET_PDEATHSIG", 1, signal.SIGKILL, 0, 0, 0)


def waitGone(pid):
    """Returns once process `pid` has ended (and, for a namespace's pid 1, all in it)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()
    os.close(fd)


def isUnified():
    """Whether this machine has cgroup v2 alone, rather than v1 or both."""
    return os.path.exists(f"{CGROUPS}/cgroup.controllers")


def hierarchies():
    """(folder under /sys/fs/cgroup, file system type, mount data) of each mounted hierarchy."""
    if isUnified():
        return [("", "cgroup2", None)]
    found = {}  # mountinfo also lists what another mount covers
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            left, right = line.split(" - ")
            target, kind = left.split()[4], right.split()[0]
            options = right.split()[2].split(",")
            if not target.startswith(CGROUPS + "/") or not kind.startswith("cgroup"):
                continue
            names = [o for o in options if o not in ("rw", "ro", "relatime") and "release_agent" not in o]
            if any(o.startswith("name=") for o in names):
                names.append("none")
            folder = target[len(CGROUPS) + 1:]
            found[folder] = (folder, kind, ",".join(names) if kind == "cgroup" else None)
    return list(found.values())


def leaveUnifiedEmpty():
    """crun 1.8 refuses a machine with v1 and v2 whose v2 hierarchy has controllers (often hugetlb).
    Mounting them as v1 takes them out of it. To be called in a private mount namespace whose /run is
    empty. Others may do the same, so what is mounted elsewhere is mounted here too."""
    if isUnified():
        return
    mounted = hierarchies()
    bound = {name for _, kind, data in mounted if kind == "cgroup" for name in data.split(",")}
    missing = [name for name in _controllers() if name not in bound]
    # The folders belong to the machine, so a tmpfs with bind mounts of what is there takes its place.
    stage = "/run"
    mount(CGROUPS, stage, flags=MS_BIND | MS_REC)
    mount("tmpfs", CGROUPS, "tmpfs", data="mode=755")
    for folder, _, _ in mounted:
        os.mkdir(f"{CGROUPS}/{folder}")
        mount(f"{stage}/{folder}", f"{CGROUPS}/{folder}", flags=MS_BIND)
    umount(stage, MNT_DETACH)
    for name in missing:
        os.mkdir(f"{CGROUPS}/{name}")
        mount(name, f"{CGROUPS}/{name}", "cgroup", data=name)


def _controllers():
    """Those that count as controllers of v2: perf_event is implicit, and some exist in v1 only."""
    with open("/proc/cgroups") as lines:
        rows = [line.split() for line in lines if not line.startswith("#")]
    return [row[0] for row in rows if row[3] == "1" and row[0] not in ("perf_event", "net_cls", "net_prio")]


def makeCgroups(name):
    """A group `name` in each hierarchy, with a leaf `procs` for what is not a container."""
    if isUnified():
        for controller in ("cpu", "memory", "pids"):
            _tryWrite(f"{CGROUPS}/cgroup.subtree_control", f"+{controller}")
    for folder, _, _ in hierarchies():
        top = os.path.join(CGROUPS, folder, name)
        for path in (top, f"{top}/procs"):
            os.makedirs(path, exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):  # v1 does not inherit them
                if not isUnified() and os.path.exists(f"{path}/{file}"):
                    with open(f"{os.path.dirname(path)}/{file}") as parent:
                        _tryWrite(f"{path}/{file}", parent.read().strip())


def enterCgroups(name, leaf=""):
    for folder, _, _ in hierarchies():
        with open(os.path.join(CGROUPS, folder, name, leaf, "cgroup.procs"), "w") as file:
            file.write("0")


def enterLeaf(leaf):
    """In the mounts of a host but not yet in its pid namespace, where /proc has no `self`."""
    for file in glob.glob(f"{CGROUPS}/{leaf}/cgroup.procs") + glob.glob(f"{CGROUPS}/*/{leaf}/cgroup.procs"):
        with open(file, "w") as procs:
            procs.write("0")


def mountCgroups(found):
    """What a cgroup namespace sees, mounted over /sys/fs/cgroup; `found` is from hierarchies()."""
    if found == [("", "cgroup2", None)]:
        mount("cgroup2", CGROUPS, "cgroup2")
        return
    mount("tmpfs", CGROUPS, "tmpfs", data="mode=755")
    for folder, kind, data in found:
        os.mkdir(f"{CGROUPS}/{folder}")
        mount(kind, f"{CGROUPS}/{folder}", kind, MS_NOSUID | MS_NODEV | MS_NOEXEC, data)


def _unified(name, file):
    """A file of the group `name` of cgroup v2, which also machines with v1 have mounted; None without."""
    for folder, kind, _ in hierarchies():
        path = os.path.join(CGROUPS, folder, name, file)
        if kind == "cgroup2" and os.path.exists(path):
            return path
    return None


def setFrozen(name, frozen):
    """Whether cgroup v2 is there to do it. The kernel stops each process on its way out of it."""
    path = _unified(name, "cgroup.freeze")
    if path:
        with open(path, "w") as file:
            file.write("1" if frozen else "0")
    return path is not None


def isFrozen(name):
    path = _unified(name, "cgroup.freeze")
    if not path:
        return False
    with open(path) as file:
        return file.read().strip() == "1"


def isAllFrozen(name):
    """Whether all processes have stopped, too."""
    with open(_unified(name, "cgroup.events")) as file:
        return "frozen 1" in file.read().splitlines()


def killGroup(name):
    """SIGKILL to all in the group `name`, also to what is being forked, where cgroup v2 can do that."""
    path = _unified(name, "cgroup.kill")
    if path:
        with open(path, "w") as file:
            file.write("1")


def removeCgroups(name):
    """Ends what is left in the groups `name`, then removes them. Gone already is success."""
    for folder, _, _ in hierarchies():
        top = os.path.join(CGROUPS, folder, name)
        for path, _, _ in os.walk(top, topdown=False):
            for pid in _processesOf(path):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                waitGone(pid)
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass


def _processesOf(path):
    try:
        with open(f"{path}/cgroup.procs") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def _tryWrite(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass
