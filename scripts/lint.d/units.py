"""How single sources are compiled: the build compiles several as one unit (sdk/cmake/OrchUnity.cmake)."""
import collections
import json
import os
import re

Entry = collections.namedtuple("Entry", "directory command file")
_WRITES = re.compile(r" -M(?:D|T \S+|F \S+)")  # the list of headers, which is the build's
_INCLUDED = re.compile(r'^#include "(.*)"$', re.M)


def single(root, preset):
    """Path below the root -> its entry, as compile_commands.json would have it without units."""
    with open(f"{root}/build/{preset}/compile_commands.json") as file:
        commands = json.load(file)
    found = {}
    for entry in commands:
        unit = entry["file"]
        if not os.path.basename(unit).startswith("unity_"):
            sources = [unit]
        elif os.path.exists(unit):
            with open(unit) as file:
                sources = _INCLUDED.findall(file.read())
        else:
            sources = []
        for source in sources:
            path = os.path.relpath(source, root)
            if source.endswith(".cpp") and not path.startswith(("build/", "..")):
                command = _WRITES.sub("", entry["command"]).replace(unit, source)
                found[path] = Entry(entry["directory"], command, source)
    return found


def target(entry):
    return re.search(r" -o (\S+)\.dir/", entry.command).group(1)
