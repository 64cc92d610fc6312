#!/usr/bin/env python3
"""One host with a hub, a token made at it, a file and a list: who is there, who comes and goes, and what a restart of the hub or a
damaged file takes away, which is nobody.

usage: discovery-test.py PROGRAMS [TEST...]     PROGRAMS: the folder with orch and orchd
"""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 else ""
HUB = "127.0.0.1:2378"
MANIFEST = """[node]
discovery = [{uris}]
[[plugin]]
id = "discovery.hub"
isolation = "{isolation}"
[[plugin]]
id = "discovery.token"
isolation = "{isolation}"
"""


class Discovery(unittest.TestCase):
    isolation = "process"

    def setUp(self):
        self.node = single.SingleHost(f"e2e-discovery-{os.getpid()}", PROGRAMS)
        self.node.host.create()
        self.addCleanup(self.node.remove)
        self.hosts = os.path.join(self.node.host.folder, "hosts")
        self.node.config = os.path.join(self.node.host.folder, "orchd.toml")
        self.write(self.hosts, "10.0.0.[1:3]:2377\n")
        self.uris = [f"file://{self.hosts}", "node://10.0.9.9:2377"]
        self.writeManifest()
        self.node.start()

    def write(self, path, text):
        with open(path, "w") as file:
            file.write(text)

    def writeManifest(self):
        uris = ", ".join(f'"{uri}"' for uri in self.uris)
        self.write(self.node.config, MANIFEST.format(uris=uris, isolation=self.isolation))

    def there(self):
        return self.node.orch("discovery", "ls", "-q").stdout.split()

    def becomes(self, *addresses):
        eventually(f"{addresses} are there", lambda: self.there() == sorted(addresses))

    def askHub(self, method, uri, query="", body="", check=True):
        path = uri.split(HUB)[1].replace("/v1/", "/v1/clusters/")
        done = self.node.host.run("curl", "-sS", "-X", method, "-d", body, f"http://{HUB}{path}{query}", check=check)
        return done.stdout

    def test_hosts_are_united_followed_and_kept_over_failures(self):
        file = [f"10.0.0.{n}:2377" for n in (1, 2, 3)]
        self.becomes(*file, "10.0.9.9:2377")
        uri = self.node.orch("discovery", "create", f"token+http://{HUB}").stdout.strip()
        self.assertRegex(uri, r"^token\+http://127\.0\.0\.1:2378/v1/[0-9a-f]{32}$")
        # A node of classic Swarm.
        self.askHub("POST", uri, "?ttl=600", "10.0.5.5:2375")
        self.uris.append(uri)
        self.writeManifest()
        self.node.orch("config", "reload")
        self.becomes(*file, "10.0.9.9:2377", "10.0.5.5:2375")

        watch = self.node.host.command(f"{self.node.programs}/orch", "discovery", "watch")
        with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
            self.addCleanup(watching.kill)
            for _ in range(5):
                self.assertEqual(watching.stdout.readline()[:2], "+ ")
            os.rename(self.hosts, self.hosts + ".old")
            self.write(self.hosts + ".new", "10.0.0.[1:4]:2377\n")
            os.rename(self.hosts + ".new", self.hosts)
            self.assertEqual(watching.stdout.readline(), "+ 10.0.0.4:2377\n")
            watching.terminate()
        file.append("10.0.0.4:2377")

        self.write(self.hosts, "10.0.0.1:2377\nnonsense\n")
        eventually("the damage is told", lambda: "nonsense" in self.node.orch("discovery", "ls").stderr)
        self.assertIn(f"{self.hosts}:2: 'nonsense' is no address", self.node.orch("discovery", "ls").stderr)
        self.write(self.hosts, "")
        eventually("that nobody is left is told",
                   lambda: "names nobody" in self.node.orch("discovery", "ls").stderr)
        self.assertEqual(self.there(), sorted([*file, "10.0.9.9:2377", "10.0.5.5:2375"]))

        # The hub keeps the token over a restart of orchd.
        self.write(self.hosts, "10.0.0.[1:4]:2377\n")
        self.node.crash()
        self.node.start()
        eventually("the hub answers", lambda: self.askHub("GET", uri, check=False) == "[]")
        self.askHub("POST", uri, "?ttl=600", "10.0.5.6:2375")
        self.assertEqual(self.askHub("GET", uri), '["10.0.5.6:2375"]')

        # What is taken out of the manifest takes its hosts along.
        del self.uris[1]
        self.writeManifest()
        self.node.orch("config", "reload")
        eventually("the list's host is gone", lambda: "10.0.9.9:2377" not in self.there())
        self.assertLessEqual(set(file), set(self.there()))

    def test_a_mass_loss_is_an_event_and_takes_nobody_away(self):
        self.becomes(*[f"10.0.0.{n}:2377" for n in (1, 2, 3)], "10.0.9.9:2377")
        self.write(self.hosts, "10.0.0.1:2377\n")
        eventually("the event", lambda: "discovery.massLoss discovery.file#1 (lost=2, of=3" in
                   self.node.orch("events", "--since", "1h", "--no-follow").stdout)
        self.assertIn("10.0.0.3:2377", self.there())

    def test_a_uri_that_cannot_be_right_is_refused_by_line(self):
        for uri, problem in (("redis://10.0.0.1:6379", "which no backend here serves"),
                             ("node://10.0.0.[9:1]:2377", "uri: '10.0.0.[9:1]:2377' has a range that is none"),
                             ("file://hosts", "uri: 'file://hosts' is no file"),
                             ("token://6856663cdefdec325839a4b7e1de38e8", "the public one of docker is shut")):
            self.uris = [f"file://{self.hosts}", uri]
            self.writeManifest()
            for command in ("check", "reload"):
                done = self.node.orch("config", command, *([self.node.config] if command == "check" else []), check=False)
                self.assertEqual(done.returncode, 1, uri)
                self.assertIn(f"{self.node.config}:2: ", done.stderr)
                self.assertIn(problem, done.stderr)
        self.assertEqual(len(self.there()), 4)


class InKernel(Discovery):
    isolation = "kernel"


if __name__ == "__main__":
    unittest.main(verbosity=2)
