#!/usr/bin/env bash
# nftables: `jhash ip saddr mod N` without a seed draws one when the rule is made, for this rule alone,
# and nobody can see it: `nft list ruleset` prints none. So the same rule, restored from what was listed,
# sends nearly every address elsewhere, as do two equal rules side by side, or equal rules on two hosts;
# nft(8) calls the seed optional and does not say what stands in its place. Who balances by the client's
# address and writes his rules anew, as when a server joins another service, takes all clients from
# their servers. With `seed 1` the numbers are the same each time, and it is listed.
#
# Seen with Linux 6.18.44 and nftables 1.0.6: of 64 addresses, mod 1000, 0 had the same number after
# `nft list ruleset >FILE; nft flush ruleset; nft -f FILE` (by chance none or one has); with `seed 1` all 64.
#
# As root, on Debian 12. Fails if addresses keep their numbers without a seed, or do not with one.
set -euo pipefail
packages=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs"
(cd "$work/debs" && apt-get download -qq "${packages[@]}")
for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/tree"; done
libraries=$work/tree/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$libraries PATH=$work/tree/usr/sbin:$PATH

# The mark of a datagram is the number of its source address.
cat >"$work/rules" <<'NFT'
table ip t {
  set numbers {
    type ipv4_addr . mark
    flags dynamic
    size 65535
  }
  chain output {
    type filter hook output priority 0;
    udp dport 9 meta mark set jhash ip saddr mod 1000 SEED
    udp dport 9 add @numbers { ip saddr . meta mark }
  }
}
NFT
cat >"$work/run" <<'BASH'
ip link set lo up
numbers() {
  for i in {1..64}; do python3 -c '
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.bind((sys.argv[1], 0))
    client.sendto(b"", ("127.0.0.1", 9))' "127.0.1.$i"; done
  nft -j list set ip t numbers
  nft flush set ip t numbers
}
sed "s/SEED/$1/" "$work/rules" | nft -f -
numbers
nft -s list ruleset >"$work/listed"
nft flush ruleset
nft -f "$work/listed"
numbers
BASH
export work
kept() { # SEED: how many of 64 addresses have the same number after the rules were restored
  unshare --net bash -euo pipefail "$work/run" "$1" |
    python3 -c '
import json, sys
def numbers(line):
    (found,) = [item["set"] for item in json.loads(line)["nftables"] if "set" in item]
    return {tuple(element["concat"]) for element in found["elem"]}
before, after = map(numbers, sys.stdin)
assert len(before) == len(after) == 64
print(len(before & after))'
}

uname -sr
nft --version
without=$(kept "")
echo "without a seed: $without of 64 have the same number after the rules were restored"
with=$(kept "seed 1")
echo "with 'seed 1': $with of 64"
((without <= 5 && with == 64))
