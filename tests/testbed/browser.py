"""Chromium without a window, for tests of pages: by its own protocol over a pipe."""
import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile

PROGRAM = shutil.which("chromium")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "PageDown": 34, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
        "ArrowRight": 39, "ArrowDown": 40}


class Browser:
    """With one page, of such a size. `patience`: seconds for an answer."""

    def __init__(self, width, height, dark=False, patience=60):
        self.patience = patience
        self.pending = b""
        self.last = 0
        self.events = []
        self.session = None
        self.profile = tempfile.mkdtemp(prefix=f"browser-{os.getpid()}-")
        given, self.write = os.pipe()
        self.read, taken = os.pipe()
        # It reads from 3 and writes to 4.
        script = 'exec "$@" 3<&"$0" 4>&"$TAKEN"'
        command = ["bash", "-c", script, str(given), PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                   f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=(given, taken), env={**os.environ, "TAKEN": str(taken)},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(given)
        os.close(taken)
        try:
            self._begin(width, height, dark)
        except BaseException:
            self.close()
            raise

    def _begin(self, width, height, dark):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def _next(self):
        while b"\0" not in self.pending:
            if not select.select([self.read], [], [], self.patience)[0]:
                raise AssertionError(f"after {self.patience} s chromium has not answered")
            part = os.read(self.read, 1 << 20)
            if not part:
                raise AssertionError(f"chromium has ended with {self.process.wait()}")
            self.pending += part
        text, _, self.pending = self.pending.partition(b"\0")
        return json.loads(text)

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self.write, text):]
        while True:
            answer = self._next()
            if answer.get("id") != self.last:
                self.events.append(answer)
            elif "error" in answer:
                raise AssertionError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression; of a promise what it comes to."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise AssertionError(f"{script}: {done['exceptionDetails'].get('exception', done['exceptionDetails'])}")
        return done["result"].get("value")

    def press(self, *keys):
        for key in keys:
            for kind in ("rawKeyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def shoot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def complaints(self):
        """What went wrong in the page, and what it was not allowed."""
        return [event for event in self.events if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]

    def close(self):
        """Returns when nothing of it is left."""
        os.close(self.write)  # which ends it, and what it has started
        try:
            self.process.wait(self.patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        while select.select([self.read], [], [], self.patience)[0] and os.read(self.read, 1 << 20):
            pass
        os.close(self.read)
        shutil.rmtree(self.profile)
