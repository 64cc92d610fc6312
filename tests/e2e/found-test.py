#!/usr/bin/env python3
"""The end of the article that orch was founded on: consul in a container, what runs registered there, and nginx that follows it, with nothing but
plugins in the place of registrator and consul-template.

usage: found-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from several_managers import defaultManifest  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
CONSUL = "/usr/bin/consul"
# As the article has it, but that nginx wants a semicolon there.
TEMPLATE = """upstream httpd {
  {{range service "httpd"}}server {{.Address}}:{{.Port}};
  {{end}}
}
server {
  listen 8000;
  location / { proxy_pass http://httpd; }
}
"""
# How long who goes by consul has to notice: a template, a check and a reload on a busy machine.
NOTICE_MS = 4000
# A task runs from when its server answers.
HEALTH = ("--health-cmd", "wget -q -O /dev/null http://127.0.0.1/", "--health-interval", "1s", "--health-start-period", "5m",
          "--health-start-interval", "100ms")
MANIFEST = f"""{defaultManifest()}
[[plugin]]
id = "integration.registrator"
config = {{ registry = "consul://127.0.0.1:8500", address = "127.0.0.1", noticeMs = {NOTICE_MS} }}

[[plugin]]
id = "integration.template"

[plugin.config]
consul = ["http://127.0.0.1:8500"]

[[plugin.config.templates]]
source = "/etc/nginx/httpd.ctmpl"
destination = "/etc/nginx/conf.d/httpd.conf"
check = ["nginx", "-t", "-q"]
command = ["nginx", "-s", "reload"]
"""


class Found(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-found-{os.getpid()}", PROGRAMS, own=("/etc", "/var/lib", "/var/log"))
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        cls.host, cls.folder = cls.node.host, cls.node.host.folder
        cls.node.config = f"{cls.folder}/orchd.toml"
        with open(cls.node.config, "w") as file:
            file.write(MANIFEST)
        cls.write("/etc/nginx/httpd.ctmpl", TEMPLATE)
        cls.write("/etc/nginx/conf.d/seen.conf", "log_format seen '$status $upstream_addr';\naccess_log /var/log/nginx/seen.log seen;\n")
        cls.host.run("mkdir", "-p", "/var/log/nginx", check=True)
        cls.host.spawn(["nginx", "-g", "daemon off;"], f"{cls.folder}/nginx.log")
        cls.node.start()
        cls.node.orch("init")
        cls.makeImages()

    @classmethod
    def write(cls, path, text):
        cls.host.run("sh", "-c", 'cat >"$0"', path, check=True, input=text)

    @classmethod
    def makeImages(cls):
        """httpd:2.4, which answers on port 80, and consul:1.8 with what this machine has of it."""
        tar = f"{cls.folder}/image.tar"
        subprocess.run([f"{single.REPOSITORY}/tests/testbed/make-image", "1", tar], check=True)
        cls.node.orch("image", "import", tar, "--name", "httpd:2.4")
        libraries = {word for word in subprocess.run(["ldd", CONSUL], check=True, text=True, capture_output=True).stdout.split()
                     if word.startswith("/")}
        with tarfile.open(tar, "a") as archive:
            for path in sorted(libraries | {CONSUL}):
                archive.add(os.path.realpath(path), arcname=path.lstrip("/"))
            hosts = tarfile.TarInfo("etc/nsswitch.conf")
            archive.addfile(hosts, io.BytesIO())
        cls.node.orch("image", "import", tar, "--name", "consul:1.8")
        os.remove(tar)

    def create(self, name, *options, image="httpd:2.4", command=("/bin/web",)):
        self.node.orch("service", "create", "--verify", "0s", "--name", name, *options, image, *command)

    def get(self, path):
        done = self.host.run("curl", "-sS", "--fail", f"http://127.0.0.1:8500{path}")
        return done.stdout if done.returncode == 0 else ""

    def registered(self):
        found = self.get("/v1/catalog/service/httpd")
        return sorted((row["ServiceAddress"], row["ServicePort"]) for row in json.loads(found)) if found else None

    def answering(self):
        return len(self.node.ask(8000, 8)["answers"])

    def test_steps_16_to_18(self):
        for step in (self.consulInAContainer, self.whatRunsIsRegistered, self.nginxFollows, self.nothingIsLost, self.consulBeginsAnew):
            with self.subTest(step.__name__):
                step()

    def consulInAContainer(self):
        self.create("consul", "-p", "mode=host,published=8500,target=8500", "--restart-condition", "any", image="consul:1.8",
                    command=(CONSUL, "agent", "-dev", "-ui", "-client=0.0.0.0", "-hcl=disable_update_check = true"))
        eventually("its page is there", lambda: "<html" in self.get("/ui/"))

    def whatRunsIsRegistered(self):
        """By themselves, under the name of their image."""
        for number in (1, 2):
            self.create(f"httpd-{number}", "-p", f"{7069 + number}:80", *HEALTH)
        eventually("both are in the catalog", lambda: self.registered() == [("127.0.0.1", 7070), ("127.0.0.1", 7071)])

    def nginxFollows(self):
        eventually("both answer through nginx", lambda: self.answering() == 2)
        self.node.orch("service", "scale", "httpd-2=0")
        self.assertEqual(self.registered(), [("127.0.0.1", 7070)])
        eventually("one answers", lambda: self.answering() == 1)

    def nothingIsLost(self):
        """Neither by starts nor by stops, while somebody asks; and nginx asks nobody who has stopped."""
        self.host.run("truncate", "-s", "0", "/var/log/nginx/seen.log", check=True)
        with self.node.asking(8000) as asking:
            self.node.orch("service", "scale", "httpd-2=1")
            eventually("both answer", lambda: self.answering() == 2)
            self.node.orch("service", "scale", "httpd-1=0")
            eventually("one answers", lambda: self.answering() == 1)
            self.node.orch("service", "scale", "httpd-1=1")
            eventually("both answer", lambda: self.answering() == 2)
            seen = asking.stop()
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}), seen)
        led = [line.split() for line in self.host.run("cat", "/var/log/nginx/seen.log", check=True).stdout.splitlines()]
        self.assertEqual({(words[0], len(words)) for words in led}, {("200", 2)})
        self.assertEqual({words[1] for words in led}, {"127.0.0.1:7070", "127.0.0.1:7071"})

    def consulBeginsAnew(self):
        """Its container ends, and is started again; it knows nothing any more, and is told."""
        pid, = self.node.pids("consul").values()
        self.node.kill(pid)
        eventually("another one runs", lambda: list(self.node.pids("consul").values()) not in ([], [pid]))
        eventually("both are in the catalog", lambda: self.registered() == [("127.0.0.1", 7070), ("127.0.0.1", 7071)])
        eventually("both answer", lambda: self.answering() == 2)


if __name__ == "__main__":
    if shutil.which("consul") is None:
        print("consul is not installed: its tests are skipped (scripts/setup)")
        sys.exit(77)
    unittest.main(verbosity=2)
