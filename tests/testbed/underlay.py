"""The network between the hosts of a cluster, and its faults.

A bridge in a network namespace of its own. Each host's eth0 ends there in a port with the host's
name. Faults are nftables rules on the bridge, so that a host's own rules are untouched; a delay is a
process between the port and the bridge (relay).
"""
import os
import subprocess

import testbed

BRIDGE = "underlay"
EVERYBODY = "*"
RELAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "relay")


class Underlay:
    def __init__(self, cluster):
        self.host = testbed.Host(f"{cluster}/{BRIDGE}")

    def create(self):
        self.host.create()
        self._ip(self.host, f"link add {BRIDGE} type bridge mcast_snooping 0", f"link set {BRIDGE} up")

    def plug(self, host, name, mac, addresses):
        """Gives `host` its eth0."""
        self._ip(self.host, f"link add {name} type veth peer name eth0 address {mac} netns {host.pid()}",
                 f"link set {name} addrgenmode none master {BRIDGE}", f"link set {name} up")
        self._ip(host, *(f"address add {address} dev eth0 {'nodad' if ':' in address else ''}" for address in addresses),
                 "link set eth0 up")

    def readdress(self, host, before, after):
        """Takes addresses from `host`, and gives it others."""
        self._ip(host, *(f"address delete {address} dev eth0" for address in before),
                 *(f"address add {address} dev eth0 {'nodad' if ':' in address else ''}" for address in after))

    def unplug(self, name, delayed):
        self._delete(name)
        if delayed:
            self._delete(_slow(name))

    def delay(self, host, name, milliseconds):
        """What comes from and goes to `host` is that much later, each."""
        self._in(host, [RELAY, "offloads", "eth0", "off"])
        done = self.host.run(RELAY, "delay", name, _slow(name), BRIDGE, str(milliseconds))
        if done.returncode != 0:
            raise testbed.Failed(f"cannot delay '{name}': {' '.join(done.stderr.split())}")

    def endDelay(self, host, name):
        """What is under way is lost."""
        self._delete(_slow(name))
        self._ip(self.host, f"link set {name} master {BRIDGE}")
        self._in(host, [RELAY, "offloads", "eth0", "on"])

    def filter(self, cuts, losses):
        """`cuts`: pairs (from, to) of hosts between which nothing passes; EVERYBODY is all of them.
        `losses`: the percentage of what comes from, and of what goes to, each of these hosts."""
        rules = [f"{_ports('iifname', source)} {_ports('oifname', target)} counter drop" for source, target in cuts]
        for name, percent in losses.items():
            rules += [f"{_ports(key, name)} numgen random mod 100000 < {round(percent * 1000)} counter drop"
                      for key in ("iifname", "oifname")]
        lines = ["add table bridge faults", "delete table bridge faults", "table bridge faults {", "chain forward {",
                 "type filter hook forward priority 0;", *rules, "}", "}"]
        self._in(self.host, ["nft", "-f", "-"], "\n".join(lines) + "\n")

    def dropped(self):
        """How many frames the present faults have dropped."""
        words = self._in(self.host, ["nft", "list", "table", "bridge", "faults"]).split()
        return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")

    def _delete(self, link):
        """Gone already is success: a relay ends when one of its two links does, and takes the tap along."""
        try:
            self._ip(self.host, f"link delete {link}")
        except testbed.Failed as error:
            if "Cannot find device" not in str(error):
                raise

    def _ip(self, host, *commands):
        self._in(host, ["ip", "-batch", "-"], "\n".join(commands) + "\n")

    def _in(self, host, command, text=""):
        """Only the network is the host's: processes are known by this machine's numbers."""
        enter = ["nsenter", f"--net=/proc/{host.pid()}/ns/net", "--"]
        done = subprocess.run([*enter, *command], input=text, text=True, capture_output=True)
        if done.returncode != 0:
            raise testbed.Failed(f"host '{host.name}': {' '.join(command)}: {' '.join(done.stderr.split())}")
        return done.stdout


def _slow(name):
    return f"{name}.slow"


def _ports(key, name):
    return "" if name == EVERYBODY else f'{key} {{ "{name}", "{_slow(name)}" }}'
