"""The disk of a test host, and what can go wrong with it."""
import errno
import fcntl
import glob
import os
import struct
import subprocess

from namespaces import Failed, waitUntil

DATA = "/var/lib/orch"  # where a host has its data

_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_EXT4_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
# Takes the space when the disk is to be full; part of the disk, and not of orchd's data.
_BALLAST = "/var/lib/testbed-ballast"


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
        waitUntil(f"the loop device of {self.image} is released; something holds a mount of it", lambda: not self._device())

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

    def stall(self, root):
        """What writes waits, until `resume`. What was not yet written is written before."""
        self._requireImage("stall")
        try:
            self._control(root, _FIFREEZE)
        except OSError as error:
            raise Failed("the disk is stalled already" if error.errno == errno.EBUSY else f"cannot stall the disk: {error}")

    def resume(self, root):
        """Writes go on. Without effect if they were."""
        if self.isImage():
            try:
                self._control(root, _FITHAW)
            except OSError:
                pass

    def fill(self, root):
        """Takes all the space that is left."""
        self._requireImage("be full")
        fd = os.open(root + _BALLAST, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            piece, end = 1 << 40, os.fstat(fd).st_size
            while piece >= 512:
                try:
                    os.posix_fallocate(fd, end, piece)
                    end += piece
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EFBIG):
                        raise
                    piece //= 2
            os.fsync(fd)
        finally:
            os.close(fd)

    def free(self, root):
        if os.path.exists(root + _BALLAST):
            os.unlink(root + _BALLAST)

    def isFull(self, root):
        return os.path.exists(root + _BALLAST)

    def _requireImage(self, what):
        if not self.isImage():
            raise Failed(f"a disk that is a folder of this machine cannot {what}; make the cluster with --disk MIB")

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
