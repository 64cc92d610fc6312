"""What every measurement of one run shares: options, paths, the clock and the results."""

import itertools
import os
import tarfile

from machine import Conditions
from results import Results
from watch import Watch


class Setup:
    """Made once per run. `quick` means fewer sizes and repetitions, never other parameters."""

    def __init__(self, options, source):
        self.quick = options.quick
        self.source = source
        self.build = options.build
        self.programs = f"{options.build}/bench-bin"
        self.data = f"{options.data}/orch-bench.{os.getpid()}"
        self.image = f"{self.data}/rootfs.tar"
        self.rootfs = f"{self.data}/rootfs"
        self.runtime = options.runtime
        self.network = options.network
        self.out = options.out
        self.conditions = Conditions(2 if options.quick else 8, 2 if options.quick else 4)
        self.results = Results(f"{options.out}/results.jsonl", self.conditions)
        self.watch = None
        self.numbers = itertools.count(1)

    def begin(self):
        """The image and the clock."""
        os.makedirs(self.data)
        make_rootfs(self.rootfs, f"{self.programs}/wl")
        with tarfile.open(self.image, "w") as archive:
            archive.add(self.rootfs, arcname=".")
        self.watch = Watch(f"{self.programs}/procwatch")

    def end(self):
        """Ends the clock. The data folder is the caller's to remove."""
        if self.watch is not None:
            self.watch.close()
            if self.watch.lost:
                print(f"procwatch lost events {self.watch.lost} times", flush=True)

    def new_tag(self, name):
        """A name for what one driver makes on the host: test, pid, number."""
        return f"ob-{name}-{os.getpid()}-{next(self.numbers)}"

    def new_label(self, kind):
        """A name for a service and its workloads that no other had."""
        return f"{kind}{os.getpid()}x{next(self.numbers)}"

    def networks(self, quick, full):
        """Which ones to measure on: the one that was asked for, of those that there would be."""
        if self.network is not None:
            return tuple(name for name in full if name == self.network)
        return quick if self.quick else full

    def repetitions(self, quick, full):
        """How often to measure."""
        return quick if self.quick else full


def make_rootfs(path, workload):
    """The workload and busybox, in the folders that a container expects."""
    for folder in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        os.makedirs(f"{path}/{folder}")
    copy_program(workload, f"{path}/bin/wl")
    copy_program("/bin/busybox", f"{path}/bin/busybox")
    os.symlink("busybox", f"{path}/bin/sh")
    os.symlink("busybox", f"{path}/bin/sleep")


def copy_program(source, target):
    """With its mode."""
    with open(source, "rb") as original, open(target, "wb") as copy:
        copy.write(original.read())
    os.chmod(target, 0o755)
