#!/usr/bin/env bash
# nftables: a rule that says `update @map { key : value }` changes no value. For a key that is in the map
# only its timeout begins anew; the value of before stays, though `update` is what nft(8) calls it, and
# the next `map @map` finds the old one. To replace it a packet needs `delete @map { key : value }`
# first, in the same rule or an earlier one; that works, and the value named there does not matter (the
# kernel refuses the rule without one). So whoever keeps clients with their servers by such a map has to
# delete before he updates, or a client stays with a server that is gone for as long as he keeps coming.
#
# Seen with Linux 6.18.44 and nftables 1.0.6: 127.0.0.1 : 1 after packets that updated it to 1 and to 2;
# 127.0.0.1 : 2 with the delete before.
#
# As root, on Debian 12. Fails if the update replaces the value, or the delete does not let it.
set -euo pipefail
packages=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs"
(cd "$work/debs" && apt-get download -qq "${packages[@]}")
for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/tree"; done
libraries=$work/tree/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$libraries PATH=$work/tree/usr/sbin:$PATH

# A datagram to port 1 asks for the value 1, one to port 2 for 2.
cat >"$work/rules" <<'NFT'
table ip t {
  map stays {
    type ipv4_addr : mark
    flags dynamic, timeout
    timeout 1h
  }
  chain output {
    type filter hook output priority 0;
    udp dport 1 update @stays { ip saddr : 1 }
    udp dport 2 FIRST update @stays { ip saddr : 2 }
  }
}
NFT
cat >"$work/run" <<'BASH'
ip link set lo up
sed "s/FIRST/$1/" "$work/rules" | nft -f -
for port in 1 2; do echo >/dev/udp/127.0.0.1/$port; done
nft -j list map ip t stays
BASH
export work
value() { # FIRST: what the map has after a datagram to port 1 and one to port 2
  unshare --net bash -euo pipefail "$work/run" "$1" |
    python3 -c '
import json, sys
maps = [item["map"] for item in json.load(sys.stdin)["nftables"] if "map" in item]
(element,) = maps[0]["elem"]
print(element[1])'
}

uname -sr
nft --version
updated=$(value "")
echo "updated to 1, then to 2: $updated"
deleted=$(value "delete @stays { ip saddr : 0 }")
echo "with the key deleted before: $deleted"
[[ $updated == 1 && $deleted == 2 ]]
