"""What a run's results say: all figures, the ratios with their targets, the proof of the syncs."""

import json

from results import describe, read

# Not part of what tells one figure from another.
MEASURED = {
    "fig", "unit", "n", "min", "median", "max", "p90", "p99", "samples", "bg_busy_max",
    "foreign_cores", "note", "sys", "per_s",
}  # fmt: skip


class Row:
    """One headline: a target and what the systems reached."""

    def __init__(self, number, target, records):
        self.number = number
        self.name = target["name"]
        self.unit = target["unit"]
        self.target = target["target"]
        self.limit_target = target.get("limit_target")
        self.docker = find(records, "docker", target["q"])
        self.orch = find(records, "orch", target["q"])
        self.limit = limit_of(records, target.get("limit"))
        self.more = target.get("more", False)  # it is a rate, and the targets are the least
        ratio = target.get("limit", {}).get("ratio")
        self.ratio = ratio and find(records, "orch", ratio)
        self.docker_ratio = ratio and find(records, "docker", ratio)
        self.reason = skipped(records, target["q"]) if self.orch is None else None

    def to_docker(self):
        """orch ÷ docker, None if either is missing. What was taken by turns with the limit is compared by
        that: each had it beside itself, the two of them ran one after the other."""
        if self.ratio is not None:
            return quotient(self.ratio, self.docker_ratio)
        return quotient(self.orch, self.docker)

    def to_limit(self):
        """orch ÷ limit, None if either is missing or nothing is promised. What was taken by turns has a
        ratio for each turn."""
        if self.ratio is not None:
            return self.ratio
        return quotient(self.orch, self.limit) if self.limit_target else None

    def missed(self):
        """Whether a promise is broken. What was not measured breaks none."""
        return self.misses(self.to_docker(), self.target) or self.misses(self.to_limit(), self.limit_target)

    def misses(self, ratio, target):
        """Whether a ratio does. One that was not taken, or promised, does not."""
        if None in (ratio, target):
            return False
        return ratio < target if self.more else ratio > target


def quotient(value, base):
    """None if there is none."""
    return value / base if value is not None and base else None


def find(records, system, query):
    """The median of the last figure that matches."""
    for record in reversed(records):
        if record.get("sys") == system and "median" in record and matches(record, query):
            return record["median"]
    return None


def matches(record, query):
    """Whether a record has all these values."""
    return all(record.get(key) == value for key, value in query.items())


def limit_of(records, limit):
    """The floor of a headline: a figure of the bare runtimes, scaled, and a constant."""
    if limit is None:
        return None
    value = limit.get("value", None)
    if value is None:
        value = find(records, "limit", limit["q"])
    if value is None:
        return None
    return value * limit.get("scale", 1) + limit.get("plus", 0)


def skipped(records, query):
    """Why orch has no such figure, if the run said so."""
    for record in records:
        match = record.get("skip")
        if match and record["sys"] == "orch" and all(
            str(query.get(key, "")).startswith(str(value)) for key, value in match.items()
        ):
            return record["reason"]
    return None


def rows(records, targets_path):
    """All headlines, in the order of the targets."""
    with open(targets_path, encoding="utf-8") as file:
        targets = json.load(file)
    return [Row(number, target, records) for number, target in enumerate(targets, 1)]


def number(value):
    """Four digits."""
    if value is None:
        return "–"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def ratio_cell(row, ratio, target):
    """A ratio beside its target, in bold if it is missed."""
    sign = "≥" if row.more else "≤"
    if target is None:
        return "" if ratio is None else f"{ratio:.3f}"
    if ratio is None:
        return f"({sign} {target})"
    text = f"{ratio:.3f} ({sign} {target})"
    return f"**{text} missed**" if row.misses(ratio, target) else text


def ratio_table(all_rows):
    """Markdown."""
    lines = [
        "| # | headline | docker | limit | orch | orch ÷ docker (target) | orch ÷ limit (target) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in all_rows:
        if row.docker is None and row.orch is None and not row.reason:
            continue  # of a part that was not asked for
        orch = number(row.orch)
        if row.orch is None:
            orch = f"skipped: {row.reason}" if row.reason else "not measured"
        cells = [str(row.number), row.name, f"{number(row.docker)} {row.unit}", number(row.limit), orch]
        cells.append(ratio_cell(row, row.to_docker(), row.target))
        cells.append(ratio_cell(row, row.to_limit(), row.limit_target))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure_table(records):
    """Markdown of every figure; the last of the same kind counts."""
    lines = [
        "| figure | system, parameters | unit | min | median | max | per s | n | foreign cores |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    latest = {}
    for record in records:
        if "median" in record:
            parameters = {key: value for key, value in record.items() if key not in MEASURED}
            key = (record["fig"], record.get("sys", ""), describe(parameters))
            latest[key] = record
    for (name, system, parameters), record in latest.items():
        most = number(record["max"])
        if "p99" in record:
            most += f" (p99 {number(record['p99'])})"
        cells = [name, f"{system} {parameters}".strip(), record["unit"], number(record["min"])]
        cells += [f"**{number(record['median'])}**", most, str(record.get("per_s", ""))]
        cells += [str(record["n"]), str(record.get("foreign_cores", ""))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def isolation_table(records):
    """Markdown: what one container of each system has."""
    evidence = [record for record in records if "isolation" in record]
    if not evidence:
        return ""
    lines = [
        "| system | seccomp | capabilities | own namespaces | own cgroups | address | covered paths |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in evidence:
        cells = [record["isolation"], "filter" if record["seccomp"] == "2" else "none"]
        cells += [record["capabilities"]]
        cells += [", ".join(record[field]) for field in ("namespaces", "cgroups", "addresses")]
        lines.append("| " + " | ".join([*cells, str(len(record["covered"]))]) + " |")
    return "\n".join(lines) + "\n"


def sync_table(records):
    """Markdown: per request, the syncs between its arrival and its answer."""
    evidence = [record for record in records if "sync" in record]
    if not evidence:
        return ""
    lines = [
        "Under strace: milliseconds after the request was read from the client's connection.",
        "",
        "| system | request | syncs done at | answered at |",
        "|---|---|---|---|",
    ]
    for record in evidence:
        syncs = "; ".join(f"{s['call']} {s['file']} {s['done_ms']}" for s in record["syncs"])
        cells = [record["sys"], f"create {record['sync']}", syncs, str(record["answered_ms"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def notes(records):
    """What was skipped and what broke off."""
    lines = []
    for record in records:
        if "skip" in record:
            lines.append(f"- {record['sys']}: {describe(record['skip'])} skipped: {record['reason']}")
        if "failure" in record:
            lines.append(f"- {record['sys']}: {record['failure']} broke off: {record['reason']}")
    return "\n".join(lines) + "\n" if lines else ""


def environment(records):
    """The machine and the versions, as the run wrote them first."""
    for record in records:
        if "env" in record:
            return "".join(f"- {key}: {value}\n" for key, value in record["env"].items())
    return ""


def write(out, targets_path):
    """table.md and ratios.md; returns the rows."""
    records = read(f"{out}/results.jsonl")
    all_rows = rows(records, targets_path)
    ratios = f"# Ratios\n\n{environment(records)}\n{ratio_table(all_rows)}"
    isolation = isolation_table(records)
    if isolation:
        ratios += f"\n## What a container has\n\n{isolation}"
    syncs = sync_table(records)
    if syncs:
        ratios += f"\n## Synced before answered\n\n{syncs}"
    remarks = notes(records)
    if remarks:
        ratios += f"\n## Not taken\n\n{remarks}"
    with open(f"{out}/ratios.md", "w", encoding="utf-8") as file:
        file.write(ratios)
    with open(f"{out}/table.md", "w", encoding="utf-8") as file:
        file.write(f"# Figures\n\n{environment(records)}\n{figure_table(records)}")
    return all_rows
