#!/usr/bin/env bash
# ctnetlink: a list of IPv6's connections that is filtered by an address has all but those meant. With
# CTA_FILTER and one address in CTA_TUPLE_ORIG or CTA_TUPLE_REPLY the kernel answers with the connections of
# IPv4 that have it, and with those of IPv6 that do not: ctnetlink_filter_match_tuple() takes
# ipv6_addr_cmp(), which is 0 for equal ones, for a yes. So whoever wants connections of IPv6 asks for all
# of them, and compares.
#
# Seen with Linux 6.18.44.
#
# As root, in a network namespace of its own (it makes one). Fails if the kernel filters as it says.
set -euo pipefail
exec python3 - <<'PYTHON'
import ctypes
import os
import socket
import struct
import subprocess
import sys

CTNETLINK_GET = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
DUMP, REQUEST, DONE, ERROR = 0x300, 1, 3, 2
TUPLE_ORIG, TUPLE_REPLY, TUPLE_IP, V6_SRC, FILTER, ORIG_FLAGS, NESTED = 1, 2, 1, 3, 25, 1, 0x8000
BY_SOURCE = 1
NEWNET = 0x40000000


def attribute(kind, payload):
    body = struct.pack("HH", 4 + len(payload), kind) + payload
    return body + b"\0" * (-len(body) % 4)


def sources(wanted):
    """Of the connections that the kernel lists, with this source if there is one."""
    payload = struct.pack("BBH", socket.AF_INET6, 0, 0)
    if wanted:
        address = attribute(V6_SRC, socket.inet_pton(socket.AF_INET6, wanted))
        payload += attribute(TUPLE_ORIG | NESTED, attribute(TUPLE_IP | NESTED, address))
        payload += attribute(FILTER | NESTED, attribute(ORIG_FLAGS, struct.pack("I", BY_SOURCE)))
    found = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:
        netlink.send(struct.pack("IHHII", 16 + len(payload), CTNETLINK_GET, REQUEST | DUMP, 1, 0) + payload)
        while True:
            data = netlink.recv(1 << 16)
            while data:
                size, kind = struct.unpack_from("IH", data)
                if kind == DONE:
                    return found
                if kind == ERROR:
                    sys.exit(f"the kernel refused the list: {os.strerror(-struct.unpack_from('i', data, 16)[0])}")
                # Header, nfgenmsg, and the first attribute: the tuple, its addresses, the source.
                found.add(socket.inet_ntop(socket.AF_INET6, data[20 + 12:20 + 28]))
                data = data[(size + 3) & ~3:]


libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEWNET) != 0:
    sys.exit("it needs root")
subprocess.run("""ip link set lo up
for n in 1 2; do ip addr add fd00::$n/128 dev lo nodad; done
nft add table ip6 t
nft 'add chain ip6 t output { type filter hook output priority 0; }'
nft add rule ip6 t output ct state new accept""", shell=True, check=True)
for source in ("fd00::1", "fd00::2"):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        sender.sendto(b"hello", ("fd00::1", 9))
print("all:", *sorted(sources(None)))
print("with the source fd00::1:", *sorted(sources("fd00::1")))
sys.exit(0 if sources("fd00::1") == {"fd00::2"} else "the kernel filters as it says")
PYTHON
