"""The names of tests are sentences, and their needs are known tags."""
import re

import cpp
from rules import Finding

_CASE = re.compile(r'\bTEST_CASE\(\s*("(?:\\.|[^"\\])*"(?:\s*"(?:\\.|[^"\\])*")*)\s*(?:,\s*"([^"]*)")?')


def check(tree):
    for path in tree.cpp():
        text = tree.text(path)
        for match in _CASE.finditer(text):
            name = "".join(re.findall(r'"((?:\\.|[^"\\])*)"', match.group(1)))
            line = cpp.line(text, match.start())
            if not re.match(r"[^:]+: \S+( \S+)+$", name):
                yield Finding(path, line, f"'{name}' is no sentence; write \"part: what is so\"")
            if not match.group(2):
                yield Finding(path, line, f"'{name}' has no tag")
    for path in tree.ending("-test.py"):
        for match in re.finditer(r"^    def (test_\w+)", tree.text(path), re.M):
            if match.group(1).count("_") < 3:
                yield Finding(path, cpp.line(tree.text(path), match.start()), f"'{match.group(1)}' is no sentence")
