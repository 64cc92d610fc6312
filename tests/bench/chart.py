"""chart.png: how much of docker's figure orch needs, beside the target."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the backend has to be chosen first)

MET = "#3b7a57"
MISSED = "#b5473c"


def draw(all_rows, path, subtitle):
    """Writes the picture; returns False if no headline has both systems."""
    shown = [row for row in all_rows if None not in (row.to_docker(), row.target)]
    if not shown:
        return False
    shown.reverse()
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.42 * len(shown)))
    positions = range(len(shown))
    ratios = [row.to_docker() for row in shown]
    colors = [MET if row.to_docker() <= row.target else MISSED for row in shown]
    axes.barh(positions, ratios, color=colors, height=0.6)
    targets = [row.target for row in shown]
    axes.plot(targets, positions, linestyle="", marker="|", markersize=17, markeredgewidth=2.5,
              color="black", label="target")  # fmt: skip
    widest = max(1.0, *ratios, *targets) * 1.25
    for position, row in zip(positions, shown):
        text = f"{row.to_docker():.3f}  ({row.orch:.3g} / {row.docker:.3g} {row.unit})"
        place = max(row.to_docker(), row.target) + widest * 0.012
        axes.text(place, position, text, va="center", fontsize=8)
    axes.axvline(1.0, color="gray", linewidth=1, linestyle=":")
    axes.set_yticks(list(positions), [f"{row.number}  {row.name}" for row in shown], fontsize=9)
    axes.set_xlim(0, widest)
    axes.set_xlabel("orch ÷ docker swarm mode, less is better")
    figure.text(0.01, 0.985, subtitle, fontsize=7, va="top")
    axes.legend(loc="lower right", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True
