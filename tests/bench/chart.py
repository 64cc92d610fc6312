"""chart.png: how much of docker's figure orch needs, beside the target, and the same of the limits."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the backend has to be chosen first)
from report import number  # noqa: E402

MET = "#3b7a57"
MISSED = "#b5473c"
ROW_INCHES = 0.42
FRAME_INCHES = 1.6


class Bar:
    """A headline's ratio to docker, or to the limit."""

    def __init__(self, row, ratio, base, target):
        self.label = f"{row.number}  {row.name}"
        self.ratio = ratio
        self.target = target
        self.color = MISSED if row.misses(ratio, target) else MET
        self.text = f"{ratio:.3f}  ({number(row.orch)} / {number(base)} {row.unit})"


def draw(all_rows, path, subtitle):
    """Writes the picture; returns False if no headline has a ratio."""
    docker = [Bar(row, row.to_docker(), row.docker, row.target)
              for row in all_rows if None not in (row.to_docker(), row.target)]  # fmt: skip
    limit = [Bar(row, row.to_limit(), row.limit, row.limit_target)
             for row in all_rows if row.to_limit() is not None and row.target is None]  # fmt: skip
    panels = [(docker, "orch ÷ docker swarm mode, less is better"),
              (limit, "orch ÷ limit; the target says which way is better")]  # fmt: skip
    panels = [(bars, label) for bars, label in panels if bars]
    if not panels:
        return False
    heights = [FRAME_INCHES + ROW_INCHES * len(bars) for bars, _ in panels]
    figure, all_axes = pyplot.subplots(
        len(panels), figsize=(11, sum(heights)), gridspec_kw={"height_ratios": heights}, squeeze=False
    )
    for axes, (bars, label) in zip(all_axes[:, 0], panels):
        draw_bars(axes, bars[::-1], label)
    figure.text(0.01, 0.985, subtitle, fontsize=7, va="top")
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def draw_bars(axes, bars, label):
    """From below."""
    positions = range(len(bars))
    axes.barh(positions, [bar.ratio for bar in bars], color=[bar.color for bar in bars], height=0.6)
    axes.plot([bar.target for bar in bars], positions, linestyle="", marker="|", markersize=17,
              markeredgewidth=2.5, color="black", label="target")  # fmt: skip
    widest = max(1.0, *(max(bar.ratio, bar.target) for bar in bars)) * 1.4
    for position, bar in zip(positions, bars):
        place = max(bar.ratio, bar.target) + widest * 0.012
        axes.text(place, position, bar.text, va="center", fontsize=8)
    axes.axvline(1.0, color="gray", linewidth=1, linestyle=":")
    axes.set_yticks(list(positions), [bar.label for bar in bars], fontsize=9)
    axes.set_xlim(0, widest)
    axes.set_xlabel(label)
    axes.legend(loc="lower left", bbox_to_anchor=(1.0, 0.0), fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
