#!/usr/bin/env python3
"""Runs tests of a Catch2 program in a kernel that has IPVS: user-mode-linux, as a process.

usage: uml-test.py PROGRAM TESTS

77, with the reason, if Debian's package user-mode-linux is not installed.
"""
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

KERNEL = "/usr/bin/linux.uml"
PATIENCE_S = 280  # before ctest's 300 s, which would show nothing
SKIPPED = 77
MEMORY = "512M"


def boot(folder: str, init: str) -> str:
    """Runs the kernel to its end; what it says on its console."""
    arguments = [
        KERNEL, f"mem={MEMORY}", "rootfstype=hostfs", "rootflags=/", "root=/dev/root", "ro",
        f"init={init}", f"UML_OUT={folder}/out", f"uml_dir={folder}/",
        "con=null", "con0=null,fd:1", "con1=null",
    ]
    environment = dict(os.environ, HOME=folder, TMPDIR=folder)
    with open(f"{folder}/console", "wb") as console, subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            env=environment, start_new_session=True) as kernel:
        try:
            kernel.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            print(f"uml-test: it has not ended after {PATIENCE_S} s")
        finally:
            try:  # it has a process for each of its processes
                os.killpg(kernel.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    return pathlib.Path(f"{folder}/console").read_text(errors="replace")


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    if not os.path.exists(KERNEL):
        print("uml-test: skipped, since the package user-mode-linux is not installed; "
              "scripts/setup installs it")
        return SKIPPED
    program, tests = sys.argv[1:]
    init = pathlib.Path(__file__).resolve().with_name("uml-init.sh")
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix=f"orch-uml-{os.getpid()}-", dir=base)
    try:
        out = pathlib.Path(folder, "out")
        out.mkdir()
        line = [os.path.abspath(program), "-#", "-d", "yes", tests]
        out.joinpath("command").write_text(" ".join(map(shlex.quote, line)) + "\n")
        console = boot(folder, str(init))
        log = out / "log"
        print(log.read_text(errors="replace") if log.exists() else "uml-test: nothing ran")
        status = out / "status"
        if status.exists():
            return 0 if status.read_text().strip() == "0" else 1
        print("uml-test: the kernel ended without a result; its console:\n" + console[-4000:])
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
