"""The clock: when the kernel saw a workload's exec and exit (see procwatch.c)."""

import subprocess
import threading
import time


class Workload:
    """One process `wl LABEL`. Times are CLOCK_MONOTONIC seconds; `end` is None while it lives."""

    def __init__(self, pid, label, start):
        self.pid = pid
        self.label = label
        self.start = start
        self.end = None


class Watch:
    """Reads procwatch in a thread of its own; everything else only asks what it saw."""

    def __init__(self, binary):
        self.changed = threading.Condition()
        self.by_pid = {}
        self.by_label = {}
        self.lost = 0
        self.trace = None
        self.process = subprocess.Popen(
            [binary], stdout=subprocess.PIPE, text=True, errors="replace", bufsize=1 << 16, start_new_session=True
        )
        if not self.process.stdout.readline().startswith("R"):
            raise RuntimeError("procwatch did not start; it needs root in the initial namespaces")
        threading.Thread(target=self._read, daemon=True).start()

    def close(self):
        """Ends the observer."""
        self.process.kill()
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            words = line.split(None, 4)
            with self.changed:
                if words[0] == "X":
                    self._saw_exec(int(words[1]) / 1e9, int(words[2]), words[4] if len(words) > 4 else "")
                elif words[0] == "Q":
                    self._saw_exit(int(words[1]) / 1e9, int(words[2]))
                elif words[0] == "L":
                    self.lost += 1

    def _saw_exec(self, when, pid, command):
        if self.trace is not None:
            self.trace.append((when, pid, command.strip()))
        words = command.split()
        if len(words) != 2 or not words[0].endswith("/wl"):
            return
        known = self.by_pid.get(pid)
        if known is not None and known.end is None and known.label == words[1]:
            known.start = when
        else:
            workload = Workload(pid, words[1], when)
            self.by_pid[pid] = workload
            self.by_label.setdefault(words[1], []).append(workload)
        self.changed.notify_all()

    def _saw_exit(self, when, pid):
        workload = self.by_pid.get(pid)
        if workload is not None and workload.end is None:
            workload.end = when
            self.changed.notify_all()

    def _wait(self, condition, timeout):
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.changed.wait(min(left, 1))
        return True

    def workloads(self, label):
        """All that ever ran with this label."""
        with self.changed:
            return list(self.by_label.get(label, []))

    def starts(self, label, since=0.0):
        """The times of exec, in order."""
        return sorted(w.start for w in self.workloads(label) if w.start >= since)

    def alive(self, label):
        """Those that run now."""
        return [w for w in self.workloads(label) if w.end is None]

    def wait_started(self, label, count, since, timeout):
        """The time of the `count`-th exec after `since`, or None."""
        with self.changed:
            ok = self._wait(lambda: self._count(label, since) >= count, timeout)
        return self.starts(label, since)[count - 1] if ok else None

    def _count(self, label, since):
        return sum(w.start >= since for w in self.by_label.get(label, []))

    def wait_gone(self, label, timeout):
        """The time of the last exit once none is left, or None."""
        with self.changed:
            ok = self._wait(lambda: all(w.end for w in self.by_label.get(label, [])), timeout)
            ends = [w.end for w in self.by_label.get(label, []) if w.end]
        return max(ends) if ok and ends else None
