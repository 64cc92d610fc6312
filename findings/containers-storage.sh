#!/usr/bin/env bash
# skopeo 1.9.3 copies into containers-storage (driver overlay) without syncing what it unpacks: only its
# own JSON files are synced, so that after a power cut a layer may count as complete whose files are
# empty. And it cannot do without CAP_SYS_ADMIN: it mounts its own folder anew at each start.
#
# As root, on Debian 12. Fails if one of the two is no longer so.
set -euo pipefail
packages=(skopeo=1.9.3+ds1-1+b10 containers-storage=1.43.0+ds1-8+b2)
work=$(mktemp -d)
trap 'umount "$work/store/overlay" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/debs"
(cd "$work/debs" && apt-get download -qq "${packages[@]}")
for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/tree"; done
PATH=$work/tree/usr/bin:$PATH

# An image of one layer with a hundred files, as an OCI layout.
blobs=$work/image/blobs/sha256
mkdir -p "$work/files" "$blobs"
for i in $(seq 100); do echo "$i" >"$work/files/$i"; done
put() { # FILE: its digest and size; the file becomes a blob
  local digest
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  echo "\"digest\":\"sha256:$digest\",\"size\":$(stat -c %s "$1")"
  mv "$1" "$blobs/$digest"
}
tar -C "$work/files" -cf "$work/layer" .
diff=sha256:$(sha256sum "$work/layer" | cut -d' ' -f1)
layer=$(put "$work/layer")
echo "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"$diff\"]}}" >"$work/config"
type=application/vnd.oci.image
config=$(put "$work/config")
echo "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"$type.config.v1+json\",$config},\"layers\":[{\"mediaType\":\"$type.layer.v1.tar\",$layer}]}" >"$work/manifest"
manifest=$(put "$work/manifest")
echo "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"$type.manifest.v1+json\",$manifest}]}" >"$work/image/index.json"
echo '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"

skopeo --version
echo "${packages[*]}"
copy=(skopeo --insecure-policy copy -q "oci:$work/image" "containers-storage:[overlay@$work/store+$work/run]localhost/one:1")

strace -f -y -e trace=fsync,fdatasync,syncfs,sync -o "$work/syncs" "${copy[@]}"
files=$(find "$work/store/overlay" -path '*/diff/*' -type f | wc -l)
all=$(grep -cE '(fsync|fdatasync|syncfs|sync)\(' "$work/syncs" || true)
contents=$(grep -E '(fsync|fdatasync)\(' "$work/syncs" | grep -c '/diff/' || true)
whole=$(grep -cE '(syncfs|[^af]sync)\(' "$work/syncs" || true)
echo "$files files unpacked; $all syncs, of them $contents of unpacked files, $whole of the file system"
[[ $files == 100 && $contents == 0 && $whole == 0 ]]

umount "$work/store/overlay" 2>/dev/null || true
if told=$(setpriv --bounding-set=-sys_admin --inh-caps=-all "${copy[@]}" 2>&1); then
  echo "it worked without CAP_SYS_ADMIN"
  exit 1
fi
echo "without CAP_SYS_ADMIN: ${told##*msg=}"
[[ $told == *"operation not permitted"* ]]
