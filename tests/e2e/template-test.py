#!/usr/bin/env python3
"""Files that follow a real consul: services come and go, orchd and consul die, and a bad file never takes the place of a good one.

usage: template-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
# A port that the balancer, of which there is none here, would refuse.
REFUSED = 9999
TEMPLATE = """upstream httpd {
{{- range service "httpd" }}
  server {{ .Address }}:{{ .Port }};
{{- else }}
  server 127.0.0.1:65535;
{{- end }}
}
"""


def upstream(*servers):
    return "upstream httpd {\n" + "".join(f"  server {server};\n" for server in servers or ["127.0.0.1:65535"]) + "}\n"


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-template-{os.getpid()}", PROGRAMS)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        cls.folder = cls.node.host.folder
        cls.node.config = cls.path("orchd.toml")
        cls.write("httpd.ctmpl", TEMPLATE)
        cls.write("orchd.toml", f"""
[[plugin]]
id = "integration.template"

[plugin.config]
consul = ["http://127.0.0.1:8500"]

[[plugin.config.templates]]
source = "{cls.path("httpd.ctmpl")}"
destination = "{cls.path("conf.d/httpd.conf")}"
mode = "0640"
check = ["sh", "-c", "! grep {REFUSED} %s"]
command = ["sh", "-c", "echo reloaded >> {cls.path("reloads")}"]
""")
        cls.startConsul()
        cls.node.start()

    @classmethod
    def path(cls, name):
        return f"{cls.folder}/{name}"

    @classmethod
    def write(cls, name, text):
        with open(cls.path(name), "w") as file:
            file.write(text)

    @classmethod
    def startConsul(cls):
        cls.consul, _ = cls.node.host.spawn(
            ["consul", "agent", "-server", "-bootstrap-expect=1", f"-data-dir={cls.path('consul')}", "-bind=127.0.0.1", "-log-level=warn",
             "-hcl=disable_update_check = true performance { raft_multiplier = 1 }"], cls.path("consul.log"))
        eventually("consul has a leader",
                   lambda: cls.node.host.run("consul", "kv", "get", "-keys", "none").returncode == 0)

    def register(self, name, port):
        self.node.host.run("consul", "services", "register", "-name=httpd", f"-id={name}", "-address=10.0.0.1", f"-port={port}",
                           check=True)
        self.addCleanup(self.node.host.run, "consul", "services", "deregister", f"-id={name}")

    def deregister(self, name):
        self.node.host.run("consul", "services", "deregister", f"-id={name}", check=True)

    def file(self, name="conf.d/httpd.conf"):
        try:
            with open(self.path(name)) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def awaitServers(self, *servers):
        eventually(f"the file has {servers}", lambda: self.file() == upstream(*servers))

    def state(self):
        return self.node.orch("template", "ls", "--format", "{{.State}} {{.Reason}}").stdout.strip()

    def test_the_file_follows_the_service(self):
        self.awaitServers()
        self.assertEqual(os.stat(self.path("conf.d/httpd.conf")).st_mode & 0o7777, 0o640)
        self.register("one", 7070)
        self.awaitServers("10.0.0.1:7070")
        self.register("two", 7071)
        self.awaitServers("10.0.0.1:7070", "10.0.0.1:7071")
        self.deregister("one")
        self.awaitServers("10.0.0.1:7071")
        eventually("it is told to be well", lambda: self.state() == "Rendered")
        rendered = self.node.orch("template", "render", self.path("httpd.ctmpl")).stdout
        self.assertEqual(rendered, upstream("10.0.0.1:7071"))

    def test_a_bad_file_does_not_take_the_place_of_a_good_one(self):
        self.register("good", 7070)
        self.awaitServers("10.0.0.1:7070")
        self.register("bad", REFUSED)
        eventually("it is told to be bad", lambda: self.state().startswith("Failed the check 'sh' for"))
        self.assertEqual(self.file(), upstream("10.0.0.1:7070"))
        self.deregister("bad")
        eventually("it is told to be well", lambda: self.state() == "Rendered")
        self.assertEqual(self.file(), upstream("10.0.0.1:7070"))
        self.write("httpd.ctmpl", "\n{{range service}}")
        eventually("the template is told to be bad",
                   lambda: self.state() == f"Failed {self.path('httpd.ctmpl')}:2:1: {{{{end}}}} is missing")
        self.assertEqual(self.file(), upstream("10.0.0.1:7070"))
        self.write("httpd.ctmpl", TEMPLATE)
        eventually("it is told to be well", lambda: self.state() == "Rendered")

    def test_what_changes_while_orchd_is_away_is_seen_afterwards(self):
        self.register("one", 7070)
        self.awaitServers("10.0.0.1:7070")
        self.node.crash()
        reloads = self.file("reloads")
        self.register("two", 7071)
        self.node.start()
        self.awaitServers("10.0.0.1:7070", "10.0.0.1:7071")
        eventually("the balancer was told", lambda: self.file("reloads") == reloads + "reloaded\n")

    def test_without_consul_the_file_stays(self):
        self.register("one", 7070)
        self.awaitServers("10.0.0.1:7070")
        self.node.kill(self.consul)
        eventually("consul is gone", lambda: not self.node.runs(self.consul))
        eventually("it is missed", lambda: "does not answer" in self.state())
        self.assertEqual(self.file(), upstream("10.0.0.1:7070"))
        self.startConsul()
        self.register("two", 7071)
        eventually("it is seen again", lambda: "10.0.0.1:7071" in self.file() and self.state() == "Rendered")


if __name__ == "__main__":
    if shutil.which("consul") is None:
        print("consul is not installed: its tests are skipped (scripts/setup)")
        sys.exit(77)
    unittest.main(verbosity=2)
