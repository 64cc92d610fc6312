#!/usr/bin/env bash
# consul: a transaction that reads a key which its token may not read succeeds, and its answer has no such
# key; a list of keys is empty, or 404. A `get` of a key that is not there is an error. So
# plugins/store/consul takes an answer without the key for "Permission denied", and
# plugins/discovery/consul, which reads lists only, asks about one key as well (`check-index`, which says it)
# where it gets an empty list. Seen with consul 1.8.7 (Debian 11).
#
# Fails if consul does otherwise.
set -euo pipefail

folder=$(mktemp -d "${TMPDIR:-/tmp}/orch-finding.XXXXXX")
consul=
end() { { kill -9 "$consul" && wait "$consul"; } 2>/dev/null || true; }
trap 'end; rm -rf "$folder"' EXIT
read -r http rpc serf < <(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(one.getsockname()[1] for one in sockets))')
url=http://127.0.0.1:$http master=11111111-2222-3333-4444-555555555555
consul agent -server -bootstrap-expect=1 -data-dir="$folder/data" -bind=127.0.0.1 -client=127.0.0.1 \
  -http-port="$http" -server-port="$rpc" -serf-lan-port="$serf" -serf-wan-port=-1 -dns-port=-1 -grpc-port=-1 \
  -hcl="performance { raft_multiplier = 1 } acl { enabled = true default_policy = \"deny\"
    tokens { master = \"$master\" } }" >"$folder/log" 2>&1 &
consul=$!
until curl -sf -H "X-Consul-Token: $master" -X PUT -d v "$url/v1/kv/k" >/dev/null; do
  kill -0 $consul
  sleep 0.05
done

transaction() { curl -s -X PUT -w ' %{http_code}\n' -d "[{\"KV\":$1}]" "$url/v1/txn?consistent"; }
failed=0
expect() {
  echo "$2: $1"
  grep -q "$3" <<<"$1" || failed=1
}
expect "$(transaction '{"Verb":"get","Key":"k"}')" "get, not allowed" '"Results":\[\],"Errors":null.* 200'
expect "$(transaction '{"Verb":"get-tree","Key":"k"}')" "get-tree, not allowed" '"Results":\[\],"Errors":null.* 200'
expect "$(transaction '{"Verb":"get","Key":"none"}')" "get, not there" "doesn't exist.* 409"
expect "$(transaction '{"Verb":"check-index","Key":"k","Index":1}')" "check-index, not allowed" 'Permission denied.* 409'
expect "$(curl -s -w ' %{http_code}\n' "$url/v1/kv/?recurse")" "list, not allowed" '^ 404'
((failed == 0))
