"""place.png: what scheduling decides, beside the published figures of others and the aims."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the backend has to be chosen first)
from report import find  # noqa: E402

OURS, OTHERS, AIM = "#3b7a57", "#8a8a8a", "black"
# Of whole clusters, with all that a placement needs there: the orders of magnitude can be compared,
# no more. hashicorp.com/c1m (2016); kubewharf/godel's pull request 73 (simulated nodes) and AWS on EKS.
PUBLISHED = (
    ("Nomad, 5,000 hosts", 3750, 3750),
    ("kube-scheduler,\n30,000 and 100,000 nodes", 300, 500),
)
PLACEMENTS_AIM = 100_000
ONE_AIM_US = 100
LOST_AIM_S = 1
NODES = (100, 1_000, 10_000)


def draw(records, path, subtitle):
    """Writes the picture; returns False if nothing of it was measured."""
    rate = find(records, "orch", {"fig": "place.placements_per_s"})
    if rate is None:
        return False
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 3.6), gridspec_kw={"width_ratios": [1.3, 1, 1]})
    draw_rates(axes[0], rate)
    draw_curve(axes[1], records)
    draw_loss(axes[2], records)
    figure.text(0.01, 0.985, subtitle, fontsize=7, va="top")
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def draw_rates(axes, rate):
    """Placements in a second."""
    bars = [("orch, one core\n10,000 nodes", rate, rate), *PUBLISHED][::-1]
    axes.barh([name for name, _, _ in bars], [high for _, _, high in bars], height=0.55,
              color=[OURS if name.startswith("orch") else OTHERS for name, _, _ in bars])  # fmt: skip
    for position, (_, low, high) in enumerate(bars):
        text = f"{high:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
        axes.text(high * 1.15, position, text, va="center", fontsize=9)
    axes.axvline(PLACEMENTS_AIM, color=AIM, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlim(100, 2_000_000)
    axes.set_title("placements in a second (dotted: the aim)", fontsize=10)


def draw_curve(axes, records):
    """One task's placement by the size of the cluster."""
    times = [find(records, "orch", {"fig": "place.one_us", "nodes": nodes}) for nodes in NODES]
    axes.plot(NODES, times, marker="o", color=OURS)
    for nodes, micros in zip(NODES, times):
        axes.annotate(f"{micros:.0f}", (nodes, micros), textcoords="offset points", xytext=(0, 7), ha="center")
    axes.axhline(ONE_AIM_US, color=AIM, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_ylim(0, ONE_AIM_US * 1.15)
    axes.set_xlabel("nodes")
    axes.set_title("one more task, µs", fontsize=10)


def draw_loss(axes, records):
    """What the loss of a tenth of the nodes takes, by what is done."""
    parts = [(name, find(records, "orch", {"fig": f"place.lost_{figure}_s"}))
             for name, figure in (("nodes noted", "noted"), ("placed", "placing"), ("state", "applying"))]  # fmt: skip
    whole = find(records, "orch", {"fig": "place.lost_s"})
    parts.insert(1, ("tasks replaced", whole - sum(seconds for _, seconds in parts)))
    left = 0.0
    for shade, (name, seconds) in zip((0.35, 0.55, 0.8, 1.0), parts):
        axes.barh([0], [seconds], left=[left], height=0.5, color=OURS, alpha=shade, label=f"{name} {seconds:.2f}")
        left += seconds
    axes.axvline(LOST_AIM_S, color=AIM, linewidth=1, linestyle=":")
    axes.set_yticks([])
    axes.set_ylim(-1.2, 0.6)
    axes.set_xlabel("seconds of CPU")
    axes.legend(loc="lower left", ncols=2, fontsize=8)
    tasks = find(records, "orch", {"fig": "place.lost_tasks"})
    axes.set_title(f"1,000 of 10,000 nodes lost, {tasks:,.0f} tasks: {whole:.2f} s", fontsize=10)
