"""failover: three managers with nine replicas; one node dies.

crash: SIGKILL of everything on it (its peers see connections reset); poweroff: its cable is cut
first (its peers see nothing).
"""

import threading
import time

from hub import address
from machine import BenchError, poll, process_tree

REPLICAS = 9
SCENARIOS = ("follower-crash", "follower-poweroff", "leader-crash", "leader-poweroff")
FIGURES = (
    "node_down",
    "tasks_back_exec",
    "tasks_back_api",
    "first_read",
    "first_write",
    "first_new_task_exec",
)


def measure(setup, driver):
    """Every scenario, each time with a cluster of its own."""
    for scenario in SCENARIOS:
        setup.conditions.reset()
        figures = {name: [] for name in FIGURES}
        for _ in range(setup.repetitions(1, 3)):
            observed = Failure(setup, driver, scenario).observe()
            driver.down()
            for name in FIGURES:
                figures[name].append(observed.get(name))
        for name, samples in figures.items():
            setup.results.figure(f"failover.{name}", samples, sys=driver.name, scenario=scenario)


class Failure:
    """One death and what is seen of it from the two other nodes."""

    SECONDS = 120

    def __init__(self, setup, driver, scenario):
        self.setup = setup
        self.driver = driver
        self.scenario = scenario
        self.victim = 1 if scenario.startswith("leader") else 3
        self.observers = [number for number in (1, 2, 3) if number != self.victim]
        self.name = setup.new_label("f")
        self.lock = threading.Lock()
        self.seen = {}
        self.written = None
        self.killed = 0.0
        self.stopped = False

    def observe(self):
        """Seconds after the death, by figure."""
        self.driver.up(3)
        watch = self.setup.watch
        self.driver.session.create(self.name, REPLICAS, net="bridge", delay=0)
        watch.wait_started(self.name, REPLICAS, 0, 60)
        if poll(lambda: self.driver.session.running(self.name) == REPLICAS, 60) is None:
            raise BenchError(f"{REPLICAS} tasks were not running within 60 s")
        time.sleep(7)
        self.setup.conditions.quiet()
        victim = self.driver.nodes[self.victim]
        pids = set(process_tree(victim.process.pid))
        lost = sum(workload.pid in pids for workload in watch.alive(self.name))
        victim_ids = [n["ID"] for n in self.driver.session.cluster_nodes() if self._is_victim(n)]
        self.victim_id = victim_ids[0]
        self._kill(victim)
        end = time.monotonic() + self.SECONDS
        while time.monotonic() < end and len(self.seen) < 4:
            time.sleep(0.05)
        self.stopped = True
        for thread in self.threads:
            thread.join(8)
        return self._figures(lost)

    def _kill(self, victim):
        self.killed = time.monotonic()
        if self.scenario.endswith("poweroff"):
            self.driver.hub.cut(self.victim)
        victim.kill()
        self.threads = [
            threading.Thread(target=self._repeat, args=(work, number), daemon=True)
            for work in (self._read, self._write)
            for number in self.observers
        ]
        for thread in self.threads:
            thread.start()

    def _figures(self, lost):
        watch = self.setup.watch
        figures = {name: when - self.killed for name, when in self.seen.items()}
        starts = watch.starts(self.name, self.killed)
        if lost and len(starts) >= lost:
            figures["tasks_back_exec"] = starts[lost - 1] - self.killed
        first = watch.wait_started(self.written, 1, 0, 5) if self.written else None
        if first is not None:
            figures["first_new_task_exec"] = first - self.killed
        return figures

    def _saw(self, figure):
        with self.lock:
            self.seen.setdefault(figure, time.monotonic())

    def _repeat(self, work, number):
        """A client that gives up a call after 1.5 s and tries again."""
        while not self.stopped:
            session = self.driver.open_session(number, 1.5)
            try:
                work(session)
            except (OSError, EOFError, BenchError):
                pass
            finally:
                session.close()
            time.sleep(0.05)

    def _is_victim(self, node):
        manager = node.get("ManagerStatus") or {}
        return manager.get("Addr", "").split(":")[0] == address(self.victim)

    def _read(self, session):
        nodes = session.cluster_nodes()
        if any((n.get("ManagerStatus") or {}).get("Leader") and not self._is_victim(n) for n in nodes):
            self._saw("first_read")
        if any(n["ID"] == self.victim_id and n["Status"]["State"] == "down" for n in nodes):
            self._saw("node_down")
        counts = session.tasks_by_node(self.name)
        counts.pop(self.victim_id, None)
        alive = len(self.setup.watch.alive(self.name))
        if alive >= REPLICAS and sum(counts.values()) == REPLICAS:
            self._saw("tasks_back_api")

    def _write(self, session):
        if "first_write" in self.seen:
            time.sleep(0.5)
            return
        name = self.setup.new_label("w")
        session.create(name, 1, net="host")
        with self.lock:
            if "first_write" not in self.seen:
                self.written = name
                self.seen["first_write"] = time.monotonic()
