"""limit: what off-the-shelf runtimes need when nothing but them is there."""

import os
import shutil
import statistics
import threading
import time

import cgroups
from machine import BenchError, command_line, memory_sum, program
from oci_bundles import Bundle, Runtime, bare_config, docker_config

CONTAINERS = 100
# runtime, configuration, workers side by side, how it is started
QUICK = (
    ("crun", "dockercfg", 1, "create+start"),
    ("crun", "dockercfg", 4, "create+start"),
    ("crun", "bare", 1, "conmon"),
)
FULL = (
    *((runtime, config, workers, "create+start")
      for runtime in ("crun", "runc")
      for config in ("bare", "dockercfg")
      for workers in (1, 2, 4)),
    ("crun", "bare", 2, "run-d"),
    ("crun", "bare", 4, "run-d"),
    ("runc", "bare", 2, "run-d"),
    ("crun", "bare", 1, "conmon"),
    ("crun", "bare", 2, "conmon"),
    ("crun", "bare", 4, "conmon"),
    ("runc", "bare", 1, "conmon"),
    ("runc", "bare", 2, "conmon"),
)


def measure(setup):
    """Every case of the list."""
    tag = setup.new_tag("limit")
    folder = f"{setup.data}/{tag}"
    os.makedirs(folder)
    source = os.path.dirname(os.path.abspath(__file__))
    configs = {"bare": bare_config(), "dockercfg": docker_config(f"{source}/docker-config.json")}
    try:
        with cgroups.OwnAccount(f"{tag}-cpu") as account:
            for runtime, config, workers, how in QUICK if setup.quick else FULL:
                case = Case(setup, folder, tag, runtime, workers, how)
                case.measure(account, configs[config], config)
    finally:
        cgroups.remove(tag)
        shutil.rmtree(folder, ignore_errors=True)


class Sample:
    """Of one batch of containers."""

    def __init__(self, start, delete, cpu, shims):
        self.start = start
        self.delete = delete
        self.cpu = cpu
        self.shims = shims


class Case:
    """One runtime, configuration and number of workers."""

    def __init__(self, setup, folder, tag, runtime, workers, how):
        self.setup = setup
        self.folder = folder
        self.tag = tag
        self.name = runtime
        self.runtime = Runtime(runtime, folder)
        self.workers = workers
        self.how = how

    def measure(self, account, config, config_name):
        """All repetitions and their figures."""
        conditions = self.setup.conditions
        conditions.reset()
        samples = []
        for _ in range(self.setup.repetitions(2, 3)):
            samples.append(conditions.fair(lambda: self._batch(account, config), account.seconds))
        parameters = {"sys": "limit", "rt": self.name, "cfg": config_name, "par": self.workers}
        parameters.update(how=self.how, N=CONTAINERS)
        figure = self.setup.results.figure
        starts = [sample.start for sample in samples]
        rate = round(CONTAINERS / statistics.median(starts), 1)
        figure("limit.start", starts, per_s=rate, **parameters)
        figure("limit.delete_f", [sample.delete for sample in samples], **parameters)
        cpu = [sample.cpu / CONTAINERS * 100 for sample in samples]
        figure("limit.cpu_s_per_100", cpu, unit="cpu_s", note="with this driver's own", **parameters)
        if self.how == "conmon":
            for field in ("Pss", "Rss"):
                values = [sample.shims[field] / 1024 / CONTAINERS for sample in samples]
                name = f"limit.conmon_{field.lower()}_per_container"
                figure(name, values, unit="MiB", **parameters)

    def _batch(self, account, config):
        label = self.setup.new_label("l")
        bundles = [Bundle(self.folder, i, label, self.tag) for i in range(CONTAINERS)]
        cpu = account.seconds()
        begin = time.monotonic()
        try:
            self._share(bundles, lambda bundle: self._start(bundle, config))
            cpu = account.seconds() - cpu
            last = self.setup.watch.wait_started(label, CONTAINERS, begin, 20)
            if last is None:
                raise BenchError(f"{self.name} did not start {CONTAINERS} containers")
            shims = memory_sum(conmons(label)) if self.how == "conmon" else None
        finally:
            begin_delete = time.monotonic()
            self._share(bundles, self._delete)
            deleted = time.monotonic() - begin_delete
            shutil.rmtree(f"{self.folder}/{label}", ignore_errors=True)
        return Sample(last - begin, deleted, cpu, shims)

    def _start(self, bundle, config):
        bundle.make(config, self.setup.rootfs)
        self.runtime.start(bundle, self.how)

    def _delete(self, bundle):
        self.runtime.delete(bundle)
        bundle.unmount()

    def _share(self, bundles, work):
        """Runs `work` for every bundle with `workers` threads; fails with the first error."""
        errors = []

        def worker(number):
            try:
                for bundle in bundles[number :: self.workers]:
                    work(bundle)
            except (BenchError, OSError) as error:
                errors.append(error)

        threads = [threading.Thread(target=worker, args=(n,)) for n in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


def conmons(label):
    """The pids of the conmon processes of one batch."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    found = [pid for pid in pids if program(pid) == "conmon"]
    return [pid for pid in found if any(label in word for word in command_line(pid))]
