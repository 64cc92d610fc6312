#!/usr/bin/env python3
"""What is wrong with the store is said in one line that says what to do, to who asks and by `orch cluster status`; and a state that is not the cluster's is refused by name. On one host, whose etcd speaks TLS.

usage: store-trouble-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import datetime
import os
import shutil
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from certificates import Authority  # noqa: E402
from single import eventually  # noqa: E402
from several_managers import defaultManifest  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
URL = "https://127.0.0.1:2379"
NAMES = "IP:127.0.0.1"
MANAGER = 'id = "control.manager"\n'


class Trouble(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = single.SingleHost(f"test-store-trouble-{os.getpid()}", PROGRAMS)
        cls.node.host.create()
        cls.addClassCleanup(cls.node.remove)
        cls.folder = cls.node.host.folder
        authority = Authority.make(cls.folder, "ca")
        cls.good = authority.sign(cls.folder, "server", "server", "etcd", names=NAMES)
        cls.stranger = Authority.make(cls.folder, "stranger").sign(cls.folder, "other", "server", "etcd", names=NAMES)
        with open(f"{cls.folder}/server.csr") as file:
            tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
            early = authority.signFor(cls.folder, file.read(), "server", "etcd", tomorrow, tomorrow + datetime.timedelta(days=9), NAMES)
        with open(f"{cls.folder}/early.pem", "w") as file:
            file.write(early)
        cls.early = (f"{cls.folder}/early.pem", cls.good[1])
        store = f'id = "store.etcd"\nconfig = {{ endpoints = ["{URL}"], ca = "{authority.certificate}", timeoutMs = 1500 }}\n'
        text = defaultManifest().replace('id = "store.local"\n', store, 1)
        cls.node.config = f"{cls.folder}/orchd.toml"
        with open(cls.node.config, "w") as file:
            file.write(text.replace(MANAGER, MANAGER + 'config = { store = "store.etcd" }\n', 1))
        # Another cluster's, which had this host before.
        cls.startEtcd("another")
        cls.node.start()
        eventually("it has a state", lambda: cls.node.orch("service", "ls", check=False).returncode == 0)
        cls.node.stop()
        cls.killEtcd()
        cls.node.host.run("sh", "-c", "rm -rf /var/lib/orch/*", check=True)
        cls.startEtcd()
        cls.node.start()
        cls.node.orch("init")

    @classmethod
    def startEtcd(cls, data="own", certificate=None):
        """With its data in that folder."""
        shown, key = certificate or cls.good
        command = ["etcd", f"--data-dir={cls.folder}/{data}", f"--listen-client-urls={URL}", f"--advertise-client-urls={URL}",
                   "--listen-peer-urls=http://127.0.0.1:2380", f"--cert-file={shown}", f"--key-file={key}"]
        cls.etcd, _ = cls.node.host.spawn(command, f"{cls.folder}/etcd.log")

    @classmethod
    def killEtcd(cls):
        if cls.node.runs(cls.etcd):
            cls.node.kill(cls.etcd)
        eventually("etcd is gone", lambda: not cls.node.runs(cls.etcd))

    def restartEtcd(self, data="own", certificate=None):
        self.killEtcd()
        self.startEtcd(data, certificate)

    def etcdctl(self, *words):
        return self.node.host.run("env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={URL}", f"--cacert={self.folder}/ca.pem", *words, check=True)

    def ask(self, path, body):
        self.node.host.run("curl", "--silent", "--fail", "--cacert", f"{self.folder}/ca.pem", "--data", body, URL + path, check=True)

    def problem(self):
        """Of the store, or of this manager with what it found there."""
        said = self.node.json("cluster", "status")
        return said["store"].get("problem", "") or said.get("problem", "")

    def create(self, name):
        return self.node.orch("service", "create", "--name", name, "--detach", "--replicas", "0", "web:1", "/bin/web", check=False)

    def setUp(self):
        if self.problem():  # another test has failed
            self.restartEtcd()
        self.awaitWell()

    def awaitWell(self):
        eventually("all is well", lambda: self.problem() == "" and self.node.orch("service", "ls", check=False).stderr == "")

    def checkTold(self, words, again=False):
        """`again`: also after a start of orchd, which then knows only what it has on its disk."""
        def told():
            lines = self.node.orch("cluster", "status").stdout.splitlines()
            return any(line.startswith((" Problem: ", "Leader: none: ")) and words in line for line in lines)
        eventually(f"it is told: {words}", lambda: words in self.problem())
        eventually(f"and to people: {words}", told)
        if again:
            self.node.crash()
            self.node.start()
            eventually(f"it is told after a start, too: {words}", lambda: words in self.problem())

    def checkRefused(self, name, words):
        refused = self.create(name)
        self.assertEqual(refused.returncode, 1, refused)
        self.assertIn(words, refused.stderr)
        self.assertEqual(refused.stderr.count("\n"), 1, refused.stderr)

    def test_one_that_does_not_answer_or_is_not_trusted(self):
        self.node.kill(self.etcd, signal.SIGSTOP)
        self.checkTold("the store 'store.etcd' does not answer: ")
        self.node.kill(self.etcd, signal.SIGCONT)
        self.awaitWell()
        for certificate, words in (
                (None, "does not answer: cannot connect: Connection refused; see that most of its members run"),
                (self.stranger, "cannot connect: its certificate is not signed by who is in 'ca'"),
                (self.early, "cannot connect: its certificate is not valid yet, as this host's clock has it; do the clocks of both hosts agree?")):
            with self.subTest(words):
                self.killEtcd()
                if certificate:
                    self.startEtcd(certificate=certificate)
                self.checkTold(words, again=certificate is self.early)
        self.restartEtcd()
        self.awaitWell()
        self.assertEqual(self.create("after-silence").returncode, 0)

    def test_one_that_takes_no_writes(self):
        for alarm, words in (("NOSPACE", "database space exceeded; compact and defragment it or raise its --quota-backend-bytes"),
                             ("CORRUPT", "corrupt cluster; find the damaged member with 'etcdctl alarm list' and make it anew")):
            with self.subTest(alarm):
                self.ask("/v3/maintenance/alarm", f'{{"action":"ACTIVATE","alarm":"{alarm}"}}')
                self.checkRefused(f"in-{alarm.lower()}", words)
                self.checkTold(words, again=True)
                self.etcdctl("alarm", "disarm")
                eventually("it is taken again", lambda: self.create(f"after-{alarm.lower()}").returncode == 0)
                self.awaitWell()
        names = [row["name"] for row in self.node.json("service", "ls")]
        self.assertNotIn("in-nospace", names)

    def test_one_that_wants_to_know_its_users(self):
        root = "--user=root:secret"
        self.etcdctl("user", "add", "root:secret")
        self.etcdctl("user", "grant-role", "root", "root")
        self.etcdctl("auth", "enable")
        words = "user name is empty; orch knows no users of etcd's: it needs one without 'auth enable'"
        self.checkRefused("unknown", words)
        self.checkTold(words, again=True)
        self.etcdctl(root, "auth", "disable")
        self.awaitWell()
        self.assertEqual(self.create("known").returncode, 0)

    def test_one_that_has_another_state(self):
        self.killEtcd()
        shutil.copytree(f"{self.folder}/own", f"{self.folder}/copy")
        self.startEtcd()
        self.awaitWell()
        self.assertEqual(self.create("since-the-copy").returncode, 0)
        for data, words in (("copy", "has gone back to revision "), ("another", "another cluster's: this node knew revision "),
                            ("empty", "has no state, but this node knew revision ")):
            with self.subTest(data):
                self.restartEtcd(data)
                self.checkTold(words, again=True)
        self.checkRefused("elsewhere", "this node knew revision ")
        self.assertEqual(self.etcdctl("get", "--prefix", "--keys-only", "/orch/").stdout.strip(), "")
        self.restartEtcd()
        self.awaitWell()
        self.assertIn("since-the-copy", [row["name"] for row in self.node.json("service", "ls")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
