"""One host of a measurement: namespaces, a CPU account, a data folder, and the daemon in it."""

import os
import shutil
import signal
import subprocess
import time

import cgroups
from hub import address
from machine import BenchError, children, process_tree, program, read_text


class Node:
    """A host whose daemon is started by `script()`; subclasses say which.

    It has network, mount, pid and uts namespaces of its own and a private /run. All of it ends with
    the pid namespace's first process, and that ends with this program, however it ends.
    """

    START_SECONDS = 60

    def __init__(self, number, namespace, tag, data):
        self.number = number
        self.namespace = namespace
        self.address = address(number)
        self.folder = f"{data}/{tag}-{number}"
        self.cgroup = f"{tag}-{number}"
        self.account = None
        self.process = None

    def script(self):
        """What the shell inside of the namespaces runs last: `exec` of an init with the daemon."""
        raise NotImplementedError

    def answers(self):
        """Whether the daemon can be used."""
        raise NotImplementedError

    def kind(self, name):
        """Which of `daemons`, `shim`, `wl` and `other` a program counts as."""
        raise NotImplementedError

    def environment(self):
        """Of the daemon."""
        return dict(os.environ)

    def start(self):
        """Starts the daemon. Has to be called by the main thread: the node dies with its starter."""
        os.makedirs(self.folder, exist_ok=True)
        self.account = cgroups.CpuAccount(self.cgroup)
        daemon_group = cgroups.CpuAccount(f"{self.cgroup}/daemon").path
        inner = f"hostname node{self.number}\nmount -t tmpfs -o mode=755 tmpfs /run\n{self.script()}"
        enter = f'echo $$ > {daemon_group}/cgroup.procs; exec nsenter "$@"'
        unshare = ["unshare", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child"]
        command = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", enter, "node"]
        command += [f"--net=/run/netns/{self.namespace}", *unshare, "--propagation", "private"]
        command += ["sh", "-e", "-c", inner]
        with open(self.log_path(), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
            )

    def wait_ready(self):
        """Waits until the daemon answers."""
        end = time.monotonic() + self.START_SECONDS
        while not self.answers():
            if time.monotonic() > end or self.process.poll() is not None:
                log = read_text(self.log_path())[-1500:]
                raise BenchError(f"the daemon of node {self.number} did not start: {log}")
            time.sleep(0.05)

    def log_path(self):
        """What the daemon printed."""
        return f"{self.folder}/log"

    def init_pid(self):
        """The pid namespace's first process, as seen from outside; None if it is gone."""
        found = children(self.process.pid) if self.process else []
        return found[0] if found else None

    def cpu(self):
        """CPU seconds of the daemons and all their containers."""
        return self.account.seconds()

    def processes(self):
        """Pids by kind."""
        found = {"daemons": [], "shim": [], "wl": [], "other": []}
        init = self.init_pid()
        for pid in process_tree(init) if init else []:
            found[self.kind(program(pid))].append(pid)
        return found

    def kill(self):
        """Power off: every process of the node is gone at once."""
        pid = self.init_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.process = None

    def close(self):
        """Takes the node away. May be called at any time."""
        self.kill()
        cgroups.remove(self.cgroup)
        shutil.rmtree(self.folder, ignore_errors=True)
