"""Whether a history, and what was seen on the hosts meanwhile, is one that the system may have.

Nothing is asked of anybody here. Each check answers a list of Violation, empty if all is well.
"""
import collections
import dataclasses
import math

from history import CREATE, NODES, OK, OLD, REFUSED, REMOVE, SCALE, SERVICES, TASKS, UNKNOWN, WRITES

GONE = "gone"
# Ways in which operations without an answer may have been done that are gone through for one service.
MOST_WAYS = 100_000
STATES = ("new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running", "complete", "shutdown",
          "failed", "rejected", "remove", "orphaned")


@dataclasses.dataclass(frozen=True)
class Violation:
    kind: str
    text: str


class Undecided(Exception):
    """There are more ways than one wants to go through."""


# ---- services ----

def _after(operation, state):
    """The state of its service when a write has been done; None if it cannot be done then. A service is None before it is
    made, then its number of replicas, then GONE; names are used once."""
    if operation.what == CREATE:
        return operation.replicas if state is None else None
    if not isinstance(state, int):
        return None
    return GONE if operation.what == REMOVE else operation.replicas


def _sees(value, state):
    return value == (state if isinstance(state, int) else None)


class Register:
    """One service. Looks for an order of all operations on it in which each has what it was told, and none comes before
    one that was over when it began: just in time, an operation is put in its place when its answer comes. A configuration
    is a state, and those of the operations under way that have been done in it."""

    def __init__(self, name):
        self.name = name
        self.ways = {(None, frozenset())}
        self.writes = {}  # under way, by number
        self.reads = {}   # under way: number -> what is seen
        self.done = set()  # reads under way that are done in all ways
        self.past = []     # writes that were answered

    def begin(self, number, operation):
        if operation.what in WRITES:
            self.writes[number] = operation
            return
        value = operation.found.get(self.name)
        if all(_sees(value, state) for state, _ in self.ways):
            self.done.add(number)
            return
        self.reads[number] = value
        self.ways = {self._seen(state, done) for state, done in self.ways}

    def _seen(self, state, done):
        """A read that can be done is done: it keeps nothing else from being done."""
        more = {number for number, value in self.reads.items() if number not in done and _sees(value, state)}
        return (state, done | more) if more else (state, done)

    def end(self, number):
        """Whether there is a way."""
        if number in self.done:
            self.done.remove(number)
            return True
        left = {way for way in self.ways if number in way[1]}
        waiting = [way for way in self.ways if number not in way[1]]
        known = set(waiting)
        while waiting:
            state, done = waiting.pop()
            for other, operation in self.writes.items():
                after = None if other in done else _after(operation, state)
                if after is None:
                    continue
                way = self._seen(after, done | {other})
                if number in way[1]:
                    left.add(way)
                elif way not in known:
                    known.add(way)
                    waiting.append(way)
            if len(known) + len(left) > MOST_WAYS:
                raise Undecided()
        if not left:
            return False
        self.ways = {(state, done - {number}) for state, done in left}
        operation = self.writes.pop(number, None)
        if operation:
            self.past.append(operation)
        self.reads.pop(number, None)
        return True

    def states(self):
        return {state for state, _ in self.ways}


def _at(operation, start):
    return f"{operation.client} at {(operation.invoked - start) / 1e9:.3f}-{(operation.completed - start) / 1e9:.3f} s"


def _explain(register, operation, refused, start):
    """Why there is no way for an operation that was answered."""
    name = register.name
    last = [f"{write.what}{f'={write.replicas}' if write.what != REMOVE else ''} by {_at(write, start)}" for write in register.past[-3:]]
    told = f"; before that were acknowledged: {', '.join(last) or 'nothing'}"
    pending = [write.what for write in register.writes.values() if write is not operation]
    told += f"; without an answer: {', '.join(pending)}" if pending else ""
    if operation.what in WRITES:
        return Violation("impossible", f"{operation.what} of '{name}' by {_at(operation, start)} was acknowledged, and cannot have been done{told}")
    value = operation.found.get(name)
    whom = f"a read by {_at(operation, start)} of {operation.asked or '?'}"
    written = [write.replicas for write in [*register.past, *register.writes.values()] if write.what != REMOVE]
    if value is None:
        return Violation("lost", f"{whom} finds no service '{name}', which was acknowledged or seen{told}")
    if value in written:
        return Violation("went back", f"{whom} finds '{name}' with {value} replicas, as it was before{told}")
    why = [write for write in refused if write.what == CREATE or write.replicas == value]
    if why:
        return Violation("refused but done", f"{whom} finds '{name}' with {value} replicas, which was refused to {_at(why[0], start)} "
                                             f"({why[0].said.strip()}){told}")
    return Violation("wrong", f"{whom} finds '{name}' with {value} replicas, which nobody asked for{told}")


def _events(operations):
    """[(when, whether it ends, number, operation)]: one that begins when another ends is not after it."""
    events = []
    for number, operation in enumerate(operations):
        events.append((operation.invoked, False, number, operation))
        if operation.outcome == OK:
            events.append((operation.completed, True, number, operation))
    events.sort(key=lambda event: event[:3])
    return events


def _life(writes):
    """From when on a service may be there, and when it is surely gone."""
    if not writes:
        return math.inf, -math.inf
    ends = all(write.outcome == OK for write in writes) and max(writes, key=lambda write: write.completed).what == REMOVE
    return min(write.invoked for write in writes), max(write.completed for write in writes) if ends else math.inf


def checkServices(history):
    """Every acknowledged write is there, and reads never go back. Of a service the first violation. Answers also the names of those that
    could not be judged."""
    start = min((operation.invoked for operation in history), default=0)
    reads = [operation for operation in history if operation.what == SERVICES and operation.outcome == OK]
    writes = collections.defaultdict(list)
    refused = collections.defaultdict(list)
    for operation in history:
        if operation.what in WRITES:
            (refused if operation.outcome == REFUSED else writes)[operation.service].append(operation)
    finding = collections.defaultdict(list)
    for read in reads:
        for name in read.found:
            finding[name].append(read)
    violations, undecided = [], []
    for name in sorted(set(writes) | set(refused) | set(finding)):
        register = Register(name)
        first, last = _life(writes[name])
        # Reads before and after it have nothing to say, unless they found it.
        about = [read for read in reads if read.completed >= first and read.invoked <= last and name not in read.found]
        try:
            for _, ends, number, operation in _events(writes[name] + about + finding[name]):
                if not ends:
                    register.begin(number, operation)
                elif not register.end(number):
                    violations.append(_explain(register, operation, refused[name], start))
                    break
        except Undecided:
            undecided.append(name)
    return violations, undecided


# ---- tasks ----

def _tasksRead(history):
    return sorted((operation for operation in history if operation.what == TASKS and operation.outcome == OK),
                  key=lambda operation: operation.completed)


def checkSlots(history):
    """One running task per slot, in each answer. What is restarted stops first, in all services of these clients."""
    start = min((operation.invoked for operation in history), default=0)
    violations, told = [], set()
    for operation in _tasksRead(history):
        slots = collections.defaultdict(list)
        for task in operation.found:
            if task["desired"] == "running" and task["state"] == "running":
                slots[task["service"], task["slot"]].append(task["id"])
        for (service, slot), tasks in slots.items():
            if len(tasks) > 1 and (service, slot) not in told:
                told.add((service, slot))
                violations.append(Violation("slot", f"{' and '.join(tasks)} both run as {service}.{slot}, as {_at(operation, start)} was told"))
    return violations


def checkTasks(history):
    """No task goes back to an earlier state, to another node, or comes back after it was forgotten, in reads that follow
    each other."""
    start = min((operation.invoked for operation in history), default=0)
    reads = _tasksRead(history)
    violations, told = [], set()

    def violate(task, text):
        if task not in told:
            told.add(task)
            violations.append(Violation("task went back", text))
    known = {}   # task -> (its place in STATES, its node, since when that it is there is known), by what was over before
    gone = set()
    over = 0     # of `reads`: those that are in `known`
    for operation in sorted(reads, key=lambda operation: operation.invoked):
        while over < len(reads) and reads[over].completed < operation.invoked:
            read = reads[over]
            there = {task["id"]: task for task in read.found}
            lost = {name for name in known.keys() - there.keys() if known[name][2] < read.invoked}
            gone |= lost
            for name in lost:
                del known[name]
            for name, task in there.items():
                before = known.get(name, (0, "", read.completed))
                known[name] = (max(before[0], STATES.index(task["state"])), task["node"] or before[1], before[2])
            over += 1
        for task in operation.found:
            state, node, _ = known.get(task["id"], (0, "", 0))
            if task["id"] in gone:
                violate(task["id"], f"task {task['id']} of {task['service']} was forgotten, and {_at(operation, start)} has found it")
            elif STATES.index(task["state"]) < state:
                violate(task["id"], f"task {task['id']} of {task['service']} was {STATES[state]}, and {_at(operation, start)} has found it {task['state']}")
            elif node and task["node"] != node:
                violate(task["id"], f"task {task['id']} of {task['service']} was on node {node}, and {_at(operation, start)} has found it on '{task['node']}'")
    return violations


# ---- hosts ----

@dataclasses.dataclass(frozen=True)
class Seen:
    """A container, or rather its first process, on a host at some time."""
    at: int
    host: str
    task: str
    process: str  # tells it from all others on the machine


def checkContainers(seen):
    """No task runs twice, or on two hosts."""
    processes = collections.defaultdict(dict)
    for one in seen:
        processes[one.task].setdefault((one.host, one.process), one)
    violations = []
    for task, found in processes.items():
        if len(found) > 1:
            told = ", ".join(f"{host} (process {process})" for host, process in found)
            violations.append(Violation("ran twice", f"task {task} has run {len(found)} times: {told}"))
    return violations


@dataclasses.dataclass(frozen=True)
class Fault:
    kind: str
    hosts: tuple
    begun: int
    ended: int
    # Whether one of these hosts may be taken for down for it. Those of the others may not.
    severe: bool


AFTERMATH_NS = 15_000_000_000  # a host that comes back is not ready at once


@dataclasses.dataclass
class Alarms:
    detected: list  # seconds from the fault to the first answer that calls the host down
    false: list     # what there was to say of each


def alarms(samples, faults):
    """`samples`: [(when, {host: state})] as a manager told. Which hosts were called down, and whether for a reason."""
    start = min((at for at, _ in samples), default=0)
    found, before = Alarms([], []), {}
    for at, states in sorted(samples, key=lambda sample: sample[0]):
        for host, state in states.items():
            if state != "down" or before.get(host) == "down":
                continue
            why = [fault for fault in faults if fault.severe and host in fault.hosts and fault.begun <= at <= fault.ended + AFTERMATH_NS]
            if why:
                found.detected.append((at - max(fault.begun for fault in why)) / 1e9)
            else:
                found.false.append(f"{host} at {(at - start) / 1e9:.1f} s")
        before.update(states)
    return found


# ---- all of it ----

def check(history, seen, unhealed):
    """`unhealed`: what had not come to be so, when all faults were over and the time for it as well."""
    violations, undecided = checkServices(history)
    violations += checkSlots(history) + checkTasks(history) + checkContainers(seen)
    violations += [Violation("not healed", text) for text in unhealed]
    return violations, undecided


def outcomes(history):
    """{what: {outcome: how many}}"""
    counts = collections.defaultdict(lambda: {OK: 0, OLD: 0, REFUSED: 0, UNKNOWN: 0})
    for operation in history:
        counts[operation.what][operation.outcome] += 1
    return {what: counts[what] for what in (CREATE, SCALE, REMOVE, SERVICES, TASKS, NODES) if what in counts}
