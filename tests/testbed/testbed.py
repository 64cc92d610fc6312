"""A host of its own on this machine, for tests and the demo.

It has namespaces of its own for network, mounts, processes, host name and control groups, an empty
/run and an empty /var/lib/orch. Nothing in it changes the machine; removing it ends its pid 1 and so
every process, mount and interface in it. It belongs to no process: who makes it removes it, and
finds it again by name.
"""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys

import namespaces as ns
from disk import DATA, Disk
from namespaces import Failed

ROOT = os.path.join(os.environ.get("TMPDIR", "/tmp"), "orch-testbed")
# A host CLUSTER/NAME belongs to a cluster (cluster.py), which has to be found whatever TMPDIR is.
CLUSTERS = "/var/tmp/orch-testbed"


class Host:
    """`diskMegabytes`: see Disk. `own`: folders of the machine of which it has a changeable copy; what
    it changes there stays on its disk."""

    def __init__(self, name, diskMegabytes=0, own=("/var/lib",)):
        if not re.fullmatch(r"[\w.-]{1,60}(/[\w.-]{1,30})?", name):
            raise Failed(f"a host cannot be called '{name}'")
        self.name = name
        self.folder = os.path.join(CLUSTERS if "/" in name else ROOT, name)
        self.cgroup = f"orch-testbed-{name.replace('/', '.')}"
        self.disk = Disk(self.folder, diskMegabytes)
        self.own = own
        self.enters = None  # the program of enter.c, where it has been built

    # ---- life ----

    def create(self):
        """Returns when the host is ready."""
        if os.path.exists(self.folder):
            raise Failed(f"host '{self.name}' exists; remove it with tests/testbed/host rm {self.name}")
        os.makedirs(self.folder)
        try:
            self.disk.make()
            self.boot()
        except BaseException:
            self.remove()
            raise
        return self

    def boot(self):
        """Starts it on the disk it has."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _fenced(writer, lambda: self._makeNamespaces(writer))
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as answers:
            answer = answers.read()
        if not answer.startswith("ready"):
            self.halt()
            raise Failed(f"cannot start host '{self.name}': {answer.strip() or 'it ended'}")

    def _makeNamespaces(self, writer):
        os.setsid()
        ns.unshare(ns.NEWNS | ns.NEWNET | ns.NEWUTS)
        ns.mount(None, "/", flags=ns.MS_REC | ns.MS_PRIVATE)
        resolver = _read("/etc/resolv.conf")
        self._mountDisk()
        ns.mount("tmpfs", "/run", "tmpfs", data="mode=755")
        # What is shared there has names with pids in them, which other hosts have too.
        ns.mount("tmpfs", "/dev/shm", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, data="mode=1777")
        ns.leaveUnifiedEmpty()
        ns.makeCgroups(self.cgroup)
        ns.enterCgroups(self.cgroup)
        hierarchies = ns.hierarchies()
        ns.unshare(ns.NEWCGROUP)
        ns.enterCgroups(self.cgroup, "procs")
        ns.mount("sysfs", "/sys", "sysfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
        ns.mountCgroups(hierarchies)
        self._mountResolver(resolver)
        ns.setHostname(os.path.basename(self.name))
        ns.loopbackUp()
        ns.unshare(ns.NEWPID)
        # The pid is only right in the parent, which records it before pid 1 says that it is ready.
        pidRead, pidWritten = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(pidWritten)
            _fenced(writer, lambda: _beFirstProcess(pidRead, writer))
        with open(f"{self.folder}/pid", "w") as file:
            file.write(f"{first} {startTime(first)}")
        os.close(pidWritten)
        os._exit(0)

    def _mountDisk(self):
        """The machine need not have /var/lib/orch, and gets none: /var/lib is covered by an overlay
        whose changes stay on this host's disk. The data itself must not be on an overlay."""
        stage = "/run"
        self.disk.mount(stage)
        for folder in self.own:
            upper = f"{stage}/{folder.strip('/').replace('/', '-')}"
            for part in (upper, f"{upper}-work"):
                os.makedirs(part, exist_ok=True)
            ns.mount("overlay", folder, "overlay", data=f"lowerdir={folder},upperdir={upper},workdir={upper}-work")
        for path in (f"{stage}/data", DATA):
            os.makedirs(path, exist_ok=True)
        ns.mount(f"{stage}/data", DATA, flags=ns.MS_BIND)
        ns.umount(stage, ns.MNT_DETACH)

    def _mountResolver(self, text):
        """resolv.conf is often a link into /run, which is empty now."""
        if not os.path.exists("/etc/resolv.conf") and os.path.islink("/etc/resolv.conf"):
            target = os.path.realpath("/etc/resolv.conf")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w") as file:
                file.write(text)

    def pid(self):
        """The host's pid 1 as this machine numbers it; None if it is not running."""
        try:
            pid, started = _read(f"{self.folder}/pid").split()
        except ValueError:
            return None
        return int(pid) if startTime(int(pid)) == started else None

    def root(self):
        """Its file system as this machine sees it."""
        return f"/proc/{self._running()}/root"

    def _running(self):
        pid = self.pid()
        if pid is None:
            tool = "scripts/cluster" if "/" in self.name else "tests/testbed/host"
            raise Failed(f"host '{self.name}' does not run; {tool} ls shows which do")
        return pid

    def remove(self):
        """Ends all its processes and takes everything away. Gone already is success."""
        self.halt()
        if os.path.exists(self.folder):
            shutil.rmtree(self.folder)

    def cutPower(self, unplug):
        """All of it ends at one instant; `unplug()` takes it off the network. What was not synced is lost
        if its disk is an image."""
        pid = self._running()
        ns.setFrozen(self.cgroup, True)
        try:
            unplug()
            self.disk.loseUnwritten(f"/proc/{pid}/root")
        finally:
            ns.killGroup(self.cgroup)
            os.kill(pid, signal.SIGKILL)
            ns.waitGone(pid)
            self.halt()

    def freeze(self):
        """Stops all its processes; returns when none runs."""
        self._running()
        if not ns.setFrozen(self.cgroup, True):
            raise Failed("freezing needs cgroup v2, alone or beside v1: mount -t cgroup2 none /sys/fs/cgroup/unified")
        ns.waitUntil(f"all processes of host '{self.name}' are frozen; one is in the kernel, is the disk stalled?",
                     lambda: ns.isAllFrozen(self.cgroup))

    def thaw(self):
        self._running()
        ns.setFrozen(self.cgroup, False)

    def halt(self):
        """Ends all its processes, and with them its mounts and links. Its disk stays."""
        pid = self.pid()
        if pid is not None:
            self.disk.resume(f"/proc/{pid}/root")
            os.kill(pid, signal.SIGKILL)
            ns.waitGone(pid)
        # Seen from a mount namespace like the host's own, where hugetlb is mounted as v1.
        child = os.fork()
        if child == 0:
            try:
                ns.unshare(ns.NEWNS)
                ns.mount(None, "/", flags=ns.MS_REC | ns.MS_PRIVATE)
                ns.mount("tmpfs", "/run", "tmpfs", data="mode=755")
                ns.leaveUnifiedEmpty()
                ns.removeCgroups(self.cgroup)
                os._exit(0)
            except OSError as error:
                print(f"host '{self.name}': cannot remove its control groups: {error}", file=sys.stderr)
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if status != 0:
            raise Failed(f"host '{self.name}' has not ended completely")
        self.disk.waitReleased()

    # ---- programs in it ----

    def enter(self):
        """Moves this process into the host; processes it starts from now on are in its pid
        namespace, this one is not."""
        pid = self._running()
        if ns.isFrozen(self.cgroup):
            raise Failed(f"host '{self.name}' is frozen; thaw it first")
        spaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("cgroup", "net", "uts", "pid", "mnt")]
        where = os.getcwd()
        ns.setns(spaces[-1])  # the mounts first: they hold all hierarchies, hugetlb too
        ns.enterLeaf("procs")
        for space in spaces:
            ns.setns(space) if space != spaces[-1] else None
            os.close(space)
        os.chdir(where if os.path.isdir(where) else "/")

    def execute(self, command):
        """Runs `command` in the host in place of this process: its exit status, its signals."""
        self.enter()
        child = os.fork()
        if child == 0:
            ns.endOnParentDeath()
            _exec(command)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda n, _: os.kill(child, n))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)

    def spawn(self, command, log):
        """Starts `command` in the host, detached, with its output appended to the file `log`. Its pid as
        the host numbers it, and as this machine does."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        child = os.fork()
        if child == 0:
            ours.close()
            _fenced(theirs.fileno(), lambda: self._spawn(command, log, theirs.fileno()))
        theirs.close()
        os.waitpid(child, 0)
        with ours:
            answer, credentials, _, _ = ours.recvmsg(4096, socket.CMSG_SPACE(12))
        if not answer.isdigit():
            raise Failed(f"cannot start {command[0]} in host '{self.name}': {answer.decode()}")
        return int(answer), struct.unpack("3i", credentials[0][2])[0]

    def _spawn(self, command, log, writer):
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.enter()
        between = os.fork()
        if between != 0:
            os.waitpid(between, 0)
            os._exit(0)
        # Its parent has to be in the host, so that the host's pid 1 inherits it and reaps it.
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
        os.write(writer, str(os.getpid()).encode())
        nothing = os.open("/dev/null", os.O_RDONLY)
        for number, fd in enumerate((nothing, output, output)):
            os.dup2(fd, number)
        _exec(command)

    def run(self, *command, **options):
        """subprocess.run in the host, with the output as text."""
        options = {"text": True, "capture_output": True, **options}
        return subprocess.run(self.command(*command), **options)

    def command(self, *command):
        """What to start on this machine so that `command` runs in the host."""
        pid = self.pid()
        if self.enters and pid is not None and not ns.isFrozen(self.cgroup):
            return [self.enters, str(pid), *command]
        return [os.path.join(os.path.dirname(os.path.abspath(__file__)), "host"), "exec", self.name, "--", *command]


def hosts():
    return [Host(name) for name in sorted(os.listdir(ROOT))] if os.path.isdir(ROOT) else []


def _beFirstProcess(pidRead, writer):
    """pid 1 of the host: reaps what its parent left behind, until it is killed."""
    os.read(pidRead, 1)
    os.close(pidRead)
    ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    os.chdir("/")
    os.write(writer, b"ready")
    os.closerange(0, 256)
    for _ in range(3):
        os.open("/dev/null", os.O_RDWR)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for who ignores it
    while True:
        signal.pause()


def _fenced(writer, act):
    """Runs `act` in a forked child, which never returns to its parent's code."""
    try:
        act()
    except BaseException as error:
        os.write(writer, str(error).encode())
    os._exit(1)


def _exec(command):
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def startTime(pid):
    """Tells a process from a later one of the same number; None if it has ended."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()  # from the third, the state, on
    return fields[19] if fields and fields[0] not in "ZX" else None


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
