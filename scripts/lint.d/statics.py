"""Plugins have no mutable statics: many kernels of one process share one mapping of a plugin. Looks at
what the built plugins really contain."""
import glob
import os
import re
import subprocess

from rules import Finding

# A symbol of objdump -t: address, flags, section, size, name.
_SYMBOL = re.compile(r"^[0-9a-f]+ .{7} \.(data|bss|tdata|tbss)\s+[0-9a-f]+\s+(?:\.hidden )?(.*)$", re.M)


def check(tree):
    folder = next((f for f in ("build/release", "build/dev") if glob.glob(f"{tree.root}/{f}/lib/orch/plugins/*.so")), None)
    for module in sorted(glob.glob(f"{tree.root}/{folder}/lib/orch/plugins/*.so")) if folder else []:
        kind, name = os.path.basename(module)[:-3].split(".", 1)
        table = subprocess.run(["objdump", "-tC", module], check=True, capture_output=True, text=True).stdout
        yield from inSymbols(tree, f"plugins/{kind}/{name}", table)


def inSymbols(tree, folder, table):
    """What is const but needs a constructor is in .bss as well: the sources tell which it is."""
    sources = {path: tree.text(path) for path in tree.cpp() if path.startswith((folder + "/", os.path.dirname(folder) + "/lib/"))}
    for match in _SYMBOL.finditer(table):
        symbol = match.group(2)
        if not symbol.startswith("orch::"):
            continue  # of a library, or the compiler's own
        name = re.sub(r"\[abi:.*?\]|\(.*?\)$", "", symbol).rsplit("::", 1)[-1]
        declared = re.compile(rf"\b(const|constexpr)\b[^;(){{}}]*\b{re.escape(name)}\b")
        if not any(declared.search(text) for text in sources.values()):
            where = next(((p, t[:t.index(name)].count("\n") + 1) for p, t in sources.items() if name in t), (folder, 1))
            yield Finding(*where, f"mutable static '{symbol}' in .{match.group(1)}: make it a member of the instance")
