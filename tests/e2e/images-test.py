#!/usr/bin/env python3
"""Images that were imported on one host of a cluster, and run on all.

usage: images-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import base64
import glob
import os
import pty
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import registry  # noqa: E402
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
ARMED = "/etc/dies"  # on a host: its image plugin ends when it sends that many parts of blobs
USUAL = 'id = "image.oci"\nisolation = "process"\n'
MORE = f"""env = {{ ORCH_KILL_AT = "image.oci part-read,{ARMED}" }}
config = {{ insecureRegistries = ["10.90.0.1"] }}
"""
AGENT = 'id = "control.agent"\n'
SOON = 'config = { keepImageMs = 1000 }\n'
PASSWORD = "sesame-4711"
HASHED = "ann:$2b$04$abcdefghijklmnopqrstuu6sY3P5qG63S2M1n3TdY98AgJRZ8znRq\n"  # by bcrypt


class Images(cluster.ClusterTest):
    """n1 is the manager. Each test has images of its own, by their versions."""
    programs = PROGRAMS
    version = 0

    @classmethod
    def setUpClass(cls):
        cls.config = f"/tmp/orch-e2e-images-{os.getpid()}.toml"
        cls.addClassCleanup(os.remove, cls.config)
        with open(cls.config, "w") as file, open(f"{single.REPOSITORY}/configs/single.toml") as usual:
            text = usual.read()
            assert USUAL in text and AGENT in text
            file.write(text.replace(USUAL, USUAL + MORE).replace(AGENT, AGENT + SOON))
        cls.cluster = cluster.Cluster(f"test-images-{os.getpid()}", cls.programs, 3, cls.config).create()
        cls.addClassCleanup(cls.cluster.remove)
        cls.n1, cls.n2, cls.n3 = cls.cluster.hosts
        join = cls.n1.orch("init").stdout.splitlines()[-1].split()[1:]
        for node in (cls.n2, cls.n3):
            node.orch(*join)

    def setUp(self):
        type(self).version += 1
        self.image = f"web:{self.version}"
        eventually("three hosts are ready", lambda: [node["state"] for node in self.n1.json("node", "ls")] == ["ready"] * 3)

    def tearDown(self):
        for service in self.n1.json("service", "ls"):
            self.n1.orch("service", "rm", service["name"])

    def create(self, *options, check=True):
        return self.n1.orch("service", "create", "--name", "web", "--verify", "0s", "--stop-grace-period", "0s", *options, self.image,
                            "/bin/web", check=check)

    def serves(self):
        """How many containers of this test's version run on each host."""
        return [list(node.webServers().values()).count(self.version) for node in self.cluster.hosts]

    def error(self):
        """Of a task."""
        def errors():
            return [task["status"]["error"] for task in self.n1.json("service", "ps", "web") if task["status"].get("error")]
        return eventually("a task says why", errors)[0]

    def importTwoLayers(self, *nodes):
        """Each too large for one part; the digits of their digests."""
        folder = f"{self.n1.host.folder}/two-{self.version}"
        layers = registry.writeLayout(self.version, folder, noise=2 << 20)
        for node in nodes:
            node.orch("image", "import", folder, "--name", self.image)
        return layers

    def test_it_is_imported_on_one_host_and_runs_on_all(self):
        self.n1.makeImages(self.version)
        self.create("--replicas", "6")
        self.assertEqual(self.serves(), [2, 2, 2])
        digest = self.n1.json("service", "inspect", "web")[0]["spec"]["task"]["container"]["imageDigest"]
        for node in (self.n2, self.n3):
            image, = [image for image in node.json("image", "ls") if image["digest"] == digest]
            self.assertEqual(image["references"], [f"web@{digest}"])
            fetched = node.orch("events", "--since", "10m", "--no-follow", "--filter", "topic=image.fetched").stdout
            self.assertEqual(sum(digest in line for line in fetched.splitlines()), 1, fetched)
        # The one that had it first is not needed any more.
        self.n1.orch("service", "scale", "--verify", "0s", "web=0")
        self.n1.orch("image", "rm", self.image)
        self.n1.orch("service", "scale", "--verify", "0s", "web=6")
        self.assertEqual(self.serves(), [2, 2, 2])

    def test_a_worker_may_be_the_one(self):
        self.n3.makeImages(self.version)
        eventually("the managers know", lambda: self.create("--replicas", "3", "--detach").stderr == "")
        eventually("each host has one", lambda: self.serves() == [1, 1, 1])

    def test_a_source_that_ends_midway_is_left_for_the_next(self):
        """Each sends 39 parts: the manifest, the configuration, one layer and a bit of the other."""
        self.importTwoLayers(self.n1, self.n2)
        for node in (self.n1, self.n2):
            node.host.run("sh", "-c", f"echo 40 >{ARMED}", check=True)
        try:
            self.create("--constraint", "node.hostname==n3")
        finally:
            for node in (self.n1, self.n2):
                node.host.run("rm", ARMED, check=True)
        self.assertEqual(self.serves(), [0, 0, 1])
        self.assertIn("image.source-left, asking the next", self.n3.logTail(1000))

    def test_what_is_damaged_at_its_source_comes_from_another(self):
        """Each of two has another layer that is damaged."""
        nodes = (self.n1, self.n2)
        for node, layer in zip(nodes, self.importTwoLayers(*nodes)):
            kept, = glob.glob(f"{node.host.root()}/var/lib/orch/image.oci/kept/{layer}")
            with open(kept, "r+b") as file:
                file.seek(1000)
                byte = file.read(1)
                file.seek(1000)
                file.write(bytes([byte[0] ^ 1]))
        self.create("--constraint", "node.hostname==n3")
        self.assertEqual(self.serves(), [0, 0, 1])
        self.assertIn("what it sent is damaged: 1 blob is not what the digest says", self.n3.logTail(1000))

    def test_why_nobody_has_it(self):
        self.image = f"127.0.0.1:1/web@sha256:{'5' * 64}"
        created = self.create("--detach")
        self.assertEqual(created.returncode, 0)
        said = self.error()
        self.assertIn(f"cannot pull image '{self.image}': ", said)
        self.assertIn("; no other node has it: import it on one of them with 'orch image import', or push it to a registry", said)

    def test_names_that_differ_are_refused(self):
        self.n1.makeImages(self.version)
        other = f"{self.n2.host.folder}/other.tar"
        self.n2.host.run(f"{single.REPOSITORY}/tests/testbed/make-image", "other", other, check=True)
        self.n2.orch("image", "import", other, "--name", self.image)

        def refused():
            done = self.create("--detach", check=False)
            if done.returncode == 0:
                self.n1.orch("service", "rm", "web")  # the managers have not heard of it yet
            return done.stderr
        said = eventually("it is refused", refused)
        self.assertIn(f"image '{self.image}' is not the same everywhere it was imported: sha256:", said)

    def privateRegistry(self):
        """Asks for a login, which only ann has; with this test's image."""
        os.environ["XDG_CONFIG_HOME"] = f"{self.n1.host.folder}/config-{self.version}"
        self.addCleanup(os.environ.pop, "XDG_CONFIG_HOME")
        private = registry.Registry(self.n1.host, "10.90.0.1", HASHED, f"ann:{PASSWORD}")
        self.addCleanup(private.stop)
        eventually("the registry answers", private.answers)
        self.image = f"{private.address}/team/web:{self.version}"
        private.push(self.version, self.image)
        return private

    def login(self, private, password, **options):
        return self.n1.host.run(f"{PROGRAMS}/orch", "login", "-u", "ann", "--password-stdin", "--tls-verify=false", private.address,
                                input=password + "\n", **options)

    def test_an_image_that_is_here_runs_with_a_warning_when_its_registry_refuses(self):
        private = self.privateRegistry()
        self.login(private, PASSWORD, check=True)
        self.n1.orch("image", "pull", self.image)
        self.n1.orch("logout", private.address)
        created = self.create("--constraint", "node.hostname==n1")
        self.assertRegex(created.stderr, f"warning: cannot tell what image '{self.image}' is now .*(unauthorized|authentication required)"
                         ".*; each task runs what its node has under that name")
        self.assertEqual(self.serves(), [1, 0, 0])
        # A task of it that ends is replaced, and so is the spec.
        self.n1.kill(next(iter(self.n1.webServers())))
        eventually("another one runs", lambda: self.serves() == [1, 0, 0])
        updated = self.n1.orch("service", "update", "--verify", "0s", "--env-add", "A=1", "--image", self.image, "web")
        self.assertIn("warning: cannot tell what image", updated.stderr)
        self.assertEqual(self.serves(), [1, 0, 0])

    def test_one_limit_keeps_images_few_on_all_nodes_and_what_a_failover_needs_stays(self):
        self.n1.makeImages(self.version)
        self.create("--replicas", "3")
        self.n1.orch("service", "rm", "web")
        self.setUp()
        self.n1.makeImages(self.version)
        self.create("--replicas", "3")
        self.n1.orch("service", "update", "--verify", "0s", "--constraint-add", "node.hostname!=n1", "--replicas", "1", "web")
        digest = self.n1.json("service", "inspect", "web")[0]["spec"]["task"]["container"]["imageDigest"]
        has = lambda node: {image["digest"] for image in node.json("image", "ls")}
        for node in self.cluster.hosts:
            self.assertGreaterEqual(len(has(node)), 2)
        self.assertIn(" Image Limit: none\n", self.n1.orch("info").stdout)
        self.n1.orch("cluster", "update", "--image-limit", "1b")
        self.addCleanup(self.n1.orch, "cluster", "update", "--image-limit", "0")
        eventually("each host has that image and no other", lambda: [has(node) for node in self.cluster.hosts] == [{digest}] * 3)
        task, = self.n1.running("web").values()
        there = self.n1.json("node", "inspect", task["nodeId"])[0]["description"]["hostname"]
        runs, other = (self.n2, self.n3) if there == "n2" else (self.n3, self.n2)
        fetched = other.events("image.fetched")
        runs.poweroff()
        self.addCleanup(runs.start)
        eventually("it runs on the other one", lambda: list(other.webServers().values()) == [self.version])
        self.assertEqual(other.events("image.fetched"), fetched)

    def test_a_login_reaches_the_nodes_and_nobody_else(self):
        private = self.privateRegistry()
        refused = self.create("--detach", "--with-registry-auth").stderr
        self.assertIn("there is no login for the registry of", refused)
        self.assertIn("cannot tell what image", refused)
        self.assertRegex(self.error(), "unauthorized|authentication required")
        self.n1.orch("service", "rm", "web")

        wrong = self.login(private, PASSWORD + "x")
        self.assertEqual((wrong.returncode, wrong.stdout), (1, ""))
        self.assertEqual(wrong.stderr, f"orch: cannot log in at '{private.address}': it does not know user 'ann' with this password\n")
        self.assertEqual(self.n1.orch("logout", private.address, check=False).stderr, f"orch: there is no login for {private.address}\n")
        self.login(private, PASSWORD, check=True)
        self.assertEqual(self.create("--replicas", "6", "--with-registry-auth").stderr, "")
        self.assertEqual(self.serves(), [2, 2, 2])
        self.assertNotIn("sealedLogin", self.n1.orch("service", "inspect", "web").stdout)
        for node in self.cluster.hosts:
            # The user's own file is the only one on any host that has it.
            encoded = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
            found = node.host.run("grep", "-rlF", "-e", PASSWORD, "-e", encoded, "/var/lib/orch", "/run/orch", "/etc/orch").stdout
            self.assertEqual(found, "")
            self.assertNotIn(PASSWORD, node.logTail(100_000))
        self.n1.orch("logout", private.address)
        # It stays with the service: a node that has not got the image yet gets it.
        self.n1.orch("service", "scale", "--verify", "0s", "web=0")
        eventually("none runs", lambda: self.serves() == [0, 0, 0])
        self.n3.orch("image", "prune", "--all", "--force")
        self.n1.orch("service", "scale", "--verify", "0s", "web=3")
        self.assertEqual(self.serves(), [1, 1, 1])

    def test_on_a_terminal_user_and_password_are_asked_for(self):
        private = registry.Registry(self.n1.host, passwords=HASHED)
        self.addCleanup(private.stop)
        eventually("the registry answers", private.answers)
        os.environ["XDG_CONFIG_HOME"] = f"{self.n1.host.folder}/asked"
        self.addCleanup(os.environ.pop, "XDG_CONFIG_HOME")
        done, shown = self.loginAtTerminal(private.address, "ann", PASSWORD)
        self.assertRegex(done, f"^Username: Password: Logged in at {private.address} as ann;")
        self.assertEqual(shown, "ann\r\n\r\n")
        done, shown = self.loginAtTerminal(private.address, "", PASSWORD + "x")
        self.assertRegex(done, "^Username \\(ann\\): Password: orch: cannot log in at .* it does not know user 'ann'")
        self.assertEqual(shown, "\r\n\r\n")

    def loginAtTerminal(self, *words):
        """What orch wrote, and what the terminal has shown of what was typed."""
        address, *typed = words
        terminal, theirs = pty.openpty()
        with os.fdopen(terminal, "r+b", buffering=0) as keys:
            orch = subprocess.Popen(self.n1.host.command(f"{PROGRAMS}/orch", "login", address), stdin=theirs,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            said = b""
            for line in typed:
                while not said.endswith(b": "):
                    said += os.read(orch.stdout.fileno(), 1) or self.fail(f"it ended with {said}")
                keys.write(line.encode() + b"\n")
                said += os.read(orch.stdout.fileno(), 1)
            said += orch.communicate(timeout=60)[0]
            shown = os.read(terminal, 4096)
            os.close(theirs)
        return said.decode(), shown.decode()


class Layers(single.HostTest):
    """Images with many of them."""
    programs = PROGRAMS
    images = 0
    CONTAINERS = 100
    LAYERS = 50

    def mounts(self):
        """How many mounts the host's first process sees."""
        with open(f"/proc/{self.node.host.pid()}/mountinfo") as file:
            return len(file.readlines())

    def test_a_hundred_containers_of_fifty_layers_leave_the_hosts_mount_table_small(self):
        folder = f"{self.node.host.folder}/layers"
        self.assertEqual(len(registry.writeLayout(1, folder, count=self.LAYERS)), self.LAYERS)
        self.node.orch("image", "import", folder, "--name", "many:1")
        before = most = self.mounts()
        self.node.orch("service", "create", "--detach", "--name", "many", "--replicas", str(self.CONTAINERS),
                       "--stop-grace-period", "0s", "many:1", "/bin/web")

        def allRun():
            nonlocal most
            most = max(most, self.mounts())
            return len(self.node.webServers()) == self.CONTAINERS
        eventually("all run", allRun, 120)
        # Of each its root and its network's namespace, and not more while they are made: systemd reads the whole
        # table at each change.
        self.assertLessEqual(most, before + 2 * self.CONTAINERS)
        self.node.orch("service", "rm", "many")
        eventually("the table is as it was", lambda: self.mounts() <= before + 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
