"""Traffic between network namespaces, each given as the path of one: iperf3 and connrate."""

import json
import shutil
import subprocess

from machine import BenchError, poll, run

IPERF_PORT = 5201
# One turn takes about half a second, so that what else the machine does meets both sides alike.
STREAM_BYTES = "400M"
ASK_SECONDS = 0.5
TIMEOUT = 30
CLIENT_CORE, SERVER_CORE = 0, 1


def inside(namespace, *command):
    """A command in that namespace."""
    return ["nsenter", f"--net={namespace}", "--", *command]


def busy(core, namespace, *command):
    """One that makes traffic: on a core of its own, before all that others do on the machine."""
    return ["chrt", "-f", "1", "taskset", "-c", str(core), *inside(namespace, *command)]


class Servers:
    """Programs that answer, in namespaces. A context: they end with it."""

    def __init__(self, programs):
        self.connrate = f"{programs}/connrate"
        self.iperf = shutil.which("iperf3")
        if self.iperf is None:
            raise BenchError("'iperf3' is not installed: run scripts/setup --bench")
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def serve(self, namespace, port):
        """Connections of `ask`."""
        self._start(busy(SERVER_CORE, namespace, self.connrate, "serve", str(port)))
        self._await(namespace, port)

    def serve_stream(self, namespace):
        """Streams of `stream`."""
        self._start(busy(SERVER_CORE, namespace, self.iperf, "-s"))
        self._await(namespace, IPERF_PORT)

    def stream(self, namespace, to):
        """MiB/s that arrive there over one TCP connection."""
        said = run(busy(CLIENT_CORE, namespace, self.iperf, "-c", to, "-n", STREAM_BYTES, "-J"),
                   timeout=TIMEOUT)  # fmt: skip
        return json.loads(said)["end"]["sum_received"]["bits_per_second"] / 8 / (1 << 20)

    def ask(self, namespace, port, *addresses):
        """New connections per second, to these addresses in turn."""
        command = busy(CLIENT_CORE, namespace, self.connrate, "ask", str(ASK_SECONDS), str(port), *addresses)
        rate, failed = run(command, timeout=TIMEOUT).split()
        if failed != "0":
            raise BenchError(f"{failed} connections to {' '.join(addresses)} failed, {rate} per second did not")
        return float(rate)

    def _start(self, command):
        quiet = subprocess.DEVNULL
        self.processes.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))

    @staticmethod
    def _await(namespace, port):
        listening = inside(namespace, "ss", "-Hltn", f"sport = :{port}")
        if poll(lambda: run(listening).strip(), 10) is None:
            raise BenchError(f"nobody listens on port {port} in {namespace}")
