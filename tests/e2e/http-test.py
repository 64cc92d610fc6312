#!/usr/bin/env python3
"""api.http, asked by curl: what it says is what orch says, on a manager and on a worker, what happens is told at once, and nobody
reads who may not.

usage: http-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import certificates  # noqa: E402
import cluster  # noqa: E402
import single  # noqa: E402
from single import PATIENCE, eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
BASE = "http://127.0.0.1:8377"
READ = "a-token-that-reads-all"
METRICS = "a-token-of-prometheus"
CHANGE = "a-token-that-may-do-more"


PLUGIN = """
[[plugin]]
id = "api.http"
isolation = "process"
"""


def withPlugin(more=""):
    with open(os.path.join(single.REPOSITORY, "configs", "single.toml")) as file:
        return file.read() + PLUGIN + more


class Asking:
    """Asks `node`, or another one."""

    def curl(self, path, *options, base=BASE, node=None):
        """(status, headers in small letters, body)"""
        done = (node or self.node).host.run("curl", "-sS", "-i", "--max-time", str(PATIENCE), *options, base + path, check=True)
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        lines = head.split("\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, body

    def get(self, path, **more):
        status, headers, body = self.curl(path, **more)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"), body)
        return json.loads(body)

    def refused(self, path, *options, **more):
        status, _, body = self.curl(path, *options, **more)
        return status, json.loads(body)["error"]

    def metrics(self, *options, path="/metrics", **more):
        status, headers, body = self.curl(path, *options, **more)
        self.assertEqual(status, 200, body)
        self.assertTrue(headers["content-type"].startswith("text/plain; version=0.0.4"))
        return body


class Http(Asking, unittest.TestCase):
    """The tests share a host: api.http runs in a process of its own, and once more, in orchd, with TLS and tokens."""

    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-http-{os.getpid()}", PROGRAMS)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        folder = cls.node.host.folder
        cls.authority = certificates.Authority.make(folder, "authority")
        certificate, key = cls.authority.sign(folder, "server", "web", "n1", names="IP:127.0.0.1")
        tokens = os.path.join(folder, "tokens")
        with open(os.open(tokens, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(f"read {READ}\nmetrics {METRICS}\nchange {CHANGE}\n")
        cls.node.config = os.path.join(folder, "orchd.toml")
        with open(cls.node.config, "w") as file:
            file.write(withPlugin(f"""
[[plugin]]
id = "api.http#secured"
isolation = "kernel"
config = {{ listen = "127.0.0.1:8378", certificateFile = "{certificate}", keyFile = "{key}", tokenFile = "{tokens}" }}
"""))
        cls.node.start()
        cls.node.orch("init")
        cls.node.makeImages(1)
        cls.node.orch("service", "create", "--name", "web", "--replicas", "2", "web:1", "/bin/web")
        cls.node.orch("service", "create", "--detach", "--name", "nowhere", "--constraint", "node.labels.zone==none", "web:1", "/bin/web")

    def test_objects_are_what_orch_prints(self):
        # What changes by itself between two questions is looked at apart.
        for path, command in (("/v1/services", ("service", "ls")),
                              ("/v1/services/web", ("service", "inspect", "web")),
                              ("/v1/nodes", ("node", "ls")), ("/v1/networks/bridge", ("network", "inspect", "bridge")),
                              ("/v1/volumes", ("volume", "ls"))):
            printed = self.node.json(*command)
            found = self.get(path)
            self.assertEqual([found] if isinstance(found, dict) else found, printed, path)
        tasks = self.get("/v1/tasks?service=web&desired=running")
        self.assertEqual(sorted(tasks, key=lambda task: task["slot"]), self.node.json("service", "ps", "web"))
        self.assertEqual(self.get(f"/v1/tasks/{tasks[0]['meta']['id']}"), tasks[0])
        self.assertEqual({plugin["id"] for plugin in self.get("/v1/plugins")},
                         {plugin["id"] for plugin in self.node.json("plugin", "ls")})
        self.assertEqual(self.get("/v1/status")["leader"], self.get("/v1/nodes")[0]["description"]["hostname"])
        rows = [row for row in self.get("/v1/tasks?rows=1") if row["service"] in ("web", "nowhere")]
        self.assertEqual(sorted((row["service"], row["state"]) for row in rows),
                         [("nowhere", "pending"), ("web", "running"), ("web", "running")])
        self.assertEqual(self.get("/v1/services/web/progress")["verdict"], "converged")

    def test_why_a_task_waits_is_said(self):
        task = self.get("/v1/tasks?service=nowhere")[0]
        why = self.get(f"/v1/tasks/{task['meta']['id']}/why")
        self.assertIn("node.labels.zone==none", " ".join(why["nodes"][0]["obstacles"]))

    def test_metrics_are_of_the_cluster_and_of_the_node(self):
        # Other tests' tasks may be on their way out.
        eventually("two tasks run", lambda: '\norch_tasks{state="running"} 2\n' in self.metrics())
        text = self.metrics()
        for line in ('orch_nodes{state="ready"} 1', 'orch_service_tasks_running{service="web"} 2',
                     'orch_service_tasks_desired{service="nowhere"} 1', 'orch_tasks{state="running"} 2',
                     'orch_tasks{state="pending"} 1', "orch_cluster_up 1", "orch_cluster_has_leader 1",
                     'orch_plugin_up{plugin="control.manager"} 1', 'orch_store_up{store="store.local"} 1'):
            self.assertIn(f"\n{line}\n", text)
        calls = float(re.search(r'^orch_plugin_calls_total{plugin="control.manager"} (\d+)$', text, re.M)[1])
        self.assertGreater(calls, 0)
        self.checkByPromtool(text)

    def checkByPromtool(self, text):
        if shutil.which("promtool"):
            done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_metrics_tell_what_tasks_use(self):
        text = self.metrics(path="/metrics/usage")
        for name in ("cpu_seconds_total", "memory_bytes", "network_receive_bytes_total", "processes"):
            found = re.findall(rf'^orch_task_{name}{{task="(web\.\d)",node="[^"]+",id="[a-z0-9]{{25}}"}} [0-9.e+-]+$', text, re.M)
            self.assertEqual(sorted(found), ["web.1", "web.2"], name)
        self.assertRegex(text, r'(?m)^orch_node_memory_used_bytes{node="[^"]+",id="[a-z0-9]{25}"} [1-9]')
        self.checkByPromtool(text)

    def test_what_is_wrong_is_told_in_one_line(self):
        self.assertEqual(self.refused("/v1/services/wbe"), (404, "no service 'wbe'; did you mean 'web'?"))
        self.assertEqual(self.refused("/v1/tasks?desired=never"),
                         (400, "the desired state must be running or shutdown, not 'never'"))
        for path in ("/v2", "/v1", "/v1/cats", "/v1/tasks/a/b/c", "/metrics/x"):
            status, why = self.refused(path)
            self.assertEqual((status, why.startswith(f"no '{path}'; ")), (404, True), why)
        status, headers, _ = self.curl("/v1/services", "-X", "DELETE")
        self.assertEqual((status, headers["allow"]), (405, "get, head, post"))
        self.assertEqual(self.refused("/v1/services/web/scale?replicas=9", "-X", "POST"),
                         (403, "without a tokenFile in api.http's settings nothing can be changed"))
        self.assertEqual(self.refused("/v1/services", "-H", f"X: {'x' * 40000}")[0], 431)
        status, why = self.refused("/v1/nodes", "-H", "Host: rebound.example.com")
        self.assertEqual((status, why), (421, "the name 'rebound.example.com' is not among 'hosts' of api.http's settings"))
        self.assertEqual(self.refused("/v1/services/wbe/logs")[0], 404)

    def test_events_come_as_they_happen_and_again_from_where_they_were_seen(self):
        command = self.node.host.command("curl", "-sSN", f"{BASE}/v1/events?topics=service.*")
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as following:
            self.addCleanup(following.kill)
            self.awaitStreams(1)
            self.node.orch("service", "create", "--verify", "0s", "--detach", "--name", "told", "--replicas", "0", "web:1", "/bin/web")
            last = self.line(following, "id: ")
            event = json.loads(self.line(following, "data: "))
            self.assertEqual(event["topic"], "service.created")
            following.kill()
        self.node.orch("service", "rm", "told")
        again = self.node.host.command("curl", "-sSN", "-H", f"Last-Event-ID: {last}", f"{BASE}/v1/events?topics=service.*")
        with subprocess.Popen(again, stdout=subprocess.PIPE, bufsize=0) as following:
            self.addCleanup(following.kill)
            self.assertEqual(json.loads(self.line(following, "data: "))["topic"], "service.removed")
            following.kill()
        self.awaitStreams(0)

    def test_a_log_is_followed(self):
        lines = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done"
        self.node.orch("service", "create", "--verify", "0s", "--name", "writes", "web:1", "sh", "-c", lines)
        self.addCleanup(self.node.orch, "service", "rm", "writes")
        status, headers, body = self.curl("/v1/services/writes/logs?tail=1")
        self.assertEqual((status, headers["content-type"]), (200, "application/jsonl"))
        self.assertRegex(json.loads(body)["text"], r"^line \d+$")
        command = self.node.host.command("curl", "-sSN", f"{BASE}/v1/tasks/writes.1/logs?follow=1")
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as following:
            self.addCleanup(following.kill)
            for number in range(1, 8):
                self.assertEqual(json.loads(self.line(following, "{", whole=True))["text"], f"line {number}")
            following.kill()

    def test_with_tokens_and_tls_each_reads_what_it_may(self):
        base = "https://127.0.0.1:8378"
        trusting = ("--cacert", self.authority.certificate)
        token = lambda value: (*trusting, "-H", f"Authorization: Bearer {value}")
        status, headers, _ = self.curl("/v1/nodes", *trusting, base=base)
        self.assertEqual((status, headers["www-authenticate"]), (401, 'bearer realm="orch"'))
        self.assertEqual(self.refused("/metrics", *token("a-token-of-nobody-at-all"), base=base)[0], 401)
        self.assertEqual(self.curl("/v1/nodes", *token(READ), base=base)[0], 200)
        self.assertIn("\norch_cluster_up 1\n", self.metrics(*token(METRICS), base=base))
        self.assertEqual(self.refused("/v1/nodes", *token(METRICS), base=base), (403, "this token is for metrics only"))
        self.assertEqual(self.curl("/", *trusting, base=base)[0], 200)
        scale = "/v1/services/scaled/scale?replicas=2"
        self.node.orch("service", "create", "--detach", "--name", "scaled", "--replicas", "0", "web:1", "/bin/web")
        self.addCleanup(self.node.orch, "service", "rm", "scaled")
        self.assertEqual(self.refused(scale, "-X", "POST", *token(READ), base=base)[0], 403)
        status, _, body = self.curl(scale, "-X", "POST", "-H", "Idempotency-Key: one", *token(CHANGE), base=base)
        self.assertEqual((status, json.loads(body)["service"]["spec"]["mode"]["replicated"]["replicas"]), (200, 2))
        self.node.orch("service", "scale", "--detach", "scaled=0")
        self.assertEqual(self.curl(scale, "-X", "POST", "-H", "Idempotency-Key: one", *token(CHANGE), base=base)[0], 200)
        self.assertEqual(self.node.json("service", "inspect", "scaled")[0]["spec"]["mode"]["replicated"]["replicas"], 0)
        plain = self.node.host.run("curl", "-sS", "http://127.0.0.1:8378/")
        self.assertNotEqual(plain.returncode, 0)
        self.assertNotIn(READ, self.node.orch("plugin", "ls", "--json").stdout)

    def test_the_page_needs_nothing_from_elsewhere(self):
        status, headers, page = self.curl("/")
        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertTrue(headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';"))
        found = re.findall(r'(?:src|href)="(/[^"]*)"', page)
        scripts = [path for path in found if path.endswith(".js")]
        while scripts:
            status, headers, text = self.curl(scripts.pop())
            self.assertEqual((status, headers["content-type"]), (200, "text/javascript; charset=utf-8"))
            imports = [f"/page/{name}" for name in re.findall(r"from '\./([\w-]+\.js)'", text)]
            scripts += [path for path in imports if path not in found]
            found += imports
            self.assertNotRegex(text, r"https?://")
        self.assertGreater(len(found), 5)
        self.assertEqual(self.refused("/page/../config.capnp", "--path-as-is")[0], 404)

    @unittest.skipUnless(shutil.which("chromium"), "there is no chromium")
    def test_the_page_shows_what_there_is(self):
        network = f"/proc/{self.node.host.pid()}/ns/net"
        with tempfile.TemporaryDirectory(prefix=f"e2e-http-{os.getpid()}-") as profile:
            done = subprocess.run(["nsenter", f"--net={network}", "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                                   f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom", f"{BASE}/"],
                                  text=True, capture_output=True, timeout=PATIENCE)
        page = done.stdout
        self.assertIn("1 of 1 nodes ready", page, done.stderr)
        self.assertRegex(page, r'aria-label="web\.2, running, on [^"]+"')
        self.assertRegex(page, 'aria-label="nowhere.1, pending, has no node"')
        self.assertRegex(page, r'<b role="gridcell" title="web">web</b>')
        self.assertIn("<b>service.created</b>", page)
        self.assertRegex(page, r'<p id="trouble" role="alert" hidden=""></p>')

    # ---- helpers ----

    def awaitStreams(self, count):
        eventually(f"{count} streams are open",
                   lambda: f"\norch_http_streams {count}\n" in self.metrics())

    def line(self, process, beginning, whole=False):
        """The rest of the next line that begins so."""
        while True:
            self.assertTrue(select.select([process.stdout], [], [], PATIENCE)[0], f"no '{beginning}' comes")
            text = process.stdout.readline().decode()  # unbuffered: what select does not see is not there
            self.assertNotEqual(text, "", f"it ended without '{beginning}'")
            if text.startswith(beginning):
                return (text if whole else text[len(beginning):]).strip()


class Several(Asking, cluster.MemberTest):
    """n1 manages; n2 and n3 are workers."""
    programs = PROGRAMS

    @classmethod
    def setUpClass(cls):
        cls.config = os.path.join("/var/tmp", f"e2e-http-{os.getpid()}.toml")
        cls.addClassCleanup(lambda: os.path.exists(cls.config) and os.remove(cls.config))
        with open(cls.config, "w") as file:
            file.write(withPlugin())
        super().setUpClass()
        cls.node = cls.n1

    def test_a_manager_knows_all_and_a_worker_knows_its_own(self):
        self.create("--mode", "global")
        eventually("it runs everywhere", lambda: self.spread() == {"n1": 1, "n2": 1, "n3": 1})
        text = self.metrics()
        for line in ('orch_nodes{state="ready"} 3', 'orch_tasks{state="running"} 3', "orch_cluster_up 1"):
            self.assertIn(f"\n{line}\n", text)
        text = self.metrics(node=self.n2)
        self.assertIn("\norch_cluster_up 0\n", text)
        self.assertIn('\norch_plugin_up{plugin="control.agent"} 1\n', text)
        self.assertIn('\norch_tasks{state="running"} 1\n', text)
        self.assertNotIn("orch_nodes{", text)
        status, why = self.refused("/v1/services", node=self.n2)
        self.assertGreaterEqual(status, 400)
        self.assertIn("manager", why)
        own = self.get("/v1/tasks", node=self.n2)
        self.assertEqual([self.hostOf(task) for task in own], ["n2"])
        self.assertEqual(self.curl(f"/v1/tasks/{own[0]['meta']['id']}/logs")[0], 200)
        self.assertEqual(self.get("/v1/nodes/self", node=self.n2)["description"]["hostname"], "n2")

    def test_a_lost_host_and_a_killed_plugin_are_seen(self):
        self.n3.poweroff()
        self.addCleanup(self.n3.start)
        eventually("n3 is down", lambda: '\norch_nodes{state="down"} 1\n' in self.metrics())
        self.assertRegex(self.metrics(), r'\norch_node_up{node="n3",id="[a-z0-9]{25}"} 0\n')
        pid = {plugin["id"]: plugin["pid"] for plugin in self.get("/v1/plugins")}["api.http"]
        self.n1.host.run("kill", "-9", str(pid), check=True)
        again = '\norch_plugin_restarts_total{plugin="api.http"} 1\n'
        eventually("it answers again", lambda: again in self.n1.host.run("curl", "-s", f"{BASE}/metrics").stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
