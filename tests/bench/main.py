"""scripts/bench: docker swarm mode, the bare runtimes and orch, measured in one run."""

import argparse
import datetime
import os
import shutil
import signal
import subprocess
import sys
import traceback

import cgroups
import measure_api
import measure_cluster
import measure_cluster_scale
import measure_commit
import measure_create
import measure_endpoints
import measure_failover
import measure_failover_scale
import measure_floor
import measure_heal
import measure_isolation
import measure_limit
import measure_memory
import measure_network
import measure_place
import measure_promote
import measure_rollback
import measure_scale
import measure_sync
import measure_update
import report
from docker_driver import SYSTEM_PATH, DockerDriver
from machine import BenchError, run
from orch_driver import OrchDriver
from run_setup import Setup

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
DRIVERS = {"docker": DockerDriver, "orch": OrchDriver}
SYSTEMS = ("limit", "docker", "orch")
PRIVATE = "ORCH_BENCH_PRIVATE"


class Part:
    """Something that --only can name. `managers` 0: it needs no orchestrator."""

    def __init__(self, name, measure, managers, quick, about, figures=None):
        self.name = name
        self.measure = measure
        self.managers = managers
        self.quick = quick
        self.about = about
        self.figures = figures


# What `scripts/bench network` measures, all on an overlay network.
NETWORK_PARTS = ("limit", "create", "scale", "update", "network", "endpoints", "endpoints-memory")

PARTS = (
    Part("limit", measure_limit.measure, 0, True, "bare crun, runc and conmon"),
    Part("floor", measure_floor.measure, 0, False, "clone and exec, namespaces, fsync"),
    Part("create", measure_create.measure, 1, True, "rows 1-4: create N, remove"),
    Part("scale", measure_scale.measure, 1, True, "row 5: 1 to 50, 50 to 0"),
    Part("heal", measure_heal.measure, 1, True, "row 6: SIGKILL of a task"),
    Part("update", measure_update.measure, 1, True, "rows 7, 8: rolling update"),
    Part("rollback", measure_rollback.measure, 1, True, "rows 34, 35: an update that fails is taken back"),
    Part("memory", measure_memory.measure, 1, True, "rows 12-14: memory, idle CPU"),
    Part("api", measure_api.measure, 1, True, "create without replicas, service ls"),
    Part("isolation", measure_isolation.measure, 1, True, "seccomp, namespaces, cgroups of a container"),
    Part("sync", measure_sync.measure, 1, True, "strace: synced before answered"),
    Part("api3", measure_api.measure_three, 3, False, "row 15: api with three managers",
         {"managers": 3}),
    Part("failover", measure_failover.measure, 3, False, "rows 9-11, 45: a node dies",
         {"fig": "failover."}),
    Part("commit", measure_commit.measure, 0, False, "row 46: a commit beside a bare transaction of etcd"),
    Part("promote", measure_promote.measure, 3, False, "row 47: a worker becomes the third manager",
         {"fig": "promote."}),
    Part("failover-scale", measure_failover_scale.measure, 3, False, "row 48: 100,000 tasks, a new leader",
         {"fig": "loaded."}),
    Part("cluster", measure_cluster.measure, 1, False, "rows 19-23: a manager and two workers"),
    Part("network", measure_network.measure, 1, False, "rows 29-31: traffic between hosts and from outside"),
    Part("endpoints", measure_endpoints.measure_changes, 0, False, "row 32: a change of one of 10,000 endpoints"),
    Part("endpoints-memory", measure_endpoints.measure_memory, 1, False, "row 33: memory of networks and endpoints"),
    Part("place", measure_place.measure, 0, False, "rows 36-44: what scheduling decides in a second"),
    Part("cluster-scale", measure_cluster_scale.measure, 1, False, "rows 24-28: 1,000 nodes on one manager"),
)  # fmt: skip


def parse(arguments):
    """The options, refused with usage and status 2."""
    listing = "\n".join(f"  {part.name:13} {part.about}" for part in PARTS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures docker swarm mode, the bare container runtimes and orch on this machine"
        " with the kernel's own clock, and holds orch to tests/bench/targets.json.",
        epilog=f"parts:\n{listing}\n\nexit status: 0; 1 a target is missed or a part broke off;"
        " 2 usage.\nNeeds root; run it on a machine that does nothing else.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", nargs="?", choices=("cluster", "cluster-scale", "network", "place"),
                        help="only what several hosts are for, only many simulated ones, only"
                        " overlay networks and published ports, or only scheduling")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="about 12 minutes instead of an hour")
    parser.add_argument("--only", metavar="PART,…", help="these parts only")
    parser.add_argument("--network", choices=("bridge", "overlay", "host"),
                        help="create, scale and update on this one only")  # fmt: skip
    parser.add_argument("--systems", metavar="SYSTEM,…", default=",".join(SYSTEMS),
                        help="of limit, docker, orch (default: all)")  # fmt: skip
    parser.add_argument("--runtime", choices=("crun", "runc"), default="crun",
                        help="what orch starts containers with (default: crun)")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="for the results (default: build/bench/DATE)")
    parser.add_argument("--data", metavar="DIR", default="/var/tmp",
                        help="on a real disk, for the nodes' data (default: /var/tmp)")  # fmt: skip
    parser.add_argument("--build", metavar="DIR", default=f"{SOURCE}/build/release",
                        help="what to measure (default: build/release)")  # fmt: skip
    parser.add_argument("--no-build", action="store_true", help="take the build as it is")
    parser.add_argument("--report", metavar="DIR", help="only write the report of DIR again")
    options = parser.parse_args(arguments)
    options.systems = chosen(parser, "system", options.systems, SYSTEMS)
    names = tuple(part.name for part in PARTS)
    if options.suite == "network":
        options.network = "overlay"
        options.only = options.only or ",".join(NETWORK_PARTS)
    options.only = chosen(parser, "part", options.only or options.suite, names) if options.only or options.suite else None
    options.build = os.path.abspath(options.build)
    options.data = os.path.abspath(options.data)
    date = datetime.datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    options.out = os.path.abspath(options.out or f"{SOURCE}/build/bench/{date}")
    return options


def chosen(parser, what, text, known):
    """The names of a list, each of them known."""
    names = tuple(text.split(","))
    for name in names:
        if name not in known:
            parser.error(f"unknown {what} '{name}'; there are {', '.join(known)}")
    return names


def enter_private_namespace(arguments):
    """Starts this program again where its mounts are seen by nobody else, and end with it."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-B"]
    os.environ[PRIVATE] = "1"
    os.execvp(command[0], [*command, os.path.abspath(__file__), *arguments])


def prepare_mounts(setup):
    """Network namespaces and cgroups of our own."""
    os.makedirs("/run/netns", exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run/netns"])
    cgroups.check_host()
    cgroups.mount_private_view(f"{setup.data}/cgroup")


def build(options):
    """The release preset, or only what the other systems need."""
    if not os.path.exists(f"{options.build}/build.ninja"):
        preset = os.path.basename(options.build)
        subprocess.run(["cmake", "--preset", preset], cwd=SOURCE, check=True)
    alone = options.only == ("place",) or "orch" not in options.systems
    targets = ["orch_bench"] if alone else []
    jobs = os.environ.get("ORCH_JOBS", str(os.cpu_count()))
    subprocess.run(["ninja", "-C", options.build, "-j", jobs, *targets], check=True)


def describe_environment(setup):
    """The machine and the versions."""

    def first_line(*command):
        return run(command, env=dict(os.environ, PATH=SYSTEM_PATH)).splitlines()[0]

    model = [line for line in run(["cat", "/proc/cpuinfo"]).splitlines() if "model name" in line]
    found = {
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "kernel": os.uname().release,
        "cores": os.cpu_count(),
        "processor": model[0].split(":", 1)[1].strip() if model else "unknown",
        "orch": run(["git", "-C", SOURCE, "describe", "--always", "--dirty"], check=False).strip(),
        "runtime of orch": setup.runtime,
        "docker": first_line("dockerd", "--version"),
        "containerd": first_line("containerd", "--version"),
        "runc": first_line("runc", "--version"),
        "crun": first_line("crun", "--version"),
        "conmon": first_line("conmon", "--version"),
        "mode": "quick" if setup.quick else "full",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }
    setup.results.write({"env": found})


def measure_all(setup, options):
    """Every part with every system; a part that breaks off does not end the run."""
    complete = True
    for part in PARTS:
        named = options.only is not None
        if part.name not in options.only if named else setup.quick and not part.quick:
            continue
        if part.managers == 0:
            alone = part.name in ("commit", "endpoints", "place")  # a program of orch's
            if "limit" in options.systems or alone:
                complete &= attempt_part(setup, part, "limit", lambda: part.measure(setup))
            continue
        for name in options.systems:
            if name in DRIVERS:
                complete &= measure_system(setup, part, DRIVERS[name](setup))
    return complete


def measure_system(setup, part, driver):
    """One part with one orchestrator."""
    if part.managers > driver.most_managers:
        reason = f"needs {part.managers} managers, which it does not have yet"
        setup.results.skip(driver.name, reason, **part.figures)
        return True
    with driver:
        return attempt_part(setup, part, driver.name, lambda: part.measure(setup, driver))


def attempt_part(setup, part, system, measure):
    """Whether it came to its end."""
    print(f"--- {part.name}: {system}", flush=True)
    try:
        measure()
        return True
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        setup.results.failure(system, part.name, str(error))
        return False


def conclude(out):
    """Writes and prints the report; whether every target is met."""
    import chart
    import chart_failover
    import chart_place

    all_rows = report.write(out, f"{HERE}/targets.json")
    with open(f"{out}/ratios.md", encoding="utf-8") as file:
        print("\n" + file.read())
    subtitle = report.environment(report.read(f"{out}/results.jsonl")).replace("- ", "")
    lines = subtitle.splitlines()
    subtitle = " · ".join(lines[1:4] + lines[6:7])
    chart.draw(all_rows, f"{out}/chart.png", subtitle)
    records = report.read(f"{out}/results.jsonl")
    chart_place.draw(records, f"{out}/place.png", subtitle)
    chart_failover.draw(records, f"{out}/failover.png", subtitle)
    print(f"results: {out}")
    missed = [row.name for row in all_rows if row.missed()]
    for name in missed:
        print(f"missed: {name}")
    return not missed


def on_terminate(*_):
    """SIGTERM cleans up like Ctrl-C does."""
    sys.exit(3)


def main(arguments):
    """The exit status."""
    options = parse(arguments)
    if options.report:
        return 0 if conclude(os.path.abspath(options.report)) else 1
    if os.geteuid() != 0:
        print("scripts/bench: needs root: it makes namespaces, cgroups and mounts", file=sys.stderr)
        return 1
    if PRIVATE not in os.environ:
        if not options.no_build:
            build(options)
        enter_private_namespace(arguments)
    signal.signal(signal.SIGTERM, on_terminate)
    os.makedirs(options.out, exist_ok=True)
    setup = Setup(options, SOURCE)
    try:
        setup.begin()
        prepare_mounts(setup)
        describe_environment(setup)
        complete = measure_all(setup, options)
    finally:
        setup.end()
        shutil.rmtree(setup.data, ignore_errors=True)
    met = conclude(options.out)
    return 0 if complete and met else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BenchError, subprocess.CalledProcessError) as failure:
        print(f"scripts/bench: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("scripts/bench: interrupted; everything was taken away", file=sys.stderr)
        sys.exit(130)
