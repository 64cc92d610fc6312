#!/usr/bin/env python3
"""The dashboard of api.http in a browser, with a made-up cluster of 200 nodes and 10,000 tasks behind it.

usage: page-test.py [TEST...]     ends with 77 where there is no chromium
SCREENSHOTS=FOLDER: what it looks like, in light and dark, narrow and wide.
"""
import http.server
import json
import os
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import browser  # noqa: E402
from single import REPOSITORY, eventually  # noqa: E402

PAGE = os.path.join(REPOSITORY, "plugins", "api", "http", "page")
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript"}
NODES, TASKS, SERVICES = 200, 10_000, 300
NOW = str(time.time_ns())


class MadeUp:
    def __init__(self):
        chance = random.Random(1)
        self.nodes = [{"meta": {"id": f"n{i:024}"}, "state": "down" if i % 40 == 7 else "ready",
                       "availability": "drain" if i % 50 == 3 else "active", "role": "manager" if i < 3 else "worker",
                       "leader": i == 0, "message": "", "address": "",
                       "description": {"hostname": f"node-{i}", "cpuNanos": 4_000_000_000, "memoryBytes": "17179869184"}} for i in range(NODES)]
        self.tasks = [self.task(i, chance) for i in range(TASKS)]
        self.services = [{"id": f"s{i:024}", "name": f"service-{i}", "mode": "replicated", "desired": TASKS // SERVICES,
                          "running": TASKS // SERVICES - i % 4, "image": f"registry.example.com/team/app-{i}:1", "completed": 0, "total": 0,
                          "updateState": "updating" if i % 20 == 5 else "none",
                          "ports": [{"target": 80, "published": 30000 + i, "protocol": "tcp"}] if i % 3 == 0 else []} for i in range(SERVICES)]

    def task(self, i, chance):
        state = "pending" if i < 50 else chance.choice(["running"] * 40 + ["starting", "failed"])
        node = "" if state == "pending" else chance.choice(self.nodes)["meta"]["id"]
        return {"id": f"t{i:024}", "service": f"service-{i % SERVICES}", "slot": i // SERVICES + 1, "node": node, "state": state,
                "desired": "running", "atNs": NOW, "restarts": 0}

    def answer(self, path):
        """What is there as JSON, or the lines of a stream."""
        parts = path.split("/")[2:]
        if parts[-1] == "why":
            remedies = lambda i: [f"orch node update --label-add zone=a node-{i}"]
            return {"nodes": [{"node": f"node-{i}", "obstacles": ["constraint node.labels.zone==a not met"], "remedies": remedies(i)}
                              for i in range(NODES)]}
        if parts[-1] == "logs":
            return [json.dumps({"time": "", "stream": "stdout", "taskId": "t", "taskName": "a.1.t", "text": f"line {i}"}) + "\n" for i in range(1000)]
        if parts[-1] == "progress":
            return {"verdict": "working", "desired": 33, "running": 30, "updated": 12, "problem": "service-5.3: exit status 1", "job": False}
        if parts == ["events"]:
            events = [{"sequence": i, "timeNs": NOW, "topic": "task.running", "attributes": [{"key": "service", "value": f"service-{i}"}]}
                      for i in range(1000)]
            return [f"id: {NOW}-{event['sequence']}\ndata: {json.dumps(event)}\n\n" for event in events]
        if len(parts) == 1:
            return {"info": {"cluster": {"name": "made-up"}, "epoch": 1, "revision": 1}, "nodes": self.nodes, "services": self.services,
                    "tasks": self.tasks}[parts[0]]
        if parts[0] == "tasks":
            task = next(task for task in self.tasks if task["id"] == parts[1])
            return {"serviceName": task["service"], "slot": task["slot"], "nodeId": task["node"], "desired": "running", "restarts": 0,
                    "spec": {"container": {"image": "app:1"}}, "status": {"state": task["state"], "atNs": NOW, "message": "", "error": ""}}
        return {"meta": {"id": parts[1]}, "spec": {"name": "service-5", "task": {"container": {"image": "app:2"}}}, "ports": [],
                "update": {"state": "updating", "message": "in progress"}, "specAtNs": NOW}


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if not path.startswith("/v1/"):
            name = "index.html" if path == "/" else os.path.basename(path)
            with open(os.path.join(PAGE, name), "rb") as file:
                return self.send(TYPES[name.rpartition(".")[2]], file.read())
        found = self.server.cluster.answer(path)
        if not isinstance(found, list) or isinstance(found[0], dict):
            return self.send("application/json", json.dumps(found).encode())
        self.send("text/event-stream", "".join(found).encode())
        self.server.ended.wait()  # it goes on, and nothing happens

    def send(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.cluster = MadeUp()
        self.ended = threading.Event()


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.shutdown)
        cls.addClassCleanup(cls.server.ended.set)

    def opened(self, width=1600, height=950, dark=False):
        self.page = browser.Browser(width, height, dark)
        self.addCleanup(self.page.close)
        self.page.open(f"http://127.0.0.1:{self.server.server_port}/")
        eventually("tiles are there", lambda: self.count(".tile[data-cell]") > 0)
        eventually("events are there", lambda: self.count(".event") > 0)

    def count(self, selector):
        return self.page.run(f"document.querySelectorAll('{selector}').length")

    def text(self, name):
        return self.page.run(f"document.getElementById('{name}').textContent")

    def focus(self):
        return self.page.run("document.activeElement.id")

    def goTo(self, name):
        for _ in range(20):
            if self.focus() == name:
                return
            self.page.press("Tab")
        self.fail(f"tab does not come to {name}")

    def active(self, grid):
        return self.page.run(f"(() => {{ const id = document.getElementById('{grid}').getAttribute('aria-activedescendant');"
                             "const cell = document.getElementById(id); return cell.getAttribute('aria-label') ?? cell.textContent; })()")

    def shoot(self, name):
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.shoot(os.path.join(folder, f"{name}.png"))

    def test_of_ten_thousand_tasks_only_those_are_there_that_are_seen(self):
        self.opened()
        self.assertIn(f"of {NODES} nodes ready · {SERVICES} services", self.text("summary"))
        self.assertIn("50 wait", self.text("summary"))
        self.assertLess(self.count("*"), 4000)
        seen = set()
        for _ in range(40):
            self.page.run("new Promise((done) => { document.getElementById('tiles').scrollTop += 700; requestAnimationFrame(() => requestAnimationFrame(done)); })")
            seen |= set(self.page.run("[...document.querySelectorAll('.tile[id]')].map((tile) => tile.id)"))
            self.assertLess(self.count("*"), 4000)
        self.assertGreater(len(seen), TASKS // 2)
        self.assertEqual(self.page.complaints(), [])

    def test_the_keyboard_is_enough(self):
        self.opened()
        self.goTo("tiles")
        self.page.press("ArrowDown")
        self.assertEqual(self.active("tiles"), "No node: waiting for a node, 50 tasks")
        self.page.press("ArrowDown", "ArrowRight")
        self.assertEqual(self.active("tiles"), "service-1.1, pending, has no node")
        self.page.press("Enter")
        eventually("it is shown", lambda: self.text("details-title") == "service-1.1")
        eventually("why is said, once for all nodes", lambda: self.count("#details .plain li") == 1)
        eventually("the title has the focus", lambda: self.focus() == "details-title")
        self.shoot("why")
        self.page.press("Escape")
        self.assertEqual(self.focus(), "tiles")
        self.page.press("End")
        self.assertRegex(self.active("tiles"), r"^service-\d+\.\d+, \w+, on node-199$")
        self.page.press("Enter")
        eventually("a log is shown", lambda: self.count(".log .line") > 0)
        eventually("its end", lambda: "line 999" in self.page.run("[...document.querySelectorAll('.log .line')].map((line) => line.textContent)"))
        self.shoot("log")
        self.page.press("Escape")
        self.goTo("service-rows")
        self.page.press("ArrowDown", "ArrowDown", "Enter")
        eventually("the rollout is shown", lambda: self.page.run("document.querySelector('#details progress')?.value") == 12)
        self.shoot("service")
        self.page.press("Escape")
        self.assertEqual(self.focus(), "service-rows")
        self.assertEqual(self.page.complaints(), [])

    def test_a_filter_leaves_what_matches(self):
        self.opened()
        self.goTo("filter")
        self.page.call("Input.insertText", text="service-7 failed")
        eventually("others are gone", lambda: set(self.page.run("[...document.querySelectorAll('.tile[id]')].map((tile) => tile.textContent)")) == {"×"})
        names = self.page.run("[...document.querySelectorAll('.service b')].map((name) => name.textContent)")
        self.assertTrue(names and all(name.startswith("service-7") for name in names), names)

    def test_what_is_read_aloud_has_names(self):
        self.opened()
        nodes = [node for node in self.page.call("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
        named = {}
        for node in nodes:
            named.setdefault(node["role"]["value"], set()).add(node.get("name", {}).get("value", ""))
        for role in ("grid", "region", "searchbox", "checkbox", "heading"):
            self.assertTrue(named.get(role) and "" not in named[role], (role, named.get(role)))
        self.assertEqual(named["grid"], {"Nodes", "Services"})

    def test_it_can_be_read_in_light_and_dark_and_fits(self):
        for name, width, height, dark in (("light-wide", 1600, 950, False), ("dark-wide", 1600, 950, True),
                                          ("light-narrow", 400, 850, False), ("dark-narrow", 400, 850, True)):
            with self.subTest(name):
                self.opened(width, height, dark)
                self.shoot(name)
                self.assertLessEqual(self.page.run("document.documentElement.scrollWidth"), width)
                colours = self.page.run("(() => { const all = getComputedStyle(document.documentElement); const found = {};"
                                        "for (const name of ['ground', 'panel', 'text', 'quiet', 'accent', 'good', 'moving', 'waiting', 'bad', 'over'])"
                                        "found[name] = all.getPropertyValue('--' + name).trim(); return found; })()")
                self.assertEqual(luminance(colours["panel"]) < 0.2, dark)
                for text in ("text", "quiet", "bad", "waiting"):  # as WCAG has it: 4.5 for text, 3 for signs
                    self.assertGreaterEqual(contrast(colours[text], colours["panel"]), 4.5, text)
                for sign in ("good", "moving", "over", "accent"):
                    self.assertGreaterEqual(contrast(colours[sign], colours["panel"]), 3, sign)


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


if __name__ == "__main__":
    if browser.PROGRAM is None:
        sys.exit(77)
    unittest.main(verbosity=2)
