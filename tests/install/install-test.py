#!/usr/bin/env python3
"""What `cmake --install` puts into a prefix runs from there, and is enough to build a plugin with.

usage: install-test.py BUILD [TEST...]     BUILD: a built build folder
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
from single import eventually  # noqa: E402

BUILD = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def cached(name):
    """A setting of the build."""
    with open(f"{BUILD}/CMakeCache.txt") as file:
        return re.search(rf"^{name}:\w+=(.*)$", file.read(), re.M).group(1)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix=f"orch-install-{os.getpid()}-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = f"{cls.folder}/prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)

    def settings(self, prefix):
        """Where `cmake --install --prefix` puts the manifest and what the unit says, installed below a
        folder of its own. Only the part that is about settings, since that is what the prefix moves."""
        root = tempfile.mkdtemp(dir=self.folder)
        self.installSettings(prefix, root)
        with open(f"{root}/{prefix}/lib/systemd/system/orchd.service") as file:
            command = re.search(r"^ExecStart=(.*)$", file.read(), re.M).group(1)
        return root, command

    def installSettings(self, prefix, root):
        run("cmake", f"-DCMAKE_INSTALL_PREFIX={prefix}", "-P", f"{BUILD}/configs/cmake_install.cmake",
            env={**os.environ, "DESTDIR": root})

    def test_the_manifest_is_where_the_unit_reads_it_for_each_prefix(self):
        for prefix, bin, folder in (
                ("/usr", "/usr/bin", "/etc/orch"),
                ("/usr/", "/usr/bin", "/etc/orch"),
                ("/", "/bin", "/etc/orch"),
                ("/usr/local", "/usr/local/bin", "/usr/local/etc/orch"),
                ("/opt/orch", "/opt/orch/bin", "/opt/orch/etc/orch"),
                ("/usrlocal", "/usrlocal/bin", "/usrlocal/etc/orch")):
            with self.subTest(prefix=prefix):
                root, command = self.settings(prefix)
                self.assertEqual(command, f"{bin}/orchd --config {folder}/orchd.toml")
                self.assertTrue(os.path.isdir(f"{root}{folder}/plugins.d"))
                found = subprocess.run(["find", root, "-name", "orchd.toml"], capture_output=True, text=True).stdout
                self.assertEqual(found.split(), [f"{root}{folder}/orchd.toml"])

    def test_settings_that_were_edited_stay_when_it_is_installed_again(self):
        root, _ = self.settings("/usr")
        with open(f"{root}/etc/orch/orchd.toml", "a") as file:
            file.write("# mine\n")
        self.installSettings("/usr", root)
        with open(f"{root}/etc/orch/orchd.toml") as file:
            self.assertTrue(file.read().endswith("# mine\n"))

    def test_orchd_finds_the_manifest_of_its_installation(self):
        self.assertIn("valid", run(f"{self.prefix}/bin/orchd", "--check"))

    def host(self, name, **options):
        node = single.SingleHost(f"install-{name}-{os.getpid()}", f"{self.prefix}/bin",
                                 f"{self.prefix}/etc/orch/orchd.toml", **options)
        self.addCleanup(node.remove)
        return node.create()

    def test_orchd_runs_from_the_prefix_and_orch_talks_to_it(self):
        node = self.host("runs")
        self.assertIn(run(f"{self.prefix}/bin/orchd", "--version").split()[1], node.orch("version").stdout)
        states = lambda: {plugin["id"]: plugin["state"] for plugin in node.json("plugin", "ls")}
        eventually("all plugins run", lambda: set(states().values()) == {"running"})
        self.assertIn("control.manager", states())

    def test_nothing_of_it_points_into_the_build_folder(self):
        for folder, _, files in os.walk(self.prefix):
            for name in files:
                path = f"{folder}/{name}"
                with open(path, "rb") as file:
                    start = file.read(4)
                if start == b"\x7fELF":
                    self.assertNotIn(BUILD, run("readelf", "-d", path), path)

    def test_the_systemd_unit_is_valid(self):
        unit = f"{self.prefix}/lib/systemd/system/orchd.service"
        self.assertEqual(run("systemd-analyze", "verify", unit), "")
        with open(unit) as file:
            text = file.read()
        self.assertIn(f"ExecStart={self.prefix}/bin/orchd --config {self.prefix}/etc/orch/orchd.toml", text)
        # Started again for ever, not in a rush; killed only after Kernel::STOP_DEADLINE_MS.
        head, service = text.split("[Service]")
        self.assertIn("StartLimitIntervalSec=0\n", head)
        self.assertIn("RestartSec=1s\n", service)
        self.assertIn("TimeoutStopSec=75s\n", service)


class ReadMe(unittest.TestCase):
    """sdk/README.md, word for word, on a host where orch is installed in /usr. A block with the name of a
    file shows a part of that file of the template, or is one to write if the name is a path."""
    TEMPLATE = os.path.join(single.REPOSITORY, "sdk", "template")

    @classmethod
    def setUpClass(cls):
        with open(os.path.join(single.REPOSITORY, "sdk", "README.md")) as file:
            cls.blocks = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", file.read(), re.M | re.S)

    def test_what_it_shows_is_in_the_template(self):
        shown = [(name, text) for _, name, text in self.blocks if name and not name.startswith("/")]
        self.assertEqual({name for name, _ in shown}, {"CMakeLists.txt", "config.capnp", "first.h", "plugin.cpp",
                                                       "conformance-test.cpp"})
        for name, text in shown:
            with open(f"{self.TEMPLATE}/{name}") as file:
                content = file.read()
            for part in text.split("…\n"):
                self.assertIn(part, content, name)

    def test_what_it_says_works_in_its_order(self):
        node = self.installedHost()
        script = ["export CC={} CXX={}".format(*(cached(f"CMAKE_{language}_COMPILER") for language in ("C", "CXX")))]
        for language, name, text in self.blocks:
            if language == "sh":
                script.append(text)
            elif name and name.startswith("/"):
                script.append(f"cat >{name} <<'END'\n{text}END\n")
        work = tempfile.mkdtemp(dir=node.host.folder)
        done = node.host.run("bash", "-euxc", "\n".join(script), cwd=work)
        self.assertEqual(done.returncode, 0, f"{done.stdout[-5000:]}{done.stderr[-5000:]}{node.logTail()}")
        for said in ("100% tests passed, 0 tests failed out of 1", "scheduler.first 1.0.0", "sparePercent = 0",
                     "valid, 18 plugins"):
            self.assertIn(said, done.stdout)
        plugin, = (row for row in node.json("plugin", "ls") if row["id"] == "scheduler.first")
        self.assertEqual((plugin["state"], plugin["isolation"]), ("running", "process"))
        self.assertEqual(len(node.running("packed")), 2)

    def installedHost(self):
        """What `cmake --install --prefix /usr` gives lies over the machine's /usr and /etc, in this host only."""
        node = single.SingleHost(f"install-readme-{os.getpid()}", "/usr/bin", "/etc/orch/orchd.toml")
        self.addCleanup(node.remove)
        node.host.create()
        root, *changes = (f"{node.host.folder}/{name}" for name in ("installed", "etc", "etc-work"))
        run("cmake", "--install", BUILD, "--prefix", "/usr", env={**os.environ, "DESTDIR": root})
        for folder in changes:
            os.makedirs(folder)
        overlays = (f"lowerdir={root}/usr:/usr /usr",
                    "lowerdir={0}/etc:/etc,upperdir={1},workdir={2} /etc".format(root, *changes))
        for overlay in overlays:
            done = node.host.run("mount", "-t", "overlay", "overlay", "-o", *overlay.split())
            self.assertEqual(done.returncode, 0, done.stderr)
        node.start()
        image = f"{node.host.folder}/image.tar"
        run(f"{single.REPOSITORY}/tests/testbed/make-image", "1", image)
        node.orch("image", "import", image, "--name", "busybox")
        return node


if __name__ == "__main__":
    unittest.main(verbosity=2)
