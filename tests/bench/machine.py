"""What the machine and its processes are doing: busy time, process trees, memory."""

import os
import statistics
import subprocess
import time

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement that could not be taken, with a text for the user."""


def run(command, check=True, **options):
    """Runs a command (a list, or a text for the shell) and returns its standard output."""
    shell = isinstance(command, str)
    done = subprocess.run(command, shell=shell, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise BenchError(f"{command}: exit status {done.returncode}: {done.stderr[-600:].strip()}")
    return done.stdout


def read_text(path, default=""):
    """The text of a file, or `default` if it is gone (processes end while they are read)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return default


def busy_seconds():
    """Seconds that all cores together were busy, and seconds that passed on all of them."""
    fields = [int(field) for field in read_text("/proc/stat").splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    total = sum(fields)
    return (total - idle) / CLOCK_TICKS, total / CLOCK_TICKS


def busy_fraction(seconds=0.4):
    """Which part of all cores is busy now."""
    busy_before, total_before = busy_seconds()
    time.sleep(seconds)
    busy_after, total_after = busy_seconds()
    return (busy_after - busy_before) / max(0.01, total_after - total_before)


def poll(condition, timeout, interval=0.05):
    """The time at which `condition` came true, or None. Only for what no kernel event tells."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return time.monotonic()
        time.sleep(interval)
    return None


def children(pid):
    """The pids of a process' direct children."""
    tasks = read_text(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.split()]


def process_tree(pid):
    """`pid` and all its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        stat = read_text(f"/proc/{entry}/stat")
        if stat:
            parent = int(stat[stat.rindex(")") + 2 :].split()[1])
            parents.setdefault(parent, []).append(int(entry))
    found = []
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting.extend(parents.get(current, []))
    return found


def command_line(pid):
    """The words of a process' command, empty if it is gone."""
    return [word for word in read_text(f"/proc/{pid}/cmdline").split("\0") if word]


def program(pid):
    """The name of the file that a process was started from."""
    words = command_line(pid)
    return os.path.basename(words[0]) if words else ""


def memory_kib(pid):
    """Rss, Pss and Private_Dirty of a process in KiB, zeros if it is gone."""
    figures = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
    for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines():
        words = line.split()
        key = words[0].rstrip(":")
        if key in figures:
            figures[key] = int(words[1])
    return figures


def memory_sum(pids):
    """`memory_kib` of several processes together."""
    total = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
    for pid in pids:
        for key, value in memory_kib(pid).items():
            total[key] += value
    return total


class Conditions:
    """How quiet the machine was while a figure was taken; goes into the results beside it."""

    QUIET_FRACTION = 0.12
    FOREIGN_CORES = 0.35

    def __init__(self, wait_seconds, tries):
        self.wait_seconds = wait_seconds
        self.tries = tries
        self.reset()

    def reset(self):
        """Begins a new figure."""
        self.background = []
        self.foreign = []

    def quiet(self):
        """Waits, at most `wait_seconds`, until other work is below `QUIET_FRACTION` of all cores."""
        end = time.monotonic() + self.wait_seconds
        while True:
            fraction = busy_fraction()
            if fraction < self.QUIET_FRACTION or time.monotonic() > end:
                self.background.append(fraction)
                return

    def watch_foreign(self, own_cpu):
        """A context in which the cores that others use are counted. `own_cpu` gives our seconds."""
        return Foreign(self, own_cpu)

    def fair(self, measure, own_cpu):
        """Repeats `measure` while others disturb it, and returns the least disturbed result."""
        best = None
        for _ in range(self.tries):
            self.quiet()
            with self.watch_foreign(own_cpu):
                result = measure()
            cores = self.foreign.pop()
            if best is None or cores < best[0]:
                best = (cores, result)
            if cores <= self.FOREIGN_CORES:
                break
        self.foreign.append(best[0])
        return best[1]

    def summary(self):
        """What the results say of it."""
        figures = {}
        if self.background:
            figures["bg_busy_max"] = round(max(self.background), 3)
        if self.foreign:
            figures["foreign_cores"] = round(statistics.median(self.foreign), 2)
        return figures


class Foreign:
    """Counts the cores that somebody else (or the kernel, for us) used meanwhile."""

    def __init__(self, conditions, own_cpu):
        self.conditions = conditions
        self.own_cpu = own_cpu

    def __enter__(self):
        self.busy = busy_seconds()[0]
        self.own = self.own_cpu()
        self.started = time.monotonic()
        return self

    def __exit__(self, *_):
        busy = busy_seconds()[0] - self.busy
        own = self.own_cpu() - self.own
        passed = max(0.05, time.monotonic() - self.started)
        self.conditions.foreign.append((busy - own) / passed)
