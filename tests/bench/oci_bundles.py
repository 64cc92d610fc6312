"""Bundles that are started by runc, crun or conmon directly, without an orchestrator."""

import ctypes
import json
import os
import subprocess

from docker_driver import find
from machine import BenchError, run

MNT_DETACH = 2
LIBC = ctypes.CDLL(None, use_errno=True)


def bare_config():
    """What `runc spec` writes, which has no seccomp."""
    config = json.loads(run("cd $(mktemp -d) && runc spec && cat config.json && rm config.json && rmdir $PWD"))
    config["process"]["terminal"] = False
    config["root"]["readonly"] = False
    return config


def docker_config(path):
    """What docker hands to runc (captured from docker 20.10), without what needs its daemon."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Bundle:
    """One container: an overlayfs over the shared root file system, a configuration, a cgroup."""

    def __init__(self, folder, number, label, cgroup):
        self.folder = f"{folder}/{label}/{number}"
        self.id = f"{label}-{number}"
        self.label = label
        self.cgroup = f"/{cgroup}/{self.id}"

    def make(self, config, rootfs):
        """Mounts and writes."""
        for name in ("upper", "work", "rootfs"):
            os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        config = json.loads(json.dumps(config))
        config["process"]["args"] = ["/bin/wl", self.label]
        config["root"]["path"] = f"{self.folder}/rootfs"
        config["linux"]["cgroupsPath"] = self.cgroup
        with open(f"{self.folder}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        layers = f"lowerdir={rootfs},upperdir={self.folder}/upper,workdir={self.folder}/work"
        target = f"{self.folder}/rootfs".encode()
        if LIBC.mount(b"overlay", target, b"overlay", 0, layers.encode()) != 0:
            raise OSError(ctypes.get_errno(), "cannot mount an overlayfs")

    def unmount(self):
        """The overlayfs."""
        LIBC.umount2(f"{self.folder}/rootfs".encode(), MNT_DETACH)


class Runtime:
    """runc or crun with a state folder of its own."""

    def __init__(self, name, folder):
        self.path = find(name)
        self.folder = folder
        self.state = f"{folder}/{name}"
        self.errors = f"{folder}/errors"
        for path in (self.state, f"{folder}/exits", f"{folder}/sockets"):
            os.makedirs(path, exist_ok=True)

    def start(self, bundle, how):
        """`how` is `create+start`, `run-d` or `conmon`."""
        if how == "run-d":
            self._run("run", "-d", "--bundle", bundle.folder, bundle.id)
            return
        if how == "conmon":
            self._conmon(bundle)
        else:
            self._run("create", "--bundle", bundle.folder, bundle.id)
        self._run("start", bundle.id)

    def delete(self, bundle):
        """By force."""
        subprocess.run(
            [self.path, "--root", self.state, "delete", "-f", bundle.id],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )

    def _run(self, *arguments):
        with open(self.errors, "a+", encoding="utf-8") as errors:
            command = [self.path, "--root", self.state, *arguments]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, check=False
            )
            if done.returncode != 0:
                errors.seek(0)
                raise BenchError(f"{' '.join(command)} failed: {errors.read()[-500:]}")

    def _conmon(self, bundle):
        reader, writer = os.pipe()
        options = ["--api-version", "1", "-c", bundle.id, "-u", bundle.id, "-n", bundle.id]
        options += ["-r", self.path, "--runtime-arg", "--root", "--runtime-arg", self.state]
        options += ["-b", bundle.folder, "-p", f"{bundle.folder}/pid"]
        options += ["--exit-dir", f"{self.folder}/exits", "-l", f"k8s-file:{bundle.folder}/log"]
        options += ["--log-level", "error", "--socket-dir-path", f"{self.folder}/sockets"]
        with open(self.errors, "a", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [find("conmon"), *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(writer,),
                env=dict(os.environ, _OCI_SYNCPIPE=str(writer)),
            )
        os.close(writer)
        answer = os.read(reader, 4096)
        os.close(reader)
        process.wait()
        first = json.loads(answer.split(b"\n")[0]) if answer else {}
        if first.get("data", first.get("pid", -1)) < 0:
            raise BenchError(f"conmon did not create the container: {answer[:300]}")
