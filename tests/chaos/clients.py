#!/usr/bin/env python3
"""Clients who use a cluster all at once, each with one `orch` command after the other, and note what came of it.

usage: clients.py ORCH CREDENTIALS MANAGERS HISTORY SEED WRITERS     runs in the host of the clients; MANAGERS: a,b,c
SIGTERM: every client ends after the command that it is at. The last line on stdout is then `ended`.
"""
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import history  # noqa: E402
from history import CREATE, NODES, OK, OLD, REFUSED, REMOVE, SCALE, SERVICES, TASKS, UNKNOWN, Operation  # noqa: E402

PATIENCE_S = 60     # for a command
PAUSE_S = 0.15      # between two of one client: this machine is to do something else, too
MOST_SERVICES = 3   # of one client at a time
MOST_REPLICAS = 2
MOST_UNKNOWN = 3    # writes without an answer, before a service is left alone
LOOKING_S = 0.5     # between two looks at the nodes
# The command says that it does not know. Whatever else it fails with says that nothing was changed.
MADE = "the change was made: look"
OF_BEFORE = re.compile(r"\bas of .+: no manager leads\b")
NOT_KNOWN = re.compile(r"\bunknown: look\b|\bnot known whether\b|\bis unknown\b")


def ask(orch, arguments):
    """(outcome, stdout, stderr)"""
    process = subprocess.Popen([*orch, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, said = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return UNKNOWN, "", f"not back after {PATIENCE_S} s"
    if process.returncode == 0:
        return OK, out, said
    if MADE in said:  # and only what was waited for afterwards could not be seen
        return OK, out, said
    return (UNKNOWN if process.returncode < 0 or NOT_KNOWN.search(said) else REFUSED), out, said


def found(what, out):
    """What a read has told, as the history keeps it."""
    rows = json.loads(out)
    if what == SERVICES:
        return {row["name"]: row.get("desired", 0) for row in rows}
    if what == NODES:
        return {row.get("description", {}).get("hostname", ""): [row["state"], row.get("message", ""), bool(row.get("leader"))] for row in rows}
    return [history.task(row["meta"]["id"], row["serviceName"], row.get("slot", 0), row.get("nodeId", ""), row["desired"],
                         row["status"]["state"]) for row in rows]


class Client(threading.Thread):
    READS = {SERVICES: ("service", "ls", "--json"), TASKS: ("task", "ls", "--json"), NODES: ("node", "ls", "--json")}

    def __init__(self, name, everybody):
        super().__init__(name=name)
        self.all = everybody
        self.random = random.Random(f"{everybody.seed} {name}")

    def run(self):
        while not self.all.ends.wait(self.random.uniform(0, 2 * PAUSE_S)):
            self.step()

    def managers(self):
        """Where to ask: any of them first."""
        return ",".join(self.random.sample(self.all.managers, len(self.all.managers)))

    def do(self, what, arguments, service="", replicas=0):
        asked = self.managers()
        begun = time.monotonic_ns()
        outcome, out, said = ask([*self.all.orch, "--host", f"tcp://{asked}"], arguments)
        ended = time.monotonic_ns()
        if outcome == OK and what in self.READS and OF_BEFORE.search(said):
            outcome = OLD  # what was changed is acknowledged, whatever was read beside it
        seen = found(what, out) if outcome in (OK, OLD) and what in self.READS else None
        self.all.note(Operation(self.name, what, begun, ended, outcome, service, replicas, seen, said[-500:], asked))
        return outcome

    def look(self, what):
        return self.do(what, self.READS[what])


class Writer(Client):
    """Makes, scales and removes services of its own. Some of others, too: of those it may not know what they are by now."""

    def __init__(self, name, everybody):
        super().__init__(name, everybody)
        self.made = 0
        self.own, self.refused = [], set()

    def step(self):
        choice = self.random.random()
        if choice < 0.3:
            self.look(SERVICES)
        elif choice < 0.55 or not self.own:
            self.create()
        elif choice < 0.9:
            self.scale()
        else:
            self.remove()
        if len(self.own) > MOST_SERVICES:
            self.remove()

    def create(self):
        self.made += 1
        name, replicas = f"{self.name}-{self.made}", self.random.randint(0, MOST_REPLICAS)
        arguments = ["service", "create", "--detach", "--name", name, "--replicas", str(replicas), "--restart-delay", "0s",
                     "--stop-grace-period", "2s", "web:1", "/bin/web"]
        if self.do(CREATE, arguments, name, replicas) != REFUSED:
            self.own.append(name)
            self.all.share(name)

    def scale(self):
        name = self.random.choice(self.own) if self.random.random() < 0.7 else self.all.anyService(self.random)
        replicas = self.random.randint(0, MOST_REPLICAS)
        if name and self.do(SCALE, ["service", "scale", "--detach", f"{name}={replicas}"], name, replicas) == UNKNOWN:
            self.all.noteUnknown(name)

    def remove(self):
        name = self.own.pop(0)
        self.all.unshare(name)
        if self.do(REMOVE, ["service", "rm", name], name) == REFUSED and name not in self.refused:
            self.refused.add(name)  # perhaps it was never made; once more, and then it stays
            self.own.append(name)


class Reader(Client):
    """Looks at services and tasks in turn."""

    def step(self):
        for what in (SERVICES, TASKS):
            self.look(what)


class Watcher(Client):
    """Looks at the nodes all the time: who is called down, and who leads."""

    def run(self):
        while not self.all.ends.wait(LOOKING_S):
            self.look(NODES)


class Everybody:
    def __init__(self, orch, credentials, managers, path, seed):
        self.orch = [orch, "--credentials", credentials]
        self.managers, self.seed = managers.split(","), seed
        self.ends = threading.Event()
        self.lock = threading.Lock()
        self.file = open(path, "a")
        self.shared, self.unknown = [], {}

    def note(self, operation):
        with self.lock:
            self.file.write(operation.line())
            self.file.flush()

    def share(self, name):
        with self.lock:
            self.shared.append(name)

    def unshare(self, name):
        with self.lock:
            if name in self.shared:
                self.shared.remove(name)

    def anyService(self, chance):
        with self.lock:
            return chance.choice(self.shared) if self.shared else None

    def noteUnknown(self, name):
        """Of each more the checker has to try whether it was done."""
        with self.lock:
            self.unknown[name] = self.unknown.get(name, 0) + 1
            if self.unknown[name] >= MOST_UNKNOWN and name in self.shared:
                self.shared.remove(name)


def main(orch, credentials, managers, path, seed, writers):
    everybody = Everybody(orch, credentials, managers, path, seed)
    # A handler is only run when the main thread does something, and another thread may get the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    clients = [Writer(f"w{number}", everybody) for number in range(int(writers))]
    clients += [Reader("r0", everybody), Reader("r1", everybody), Watcher("nodes", everybody)]
    for client in clients:
        client.start()
    signal.sigwait({signal.SIGTERM})
    everybody.ends.set()
    for client in clients:
        client.join()
    print("ended", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
