"""The network between the hosts of a cluster, and its faults.

A bridge in a network namespace of its own. Each host's eth0 ends there in a port with the host's
name. Faults are nftables rules on the bridge, so that a host's own rules are untouched.
"""
import subprocess

import testbed

BRIDGE = "underlay"
EVERYBODY = "*"


class Underlay:
    def __init__(self, cluster):
        self.host = testbed.Host(f"{cluster}/{BRIDGE}")

    def create(self):
        self.host.create()
        self._ip(self.host, f"link add {BRIDGE} type bridge mcast_snooping 0", f"link set {BRIDGE} up")

    def plug(self, host, name, mac, addresses):
        """Gives `host` its eth0."""
        self._ip(self.host, f"link add {name} type veth peer name eth0 address {mac} netns {host.pid()}",
                 f"link set {name} master {BRIDGE}", f"link set {name} up")
        self._ip(host, *(f"address add {address} dev eth0 {'nodad' if ':' in address else ''}" for address in addresses),
                 "link set eth0 up")

    def unplug(self, name):
        self._ip(self.host, f"link delete {name}")

    def apply(self, cuts):
        """`cuts`: pairs (from, to) of hosts between which nothing passes; EVERYBODY is all of them."""
        lines = ["add table bridge faults", "delete table bridge faults", "table bridge faults {", "chain forward {",
                 "type filter hook forward priority 0;"]
        for source, target in cuts:
            lines.append(f"{_ports('iifname', source)} {_ports('oifname', target)} drop")
        self._in(self.host, ["nft", "-f", "-"], "\n".join([*lines, "}", "}", ""]))

    def _ip(self, host, *commands):
        self._in(host, ["ip", "-batch", "-"], "\n".join(commands) + "\n")

    def _in(self, host, command, text):
        """Only the network is the host's: processes are known by this machine's numbers."""
        enter = ["nsenter", f"--net=/proc/{host.pid()}/ns/net", "--"]
        done = subprocess.run([*enter, *command], input=text, text=True, capture_output=True)
        if done.returncode != 0:
            raise testbed.Failed(f"host '{host.name}': {' '.join(command)}: {' '.join(done.stderr.split())}")


def _ports(key, name):
    return "" if name == EVERYBODY else f'{key} "{name}"'
