"""The disk of a test host, and what can go wrong with it."""
import fcntl
import glob
import os
import struct
import subprocess
import time

DATA = "/var/lib/orch"  # where a host has its data

_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_EXT4_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
# A loop device is released when the kernel has taken apart the last mount.
_RELEASE_S = 60


class Failed(Exception):
    """One line for the user."""


class Disk:
    """A folder of this machine, or with `megabytes` an image with ext4 on a loop device of its own. Only
    an image can be full, can stall, and loses what was not synced when the power goes. `root` is the
    running host's file system as this machine sees it."""

    def __init__(self, folder, megabytes=0):
        self.megabytes = megabytes
        self.tree = os.path.join(folder, "disk")
        self.image = os.path.join(folder, "disk.img")

    def make(self):
        if not self.megabytes:
            os.makedirs(self.tree)
            return
        with open(self.image, "wb") as file:
            file.truncate(self.megabytes << 20)
        self._tool("mkfs.ext4", "-q", "-F", "-m", "0", self.image)

    def isImage(self):
        return os.path.exists(self.image)

    def mount(self, target):
        if self.isImage():
            self._tool("mount", "-n", "-t", "ext4", "-o", "loop", self.image, target)
        else:
            self._tool("mount", "-n", "--bind", self.tree, target)

    def waitReleased(self):
        end = time.monotonic() + _RELEASE_S
        while self._device():
            if time.monotonic() > end:
                raise Failed(f"{self._device()} still has {self.image}: something holds a mount of it")
            time.sleep(0.005)

    def _device(self):
        for path in glob.glob("/sys/block/loop*/loop/backing_file"):
            try:
                with open(path) as file:
                    if file.read().removesuffix("\n") == self.image:
                        return "/dev/" + path.split("/")[3]
            except OSError:  # released meanwhile
                pass
        return None

    # ---- faults ----

    def loseUnwritten(self, root):
        """From now on nothing reaches the disk, and what has not reached it is lost. What ext4 has given
        to the device is not: the device has no cache that forgets."""
        if self.isImage():
            self._control(root, _EXT4_SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
            self.resume(root)

    def resume(self, root):
        """Writes go on. Without effect if they were."""
        if self.isImage():
            try:
                self._control(root, _FITHAW)
            except OSError:
                pass

    def _control(self, root, request, argument=0):
        fd = os.open(root + DATA, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, request, argument)
        finally:
            os.close(fd)

    def _tool(self, *command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{command[0]}: {done.stderr.strip()}")
