"""Rules that other programs check: clang-format, shellcheck, clang-tidy."""
import json
import os
import re
import shlex
import subprocess
import tempfile

import units
from rules import Finding

_AT = re.compile(r"^(\S[^:\n]*):(\d+):\d+: (?:warning|error|note|style|info): (.*)$", re.M)


def formatting(tree):
    found = {}  # the first place of each file
    for finding in _findings(tree, ["clang-format-14", "--dry-run", *tree.cpp()]):
        found.setdefault(finding.path, finding._replace(text="not formatted: run scripts/format"))
    return found.values()


def shell(tree):
    return _findings(tree, ["shellcheck", "-f", "gcc", *tree.shell()])


def tidy(tree, everything):
    """The checks of .clang-tidy, on sources that differ from the commit before, or on all."""
    if not os.path.exists(f"{tree.root}/build/dev/compile_commands.json"):
        return [Finding("build/dev", 1, "clang-tidy needs a configured build: scripts/build dev")]
    single = units.single(tree.root, "dev")
    sources = [path for path in tree.ending(".cpp") if everything or path in _changed(tree)]
    sources = [path for path in sources if path in single]
    if not sources:
        return []
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/compile_commands.json", "w") as file:
            json.dump([single[path]._asdict() for path in sources], file)
        command = ["xargs", "-P", str(os.cpu_count() or 1), "-n", "4", "clang-tidy-14", "--quiet", "-p", folder]
        return _findings(tree, command, "clang-tidy", input="\n".join(sources))


def alone(tree, everything):
    """Sources are compiled several at a time; each has to compile by itself, too. One of each target
    is tried in a run, another one after each commit."""
    if not os.path.exists(f"{tree.root}/build/dev/compile_commands.json"):
        return [Finding("build/dev", 1, "compiling by itself needs a configured build: scripts/build dev")]
    commits = _git(tree, "rev-list", "--count", "HEAD").strip()
    by_target = {}
    for path, entry in sorted(units.single(tree.root, "dev").items()):
        by_target.setdefault(units.target(entry), []).append(entry)
    chosen = [entries[int(commits or 0) % len(entries)] for entries in by_target.values()]
    if everything:
        chosen = [entry for entries in by_target.values() for entry in entries]
    script = "\n".join(f"cd {shlex.quote(e.directory)} && {e.command} -fsyntax-only" for e in chosen)
    command = ["xargs", "-P", str(os.cpu_count() or 1), "-d", "\n", "-n", "1", "sh", "-c"]
    return _findings(tree, command, "by itself", input=script)


def _changed(tree):
    changed = _git(tree, "diff", "--name-only", "HEAD~1") + _git(tree, "ls-files", "--others", "--exclude-standard")
    return set(changed.split("\n"))


def _git(tree, *what):
    return subprocess.run(["git", *what], cwd=tree.root, capture_output=True, text=True).stdout


def _findings(tree, command, prefix="", **options):
    done = subprocess.run(command, cwd=tree.root, capture_output=True, text=True, **options)
    output = done.stdout + done.stderr
    found = []
    for path, line, text in _AT.findall(output):
        if prefix == "clang-tidy" and "[" not in text:
            continue  # a note
        path = os.path.relpath(path, tree.root) if os.path.isabs(path) else path
        found.append(Finding(path, int(line), f"{prefix}: {text}" if prefix else text))
    if done.returncode != 0 and not found:
        found.append(Finding(command[0], 1, f"ended with status {done.returncode}: {output.strip()[-300:]}"))
    return sorted(set(found))
