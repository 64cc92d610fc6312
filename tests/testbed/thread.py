"""One thread of a process stands still, and the others go on: ptrace stops single threads, signals
do not."""
import contextlib
import ctypes
import os
import signal

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
WALL = 0x40000000  # of clone(2): wait for threads, too


def _ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    if libc.ptrace(request, thread, 0, 0) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace of thread {thread}: {os.strerror(error)}")


@contextlib.contextmanager
def stopped(thread):
    """`thread`: as this process numbers it; the first one of a process has its pid."""
    _ptrace(PTRACE_ATTACH, thread)
    _, status = os.waitpid(thread, WALL)
    assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP, status
    try:
        yield
    finally:
        _ptrace(PTRACE_DETACH, thread)
