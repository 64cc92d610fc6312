"""Who may include whom (plugins meet in a schema of sdk/schema or in an event, never in a header)."""
import os
import re

import cpp
from rules import Finding

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"\n]+)[>"]', re.M)
_SYSTEM = re.compile(r"[a-z_]+|(sys|linux|net|netinet|arpa|asm)/[\w./-]+\.h|(arpa|assert|ctype|dirent|dlfcn|elf|endian|errno|fnmatch|ifaddrs|"
                     r"execinfo|fcntl|float|getopt|grp|inttypes|libgen|limits|link|locale|malloc|math|netdb|poll|pthread|pwd|"
                     r"sched|setjmp|signal|spawn|stdarg|stdbool|stddef|stdint|stdio|stdlib|string|strings|termios|time|"
                     r"ucontext|unistd|wait)\.h|cxxabi\.h")
# Folder, longest first: which libraries its sources may include, beside the system's.
_SDK = ("kj/", "capnp/")
_LIBRARIES = [
    ("sdk/testing/", _SDK + ("catch2/",)),
    ("sdk/conformance/", _SDK + ("catch2/",)),
    ("sdk/trust/", _SDK + ("openssl/",)),  # a library of its own, not in liborch-sdk.so
    ("sdk/segments/", _SDK + ("zstd.h",)),  # the same
    ("sdk/src/", _SDK + ("xxhash.h",)),  # compiled in: who links the SDK needs no library for it
    ("sdk/", _SDK),
    ("kernel/cli/", _SDK + ("CLI/",)),
    ("kernel/", _SDK + ("boost/", "uv.h", "spdlog/", "toml++/")),
    ("plugins/", None),  # its own third-party libraries
    ("tests/", None),
]


def check(tree):
    existing = set(tree.paths)
    for path in tree.cpp():
        text = tree.text(path)
        area = next(((folder, allowed) for folder, allowed in _LIBRARIES if path.startswith(folder)), None)
        if area is None:
            continue
        for match in _INCLUDE.finditer(text):
            why = _refused(path, match.group(1) == "<", match.group(2), area, existing)
            if why:
                yield Finding(path, cpp.line(text, match.start()), why)


def _refused(path, angle, header, area, existing):
    folder, libraries = area
    if angle:
        if libraries is None or _SYSTEM.fullmatch(header) or header.startswith(libraries):
            return None
        if path.endswith("-test.cpp") and header.startswith("catch2/"):
            return None
        return f"<{header}>: {folder} may include the system and {', '.join(libraries)} only"
    if header.startswith("orch/testing/"):
        return None if _isTest(path) else f"\"{header}\": only tests may include the test kernel"
    if header.startswith("orch/"):
        return None
    if folder == "kernel/cli/" and header.startswith("kernel/") and not header.startswith("kernel/cli/"):
        return f"\"{header}\": the orch program includes nothing of the kernel"
    if folder.startswith("sdk/") and header.startswith(("kernel/", "plugins/")):
        return f"\"{header}\": the SDK includes neither kernel nor plugins"
    if folder == "kernel/" and header.startswith("plugins/"):
        return f"\"{header}\": the kernel knows no plugin"
    if folder == "plugins/":
        return _refusedInPlugin(path, header, existing)
    return None


def _folders(paths):
    return {os.path.dirname(path) for path in paths}


def _isTest(path):
    name = os.path.basename(path)
    return name.endswith("-test.cpp") or name.startswith("test-") or "/testing/" in path or \
        path.startswith(("tests/", "sdk/conformance/"))


# Plain values that every plugin may speak of.
VALUES = {name: "plugins/network/" + name for name in ("lib/ipv4.h", "lib/ipv6.h")}


def _refusedInPlugin(path, header, existing):
    if header.startswith("kernel/"):
        return f"\"{header}\": a plugin never includes the kernel"
    parts = path.split("/")
    if len(parts) < 4:
        return None
    kind, own = "/".join(parts[:2]), "/".join(parts[:3])
    places = [os.path.dirname(path), own, kind, f"{kind}/lib", "plugins/lib"]
    allowed = (own + "/", f"{kind}/lib/", "plugins/lib/")
    if _isTest(path):
        places += [f"{kind}/lib/testing"] + [folder for folder in _folders(existing) if folder.startswith("sdk/conformance")]
        allowed += ("sdk/conformance/",)
    candidates = [os.path.normpath(f"{place}/{header}") for place in places]
    if VALUES.get(header) in existing:
        return None
    if any(c in existing and c.startswith(allowed) for c in candidates) or header.endswith(".capnp.h"):
        return None
    return f"\"{header}\": a plugin includes the SDK, its own files and those of {kind}/lib and plugins/lib only"
