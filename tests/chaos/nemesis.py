"""Lets faults happen to the hosts, as a seed draws them, until told to end; then all is whole."""
import random
import threading
import time

import faults
from checker import Fault as Record

SHORTEST_S, LONGEST_GAP_S = 1.5, 6
AT_ONCE = 2          # faults
LEADER = 0.4         # of the faults that may hit the one that leads do
RESTART_S = 1        # as the unit of orchd has it
LOOK_S = 0.2


class Drawn:
    """What a seed says: of each fault its kind, when and for how long, and whom it hits by number or as the leader."""

    def __init__(self, seed, kinds):
        self.random = random.Random(f"faults {seed}")
        self.kinds = kinds

    def next(self):
        kind = self.random.choice(self.kinds)
        return {"kind": kind, "gap": self.random.uniform(0, LONGEST_GAP_S), "lasts": self.random.uniform(SHORTEST_S, kind.longest),
                "leader": self.random.random() < LEADER, "target": self.random.random(), "other": self.random.random(),
                "clock": self.random.choice(faults.CLOCKS)}


class Nemesis:
    """`leader()`: the name of the host that leads, as was heard last. `note(text)`: for the log of the run."""

    def __init__(self, hosts, seed, kinds, leader, note):
        self.hosts, self.leader, self.note = hosts, leader, note
        self.drawn = Drawn(seed, kinds)
        self.active = []       # [(fault, when it ends, when it has begun)]
        self.records = []      # [checker.Fault] that are over
        self.ended = []        # what orchd or a server did by itself: (when, what, what was wrong then)
        self.missing = {}      # since when

    def run(self, seconds, ends=None):
        ends = ends or threading.Event()
        end = time.monotonic() + seconds
        following = self.drawn.next()
        at = time.monotonic() + following["gap"]
        while time.monotonic() < end and not ends.is_set():
            now = time.monotonic()
            for entry in [entry for entry in self.active if entry[1] <= now]:
                self.finish(entry)
            if now >= at and len(self.active) < AT_ONCE:
                self.begin(following)
                following = self.drawn.next()
                at = time.monotonic() + following["gap"]
            self.restart()
            time.sleep(LOOK_S)

    def heal(self):
        """All is whole afterwards, and runs."""
        for entry in list(self.active):
            self.finish(entry)
        self.hosts.heal()
        end = time.monotonic() + 3 * RESTART_S
        while time.monotonic() < end:
            self.restart()
            time.sleep(LOOK_S)

    def begin(self, drawn):
        kind = drawn["kind"]
        taken = {node for fault, _, _ in self.active for node in (fault.node, fault.other)}
        free = [node for node in kind.targets(self.hosts) if node not in taken and node.state() == "running"]
        if len(free) < 1 + kind.pair:
            return
        node = free[int(drawn["target"] * len(free))]
        leader = self.leader()
        if drawn["leader"]:
            node = next((each for each in free if each.name == leader), node)
        others = [each for each in self.hosts.hosts if each is not node and each not in taken]
        other = others[int(drawn["other"] * len(others))] if kind.pair and others else None
        fault = kind(self.hosts, node, other)
        fault.seconds = drawn["clock"]
        self.note(f"{fault} for {drawn['lasts']:.1f} s{', which leads' if leader in fault.names else ''}")
        begun = time.monotonic_ns()
        fault.begin()
        self.active.append((fault, time.monotonic() + drawn["lasts"], begun))
        self.applyNetwork(fault)

    def finish(self, entry):
        fault, _, begun = entry
        self.active.remove(entry)
        self.applyNetwork(fault)
        fault.end()
        self.records.append(Record(fault.kind, fault.names, begun, time.monotonic_ns(), fault.severe))
        self.note(f"end of {fault}")

    def applyNetwork(self, fault):
        if not isinstance(fault, faults.OfNetwork):
            return
        self.hosts.heal()
        for other, _, _ in self.active:
            if isinstance(other, faults.OfNetwork):
                other.apply()

    def restart(self):
        """What has ended by itself is started again, as systemd does it."""
        busy = {fault.node: fault for fault, _, _ in self.active}
        for node in self.hosts.hosts:
            fault = busy.get(node)
            alive = node.state() not in ("off", "frozen")
            if alive and not isinstance(fault, faults.Crash):
                self.look(node, "orchd", node.orchdRuns(), self.hosts.startOrchd, fault)
            if alive and node in self.hosts.managers and not isinstance(fault, faults.KillServer):
                self.look(node, self.hosts.store, self.hosts.serverRuns(node), self.hosts.startServers, fault)

    def look(self, node, what, runs, start, fault):
        key = node.name, what
        if runs:
            self.missing.pop(key, None)
        elif key not in self.missing:
            self.missing[key] = time.monotonic()
            why = fault.kind if fault else "nothing"
            self.ended.append((time.monotonic_ns(), f"{what} of {node.name}", why))
            self.note(f"{what} of {node.name} has ended by itself; what is wrong there: {why}")
        elif time.monotonic() - self.missing[key] > RESTART_S:
            del self.missing[key]
            start(node)
