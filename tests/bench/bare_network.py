"""What the kernel does by itself: two hosts with a VXLAN network and a published port, by hand.

Laid out as orch does it: per host a namespace with a bridge, a VXLAN device whose packets go through
the host's own, and a pair of devices to the task; no address is learnt. The task's eth0 is on a
bridge of the host, and a port of the host leads to it by one rule of nftables. Bridged frames do not
pass netfilter (bridge-nf-call-iptables is 0), as on a host without br_netfilter.
"""

from hub import Hub, address
from machine import run

SUBNET = "10.78.0"
INSIDE = "172.31.7"
VNI = 78
MTU = 1450
HOSTS = (1, 2)


class BareHosts:
    """A context. `task` and `client` are paths of network namespaces."""

    def __init__(self, tag):
        self.tag = tag
        self.hub = Hub(len(HOSTS), tag)

    def __enter__(self):
        self.hub.up()
        for number in HOSTS:
            self._make(number)
        self.hub.add_client()
        return self

    def __exit__(self, *_):
        for number in HOSTS:
            for name in (self._sandbox(number), self._task(number)):
                run(["ip", "netns", "del", name], check=False)
        self.hub.down()

    def task(self, number):
        """The task of that host."""
        return f"/run/netns/{self._task(number)}"

    def task_address(self, number):
        """On the VXLAN network."""
        return f"{SUBNET}.{number}"

    def publish(self, number, outside, target):
        """That port of the host leads to one of its task."""
        rules = (
            "table ip bench {\nchain pre {\ntype nat hook prerouting priority dstnat;\n"
            f"ip daddr {address(number)} tcp dport {outside} dnat to {INSIDE}.2:{target}\n}}\n}}\n"
        )
        run(["ip", "netns", "exec", self.hub.namespaces[number], "nft", "-f", "-"], input=rules)

    def _sandbox(self, number):
        return f"{self.tag}-{number}-net"

    def _task(self, number):
        return f"{self.tag}-{number}-task"

    def _make(self, number):
        host, sandbox, task = self.hub.namespaces[number], self._sandbox(number), self._task(number)
        for name in (sandbox, task):
            run(["ip", "netns", "add", name])
        device = f"vxlan0 mtu {MTU} type vxlan id {VNI} dstport 4789 local {address(number)}"
        batch(host, f"link add {device} nolearning proxy ttl 64",
              f"link set vxlan0 netns {sandbox}",
              "link add br-out type bridge", f"addr add {INSIDE}.1/24 dev br-out",
              "link set br-out up",
              f"link add port-out type veth peer name eth0 netns {task}",
              "link set port-out master br-out up")  # fmt: skip
        batch(sandbox, f"link add br0 mtu {MTU} type bridge", "link set br0 up",
              "link set vxlan0 master br0 up",
              f"link add port mtu {MTU} type veth peer name eth1 mtu {MTU} netns {task}",
              "link set port master br0 up")  # fmt: skip
        batch(task, "link set lo up", f"addr add {INSIDE}.2/24 dev eth0", "link set eth0 up",
              f"link set eth1 address {mac(number)}", f"addr add {SUBNET}.{number}/24 dev eth1",
              "link set eth1 up", f"route add default via {INSIDE}.1")  # fmt: skip
        self._connect(number)
        switch(host, "net.ipv4.ip_forward=1")
        for name in (host, sandbox):
            switch(name, "net.bridge.bridge-nf-call-iptables=0")

    def _connect(self, number):
        sandbox = self._sandbox(number)
        for other in HOSTS:
            if other != number:
                batch(sandbox, f"neigh add {SUBNET}.{other} lladdr {mac(other)} dev vxlan0 nud permanent")
                entry = f"fdb add {mac(other)} dev vxlan0 dst {address(other)} self permanent"
                run(["bridge", "-n", sandbox, *entry.split()])
                batch(self._task(number), f"neigh add {SUBNET}.{other} lladdr {mac(other)} dev eth1 nud permanent")


def mac(number):
    """Of a host's task."""
    return f"02:42:0a:4e:00:{number:02x}"


def batch(namespace, *lines):
    """Commands of `ip`."""
    run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines) + "\n")


def switch(namespace, setting):
    """One of sysctl."""
    run(["ip", "netns", "exec", namespace, "sysctl", "-q", "-w", setting])
