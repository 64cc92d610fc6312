#!/usr/bin/env bash
# skopeo leaves a health check out when it makes an OCI image of one in docker's schema (OCI's
# configuration has no such field), and keeps it in an OCI configuration that has it anyway: that
# is copied as it is. Seen with skopeo 1.9.3 (Debian 12). So plugins/image/oci asks a registry for
# the configuration of an image in docker's schema as well.
#
# Fails if one of these is no longer so.
set -euo pipefail

folder=$(mktemp -d "${TMPDIR:-/tmp}/orch-finding.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"

mkdir saved
tar -cf saved/layer.tar -T /dev/null
layer=$(sha256sum saved/layer.tar | cut -d' ' -f1)
cat >saved/config.json <<JSON
{"architecture":"amd64","os":"linux","config":{"Cmd":["/x"],"Healthcheck":{"Test":["CMD","/check"]}},
 "rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
JSON
echo '[{"Config":"config.json","RepoTags":["x:1"],"Layers":["layer.tar"]}]' >saved/manifest.json
tar -C saved -cf saved.tar manifest.json config.json layer.tar

expect() { # yes|no FOLDER WHAT
  local found=no
  if grep -rqs Healthcheck "$2"; then found=yes; fi
  echo "$3: $found"
  [[ $found == "$1" ]]
}
copy() { skopeo --insecure-policy copy -q "$@"; }

copy docker-archive:saved.tar dir:docker
expect yes docker "docker's schema, copied as it is"
copy docker-archive:saved.tar oci:oci:x
expect no oci/blobs "made an OCI image"

# The same, as a builder writes it that puts a health check into an OCI configuration.
config=$(sha256sum saved/config.json | cut -d' ' -f1)
mkdir -p own/blobs/sha256
cp saved/config.json "own/blobs/sha256/$config"
cp saved/layer.tar "own/blobs/sha256/$layer"
cat >manifest <<JSON
{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(stat -c %s saved/config.json)},
 "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:$layer","size":$(stat -c %s saved/layer.tar)}]}
JSON
manifest=$(sha256sum manifest | cut -d' ' -f1)
cp manifest "own/blobs/sha256/$manifest"
echo '{"imageLayoutVersion":"1.0.0"}' >own/oci-layout
cat >own/index.json <<JSON
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest",
 "size":$(stat -c %s manifest),"annotations":{"org.opencontainers.image.ref.name":"x"}}]}
JSON
copy oci:own:x oci:again:x
expect yes again/blobs "an OCI image that had it"
