"""Hosts that find each other in another server: what a test of any such server has in common."""
import os

import cluster
from single import REPOSITORY, eventually


class FoundElsewhere(cluster.ClusterTest):
    """Two hosts whose manifests name a server that the first one runs, and nothing else of each other. Beside it, a test
    has `programs`; SERVER, what it is called; URI; `command(folder)`, which runs it with its data there; `get(key)` and
    `put(key, value)`, of what is below the prefix."""
    hosts = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.n1, cls.n2 = cls.cluster.hosts
        cls.startServer()

    @classmethod
    def startServer(cls):
        folder = os.path.join(cls.n1.host.folder, cls.SERVER)
        cls.server, _ = cls.n1.host.spawn(cls.command(folder), f"{folder}.log")

    def configure(self, node):
        with open(os.path.join(REPOSITORY, "configs", "single.toml")) as file:
            text = file.read()
        self.assertIn("[node]\n", text)
        node._write(cluster.MANIFEST, text.replace("[node]\n", f'[node]\ndiscovery = ["{self.URI}"]\n', 1))
        node.orch("config", "reload")

    def test_hosts_find_each_other_in_it(self):
        n1, n2 = self.n1, self.n2
        both = ["10.90.0.1:2377", "10.90.0.2:2377"]

        def told():
            return n2.orch("discovery", "ls").stderr

        def there():
            return n2.orch("discovery", "ls", "-q").stdout.split()
        for node in (n1, n2):
            self.configure(node)
        n1.orch("init")
        token = n1.orch("join-token", "-q", "worker").stdout.strip()
        eventually("n2 sees the manager", lambda: there() == both[:1])
        n2.orch("join", "--token", token)
        eventually("both are ready", lambda: self.states() == {"n1": "ready", "n2": "ready"})
        eventually(f"both are in {self.SERVER}", lambda: there() == both)
        for address, role in zip(both, ("manager", "worker")):
            self.assertEqual(self.get(f"docker/swarm/nodes/{address}"), address)
            kept = self.get(f"orch/docker/swarm/nodes/{address}").split()
            self.assertEqual(kept[0], role)
            self.assertIn(f"-{kept[1]}-", token)
        # A node of classic Swarm.
        self.put("docker/swarm/nodes/10.90.0.77:2375", "10.90.0.77:2375")
        everybody = sorted([*both, "10.90.0.77:2375"])
        eventually("it is there", lambda: there() == everybody)
        n1.kill(self.server)
        eventually(f"that {self.SERVER} is gone is told", lambda: "does not answer" in told())
        self.assertEqual(there(), everybody)
        self.assertEqual(self.states(), {"n1": "ready", "n2": "ready"})
        self.startServer()
        eventually("that it is back is told", lambda: told() == "")
        self.assertEqual(there(), everybody)
