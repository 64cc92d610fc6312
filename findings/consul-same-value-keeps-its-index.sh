#!/usr/bin/env bash
# consul: writing the value that a key has already changes nothing, its ModifyIndex neither, also in a
# transaction and with `cas`. So one index could be the condition of many writes. plugins/store/consul writes
# the revision that a change was decided on before each value, and no two are the same. And `delete-cas` of a
# key that is not there succeeds with any index: what is to be deleted is looked at before. Seen with consul
# 1.8.7 (Debian 11).
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
url=http://127.0.0.1:$http
consul agent -server -bootstrap-expect=1 -data-dir="$folder/data" -bind=127.0.0.1 -client=127.0.0.1 \
  -http-port="$http" -server-port="$rpc" -serf-lan-port="$serf" -serf-wan-port=-1 -dns-port=-1 -grpc-port=-1 \
  -hcl='performance { raft_multiplier = 1 }' >"$folder/log" 2>&1 &
consul=$!
until curl -sf -X PUT -d v "$url/v1/kv/k" >/dev/null; do
  kill -0 $consul
  sleep 0.05
done

transaction() { curl -s -X PUT -d "[{\"KV\":$1}]" "$url/v1/txn"; }
indexOf() { python3 -c 'import json, sys; print(json.load(sys.stdin)["Results"][0]["KV"]["ModifyIndex"])'; }
first=$(transaction '{"Verb":"set","Key":"a","Value":"djE="}' | indexOf)
second=$(transaction "{\"Verb\":\"cas\",\"Key\":\"a\",\"Value\":\"djE=\",\"Index\":$first}" | indexOf)
third=$(transaction "{\"Verb\":\"cas\",\"Key\":\"a\",\"Value\":\"djE=\",\"Index\":$first}" | indexOf)
gone=$(transaction '{"Verb":"delete-cas","Key":"none","Index":77}')
echo "the same value three times: $first, $second, $third; delete-cas of what is not there: $gone"
[[ $first == "$second" && $second == "$third" && $gone == *'"Errors":null'* ]]
