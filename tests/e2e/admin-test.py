#!/usr/bin/env python3
"""A cluster that is used from a host without orchd, by an admin with a certificate; and by some who are none.

usage: admin-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
from certificates import Authority  # noqa: E402
from single import PATIENCE, REPOSITORY, eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
MANAGER = "tcp://10.90.0.1:2377"


class Admin(cluster.ClusterTest):
    """n1 is the manager, n2 a worker; c1 has no orchd."""
    programs = PROGRAMS
    hosts = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2 = cls.cluster.hosts
        cls.c1 = cls.cluster.client
        said = cls.n1.orch("init", "--cert-expiry", "100h").stdout
        cls.n2.orch(*said.splitlines()[-1].split()[1:])
        cls.folder = tempfile.mkdtemp(prefix=f"orch-admin-{os.getpid()}-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.tar = f"{cls.folder}/web.tar"
        subprocess.run([f"{REPOSITORY}/tests/testbed/make-image", "1", cls.tar], check=True)

    def setUp(self):
        eventually("both are ready", lambda: [node["state"] for node in self.n1.json("node", "ls")] == ["ready", "ready"])

    def keep(self, name, certificates, key=""):
        """In c1's folder of that name, as `orch admin` would."""
        folder = f"{self.c1.host.root()}/var/lib/{name}"
        os.makedirs(folder, exist_ok=True)
        for file, text in (("admin.pem", certificates), ("admin.key", key)):
            if text:
                descriptor = os.open(f"{folder}/{file}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "w") as out:
                    out.write(text)

    def add(self, name):
        """The key is made on c1 and stays there."""
        request = self.c1.orch("admin", "request", "--out", f"/var/lib/{name}").stdout
        granted = self.n1.host.run(f"{PROGRAMS}/orch", "admin", "add", "--request", "-", name, input=request, check=True)
        self.keep(name, granted.stdout)

    def ask(self, name, *words, host=MANAGER, check=True):
        return self.c1.orch("--host", host, "--credentials", f"/var/lib/{name}", *words, check=check)

    def refused(self, name, *words, naming, host=MANAGER):
        done = self.ask(name, *words, host=host, check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn(naming, done.stderr)

    def log(self, *words):
        with open(self.n1.log, errors="replace") as file:
            return [line for line in file.read().splitlines() if all(word in line for word in words)]

    def test_all_of_the_cluster_from_a_host_without_orchd(self):
        self.add("ann")
        ann = lambda *words: self.ask("ann", *words).stdout
        self.assertEqual(sorted(ann("node", "ls", "--format", "{{.Hostname}}").split()), ["n1", "n2"])
        ann("image", "import", "-q", self.tar, "--name", "web:1")
        self.assertIn("web", ann("image", "ls"))
        piped = self.c1.host.command(f"{PROGRAMS}/orch", "-H", MANAGER, "--credentials", "/var/lib/ann", "image", "import", "-q", "-", "piped:1")
        with open(self.tar, "rb") as file:
            subprocess.run(piped, stdin=file, check=True, timeout=PATIENCE, capture_output=True)
        self.assertIn("piped", self.n1.orch("image", "ls").stdout)
        self.refused("ann", "image", "import", self.folder, naming="make a file of it: tar -C")
        ann("service", "create", "--name", "web", "--verify", "0s", "--stop-grace-period", "0s", "--constraint", "node.hostname==n1",
            "--replicas", "2", "web:1", "/bin/sh", "-c", "echo hello; exec /bin/web")
        ann("service", "scale", "--verify", "0s", "web=3")
        self.assertEqual(len(ann("service", "ps", "-q", "web").split()), 3)
        eventually("three have said hello", lambda: ann("service", "logs", "--raw", "web").count("hello") == 3)
        self.assertIn("task.running", ann("events", "--since", "1h", "--no-follow"))
        self.assertIn("control.manager", ann("plugin", "ls"))
        self.assertIn("[node]", ann("config", "show"))
        # By the environment, and by name.
        done = self.c1.host.run("env", "ORCH_HOST=tcp://n1", "ORCH_CREDENTIALS=/var/lib/ann", f"{PROGRAMS}/orch", "service", "ls", "-q", check=True)
        self.assertEqual(len(done.stdout.split()), 1)
        # The manager has another life, and the same admins.
        self.n1.crash()
        self.n1.start()
        # A manager that has just begun has nothing for other hosts yet.
        eventually("it knows her", lambda: "ann " in self.ask("ann", "admin", "ls", check=False).stdout)
        ann("service", "rm", "web")
        ann("admin", "add", "--out", "/var/lib/bob", "bob")
        self.assertEqual(sorted(self.ask("bob", "admin", "ls", "-q").stdout.split()), ["ann", "bob"])
        self.ask("bob", "admin", "rm", "ann")
        self.n1.orch("admin", "rm", "bob")

    def test_a_removed_admin_is_refused_at_once(self):
        self.add("eve")
        watch = self.c1.host.command(f"{PROGRAMS}/orch", "--host", MANAGER, "--credentials", "/var/lib/eve", "events", "--since", "1h")
        with subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            self.addCleanup(watching.kill)
            self.assertIn("node.started", watching.stdout.readline())
            self.n1.orch("admin", "rm", "eve")
            _, said = watching.communicate(timeout=PATIENCE)
        self.assertEqual(said, "orch: the admin 'eve' was removed\n")
        self.assertEqual(watching.returncode, 1)
        self.refused("eve", "node", "ls", naming="the admin 'eve' was removed from the cluster; 'orch admin add'")
        lines = self.log("peer.service-refused", "role=admin", "id=eve", "from=10.90.0.201:")
        self.assertEqual(len(lines), 1, lines)

    def test_certificates_of_others_are_no_admins(self):
        authority = Authority.ofCluster(self.n1, self.folder)
        foreign = Authority.make(self.folder, "foreign")
        node = self.n1.json("node", "ls")[0]["meta"]["id"]

        def made(name, signer, unit, identity, trusts=authority, **options):
            certificate, key = signer.sign(self.folder, name, unit, identity, **options)
            texts = []
            for path in (certificate, key, trusts.certificate):
                with open(path) as file:
                    texts.append(file.read())
            ca = texts[2][:texts[2].index("-----END CERTIFICATE-----\n") + len("-----END CERTIFICATE-----\n")]
            self.keep(name, texts[0] + ca, texts[1])

        made("worker", authority, "orch-worker", node)
        self.refused("worker", "node", "ls", naming="node 'n1' has no service 'cluster' for other hosts")
        self.assertEqual(len(self.log("peer.service-refused", "role=worker", f"id={node}", "service=cluster")), 1)
        made("ghost", authority, "orch-admin", "ghost")
        self.refused("ghost", "node", "ls", naming="the admin 'ghost' was removed from the cluster")
        made("late", authority, "orch-admin", "late", days=-1)
        self.refused("late", "node", "ls", naming="the certificate in '/var/lib/late' has expired at ")
        made("stranger", foreign, "orch-admin", "stranger", trusts=foreign)
        self.refused("stranger", "node", "ls", naming=f"cannot use '{MANAGER}': it is of another cluster")
        # Either end may be the first to know.
        lines = eventually("the manager has refused it", lambda: self.log("peer.refused", "from=10.90.0.201:", "certificate verify failed"))
        self.assertEqual(len(lines), 1, lines)

    def test_mistakes_say_what_to_do(self):
        self.refused("nobody", "node", "ls", naming="there are no credentials in '/var/lib/nobody': 'orch admin request' makes a key")
        self.add("joe")
        self.refused("joe", "node", "ls", host="tcp://10.90.0.2", naming="cannot use 'tcp://10.90.0.2:2377': it is no manager of the cluster")
        self.refused("joe", "node", "ls", host="tcp://10.90.0.1:99", naming="cannot use 'tcp://10.90.0.1:99': ")
        self.refused("joe", "admin", "add", "--out", "/var/lib/joe", "jim", naming="there are credentials in '/var/lib/joe' already")
        self.refused("joe", "admin", "add", "--out", "/var/lib/jim", "joe", naming="there is an admin 'joe' already")
        worker = self.n2.orch("admin", "ls", check=False)
        self.assertIn("is a worker of the cluster; ask a manager: 10.90.0.1:2377", worker.stderr)
        os.chmod(f"{self.c1.host.root()}/var/lib/joe/admin.key", 0o644)
        self.refused("joe", "node", "ls", naming="others may read the key '/var/lib/joe/admin.key'")
        self.n1.orch("admin", "rm", "joe")

    def test_how_long_certificates_are_good_can_be_changed(self):
        self.assertIn(" Certificates: 100h\n", self.n1.orch("info").stdout)
        short = self.n1.orch("cluster", "update", "--cert-expiry", "59m", check=False)
        self.assertEqual(short.returncode, 2, short)
        self.assertIn("--cert-expiry must be 1h to 43800h", short.stderr)
        self.n1.orch("cluster", "update", "--cert-expiry", "48h", "--task-history-limit", "2")
        said = self.n1.orch("info").stdout
        self.assertIn(" Certificates: 48h\n", said)
        self.assertIn(" Task History Limit: 2\n", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
