"""Sizes, names, and what has to be where."""
import os
import re

import cpp
from rules import Finding

FILE_LINES = 500
FUNCTION_LINES = 70
PLUGIN_CPP_LINES = 150
KERNEL_LINES = 8000
_FORBIDDEN = {"utils", "util", "common", "helpers", "helper", "misc"}
_REASON = "// Past 70 lines: "
# Assembled, so that this file does not contain what it looks for.
_PATHS = re.compile("(?<![\\w.<}/-])/(" + "work/|root/" + ")")
_HOSTS = re.compile("|".join(name + "\\." + end for name, end in
                             [("deb\\.debian", "org"), ("pypi", "org"), ("registry\\.npmjs", "org"), ("proxy\\.golang", "org")]))


def check(tree):
    yield from _sizes(tree)
    yield from _functions(tree)
    yield from _names(tree)
    yield from _readmes(tree)
    yield from _machine(tree)


def _sizes(tree):
    kernel = 0
    for path in tree.paths:
        source = path.endswith((".cpp", ".h", ".c", ".capnp", ".py")) or path.startswith("scripts/")
        lines = tree.text(path).count("\n") if source else 0
        if lines > FILE_LINES:
            yield Finding(path, FILE_LINES + 1, f"{lines} lines; past {FILE_LINES} a file holds two things: split it")
        if re.fullmatch(r"plugins/[^/]+/[^/]+/plugin\.cpp", path) and lines > PLUGIN_CPP_LINES:
            yield Finding(path, PLUGIN_CPP_LINES + 1, f"{lines} lines; plugin.cpp is descriptor and adapter, at most {PLUGIN_CPP_LINES}")
        if path.startswith("kernel/") and not path.startswith("kernel/cli/") and path.endswith((".cpp", ".h")) \
                and not path.endswith("-test.cpp"):
            kernel += lines
    if kernel > KERNEL_LINES:
        yield Finding("kernel", 1, f"{kernel} lines; the kernel has at most {KERNEL_LINES}, the rest are plugins")


def _functions(tree):
    for path in tree.cpp():
        original = tree.text(path)
        text = cpp.code(original)
        for head, start, end in cpp.functions(text):
            length = text.count("\n", start, end) + 1
            if length <= FUNCTION_LINES or head.startswith(("TEST_CASE", "SECTION", "SCENARIO")):
                continue
            line = cpp.line(text, start)
            if _REASON not in "\n".join(original.split("\n")[max(0, line - 5):line]):
                yield Finding(path, line, f"a function of {length} lines; split it, or say why above it: {_REASON}…")


def _names(tree):
    for path in tree.paths:
        for part in path.split("/"):
            if os.path.splitext(part)[0].lower() in _FORBIDDEN:
                yield Finding(path, 1, f"'{part}' says nothing about what is in it")
        name = os.path.basename(path)
        if path.endswith((".cpp", ".h")) and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.(cpp|h)", name):
            yield Finding(path, 1, f"'{name}': source files are kebab-case")


def _readmes(tree):
    existing = set(tree.paths)
    for path in tree.paths:
        match = re.fullmatch(r"(plugins/(?!lib/)[^/]+/(?!lib/)[^/]+)/CMakeLists\.txt", path)
        if match and f"{match.group(1)}/README.md" not in existing:
            yield Finding(path, 1, "a plugin has a README.md: what it does, when not to use it, settings, errors by id")


def _machine(tree):
    for path in tree.paths:
        if path.endswith((".png", ".tar", ".gz", ".zst", ".bin")):
            continue
        for number, line in enumerate(tree.text(path).split("\n"), 1):
            for pattern, what in ((_PATHS, "a path of one machine"), (_HOSTS, "the host of a package registry")):
                match = pattern.search(line)
                if match and "lint: allow" not in line:
                    yield Finding(path, number, f"{what}: {match.group(0)}")
