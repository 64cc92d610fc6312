#!/usr/bin/env python3
"""Runs tests of a Catch2 program in a kernel that has WireGuard: one that is installed here, in qemu, with this
machine's files read-only.

usage: qemu-test.py PROGRAM TESTS

77, with the reason, without qemu-system-x86_64 or such a kernel in /boot: apt-get install --no-install-recommends
qemu-system-x86 linux-image-amd64. scripts/setup does not, since they are half a gigabyte.
"""
import glob
import lzma
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

QEMU = "qemu-system-x86_64"
BUSYBOX = "/bin/busybox"
PATIENCE_S = 380  # before ctest's 400 s, which would show nothing
SKIPPED = 77
ROOT = ("9pnet_virtio", "9p")  # what the first process needs to see the files; the rest comes from them

# Its root is in memory, then the machine's own; /mnt is the test's folder.
INIT = """#!/bin/busybox sh
b=/bin/busybox
for module in /m/*; do $b insmod $module; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro files /whole
$b mount -t 9p -o trans=virtio,version=9p2000.L out /whole/mnt
for kind in proc sysfs devtmpfs; do
  case $kind in proc) on=proc ;; sysfs) on=sys ;; *) on=dev ;; esac
  $b mount -t $kind $kind /whole/$on
done
$b mount -t tmpfs run /whole/run
exec $b switch_root /whole /bin/bash /mnt/second
"""
SECOND = """export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run/tmp HOME=/run
mkdir /run/tmp
ip link set lo up
modprobe br_netfilter
. /mnt/command >/mnt/log 2>&1
echo $? >/mnt/status
sync
echo b >/proc/sysrq-trigger
"""


def kernel():
    """The newest of the machine's with WireGuard as a module, or nothing."""
    found = glob.glob("/lib/modules/*/kernel/drivers/net/wireguard/wireguard.ko*")
    releases = sorted(path.split("/")[3] for path in found)
    bootable = [release for release in releases if os.path.exists(f"/boot/vmlinuz-{release}")]
    return bootable[-1] if bootable else None


def modulesFor(release, names):
    """Their files, each after what it needs."""
    base = f"/lib/modules/{release}"
    with open(f"{base}/modules.dep") as file:
        needs = {line.split(":")[0]: line.split(":")[1].split() for line in file}
    chosen = []
    for name in names:
        own = next((path for path in needs if os.path.basename(path).split(".")[0] == name), None)
        for path in [*reversed(needs.get(own, [])), own] if own else []:
            if path not in chosen:
                chosen.append(path)
    return [f"{base}/{path}" for path in chosen]


def content(path):
    return (lzma.open if path.endswith(".xz") else open)(path, "rb").read()


def initramfs(release):
    """As the kernel's Documentation/driver-api/early-userspace/buffer-format.rst says: `newc`."""
    entries = [(folder, 0o40755, b"") for folder in ("bin", "m", "whole")]
    entries += [("bin/busybox", 0o100755, content(BUSYBOX)), ("init", 0o100755, INIT.encode())]
    for number, path in enumerate(modulesFor(release, ROOT)):
        entries.append((f"m/{number:02}-{os.path.basename(path)}", 0o100644, content(path)))
    archive = b""
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return archive


def boot(release, folder):
    """Runs the kernel to its end; what it says on its console."""
    share = lambda path, tag, more: ["-fsdev", f"local,id={tag},path={path},security_model=none{more}",
                                     "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    arguments = [QEMU, "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot", "-net", "none",
                 "-kernel", f"/boot/vmlinuz-{release}", "-initrd", f"{folder}/initramfs",
                 "-append", "console=ttyS0 panic=-1 quiet mitigations=off",
                 *share("/", "files", ",readonly=on,multidevs=remap"), *share(f"{folder}/out", "out", "")]
    with open(f"{folder}/console", "wb") as console:
        try:
            subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            print(f"qemu-test: it has not ended after {PATIENCE_S} s")
    return pathlib.Path(f"{folder}/console").read_text(errors="replace")


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    release = kernel()
    if not shutil.which(QEMU) or not release or not os.path.exists(BUSYBOX):
        print(f"qemu-test: skipped, since there is no {QEMU}, or no kernel in /boot with WireGuard as a module")
        return SKIPPED
    program, tests = sys.argv[1:]
    folder = tempfile.mkdtemp(prefix=f"orch-qemu-{os.getpid()}-")
    try:
        out = pathlib.Path(folder, "out")
        out.mkdir()
        out.joinpath("second").write_text(SECOND)
        out.joinpath("command").write_text(shlex.join([os.path.abspath(program), "-#", "-d", "yes", tests]) + "\n")
        pathlib.Path(folder, "initramfs").write_bytes(initramfs(release))
        console = boot(release, folder)
        log, status = out / "log", out / "status"
        print(log.read_text(errors="replace") if log.exists() else "qemu-test: nothing ran")
        if status.exists():
            return 0 if status.read_text().strip() == "0" else 1
        print("qemu-test: the kernel ended without a result; its console:\n" + console[-4000:])
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
