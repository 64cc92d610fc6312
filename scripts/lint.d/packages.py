"""The README says of every package that scripts/setup installs why it is needed, in the same words."""
import re

import cpp
from rules import Finding


def check(tree):
    setup, readme = tree.text("scripts/setup"), tree.text("README.md")
    installed = {}
    for block in re.finditer(r"<<'TABLE'\n(.*?)\nTABLE\n", setup, re.S):
        for row in block.group(1).split("\n"):
            name, _, reason = row.partition(" ")
            installed[name] = reason.strip()
    told = {match.group(1): (match.group(2), cpp.line(readme, match.start()))
            for match in re.finditer(r"^\| `([a-z0-9.+-]+)` \| (.+?) \|$", readme, re.M)}
    for name, reason in installed.items():
        if not reason:
            yield Finding("scripts/setup", 1, f"package {name} has no reason")
        if name not in told:
            yield Finding("README.md", 1, f"package {name} of scripts/setup is missing: | `{name}` | {reason} |")
        elif told[name][0] != reason:
            yield Finding("README.md", told[name][1], f"package {name}: scripts/setup says '{reason}'")
    for name, (_, line) in told.items():
        if name not in installed:
            yield Finding("README.md", line, f"package {name} is not installed by scripts/setup")
