#!/usr/bin/env python3
"""What is planned is what happens, on hosts with real containers; and why a task waits.

usage: plan-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import glob
import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""


def taken(plan, action):
    """`web.1 on n2` of each step of that kind."""
    return {f"{step['service']}.{step['slot']} on {step['node']}" for step in plan["steps"] if step["action"] == action}


class Plan(cluster.MemberTest):
    """n1 is the manager; each test begins with three hosts that are ready."""
    programs = PROGRAMS

    def places(self, service="web"):
        return {f"{service}.{slot} on {self.hostOf(task)}" for slot, task in self.n1.running(service).items()}

    def plan(self, *words):
        return json.loads(self.n1.orch("plan", "--json", *words).stdout)

    def refused(self, *arguments, status=1):
        done = self.n1.orch(*arguments, check=False)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        return done.stderr

    def test_a_scale_up_is_placed_as_the_plan_says(self):
        self.create("--replicas", "2")
        before = self.places()
        planned = self.plan("service", "scale", "web=7")
        self.assertEqual(self.places(), before)
        self.n1.orch("service", "scale", "web=7")
        self.assertEqual(self.places() - before, taken(planned, "start"))
        self.assertEqual(taken(planned, "stop"), set())

    def test_a_plan_is_applied_once_and_not_when_the_world_has_changed(self):
        self.create("--replicas", "3")
        planned = self.plan("service", "update", "--env-add", "A=1", "--update-parallelism", "0", "web")
        self.assertEqual(len(taken(planned, "stop")), 3)
        self.n1.orch("apply", planned["id"])
        self.assertEqual(self.places(), taken(planned, "start"))
        self.assertIn("there is no plan", self.refused("apply", "0123456789abcdef"))
        self.assertIn("has changed since", self.refused("apply", planned["id"]))

    def test_the_loss_of_a_host_moves_what_the_simulation_says(self):
        self.create("--replicas", "6")
        before = self.places()
        simulated = json.loads(self.n1.orch("simulate", "--json", "--lose", "n3").stdout)
        self.n3.poweroff()
        eventually("all run on the two that are left", lambda: self.spread() == {"n1": 3, "n2": 3})
        self.assertEqual(self.places() - before, taken(simulated, "start"))
        self.n3.start()

    def test_an_update_that_fails_goes_back_by_itself(self):
        self.create("--replicas", "3")
        before = self.ids()
        said = self.refused("service", "update", "--update-failure-action", "rollback", "--update-monitor", "1s",
                            "--rollback-monitor", "0s", "--args", "sh -c 'exit 3'", "web")
        self.assertIn("failed and was rolled back", said)
        self.assertIn("the old spec serves", said)
        eventually("all three run", lambda: len(self.ids()) == 3)
        # The one that it had not reached at all goes on; the second may have been begun meanwhile.
        self.assertGreaterEqual(len(self.ids().items() & before.items()), 1)

    def test_why_a_task_waits_and_what_would_place_it(self):
        self.create("--replicas", "1", "--constraint", "node.labels.disk==ssd", "--detach")
        eventually("it waits", lambda: "constraint" in self.n1.orch("why", "web").stdout)
        said = self.n1.orch("why", "web").stdout
        self.assertIn("web.1 is pending: no suitable node (constraint node.labels.disk==ssd not met on 3 nodes)", said)
        self.assertIn("orch node update --label-add disk=ssd n2", said)
        self.n1.orch("node", "update", "--label-add", "disk=ssd", "n2")
        self.addCleanup(self.n1.orch, "node", "update", "--label-rm", "disk", "n2")
        eventually("it runs", lambda: self.spread() == {"n2": 1})
        self.assertIn("it is here", self.n1.orch("why", "--node", "n2", "web.1").stdout)
        self.refused("why", "nobody")

    def give(self, node, kind, names):
        """The host's orchd starts again, and has these."""
        path = node.host.root() + "/etc/orch/plugins.d/resources.toml"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(f"[node]\nresources = {{ {kind} = {json.dumps(names)} }}\n")
        node.crash()
        node.start()
        has = lambda: json.loads(self.n1.orch("node", "inspect", node.name).stdout)[0]["description"].get("generic")
        eventually("the manager knows of them", lambda: has() == [{"kind": kind, "amount": len(names), "names": names}])

    def cards(self, service):
        """{host: what its tasks are told that they have}"""
        told = {}
        for slot, task in self.n1.running(service).items():
            said = self.n1.orch("task", "exec", f"{service}.{slot}", "sh", "-c", "echo $DOCKER_RESOURCE_GPU").stdout
            told.setdefault(self.hostOf(task), set()).update(said.split())
        return told

    def test_tasks_have_cards_of_their_own_and_others_wait_for_them(self):
        self.give(self.n2, "gpu", ["GPU-1", "GPU-2"])
        self.give(self.n3, "gpu", ["GPU-3"])
        self.create("--replicas", "3", "--generic-resource", "gpu=1")
        self.assertEqual(self.cards("web"), {"n2": {"GPU-1", "GPU-2"}, "n3": {"GPU-3"}})
        self.assertIn("Resource gpu: 3 of 3 in use", self.n1.orch("info").stdout)
        self.create("--generic-resource", "gpu=2", "--detach", name="other")
        eventually("it waits", lambda: "insufficient gpu" in self.n1.orch("why", "other").stdout)
        said = self.n1.orch("why", "other").stdout
        self.assertIn("other.1 is pending: no suitable node (insufficient gpu on 3 nodes)", said)
        self.assertIn("insufficient gpu: 2 wanted, 0 free", said)
        self.assertIn("free 2 gpu on n2", said)
        self.n1.orch("service", "scale", "web=0")
        eventually("it runs", lambda: self.spread("other") == {"n2": 1})
        self.assertEqual(self.cards("other"), {"n2": {"GPU-1,GPU-2"}})
        self.refused("service", "create", "--generic-resource", "gpu=GPU-1", "web:1", status=2)

    def test_the_past_is_decided_again_also_from_a_file(self):
        self.create("--replicas", "6", name="past")
        self.assertEqual(self.spread("past"), {"n1": 2, "n2": 2, "n3": 2})

        def replayed(*words):
            answer = json.loads(self.n1.orch("replay", "--json", *words).stdout)
            return next(row for row in answer["services"] if row["service"] == "past")
        again = {"service": "past", "tasks": 6, "same": 6, "elsewhere": 0, "nowhere": 0}
        eventually("it stands in the journal", lambda: replayed() == again)
        packed = replayed("--scheduler", "binpack")
        self.assertGreater(packed["elsewhere"], 0)
        kept = glob.glob(self.n1.host.root() + "/var/lib/orch/control.manager/journal/*")
        self.assertEqual(len(kept), 1)
        file = f"{self.n1.host.root()}/tmp/past"
        shutil.copy(kept[0], file)
        self.n1.orch("service", "rm", "past")
        self.assertEqual(replayed("/tmp/past"), again)
        self.assertEqual(replayed("--scheduler", "binpack", "/tmp/past"), packed)
        self.assertIn("no scheduler 'nobody'", self.refused("replay", "--scheduler", "nobody", "/tmp/past", status=2))
        with open(file, "r+b") as damaged:
            damaged.seek(100)
            damaged.write(b"\xff" * 16)
        self.assertIn("damaged from its beginning on", self.refused("replay", "/tmp/past", status=2))
        self.assertIn("cannot read the journal", self.refused("replay", "/tmp/none"))

    def test_expressions_binpack_and_preferences(self):
        for node, zone in (("n1", "a"), ("n2", "a"), ("n3", "b")):
            self.n1.orch("node", "update", "--label-add", f"zone={zone}", node)
            self.addCleanup(self.n1.orch, "node", "update", "--label-rm", "zone", node)
        self.create("--replicas", "4", "--placement-pref", "spread=node.labels.zone")
        self.assertEqual(self.spread(), {"n1": 1, "n2": 1, "n3": 2})
        self.n1.orch("service", "rm", "web")
        self.create("--replicas", "3", "--strategy", "binpack", "--constraint",
                    "node.labels.zone in (a, c) && node.hostname==/2$/")
        self.assertEqual(self.spread(), {"n2": 3})
        said = self.refused("service", "create", "--constraint", "node.labels.zone in (a", "web:1", status=2)
        self.assertIn("expects ',' or ')' at column 23", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
