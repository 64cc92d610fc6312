#!/usr/bin/env bash
# haproxy with a master: a second SIGUSR2 that comes while the master starts itself again for the first one
# can be lost. The master has read the files by then, and what is written between the two stays unused until
# somebody asks for one more reload; neither its exit status nor its log says so. So the command in
# configs/balancers/haproxy.toml ends only when the new worker is there. Seen with haproxy 2.6.12 (Debian 12):
# of 30 pairs of reloads 0 to 90 ms apart, 18 left the first of the two configurations in force.
#
# Fails if no second reload of 30 is lost.
set -euo pipefail

folder=$(mktemp -d "${TMPDIR:-/tmp}/orch-finding.XXXXXX")
master=
end() { { kill "$master" && wait "$master"; } 2>/dev/null || true; }
trap 'end; rm -rf "$folder"' EXIT
port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
write() {
  cat >"$folder/new" <<CONFIG
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend all
  bind 127.0.0.1:$port
  http-request return status 200 content-type text/plain string "$1"
CONFIG
  mv "$folder/new" "$folder/haproxy.cfg"
}
answer() { curl -s --retry 5 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$port"; }

write start
haproxy -W -f "$folder/haproxy.cfg" >"$folder/log" 2>&1 &
master=$!
[[ $(answer) == start ]]
lost=0
for i in $(seq 30); do
  write "first-$i"
  kill -USR2 $master
  sleep "0.0$((i % 10))"
  write "second-$i"
  kill -USR2 $master
  sleep 2
  if [[ $(answer) == "first-$i" ]]; then lost=$((lost + 1)); fi
done
haproxy -v | head -n 1
echo "second reloads that were lost: $lost of 30"
((lost > 0))
