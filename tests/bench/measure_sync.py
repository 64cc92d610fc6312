"""sync: evidence that a request is answered only after its state is on the disk.

strace watches the daemons while services are created. For each request the trace holds when its
bytes were read from the client's connection, which syncs of files of the node's state completed,
and when the answer was written to that connection.
"""

import os
import re
import signal
import subprocess
import time

from machine import BenchError, poll, read_text, run

CALLS = 5
READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg")
SYNCS = ("fdatasync", "fsync", "msync", "sync_file_range")
DSYNC_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
O_DSYNC = 0o10000
BEGIN = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((\d+)<([^>]*)>")
RESUMED = re.compile(r"^(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>")
DONE = re.compile(r"= (-?\d+|\?)[^=]*<(\d+\.\d+)>$")


class Call:
    """One system call: `begin` and `end` in seconds, `result` as it returned."""

    def __init__(self, pid, name, path, begin):
        self.pid = pid
        self.name = name
        self.path = path
        self.begin = begin
        self.end = None
        self.result = 0


def measure(setup, driver):
    """A few creates under strace."""
    setup.conditions.reset()
    driver.up()
    node = driver.nodes[1]
    session = driver.session
    session.create(setup.new_label("y"), 0)
    peer = peer_inode(session.inode())
    trace = f"{setup.out}/strace-{driver.name}.txt"
    pids = node.processes()["daemons"]
    windows = []
    with Strace(pids, trace):
        for _ in range(CALLS):
            name = setup.new_label("y")
            begin = time.time()
            session.create(name, 0)
            windows.append((name, begin, time.time()))
            time.sleep(0.2)
    calls = parse(trace)
    durable = synced_files(pids)
    counts = []
    for name, begin, end in windows:
        inside = [call for call in calls if call.end and begin <= call.begin <= end]
        evidence = examine(inside, peer, node.folder, durable)
        counts.append(len(evidence["syncs"]))
        setup.results.write({"sync": name, "sys": driver.name, **evidence})
    setup.results.figure("sync.before_answer", counts, unit="syncs", sys=driver.name)
    if min(counts) == 0:
        raise BenchError("a request was answered before anything was synced; see the results")


class Strace:
    """A context in which processes are traced."""

    def __init__(self, pids, path):
        calls = ",".join(sorted(set(READS + WRITES + SYNCS + DSYNC_WRITES)))
        self.pids = pids
        self.command = ["strace", "-f", "-ttt", "-T", "-y", "-s", "0", "-e", f"trace={calls}"]
        self.command += ["-o", path]
        for pid in pids:
            self.command += ["-p", str(pid)]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stderr=subprocess.DEVNULL, start_new_session=True
        )
        if poll(self._attached, 10) is None:
            self.__exit__()
            raise BenchError("strace did not attach to the daemons within 10 s")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def _attached(self):
        return all(
            "TracerPid:\t0" not in read_text(f"/proc/{pid}/task/{thread}/status")
            for pid in self.pids
            for thread in os.listdir(f"/proc/{pid}/task")
        )


def peer_inode(inode):
    """Of the daemon's end of a Unix connection whose other end is known."""
    for line in run(["ss", "-xnH"]).splitlines():
        words = line.split()
        if len(words) >= 8 and words[5] == str(inode):
            return int(words[7])
    raise BenchError(f"the connection with inode {inode} is not in the list of sockets")


def synced_files(pids):
    """Paths that a daemon has open with O_DSYNC: a write to them is a sync."""
    paths = set()
    for pid in pids:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            match = re.search(r"flags:\s+(\d+)", read_text(f"/proc/{pid}/fdinfo/{fd}"))
            if match and int(match.group(1), 8) & O_DSYNC:
                paths.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return paths


def parse(path):
    """All calls of a trace. A call that others interrupted in the trace is on two lines."""
    calls = []
    unfinished = {}
    for line in read_text(path).splitlines():
        begin = BEGIN.match(line)
        if begin:
            pid, when, name, _, file = begin.groups()
            call = Call(int(pid), name, file, float(when))
            calls.append(call)
            if line.endswith("<unfinished ...>"):
                unfinished[call.pid] = call
            else:
                finish(call, line, call.begin)
            continue
        resumed = RESUMED.match(line)
        if resumed and int(resumed.group(1)) in unfinished:
            finish(unfinished.pop(int(resumed.group(1))), line, float(resumed.group(2)))
    return calls


def finish(call, line, when):
    """Takes result and end from a line that has them; `when` is the line's own time."""
    done = DONE.search(line)
    if done is None or done.group(1) == "?":
        return
    call.result = int(done.group(1))
    call.end = max(when, call.begin + float(done.group(2)))


def examine(calls, peer, folder, durable):
    """What happened between request and answer."""
    own = [call for call in calls if f"[{peer}" in call.path and call.result > 0]
    requests = [call for call in own if call.name in READS]
    answers = [call for call in own if call.name in WRITES]
    if not requests or not answers:
        raise BenchError("the trace does not hold a request and its answer")
    begin = requests[0].begin
    answer = answers[-1].begin
    syncs = []
    for call in calls:
        is_sync = call.name in SYNCS or (call.name in DSYNC_WRITES and call.path in durable)
        if is_sync and call.path.startswith(folder) and begin <= call.begin and call.end <= answer:
            at = round((call.end - begin) * 1e3, 3)
            syncs.append({"call": call.name, "file": call.path[len(folder) :], "done_ms": at})
    return {"answered_ms": round((answer - begin) * 1e3, 3), "syncs": syncs}
