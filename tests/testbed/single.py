"""One host with orchd on it, as the tests and the demo need it."""
import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import time
import unittest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import testbed  # noqa: E402

# How long something may take that has no shorter limit of its own: the sanitizers make all slow.
PATIENCE = 60
# Before ctest ends it, a test that waits for ever says where. For itself alone: that takes a thread, and a process with
# several cannot go into a host.
if _patience := int(os.environ.pop("ORCH_PATIENCE", 0)):
    faulthandler.dump_traceback_later(_patience)


def eventually(what, condition, patience=PATIENCE):
    """The first true value of `condition()`. Looks again until then: what happens in containers and
    other processes cannot be waited for otherwise. The longer it takes, the less often: looking must
    not keep busy what is waited for."""
    begun = time.monotonic()
    end = begun + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {patience} s still not so: {what}")
        time.sleep(min(0.5, 0.02 + (time.monotonic() - begun) / 8))


# For `start`, with FAKETIME: orchd has another clock. What asks for the time before libfaketime is ready must not be the
# sanitizer's allocator, as it does when it gives memory back: it has a lock then that libfaketime's own beginning waits for.
OTHER_CLOCK = ("LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "FAKETIME_DONT_FAKE_MONOTONIC=1",
               "ASAN_OPTIONS=allocator_release_to_os_interval_ms=-1")


def rootOf(pid):
    """The root file system that a process of a container has, as its host sees it."""
    return os.path.join("/proc", str(pid), "root")


def sleepThrough(seconds, check):
    """Lets the time pass that a fault takes, and checks all the while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(0.1)


class SingleHost:
    """`programs` is the bin folder of a build or of an installation."""

    def __init__(self, name, programs, config=None, **options):
        self.host = testbed.Host(name, **options)
        self.programs = os.path.abspath(programs)
        enters = os.path.join(os.path.dirname(self.programs), "testbed-bin", "enter")
        self.host.enters = enters if os.path.exists(enters) else None  # an installation has none
        self.config = config or os.path.join(REPOSITORY, "configs", "single.toml")
        self.log = os.path.join(self.host.folder, "orchd.log")
        self._pids = os.path.join(self.host.folder, "orchd.pid")

    def create(self):
        self.host.create()
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def start(self, *environment):
        """`environment`: KEY=VALUE, besides what this process has."""
        self.launch(*environment)
        self.awaitAnswers()
        return self

    def launch(self, *environment):
        command = ["env", *environment, f"{self.programs}/orchd", "--config", self.config]
        inside, outside = self.host.spawn(command, self.log)
        with open(self._pids, "w") as file:
            file.write(f"{inside} {outside} {testbed.startTime(outside)}")

    def awaitAnswers(self):
        eventually("orchd answers", self._answers)

    @property
    def orchd(self):
        """The pid of the orchd that was started last, as the host numbers it."""
        with open(self._pids) as file:
            return int(file.read().split()[0])

    def outside(self):
        """The same, as this machine numbers it; None if it is not there."""
        try:
            with open(self._pids) as file:
                _, pid, started = file.read().split()
        except FileNotFoundError:
            return None
        return int(pid) if testbed.startTime(int(pid)) == started else None

    def orchdRuns(self):
        """As `runs(orchd)`, without a process in the host to look."""
        return self.outside() is not None

    def _answers(self):
        if not self.runs(self.orchd):
            raise AssertionError(f"orchd ended\n{self.logTail()}")
        return self.orch("version", check=False).returncode == 0

    def runs(self, pid):
        """Whether the process, as the host numbers it, is there and no zombie."""
        status = self.host.run("cat", f"/proc/{pid}/stat").stdout.rpartition(")")[2].split()
        return bool(status) and status[0] not in "ZX"

    def kill(self, pid, number=signal.SIGKILL):
        self.host.run("kill", f"-{int(number)}", str(pid), check=True)

    def crash(self):
        """Ends orchd as a power cut would, and returns when it is gone."""
        self.kill(self.orchd)
        eventually("orchd is gone", lambda: not self.runs(self.orchd))

    def stop(self):
        self.kill(self.orchd, signal.SIGTERM)
        eventually("orchd has stopped", lambda: not self.runs(self.orchd))

    def remove(self):
        self.host.remove()

    def logTail(self, lines=30):
        try:
            with open(self.log, errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except OSError:
            return ""

    # ---- asking ----

    def orch(self, *arguments, check=True, timeout=120):
        """A command that does not come back in time fails with what orchd has said."""
        try:
            done = self.host.run(f"{self.programs}/orch", *arguments, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            said = b"".join(part or b"" for part in (error.stdout, error.stderr)).decode(errors="replace")
            raise AssertionError(f"orch {' '.join(arguments)}: not back after {timeout} s\n{said}\n"
                                 f"---- orchd ----\n{self.logTail()}") from None
        if check and done.returncode != 0:
            raise AssertionError(f"orch {' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}\n"
                                 f"---- orchd ----\n{self.logTail()}")
        return done

    def json(self, *arguments):
        return json.loads(self.orch(*arguments, "--json").stdout)

    def events(self, *topics):
        """Those that there were, as `orch events` prints them, without their times."""
        filters = [word for topic in topics for word in ("--filter", f"topic={topic}")]
        lines = self.orch("events", "--since", "1h", "--no-follow", *filters).stdout.splitlines()
        return [line.split(" ", 1)[1] for line in lines]

    def running(self, service):
        """{slot, or the id of the node that is one: task} of the tasks that should run and do."""
        tasks = self.json("service", "ps", service)
        return {task["slot"] or task["nodeId"]: task for task in tasks
                if task["desired"] == "running" and task["status"]["state"] == "running"}

    def pids(self, service):
        return {slot: task["status"]["container"]["pid"] for slot, task in self.running(service).items()}

    def webServers(self):
        """{pid: version} of the first processes of all containers that serve, without asking orchd."""
        script = r"""for status in $(grep -lE '^NSpid:.*[[:space:]]1$' /proc/[0-9]*/status); do
            pid=${status#/proc/}; pid=${pid%/status}
            case $(tr '\0' ' ' </proc/$pid/cmdline) in
              '/bin/sh /bin/web '*) echo $pid $(cd /proc/$pid/root && cat etc/version) ;;
            esac
        done"""
        found = [line.split() for line in self.host.run("sh", "-c", script).stdout.splitlines()]
        # One that ends just now has a pid, and nothing to read any more.
        return {int(parts[0]): int(parts[1]) for parts in found if len(parts) == 2}

    def ask(self, port, count, parallel=1):
        """What tests/testbed/load saw of the published port."""
        done = self.host.run(f"{REPOSITORY}/tests/testbed/load", f"http://127.0.0.1:{port}/", "--count", str(count),
                             "--parallel", str(parallel), check=True)
        return json.loads(done.stdout)

    def awaitServers(self, port, count):
        """A task runs from when its program has been started: until so many listen, some of those asked refuse."""
        eventually(f"{count} answer on port {port}", lambda: len(self.ask(port, 3 * count)["answers"]) >= count)

    def asking(self, port, retry=0, parallel=2):
        """Asks all the time, from when it has been answered until told to stop."""
        return Asking(self.host.command(f"{REPOSITORY}/tests/testbed/load", f"http://127.0.0.1:{port}/",
                                        "--parallel", str(parallel), "--retry", str(retry)))

    def makeImages(self, *versions):
        """web:1, web:2, …: each answers with its host name and its version."""
        for version in versions:
            tar = f"{self.host.folder}/web-{version}.tar"
            subprocess.run([f"{REPOSITORY}/tests/testbed/make-image", str(version), tar], check=True)
            self.orch("image", "import", tar, "--name", f"web:{version}")

    def leftovers(self):
        """What containers bring along, as comparable sets: afterwards it must be as it was before."""
        def lines(*command):
            return set(self.host.run(*command, check=True).stdout.splitlines())
        folders, files = self.below("/run/orch")
        return {
            "programs": lines("ps", "-e", "-o", "comm=") - {"ps"},
            "mounts": {line.split()[4] for line in lines("cat", "/proc/1/mountinfo")},
            "groups": {path for path in self.below("/sys/fs/cgroup")[0] if "/" in path},
            "links": {line.split(":")[1].strip() for line in lines("ip", "-o", "link")},
            "namespaces": {path for path in folders | files if "netns" in path},
            "rules": lines("nft", "-s", "list", "ruleset"),
            "states": {path for path in folders if "/" in path},
        }

    def below(self, folder):
        """The folders and the files below a folder of the host, by their paths from there. What goes meanwhile is no
        error, as it would be to `find`."""
        top = self.host.root() + folder
        folders, files = set(), set()
        for at, inner, others in os.walk(top):
            folders |= {os.path.relpath(os.path.join(at, name), top) for name in inner}
            files |= {os.path.relpath(os.path.join(at, name), top) for name in others}
        return folders, files

    def awaitNothingLeft(self, before):
        """Returns when there is no more than `leftovers` said `before`."""
        def left():
            now = self.leftovers()
            return {kind: sorted(now[kind] - before[kind]) for kind in now if now[kind] - before[kind]}
        try:
            eventually("nothing is left", lambda: not left())
        except AssertionError as error:
            raise AssertionError(f"{error}: {left()}") from None


class HostTest(unittest.TestCase):
    """Tests of one class share a host, with a cluster and the images web:1 to web:`images`."""
    programs = ""  # the folder with orch and orchd
    images = 1

    @classmethod
    def setUpClass(cls):
        cls.node = SingleHost(f"e2e-{cls.__name__.lower()}-{os.getpid()}", cls.programs).create()
        cls.addClassCleanup(cls.node.remove)
        cls.node.orch("init")
        cls.node.makeImages(*range(1, cls.images + 1))

    @classmethod
    def makeFirst(cls, port):
        """What is made once, with the first container, is no leftover of a test."""
        cls.node.orch("service", "create", "--verify", "0s", "--name", "first", "-p", f"{port}:80", "web:1", "/bin/web")
        cls.node.orch("service", "rm", "first")


class Asking:
    def __init__(self, command):
        self.process = subprocess.Popen([*command, "--tell"], stdout=subprocess.PIPE, text=True)
        try:
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                raise AssertionError(f"after {PATIENCE} s nobody has answered")
            self.process.stdout.readline()
        except BaseException:
            self.__exit__()
            raise

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return json.loads(self.process.communicate(timeout=PATIENCE)[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
