#!/usr/bin/env python3
"""Tests of the checker: violations that are planted are found, and honest histories pass.

usage: checker-test.py [TEST...]
"""
import os
import random
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import checker  # noqa: E402
import history  # noqa: E402
from checker import Fault, Seen  # noqa: E402
from history import CREATE, NODES, OK, OLD, REFUSED, REMOVE, SCALE, SERVICES, TASKS, UNKNOWN, Operation  # noqa: E402

S = 1_000_000_000


def write(what, invoked, completed, replicas=0, outcome=OK, service="web", client="a"):
    return Operation(client, what, invoked * S, completed * S, outcome, service, replicas)


def read(invoked, completed, found, what=SERVICES, outcome=OK):
    return Operation("reader", what, int(invoked * S), int(completed * S), outcome, found=found)


def tasks(invoked, completed, *found):
    return read(invoked, completed, [history.task(*one) for one in found], TASKS)


class Honest:
    """A store that does each write at some instant between its beginning and its answer, or not at all, or long after its client gave
    up, and tells clients who ask all at once; names are used once. Of it and a seed comes a history without a fault."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.history = []
        self.actions = []  # (when, what is done)
        self.state = {}

    def run(self, clients=4, services=3, steps=12):
        for client in range(clients):
            at = self.random.random()
            for number in range(services):
                name, at = f"{client}-{number}", self.live(client, f"{client}-{number}", at, steps)
        self.actions.sort(key=lambda action: action[0])
        for _, act in self.actions:
            act()
        return self.history

    def live(self, client, name, at, steps):
        for step in range(steps):
            last = step == steps - 1
            what = CREATE if step == 0 else REMOVE if last else self.random.choice((SCALE, SERVICES, SERVICES))
            end = at + self.random.uniform(0.01, 1)
            (self.read if what == SERVICES else self.write)(client, what, name, at, end)
            at = end + self.random.uniform(0, 0.2)
        return at

    def write(self, client, what, name, at, end):
        fate = self.random.choice((OK, OK, OK, REFUSED, UNKNOWN, UNKNOWN))
        replicas = self.random.randrange(4)
        answer = {"outcome": fate}

        def act():
            there = name in self.state
            gone = self.state.get(name) == checker.GONE
            if what == CREATE and there or what != CREATE and (not there or gone):
                answer["outcome"] = REFUSED if fate == OK else fate
                return
            self.state[name] = checker.GONE if what == REMOVE else replicas

        late = fate == UNKNOWN and self.random.random() < 0.3
        if fate == OK or fate == UNKNOWN and self.random.random() < 0.7:
            self.actions.append((self.random.uniform(at, end + 5 * late), act))
        tell = lambda: self.history.append(Operation(f"c{client}", what, int(at * S), int(end * S), answer["outcome"], name, replicas))
        self.actions.append((max(end, 0), tell))

    def read(self, client, _what, _name, at, end):
        found = {}
        look = lambda: found.update({name: value for name, value in self.state.items() if value != checker.GONE})
        self.actions.append((self.random.uniform(at, end), look))
        tell = lambda: self.history.append(Operation(f"c{client}", SERVICES, int(at * S), int(end * S), OK, found=found))
        self.actions.append((end, tell))


class Services(unittest.TestCase):
    def kinds(self, *operations):
        violations, undecided = checker.checkServices(list(operations))
        self.assertEqual(undecided, [])
        return [violation.kind for violation in violations]

    def test_honest_histories_with_unknown_outcomes_pass(self):
        for seed in range(200):
            made = Honest(seed).run()
            violations, _ = checker.checkServices(made)
            self.assertEqual(violations, [], f"seed {seed}")
        self.assertTrue({OK, REFUSED, UNKNOWN} <= {operation.outcome for operation in made})

    def test_faults_that_are_planted_in_honest_histories_are_found(self):
        found = {"lost": 0, "went back": 0}
        for seed in range(100):
            made = Honest(seed).run()
            end = max(operation.completed for operation in made) // S + 10
            sure = [one for one in made if one.what == CREATE and one.outcome == OK and not [
                other for other in made if other.service == one.service and other.what == REMOVE and other.outcome != REFUSED]]
            for lost in sure:
                self.assertIn("lost", self.kinds(*made, read(end, end + 1, {})), f"seed {seed}, {lost}")
                found["lost"] += 1
            scaled = [one for one in made if one.what == SCALE and one.outcome == OK and one.service in {each.service for each in sure}]
            for one in scaled:
                others = [each for each in made if each.service == one.service and each.what in (SCALE, CREATE) and each is not one]
                if all(each.completed < one.invoked and each.outcome == OK and each.replicas != one.replicas for each in others):
                    old = others[-1].replicas
                    self.assertIn("went back", self.kinds(*made, read(end, end + 1, {one.service: old})), f"seed {seed}, {one}")
                    found["went back"] += 1
        self.assertTrue(all(found.values()), found)

    def test_an_acknowledged_create_that_is_lost_is_found(self):
        self.assertEqual(self.kinds(write(CREATE, 1, 2), read(3, 4, {})), ["lost"])
        self.assertEqual(self.kinds(write(CREATE, 1, 3), read(2, 4, {})), [])

    def test_what_was_seen_once_of_an_unknown_create_stays(self):
        unknown = write(CREATE, 1, 2, 3, UNKNOWN)
        self.assertEqual(self.kinds(unknown, read(3, 4, {}), read(50, 51, {"web": 3}), read(52, 53, {"web": 3})), [])
        self.assertEqual(self.kinds(unknown, read(3, 4, {"web": 3}), read(5, 6, {})), ["lost"])

    def test_an_unknown_write_is_neither_done_nor_not_done_until_it_is_seen(self):
        made = write(CREATE, 1, 2, 1)
        for what, replicas, before, after in ((SCALE, 2, {"web": 1}, {"web": 2}), (REMOVE, 0, {"web": 1}, {})):
            unknown = write(what, 3, 4, replicas, UNKNOWN)
            for reads in ((before, before), (before, after), (after, after)):
                history = [read(5 + 2 * number, 6 + 2 * number, found) for number, found in enumerate(reads)]
                self.assertEqual(self.kinds(made, unknown, *history), [], f"{what} {reads}")
            back = self.kinds(made, unknown, read(5, 6, after), read(7, 8, before))
            self.assertEqual(back, ["went back"], what)
            # It was not done before it was asked for.
            self.assertEqual(len(self.kinds(made, read(2.1, 2.2, after), unknown)), 1)

    def test_an_unknown_write_may_be_done_after_later_ones_and_counts_once(self):
        made = (write(CREATE, 1, 2, 1), write(SCALE, 3, 4, 2, UNKNOWN), write(SCALE, 5, 6, 3))
        self.assertEqual(self.kinds(*made, read(7, 8, {"web": 2}), read(9, 10, {"web": 2})), [])
        self.assertEqual(self.kinds(*made, read(7, 8, {"web": 2}), read(9, 10, {"web": 3})), ["went back"])
        self.assertEqual(self.kinds(*made, read(4.1, 4.2, {"web": 2}), read(7, 8, {"web": 3}), read(9, 10, {"web": 2})), ["went back"])
        twice = (*made, write(SCALE, 3, 4, 2, UNKNOWN, client="b"))
        self.assertEqual(self.kinds(*twice, read(4.1, 4.2, {"web": 2}), read(7, 8, {"web": 3}), read(9, 10, {"web": 2})), [])

    def test_what_an_unknown_write_leaves_open_is_settled_by_what_was_acknowledged_afterwards(self):
        removed = (write(CREATE, 1, 2, 1), write(REMOVE, 3, 4, 0, UNKNOWN))
        # Whoever scales it finds it there; then it may still go.
        self.assertEqual(self.kinds(*removed, write(SCALE, 5, 6, 2), read(7, 8, {"web": 2}), read(9, 10, {})), [])
        self.assertEqual(self.kinds(*removed, read(5, 6, {}), write(SCALE, 7, 8, 2)), ["impossible"])
        # One that scaled what nobody was told to be there has seen it made.
        self.assertEqual(self.kinds(write(CREATE, 1, 2, 1, UNKNOWN), write(SCALE, 3, 4, 2), read(5, 6, {"web": 2})), [])
        self.assertEqual(self.kinds(write(CREATE, 1, 2, 1, UNKNOWN), write(SCALE, 3, 4, 2), read(5, 6, {})), ["lost"])

    def test_a_read_that_goes_back_is_found(self):
        made = (write(CREATE, 1, 2, 1), write(SCALE, 3, 4, 2))
        self.assertEqual(self.kinds(*made, read(5, 6, {"web": 1})), ["went back"])
        self.assertEqual(self.kinds(*made, read(3, 6, {"web": 1}), read(3, 4, {"web": 2})), [])
        # Neither was over when the scale was, but one when the other began.
        pending = write(SCALE, 3, 10, 2)
        self.assertEqual(self.kinds(made[0], pending, read(4, 5, {"web": 2}), read(6, 7, {"web": 1})), ["went back"])
        self.assertEqual(self.kinds(made[0], pending, read(4, 5, {"web": 1}), read(6, 7, {"web": 2})), [])

    def test_a_removed_service_that_comes_back_is_found(self):
        made = (write(CREATE, 1, 2, 1), write(REMOVE, 3, 4))
        self.assertEqual(self.kinds(*made, read(5, 6, {})), [])
        self.assertEqual(self.kinds(*made, read(5, 6, {"web": 1})), ["went back"])

    def test_a_write_that_was_refused_and_is_seen_is_found(self):
        self.assertEqual(self.kinds(write(CREATE, 1, 2, 1, REFUSED), read(3, 4, {"web": 1})), ["refused but done"])
        self.assertEqual(self.kinds(write(CREATE, 1, 2, 1), write(SCALE, 3, 4, 2, REFUSED), read(5, 6, {"web": 2})), ["refused but done"])
        self.assertEqual(self.kinds(read(5, 6, {"web": 2})), ["wrong"])

    def test_an_acknowledged_write_that_cannot_have_been_done_is_found(self):
        self.assertEqual(self.kinds(write(SCALE, 1, 2, 1)), ["impossible"])
        self.assertEqual(self.kinds(write(CREATE, 1, 2, 1), write(REMOVE, 3, 4), write(SCALE, 5, 6, 2)), ["impossible"])

    def test_reads_that_failed_say_nothing(self):
        self.assertEqual(self.kinds(write(CREATE, 1, 2), read(3, 4, None, outcome=REFUSED)), [])

    def test_reads_that_say_that_they_are_old_may_be_so(self):
        self.assertEqual(self.kinds(write(CREATE, 1, 2), read(3, 4, {}, outcome=OLD)), [])

    def test_a_service_with_too_many_unknown_outcomes_is_said_to_be_undecided(self):
        unknown = [write(SCALE, 3, 4, number, UNKNOWN) for number in range(20)]
        violations, undecided = checker.checkServices([write(CREATE, 1, 2, 99), *unknown, read(5, 6, {"web": 98})])
        self.assertEqual((violations, undecided), ([], ["web"]))


class Tasks(unittest.TestCase):
    def test_two_running_tasks_in_one_slot_are_found(self):
        both = tasks(1, 2, ("t1", "web", 1, "n1", "running", "running"), ("t2", "web", 1, "n2", "running", "running"))
        self.assertEqual([violation.kind for violation in checker.checkSlots([both])], ["slot"])
        honest = tasks(1, 2, ("t1", "web", 1, "n1", "shutdown", "running"), ("t2", "web", 1, "n2", "running", "running"),
                       ("t3", "web", 2, "n2", "running", "running"), ("t4", "api", 1, "n2", "running", "running"))
        self.assertEqual(checker.checkSlots([honest]), [])

    def test_a_task_that_goes_back_or_moves_or_comes_back_is_found(self):
        running = ("t1", "web", 1, "n1", "running", "running")
        for later in (("t1", "web", 1, "n1", "running", "starting"), ("t1", "web", 1, "n2", "running", "running")):
            self.assertEqual(len(checker.checkTasks([tasks(1, 2, running), tasks(3, 4, later)])), 1)
            # Reads at once may be answered in any order.
            self.assertEqual(checker.checkTasks([tasks(1, 2, running), tasks(2, 4, later)]), [])
        self.assertEqual(len(checker.checkTasks([tasks(1, 2, running), tasks(3, 4), tasks(5, 6, running)])), 1)
        self.assertEqual(checker.checkTasks([tasks(1, 5), tasks(2, 3, running), tasks(6, 7, running)]), [])
        self.assertEqual(checker.checkTasks([tasks(1, 2, ("t1", "web", 1, "", "running", "pending")), tasks(3, 4, running)]), [])


class Hosts(unittest.TestCase):
    def test_a_task_that_runs_twice_is_found(self):
        once = [Seen(1, "n1", "t1", "100"), Seen(2, "n1", "t1", "100"), Seen(2, "n2", "t2", "200")]
        self.assertEqual(checker.checkContainers(once), [])
        for more in (Seen(3, "n2", "t1", "300"), Seen(3, "n1", "t1", "101")):
            self.assertEqual([violation.kind for violation in checker.checkContainers([*once, more])], ["ran twice"])

    def test_a_host_is_called_down_for_a_reason_or_without_one(self):
        faults = [Fault("poweroff", ("n1",), 10 * S, 20 * S, True), Fault("clock", ("n2",), 10 * S, 20 * S, False)]
        samples = [(9 * S, {"n1": "ready", "n2": "ready"}), (13 * S, {"n1": "down", "n2": "ready"}), (14 * S, {"n1": "down", "n2": "down"}),
                   (30 * S, {"n1": "ready", "n2": "ready"}), (90 * S, {"n1": "down", "n2": "ready"})]
        found = checker.alarms(samples, faults)
        self.assertEqual(found.detected, [3.0])
        self.assertEqual(len(found.false), 2)

    def test_a_cluster_that_does_not_heal_is_a_violation(self):
        violations, _ = checker.check([], [], ["web has 1 of 2 tasks"])
        self.assertEqual([violation.kind for violation in violations], ["not healed"])


class Lines(unittest.TestCase):
    def test_a_history_is_read_as_it_was_written(self):
        made = [write(CREATE, 1, 2, 3), read(3, 4, {"web": 3}), tasks(5, 6, ("t1", "web", 1, "n1", "running", "running")),
                read(7, 8, {"n1": ["ready", ""]}, NODES)]
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.writelines(operation.line() for operation in made)
            file.flush()
            self.assertEqual(history.read(file.name), made)


if __name__ == "__main__":
    unittest.main(verbosity=2)
