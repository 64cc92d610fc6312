#!/usr/bin/env python3
"""Files and balancers that follow the tasks of a cluster, without any consul: a real nginx and a real haproxy lose no request.

usage: balancer-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
from several_managers import defaultManifest  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
BALANCERS = os.path.join(single.REPOSITORY, "configs", "balancers")
UPSTREAM = """{{ range service "web" }}server {{ .Address }}:80;
{{ end }}"""
# A task runs from when its server answers.
HEALTH = ("--health-cmd", "wget -q -O /dev/null http://127.0.0.1/", "--health-interval", "1s", "--health-start-period", "5m",
          "--health-start-interval", "100ms")
STUBBORN = ("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done")


class OneHost(unittest.TestCase):
    """With a cluster of one, whose orchd has `settings` besides the manifest that ships."""
    own = ("/var/lib",)

    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"e2e-balancer-{cls.__name__.lower()}-{os.getpid()}", PROGRAMS, own=cls.own)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        cls.folder = cls.node.host.folder
        cls.node.config = f"{cls.folder}/orchd.toml"
        with open(cls.node.config, "w") as file:
            file.write(f"{defaultManifest()}\n{cls.settings()}")
        cls.prepare()
        cls.node.start()
        cls.node.orch("init")
        cls.node.makeImages(1, 2)

    @classmethod
    def prepare(cls):
        pass

    def tearDown(self):
        for row in self.node.json("service", "ls"):
            self.node.orch("service", "rm", row["name"])

    def create(self, *options, command=("/bin/web",)):
        self.node.orch("service", "create", "--name", "web", *options, "web:1", *command)


class Files(OneHost):
    @classmethod
    def settings(cls):
        return f"""
[[plugin]]
id = "integration.template"
isolation = "process"

[[plugin.config.templates]]
source = "{cls.folder}/web.ctmpl"
destination = "{cls.folder}/web.conf"
command = ["sh", "-c", "echo told >> {cls.folder}/told"]
"""

    @classmethod
    def prepare(cls):
        with open(f"{cls.folder}/web.ctmpl", "w") as file:
            file.write(UPSTREAM)

    def file(self):
        try:
            with open(f"{self.folder}/web.conf") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return None

    def servers(self):
        tasks = self.node.running("web").values()
        return sorted(f"server {task['status']['addresses'][0].split('/')[0]}:80;" for task in tasks)

    def agrees(self, count):
        eventually(f"the file has the {count} that run", lambda: len(self.servers()) == count and sorted(self.file()) == self.servers())

    def test_the_file_has_what_runs(self):
        eventually("there is a file", lambda: self.file() == [])
        self.create("--verify", "0s", "--replicas", "2")
        self.agrees(2)
        self.node.orch("service", "scale", "--verify", "0s", "web=3")
        self.agrees(3)
        # orchd begins anew, and a task has ended by then.
        ended = self.node.pids("web")[1]
        self.node.crash()
        self.node.kill(ended)
        self.node.start()
        eventually("another one runs", lambda: self.node.pids("web").get(1) not in (None, ended))
        self.agrees(3)
        rendered = self.node.orch("template", "render", f"{self.folder}/web.ctmpl").stdout
        self.assertEqual(sorted(rendered.splitlines()), self.servers())
        self.node.orch("service", "rm", "web")
        eventually("the file is empty", lambda: self.file() == [])

    def test_a_task_is_out_before_it_is_stopped(self):
        self.create("--verify", "0s", "--stop-grace-period", "5m", command=STUBBORN)
        self.agrees(1)
        pid, = self.node.pids("web").values()
        self.node.orch("service", "scale", "--detach", "web=0")
        eventually("it is out of the file", lambda: self.file() == [])
        self.assertTrue(self.node.runs(pid))
        self.node.kill(pid)

    def test_a_task_is_in_when_it_is_healthy(self):
        self.create("--detach", "--health-cmd", "test -e /tmp/well", "--health-interval", "100ms", "--health-start-period", "5m")
        row = eventually("it has been started", lambda: next(iter(self.node.webServers()), None))
        self.assertEqual(self.file(), [])
        self.node.host.run("touch", f"/proc/{row}/root/tmp/well", check=True)
        self.agrees(1)


class Balancer(OneHost):
    """One of configs/balancers, as its file says; each task has a port of its own."""
    own = ("/etc", "/var/lib", "/var/log")

    @classmethod
    def settings(cls):
        with open(f"{BALANCERS}/{cls.program}.toml") as file:
            return file.read()

    @classmethod
    def prepare(cls):
        cls.host = cls.node.host
        cls.host.run("mkdir", "-p", "/etc/orch", check=True)
        cls.host.run("cp", f"{BALANCERS}/{cls.program}.ctmpl", "/etc/orch/", check=True)
        cls.startBalancer()

    def followsAll(self):
        """Starts, stops, two updates and a crash of a task, while somebody asks."""
        self.create("--replicas", "3", "-p", "mode=host,target=80", "--label", "balance.host=127.0.0.1", *HEALTH,
                    "--update-monitor", "100ms")
        eventually("three answer", lambda: len(self.node.ask(80, 9)["answers"]) == 3)
        with self.node.asking(80) as asking:
            for order, version in (("start-first", 2), ("stop-first", 1)):
                self.node.orch("service", "update", "--update-order", order, "--image", f"web:{version}", "web")
            self.node.orch("service", "scale", "web=5")
            self.node.orch("service", "scale", "web=2")
            eventually("two answer", lambda: len(self.node.ask(80, 12)["answers"]) == 2)
            seen = asking.stop()
        self.assertEqual((seen["failed"], seen["errors"]), (0, {}), seen)
        self.assertGreater(len(seen["answers"]), 8)  # three times three, and two more


class Nginx(Balancer):
    program = "nginx"

    @classmethod
    def startBalancer(cls):
        # Whom each request was led to. More than one: the first did not answer.
        cls.host.run("sh", "-c", "cat >/etc/nginx/conf.d/seen.conf", check=True,
                     input="log_format seen '$status $upstream_addr';\naccess_log /var/log/nginx/seen.log seen;\n")
        cls.host.run("mkdir", "-p", "/var/log/nginx")
        cls.host.spawn(["nginx", "-g", "daemon off;"], f"{cls.folder}/nginx.log")
        eventually("nginx listens", lambda: cls.host.run("curl", "-s", "http://127.0.0.1/").returncode == 0)

    def test_no_request_is_lost_and_none_goes_to_a_task_that_has_stopped(self):
        self.followsAll()
        lines = self.host.run("cat", "/var/log/nginx/seen.log", check=True).stdout.splitlines()
        led = [line.split() for line in lines if not line.endswith("-")]
        self.assertGreater(len(led), 100)
        self.assertEqual({(words[0], len(words)) for words in led}, {("200", 2)})
        self.assertNotIn("upstream", self.host.run("cat", "/var/log/nginx/error.log").stdout)


class Haproxy(Balancer):
    program = "haproxy"

    @classmethod
    def startBalancer(cls):
        cls.host.run("mkdir", "-p", "/run/haproxy")
        cls.host.run("sh", "-c", "cat >/etc/haproxy/haproxy.cfg", check=True,
                     input="defaults\n  timeout client 1s\n  timeout server 1s\n  timeout connect 1s\nlisten none\n  mode http\n  bind :81\n")
        cls.host.spawn(["haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/haproxy.pid"], f"{cls.folder}/haproxy.log")
        eventually("haproxy listens", lambda: cls.host.run("curl", "-s", "http://127.0.0.1:81/").returncode == 0)

    def test_no_request_is_lost(self):
        self.followsAll()


class Cluster(cluster.MemberTest):
    """The file of a manager has the tasks of all hosts, and a worker's template says who knows of them."""
    programs = PROGRAMS
    place = "/run/web.conf"

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix=f"e2e-balancer-{os.getpid()}-")
        cls.addClassCleanup(shutil.rmtree, folder)
        with open(f"{folder}/web.ctmpl", "w") as file:
            file.write(UPSTREAM.replace(":80;", ":{{ .Port }};"))
        cls.config = f"{folder}/orchd.toml"
        with open(cls.config, "w") as file:
            file.write(f'''{defaultManifest()}
[[plugin]]
id = "integration.template"

[[plugin.config.templates]]
source = "{folder}/web.ctmpl"
destination = "{cls.place}"
''')
        super().setUpClass()

    def file(self):
        return sorted(self.n1.host.run("cat", self.place).stdout.splitlines())

    def servers(self):
        addresses = {host.name: host.address for host in self.cluster.hosts}
        return sorted(f"server {addresses[self.hostOf(task)]}:{task['status']['hostPorts'][0]['published']};"
                      for task in self.n1.running("web").values())

    def agrees(self, hosts, count):
        eventually("it has what runs", lambda: len(self.servers()) == count and self.file() == self.servers())
        self.assertEqual({line.split()[1].split(":")[0] for line in self.file()}, {host.address for host in hosts})

    def test_the_file_has_the_tasks_of_all_hosts(self):
        self.create("--replicas", "3", "-p", "mode=host,target=80")
        self.agrees(self.cluster.hosts, 3)
        said = self.n3.orch("template", "ls", "--format", "{{.State}} {{.Reason}}").stdout
        self.assertIn("is a worker of the cluster; ask a manager: 10.90.0.1:2377", said)
        self.n2.poweroff()
        eventually("those of the host that is gone are out", lambda: not any(self.n2.address in line for line in self.file()))
        self.agrees((self.n1, self.n3), 3)
        self.n2.start()
        self.n1.orch("service", "rm", "web")
        eventually("nothing is left", lambda: self.file() == [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
