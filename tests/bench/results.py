"""Figures: one JSON line each, written as they are taken."""

import json
import statistics

MANY = 50


class Results:
    """Writes results.jsonl. An earlier run's in the same place is replaced."""

    def __init__(self, path, conditions):
        self.path = path
        self.conditions = conditions
        with open(path, "w", encoding="utf-8"):
            pass

    def write(self, record):
        """Appends one line and shows it."""
        line = json.dumps(record)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line if len(line) <= 240 else line[:237] + "...", flush=True)

    def figure(self, name, samples, unit="s", **parameters):
        """A figure with its samples; a sample that could not be taken is None."""
        taken = sorted(sample for sample in samples if sample is not None)
        record = {"fig": name, "unit": unit, "n": len(taken)}
        if taken:
            record["min"] = round(taken[0], 4)
            record["median"] = round(statistics.median(taken), 4)
            record["max"] = round(taken[-1], 4)
        if len(taken) >= MANY:
            record["p90"] = round(taken[int(len(taken) * 0.9)], 4)
            record["p99"] = round(taken[int(len(taken) * 0.99)], 4)
        else:
            record["samples"] = [None if s is None else round(s, 4) for s in samples]
        record.update(self.conditions.summary())
        record.update(parameters)
        self.write(record)

    def skip(self, system, reason, **match):
        """Says that figures with these parameters are not taken of a system, and why."""
        print(f"skipped for {system}: {describe(match)}: {reason}", flush=True)
        self.write({"skip": match, "sys": system, "reason": reason})

    def failure(self, system, measurement, text):
        """Says that a measurement broke off."""
        self.write({"failure": measurement, "sys": system, "reason": text})


def describe(match):
    """Parameters as a reader sees them."""
    return ", ".join(f"{key} {value}" for key, value in match.items())


def read(path):
    """All records of a file; a line that is not one is an error of ours."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]
