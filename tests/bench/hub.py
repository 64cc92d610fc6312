"""The network between the nodes of one measurement."""

from machine import run

CLIENT = 200


class Hub:
    """A namespace with a bridge, and one namespace per node with the address 10.210.0.<number>.

    The namespace that the benchmark runs in gets no interface.
    """

    def __init__(self, count, tag):
        self.hub = f"{tag}-hub"
        self.namespaces = {number: f"{tag}-{number}" for number in range(1, count + 1)}

    def up(self):
        """Makes all of it."""
        run(["ip", "netns", "add", self.hub])
        self._in_hub("link add br0 type bridge\nlink set br0 up\naddr add 10.210.0.254/24 dev br0\n")
        for number, namespace in self.namespaces.items():
            self._plug(number, namespace)

    def add_client(self):
        """A namespace without a node, for requests from outside."""
        self._plug(CLIENT, f"{self.hub}-client")

    def client(self):
        """The path of its namespace."""
        return f"/run/netns/{self.hub}-client"

    def _plug(self, number, namespace):
        run(["ip", "netns", "add", namespace])
        self._in_hub(
            f"link add port{number} type veth peer name eth0 netns {namespace}\n"
            f"link set port{number} master br0 up\n"
        )
        batch = (
            f"addr add {address(number)}/24 dev eth0\nlink set eth0 up\nlink set lo up\n"
            "route add default via 10.210.0.254\n"
        )
        run(["ip", "-n", namespace, "-batch", "-"], input=batch)

    def cut(self, number):
        """Takes a node's cable out."""
        self._in_hub(f"link set port{number} down\n")

    def down(self):
        """Takes all of it away."""
        for namespace in [*self.namespaces.values(), f"{self.hub}-client", self.hub]:
            run(["ip", "netns", "del", namespace], check=False)

    def _in_hub(self, batch):
        run(["ip", "-n", self.hub, "-batch", "-"], input=batch)


def address(number):
    """Of a node."""
    return f"10.210.0.{number}"
