#!/usr/bin/env python3
"""What scripts/demo shows, once all is built.

usage: demo.py PROGRAMS [--keep]     PROGRAMS: the folder with orch and orchd
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import single  # noqa: E402
import testbed  # noqa: E402
from single import eventually  # noqa: E402

NAME = "demo"
PORT = 8080
HOST_TOOL = "tests/testbed/host"


class Demo:
    def __init__(self, programs):
        self.node = single.SingleHost(NAME, programs)
        self.summary = []

    # ---- telling ----

    def chapter(self, title):
        print(f"\n== {title}", flush=True)

    def orch(self, *arguments):
        """Runs a command as the user would type it, and shows both."""
        print(f"$ orch {' '.join(arguments)}", flush=True)
        output = self.node.orch(*arguments).stdout
        print("".join(f"  {line}\n" for line in output.splitlines()), end="", flush=True)

    def seen(self, text):
        print(f"-> {text}", flush=True)
        self.summary.append(text)

    def require(self, right, wrong):
        if not right:
            raise AssertionError(wrong)

    def answers(self, version, count):
        """All of `count` containers answer, with `version`, and nothing fails."""
        seen = self.node.ask(PORT, 10 * count)
        for answer, times in sorted(seen["answers"].items()):
            print(f"  {times:3} x  {answer}")
        self.require(seen["failed"] == 0, f"{seen['failed']} requests failed: {dict(seen['errors'])}")
        self.require(len(seen["answers"]) == count, f"{len(seen['answers'])} containers answer instead of {count}")
        self.require(all(answer.endswith(f" {version}") for answer in seen["answers"]), f"not all answer as version {version}")
        return seen["answered"]

    def allAnswer(self, count):
        seen = self.node.ask(PORT, count)
        return seen["failed"] == 0 and len(seen["answers"]) == count

    # ---- the story ----

    def run(self):
        started = time.monotonic()
        self.chapter("A host with orchd (namespaces of its own; this machine is not touched)")
        self.node.create()
        self.orch("version")
        self.orch("init")
        self.chapter("A small image, made from busybox without a network; version 1 and version 2")
        self.node.makeImages(1, 2)
        self.orch("image", "ls")
        self.deploy()
        self.heal()
        self.scale()
        self.update()
        self.crash()
        self.chapter(f"Summary ({time.monotonic() - started:.0f} s)")
        for text in self.summary:
            print(f"  {text}")

    def deploy(self):
        self.chapter(f"A service of three containers, published on port {PORT}")
        started = time.monotonic()
        self.orch("service", "create", "--verify", "0s", "--name", "web", "--replicas", "3", "-p", f"{PORT}:80", "web:1", "/bin/web")
        eventually("all three containers answer", lambda: self.allAnswer(3))
        took = time.monotonic() - started
        self.orch("service", "ls")
        answered = self.answers(version=1, count=3)
        self.seen(f"all three answered {took:.2f} s after the command was given; {answered} requests, answered by all three containers")

    def heal(self):
        self.chapter("One container is killed")
        before = self.node.pids("web")
        print(f"$ kill -9 {before[2]}    # the process of web.2")
        started = time.monotonic()
        self.node.kill(before[2])

        def healed():
            now = self.node.pids("web")
            return now if len(now) == 3 and now[2] != before[2] else None
        after = eventually("web.2 runs again", healed)
        took = time.monotonic() - started
        self.orch("service", "ps", "web")
        self.require(all(after[slot] == before[slot] for slot in (1, 3)), "the other containers did not stay")
        self.answers(version=1, count=3)
        self.seen(f"a killed container was replaced within {took:.2f} s; the other two were left alone")

    def scale(self):
        self.chapter("Six instead of three")
        before = self.node.pids("web")
        self.orch("service", "scale", "--verify", "0s", "web=6")
        after = self.node.pids("web")
        self.require(all(after[slot] == before[slot] for slot in before), "scaling replaced containers that ran")
        self.answers(version=1, count=6)
        self.seen("scaled to six; the first three went on under the same pids")

    def update(self):
        self.chapter("Version 2 rolls out, two at a time, while requests go on")
        with self.node.asking(PORT, retry=2) as asking:
            self.orch("service", "update", "--image", "web:2", "--update-parallelism", "2", "--update-order", "start-first",
                      "--update-monitor", "1s", "web")
            during = asking.stop()
        by = {version: sum(n for text, n in during["answers"].items() if text.endswith(f" {version}")) for version in "12"}
        print(f"  during the update: {during['answered']} requests answered ({by['1']} by version 1, {by['2']} by version 2), "
              f"{during['failed']} failed; slowest {during['longestMs']} ms")
        print(f"  {during['refusedAtFirst']} of them were refused at first, by a new container whose server did not listen yet, "
              "and tried again")
        self.require(during["failed"] == 0, f"{during['failed']} requests failed: {dict(during['errors'])}")
        self.require(during["answered"] > 0, "no request was made during the update")
        self.answers(version=2, count=6)
        self.seen(f"updated all six: {during['answered']} requests meanwhile, {during['failed']} failed, "
                  f"{during['refusedAtFirst']} had to be tried again")

    def crash(self):
        self.chapter("orchd is killed, and started again")
        before = self.node.pids("web")
        with self.node.asking(PORT) as asking:
            print(f"$ kill -9 {self.node.orchd}    # orchd")
            self.node.crash()
            self.answers(version=2, count=6)
            alive = [pid for pid in before.values() if self.node.runs(pid)]
            self.require(len(alive) == 6, f"only {len(alive)} of 6 containers outlived orchd")
            self.node.start()
            eventually("all six tasks are known again", lambda: len(self.node.pids("web")) == 6)
            during = asking.stop()
        self.orch("service", "ls")
        self.require(self.node.pids("web") == before, "the new orchd did not adopt the same containers")
        self.require(during["failed"] == 0, f"{during['failed']} requests failed: {dict(during['errors'])}")
        self.seen(f"orchd was killed: {during['answered']} requests meanwhile, {during['failed']} failed; "
                  "the next orchd adopted the same six containers")

    def cleanUp(self):
        self.chapter("Cleaning up")
        self.orch("service", "rm", "web")
        refused = self.node.ask(PORT, 1)
        self.require(refused["answered"] == 0, "the port still answers")
        self.node.remove()
        self.seen("the service, its containers and the host are gone")


def main(programs, keep):
    demo = Demo(programs)
    if os.path.exists(demo.node.host.folder):
        print(f"demo: there is one already; end it with: {HOST_TOOL} rm {NAME}", file=sys.stderr)
        return 1
    try:
        demo.run()
        if not keep:
            demo.cleanUp()
    except (AssertionError, testbed.Failed) as error:
        print(f"\ndemo: not as it should be: {error}\n{demo.node.logTail()}", file=sys.stderr)
        return 1
    finally:
        if not keep:
            demo.node.remove()
    if keep:
        print(f"\nThe host '{NAME}' goes on. For example:\n"
              f"  {HOST_TOOL} exec {NAME} {programs}/orch service ps web\n"
              f"  {HOST_TOOL} exec {NAME} curl -s http://127.0.0.1:{PORT}\n"
              f"  {HOST_TOOL} rm {NAME}      # ends it")
    return 0


sys.exit(main(os.path.relpath(sys.argv[1]), "--keep" in sys.argv))
