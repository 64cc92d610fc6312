"""One run: hosts, clients, faults, and what came of it."""
import collections
import json
import os
import shutil
import signal
import sys
import threading
import time

import checker
import faults
import history
from hosts import HOSTS, Hosts, testbed
from nemesis import Nemesis
from clients import found
from history import NODES, OK, SERVICES, TASKS, Operation

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients.py")
SAMPLE_S = 0.7
SETTLED_S = 300    # for a cluster to be as it was asked to be, when nothing is wrong any more: with busy cores and a slow disk
ENDING_S = 120     # for the clients' last commands
CALM_S = 5         # of clients alone, before and after the faults
LEADS = "this manager leads the cluster"


class Sampler(threading.Thread):
    """Looks all the time at what runs in containers."""

    def __init__(self, hosts):
        super().__init__(daemon=True)
        self.hosts, self.seen, self.ends = hosts, {}, threading.Event()

    def run(self):
        while not self.ends.wait(SAMPLE_S):
            for one in self.hosts.containers(time.monotonic_ns()):
                self.seen.setdefault((one.host, one.task, one.process), one)

    def stop(self):
        self.ends.set()
        self.join()
        return list(self.seen.values())


class Leader:
    """Who leads, as the clients' history tells: its end is read when somebody asks."""

    def __init__(self, path):
        self.path, self.offset, self.name = path, 0, None

    def __call__(self):
        with open(self.path) as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[:text.rfind("\n") + 1]
        self.offset += len(whole.encode())
        for line in whole.splitlines():
            operation = json.loads(line)
            if operation["what"] == NODES and operation["outcome"] == OK:
                self.name = next((host for host, told in operation["found"].items() if told[2]), self.name)
        return self.name


class Run:
    def __init__(self, programs, store, minutes, seed, writers, kinds, folder):
        self.programs, self.minutes, self.seed, self.writers, self.folder = os.path.abspath(programs), minutes, seed, writers, folder
        self.kinds = [faults.BY_NAME[name] for name in kinds]
        self.history = os.path.join(folder, "history.jsonl")
        self.hosts = Hosts(f"chaos-{store}-{os.getpid()}", programs, store, folder)
        self.begun = time.monotonic()
        self.log = open(os.path.join(folder, "run.log"), "a")

    def note(self, text):
        line = f"{time.monotonic() - self.begun:8.3f} {text}"
        print(line, file=self.log, flush=True)
        if sys.stdout.isatty() or os.environ.get("ORCH_CHAOS_TELL"):
            print(line, flush=True)

    def run(self):
        """Whether something was found."""
        violations = ["it was not checked"]
        try:
            with self.hosts:
                try:
                    violations = self.chaos()
                finally:
                    self.keepLogs()
        finally:
            self.log.close()
        return bool(violations)

    def chaos(self):
        self.hosts.join()
        open(self.history, "a").close()
        for node in self.hosts.hosts:  # the clock of its orchd can be changed from now on
            node.stop()
            self.hosts.startOrchd(node)
        early = self.settle()
        if early:
            raise AssertionError(f"before anything went wrong: {'; '.join(early)}")
        self.begun = time.monotonic()
        sampler = Sampler(self.hosts)
        sampler.start()
        pid = self.startClients()
        nemesis = Nemesis(self.hosts, self.seed, self.kinds, Leader(self.history), self.note)
        try:
            time.sleep(CALM_S)
            nemesis.run(self.minutes * 60)
        finally:
            nemesis.heal()
        self.note("all is whole")
        time.sleep(CALM_S)
        self.endClients(pid)
        unhealed = self.settle()
        self.note(f"settled{', but ' + '; '.join(unhealed) if unhealed else ''}")
        unhealed += self.lastReads()
        return self.report(nemesis, sampler.stop(), unhealed)

    # ---- clients ----

    def startClients(self):
        managers = ",".join(node.name for node in self.hosts.managers)
        command = [sys.executable, CLIENTS, f"{self.programs}/orch", self.hosts.credentials, managers, self.history, str(self.seed),
                   str(self.writers)]
        _, pid = self.hosts.client.host.spawn(command, os.path.join(self.folder, "clients.log"))
        self.clientsStarted = testbed.startTime(pid)
        return pid

    def endClients(self, pid):
        if testbed.startTime(pid) != self.clientsStarted:
            raise AssertionError(f"the clients have ended by themselves; see {self.folder}/clients.log")
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + ENDING_S
        while testbed.startTime(pid) == self.clientsStarted:
            if time.monotonic() > end:
                raise AssertionError(f"after {ENDING_S} s clients still wait for their last commands")
            time.sleep(0.1)

    def ask(self, node, what, *arguments):
        """One read of the history, at one manager."""
        begun = time.monotonic_ns()
        asked = node.orch(*arguments, "--json", check=False, timeout=ENDING_S)
        outcome = OK if asked.returncode == 0 else history.REFUSED
        seen = found(what, asked.stdout) if outcome == OK else None
        operation = Operation("end", what, begun, time.monotonic_ns(), outcome, found=seen, said=asked.stderr, asked=node.name)
        with open(self.history, "a") as file:
            file.write(operation.line())
        return operation

    # ---- the end ----

    def settle(self):
        """What is not as it should be, so long after all was whole; nothing, as soon as all is."""
        end, wrong = time.monotonic() + SETTLED_S, ["nobody has looked"]
        while wrong and time.monotonic() < end:
            wrong = self.wrong()
            time.sleep(0.3)
        return wrong

    def wrong(self):
        leaders = set()
        for node in self.hosts.hosts:
            if node.state() != "running":
                return [f"{node.name} is {node.state()}"]
        for node in self.hosts.managers:
            asked = node.orch("node", "ls", "--json", check=False, timeout=ENDING_S)
            if asked.returncode != 0:
                return [f"{node.name} does not answer: {asked.stderr.strip()}"]
            told = found(NODES, asked.stdout)
            away = [f"{host} is {state}: {message}" for host, (state, message, _) in told.items() if state != "ready"]
            if away or len(told) != len(self.hosts.hosts):
                return [f"{node.name} says that {', '.join(away) or 'hosts are missing'}"]
            leaders |= {host for host, (_, _, leads) in told.items() if leads}
        if len(leaders) != 1:
            return [f"managers do not agree about who leads: {', '.join(sorted(leaders)) or 'nobody'}"]
        return self.wrongTasks()

    def wrongTasks(self):
        node = self.hosts.managers[0]
        asked = node.orch("service", "ls", "--json", check=False, timeout=ENDING_S), node.orch("task", "ls", "--json", check=False, timeout=ENDING_S)
        if any(each.returncode for each in asked):
            return [f"{node.name} does not answer: {' '.join(each.stderr.strip() for each in asked)}"]
        services, tasks = json.loads(asked[0].stdout), found(TASKS, asked[1].stdout)
        wrong = [f"'{row['name']}' has {row.get('running', 0)} of {row.get('desired', 0)} tasks" for row in services
                 if row.get("running", 0) != row.get("desired", 0)]
        if wrong:
            return wrong
        running = {task["id"] for task in tasks if task["state"] == "running"}
        wanted = sum(row.get("desired", 0) for row in services)
        there = collections.Counter(one.task for one in self.hosts.containers(0))
        if len(running) != wanted:
            return [f"{len(running)} tasks run, where {wanted} should"]
        if set(there) != running or max(there.values(), default=1) > 1:
            return [f"containers without a task that runs: {sorted(set(there) - running)}; without a container: {sorted(running - set(there))}; "
                    f"twice: {[task for task, count in there.items() if count > 1]}"]
        return []

    def lastReads(self):
        """Every manager is asked for all, and each takes a change."""
        wrong = []
        for node in self.hosts.managers:
            for what, arguments in ((SERVICES, ("service", "ls")), (TASKS, ("task", "ls"))):
                read = self.ask(node, what, *arguments)
                if read.outcome != OK:
                    wrong.append(f"{node.name} does not answer at the end: {read.said.strip()}")
        for node in self.hosts.managers:
            made = node.orch("service", "create", "--name", f"end-{node.name}", "--verify", "0s", "web:1", "/bin/web", check=False, timeout=SETTLED_S)
            if made.returncode != 0:
                wrong.append(f"{node.name} takes no service at the end: {made.stderr.strip()}")
        return wrong

    # ---- what came of it ----

    def report(self, nemesis, seen, unhealed):
        operations = history.read(self.history)
        violations, undecided = checker.check(operations, seen, unhealed)
        violations += self.crashes(nemesis)
        samples = [(operation.completed, {host: told[0] for host, told in operation.found.items()})
                   for operation in operations if operation.what == NODES and operation.outcome == OK]
        alarms = checker.alarms(samples, nemesis.records + [checker.Fault(what, (what.split()[-1],), at, at, True)
                                                            for at, what, _ in nemesis.ended if what.startswith("orchd")])
        hours = (samples[-1][0] - samples[0][0]) / 3.6e12 * HOSTS if samples else 0
        kinds = collections.Counter(record.kind for record in nemesis.records)
        lines = [f"store {self.hosts.store}, seed {self.seed}, {self.minutes:g} minutes of faults"]
        counted = checker.outcomes(operations)
        total = sum(sum(outcome.values()) for outcome in counted.values())
        lines.append(f"{total} operations: " + "; ".join(f"{what} " + ", ".join(f"{count} {name}" for name, count in outcome.items() if count)
                                                      for what, outcome in counted.items()))
        slowest = max(operations, key=lambda operation: operation.completed - operation.invoked, default=None)
        if slowest:
            lines.append(f"the longest took {(slowest.completed - slowest.invoked) / 1e9:.1f} s ({slowest.what}, {slowest.outcome})")
        lines.append(f"{sum(kinds.values())} faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
        lines.append(f"the lead has changed {max(0, self.leads() - 1)} times; {len(seen)} containers were seen")
        detected = sorted(alarms.detected)
        times = f"after {detected[len(detected) // 2]:.1f} s (median), {detected[-1]:.1f} s at most" if detected else ""
        lines.append(f"hosts called down: {len(detected)} that were gone {times}; {len(alarms.false)} that were there, in {hours:.2f} hours of a "
                     f"host, {len(alarms.false) / hours if hours else 0:.2f} an hour {'; '.join(alarms.false)}")
        if nemesis.ended:
            lines.append("ended by themselves: " + "; ".join(f"{what} (wrong there: {why})" for _, what, why in nemesis.ended))
        if undecided:
            lines.append(f"{len(undecided)} services had too many unknown outcomes to judge them")
        lines.append(f"{len(violations)} violations")
        lines += [f"  {violation.kind}: {violation.text}" for violation in violations]
        for line in lines:
            print(line, file=self.log)
            print(f"chaos: {line}", flush=True)
        return violations

    def leads(self):
        count = 0
        for node in self.hosts.managers:
            with open(node.log, errors="replace") as file:
                count += sum(LEADS in line for line in file)
        return count

    @staticmethod
    def crashes(nemesis):
        """orchd may end by itself only if its disk is broken."""
        disk = (faults.FullDisk.kind, faults.StalledDisk.kind)
        return [checker.Violation("ended", f"{what} has ended by itself, with {why} wrong there") for _, what, why in nemesis.ended
                if what.startswith("orchd") and why not in disk]

    def keepLogs(self):
        for name in os.listdir(self.hosts.folder):
            path = os.path.join(self.hosts.folder, name)
            if os.path.isfile(path) and name.endswith(".log"):
                shutil.copy(path, self.folder)
        for node in self.hosts.hosts:
            if os.path.exists(node.log):
                shutil.copy(node.log, os.path.join(self.folder, f"orchd-{node.name}.log"))
