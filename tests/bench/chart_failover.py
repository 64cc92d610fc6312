"""failover.png: what follows the death of one of three managers' hosts, and when, beside docker."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the backend has to be chosen first)
from report import matches  # noqa: E402

COLORS = {"docker": "#8a8a8a", "orch": "#3b7a57"}
SCENARIOS = (
    ("leader-poweroff", "the leader's host loses its power"),
    ("leader-crash", "all processes of the leader's host are killed"),
    ("follower-poweroff", "another manager's host loses its power"),
    ("follower-crash", "all processes of that one are killed"),
)
STEPS = (
    ("first_write", "a change is accepted"),
    ("first_new_task_exec", "its task runs"),
    ("node_down", "the host is taken for gone"),
    ("tasks_back_exec", "its tasks run elsewhere"),
)
SHORTEST = 0.01


def draw(records, path, subtitle):
    """Writes the picture; returns False if nothing of it was measured."""
    panels = [(scenario, title) for scenario, title in SCENARIOS
              if any(samples(records, system, scenario, name) for system in COLORS for name, _ in STEPS)]  # fmt: skip
    if not panels:
        return False
    figure, all_axes = pyplot.subplots(len(panels), 1, figsize=(10, 1.1 + 1.75 * len(panels)), sharex=True, squeeze=False)
    for axes, (scenario, title) in zip(all_axes[:, 0], panels):
        draw_scenario(axes, records, scenario)
        axes.set_title(title, fontsize=10, loc="left")
    all_axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=9, frameon=False)
    all_axes[-1, 0].set_xlabel("seconds after it (logarithmic); a bar ends at the median, dots are single deaths")
    figure.text(0.01, 0.985, subtitle, fontsize=7, va="top")
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def draw_scenario(axes, records, scenario):
    """A pair of bars for each step, the first one above."""
    for row, (name, _) in enumerate(STEPS):
        for offset, system in ((-0.2, "docker"), (0.2, "orch")):
            times = samples(records, system, scenario, name)
            if not times:
                continue
            median = times[len(times) // 2]
            label = system if row == 0 else None
            axes.barh([row + offset], [median], height=0.36, left=0, color=COLORS[system], label=label)
            axes.plot(times, [row + offset] * len(times), linestyle="", marker=".", markersize=4, color="black")
            axes.text(max(times) * 1.08, row + offset, f"{median:.2f}", va="center", fontsize=8)
    axes.set_yticks(range(len(STEPS)), [text for _, text in STEPS], fontsize=9)
    axes.set_ylim(len(STEPS) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(SHORTEST, 120)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def samples(records, system, scenario, name):
    """In order; of the last run of the part."""
    wanted = {"fig": f"failover.{name}", "sys": system, "scenario": scenario}
    for record in reversed(records):
        if matches(record, wanted):
            return sorted(sample for sample in record.get("samples", []) if sample is not None)
    return []
