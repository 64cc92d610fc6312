"""The hosts of a run: three managers with a server of the store on each, and two workers."""
import glob
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "testbed"), os.path.join(HERE, "..", "e2e")]
sys.dont_write_bytecode = True
import namespaces as ns  # noqa: E402
import testbed  # noqa: E402
from checker import Seen  # noqa: E402
from several_managers import MANAGERS, StoreCluster, manifestOn  # noqa: E402
from single import OTHER_CLOCK, REPOSITORY, eventually  # noqa: E402

HOSTS = 5
CLOCK = "/run/clock"  # how far a host's clock is off, for libfaketime
CHANGING_CLOCK = (*OTHER_CLOCK, f"FAKETIME_TIMESTAMP_FILE={CLOCK}", "FAKETIME_DISABLE_SHM=1", "FAKETIME_CACHE_DURATION=1", "NO_FAKE_STAT=1")
# For a host that comes back while the machine is busy with all others, and one of them stands still.
PATIENCE_S = 120


class Hosts(StoreCluster):
    def __init__(self, name, programs, store, folder):
        """`folder`: of this run, for its manifest and what the clients are shown."""
        self.store = store
        self.servers = (store,)
        self.credentials = os.path.join(folder, "admin")
        path = os.path.join(folder, "orchd.toml")
        with open(path, "w") as file:
            file.write(manifestOn(store))
        super().__init__(name, programs, HOSTS, path)
        self.serverPids = {}  # host: (as it numbers the process, as this machine does, when it was started)

    @property
    def managers(self):
        return self.hosts[:MANAGERS]

    def join(self):
        """All become one cluster, with the image on each host: any of them may be gone when another one needs it."""
        first, *others = self.hosts
        worker = first.orch("init").stdout.splitlines()[-1].split()
        manager = first.orch("join-token", "manager").stdout.splitlines()[-1].split()
        for node in others:
            node.orch(*(manager if node in self.managers else worker)[1:])
        tar = os.path.join(os.path.dirname(self.credentials), "web.tar")
        subprocess.run([f"{REPOSITORY}/tests/testbed/make-image", "1", tar], check=True)
        eventually("all hosts are ready", lambda: self.readyHosts(first) == {node.name for node in self.hosts}, PATIENCE_S)
        for node in self.hosts:
            node.orch("image", "import", tar, "--name", "web:1")
        first.orch("admin", "add", "--out", self.credentials, "chaos")

    def readyHosts(self, node):
        asked = node.orch("node", "ls", "--format", "{{.Hostname}} {{.Status}}", check=False, timeout=PATIENCE_S)
        return {line.split()[0] for line in asked.stdout.splitlines() if line.split()[1:2] == ["Ready"]}

    # ---- servers of the store ----

    def startServers(self, node):
        log = os.path.join(self.folder, f"{self.store}-{node.name}.log")
        inside, outside = node.host.spawn(getattr(self, self.store)(node), log)
        self.serverPids[node.name] = inside, outside, testbed.startTime(outside)

    def serverRuns(self, node):
        _, pid, started = self.serverPids.get(node.name, (0, 0, ""))
        return bool(pid) and testbed.startTime(pid) == started

    def signalServer(self, node, number):
        if self.serverRuns(node):
            os.kill(self.serverPids[node.name][1], number)

    def killServer(self, node):
        self.signalServer(node, signal.SIGKILL)
        ns.waitUntil(f"the server of {node.name} is gone", lambda: not self.serverRuns(node))

    # ---- hosts ----

    def startOrchd(self, node):
        """Does not wait until it answers: others may be in its way."""
        self.setClock(node, 0)
        node.launch(*CHANGING_CLOCK)

    def boot(self, node):
        node.host.boot()
        node.plug()
        if node in self.managers:
            self.startServers(node)
        self.startOrchd(node)

    def setClock(self, node, seconds):
        path = node.host.root() + CLOCK
        with open(f"{path}.new", "w") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(f"{path}.new", path)

    def signalOrchd(self, node, number):
        pid = node.outside()
        if pid:
            os.kill(pid, number)

    def containers(self, at):
        """What runs in containers, without asking anybody: [Seen], of the time `at`."""
        seen = []
        for node in self.hosts:
            for task, process in containersIn(node.host.cgroup).items():
                seen.append(Seen(at, node.name, task, process))
        return seen


def containersIn(group):
    """{task: its first process, told from all others} of a host's control group."""
    found = {}
    top = next((path for path in (f"{ns.CGROUPS}/pids/{group}", f"{ns.CGROUPS}/{group}") if os.path.isdir(path)), None)
    for path in glob.glob(f"{top}/**/cgroup.procs", recursive=True) if top else ():
        task = os.path.basename(os.path.dirname(path))
        if task == "procs":  # of the host's own processes; a container's begins there
            continue
        try:
            with open(path) as file:
                pids = [int(line) for line in file]
        except OSError:  # gone meanwhile
            continue
        for pid in pids:
            started = testbed.startTime(pid)
            if started and isFirst(pid) and runsProgram(pid):
                found[task] = f"{pid}@{started}"
    return found


def runsProgram(pid):
    """A container that was made and not started has a process, too, which is still the runtime's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().startswith(b"/bin/sh\0/bin/web\0")
    except OSError:
        return False


def isFirst(pid):
    """Whether it is the first process of a container: 1 in a pid namespace below its host's."""
    try:
        with open(f"/proc/{pid}/status") as file:
            numbers = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
    except OSError:
        return False
    return len(numbers) == 3 and numbers[-1] == "1"
