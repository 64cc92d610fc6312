"""What a rule is: it looks at one file, or at the tree, and yields what it found."""
import collections
import os
import subprocess

Finding = collections.namedtuple("Finding", "path line text")


class Tree:
    """The files of the repository, as git knows them, that exist. `files` maps a path to its text."""

    def __init__(self, root, files=None):
        self.root = root
        self._texts = {} if files is None else dict(files)
        self.paths = sorted(self._texts) if files is not None else self._list()

    def _list(self):
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=self.root,
                                check=True, capture_output=True, text=True).stdout
        return sorted(p for p in set(listed.split("\0")) if p and os.path.isfile(os.path.join(self.root, p)))

    def text(self, path):
        if path not in self._texts:
            with open(os.path.join(self.root, path), "rb") as file:
                self._texts[path] = file.read().decode(errors="replace")
        return self._texts[path]

    def ending(self, *ends):
        return [path for path in self.paths if path.endswith(ends)]

    def cpp(self):
        return self.ending(".cpp", ".h")

    def shell(self):
        return [p for p in self.paths if self.text(p).startswith(("#!/usr/bin/env bash", "#!/bin/sh"))]
