"""place: what the manager's scheduling decides on one core, without a store and without agents."""

from machine import run

IN_KIB = {"node_bytes", "task_bytes"}


def measure(setup):
    """One run of orch-bench-place, or three: each takes about twenty seconds, all of it CPU time."""
    taken = {}
    for _ in range(setup.repetitions(1, 3)):
        for line in run([f"{setup.programs}/orch-bench-place"]).splitlines():
            name, of, value = line.split()
            taken.setdefault((name, of), []).append(float(value))
    for (name, of), samples in taken.items():
        unit = "1/s" if name.endswith("_per_s") else name.rsplit("_", 1)[-1]
        if name in IN_KIB:
            name, unit, samples = name.replace("bytes", "kib"), "KiB", [sample / 1024 for sample in samples]
        parameters = {} if of == "-" else {"nodes": int(of)}
        setup.results.figure(f"place.{name}", samples, unit=unit, sys="orch", **parameters)
    curve = [taken["one_us", nodes] for nodes in ("100", "1000", "10000")]
    ratios = [max(run_of) / min(run_of) for run_of in zip(*curve)]
    setup.results.figure("place.curve", ratios, unit="x", sys="orch")
    empty = [many / few for few, many in zip(taken["create_us", "10"], taken["create_us", "10000"])]
    setup.results.figure("place.create_ratio", empty, unit="x", sys="orch")
