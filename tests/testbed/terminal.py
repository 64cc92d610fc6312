"""Commands in terminals that tests type into."""
import os
import pty
import re
import select
import subprocess
import termios

from single import eventually


class Terminal:
    """A command in a terminal that a test types into."""

    def __init__(self, command, rows=24, columns=80):
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (rows, columns))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.seen = ""
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs,
                                        preexec_fn=lambda: (os.setsid(), os.open(os.ttyname(0), os.O_RDWR)))

    def type(self, text):
        os.write(self.ours, text.encode())

    def waitFor(self, pattern):
        def found():
            while select.select([self.ours], [], [], 0)[0]:
                self.seen += os.read(self.ours, 65536).decode(errors="replace")
            return re.search(pattern, self.seen)
        try:
            return eventually(f"{pattern} is seen", found)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.seen!r}") from None

    def resize(self, rows, columns):
        """The kernel tells the command."""
        termios.tcsetwinsize(self.ours, (rows, columns))

    def isAsBefore(self):
        return termios.tcgetattr(self.theirs) == self.before

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)
