#!/bin/busybox sh
# The first process of uml-test.py's kernel. Its root is the machine's own, read-only; the folder
# that UML_OUT names, which is the test's, becomes /run/out: `command` is run there, and what it says
# and its status are left.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# What is not mounted yet cannot tell busybox where it is.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t tmpfs run /run
/bin/busybox mkdir /run/out
/bin/busybox mount -t hostfs -o "$UML_OUT" out /run/out
exec >/run/out/log 2>&1
mount -t sysfs sys /sys
mkdir /run/tmp
export TMPDIR=/run/tmp
ip link set lo up

# With all that it needs, which comes first at the end of its line.
load() {
  for module in $(awk -v "name=/$1.ko:" 'index($1, name) {
      for (i = NF; i > 1; i--) print $i
      sub(":", "", $1); print $1
    }' "$modules/modules.dep"); do
    insmod "$modules/$module" 2>/dev/null
  done
}
modules=/usr/lib/uml/modules/$(uname -r)
[ -d "$modules" ] || modules=/usr/lib/uml/modules
for name in veth bridge br_netfilter vxlan nf_tables ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh; do load "$name"; done

. /run/out/command
echo $? >/run/out/status
/bin/busybox poweroff -f
