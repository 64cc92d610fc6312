"""Rules that other programs check: clang-format, shellcheck, clang-tidy."""
import os
import re
import subprocess

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
    sources = [path for path in tree.ending(".cpp") if everything or path in _changed(tree)]
    with open(f"{tree.root}/build/dev/compile_commands.json") as file:
        commands = file.read()
    sources = [path for path in sources if f"{tree.root}/{path}\"" in commands]
    if not sources:
        return []
    command = ["xargs", "-P", str(os.cpu_count() or 1), "-n", "4", "clang-tidy-14", "--quiet", "-p", "build/dev"]
    return _findings(tree, command, "clang-tidy", input="\n".join(sources))


def _changed(tree):
    ask = lambda *what: subprocess.run(["git", *what], cwd=tree.root, capture_output=True, text=True).stdout.split("\n")
    return set(ask("diff", "--name-only", "HEAD~1") + ask("ls-files", "--others", "--exclude-standard"))


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
