#!/usr/bin/env python3
"""What scripts/demo shows, once all is built.

usage: demo.py PROGRAMS [--keep] [--hosts N]     PROGRAMS: the folder with orch and orchd
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed"))
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import single  # noqa: E402
import testbed  # noqa: E402
from single import eventually  # noqa: E402

NAME = "demo"
PORT = 8080
HOST_TOOL = "tests/testbed/host"
CLUSTER_TOOL = f"scripts/cluster --name {NAME}"


class Story:
    """Commands as the user would type them, shown with what they print."""

    def __init__(self):
        self.summary = []
        self.started = time.monotonic()

    def chapter(self, title):
        print(f"\n== {title}", flush=True)

    def orchOn(self, node, prompt, *arguments):
        print(f"{prompt}$ orch {' '.join(arguments)}", flush=True)
        output = node.orch(*arguments).stdout
        print("".join(f"  {line}\n" for line in output.splitlines()), end="", flush=True)
        return output

    def seen(self, text):
        print(f"-> {text}", flush=True)
        self.summary.append(text)

    def require(self, right, wrong):
        if not right:
            raise AssertionError(wrong)

    def summarize(self):
        self.chapter(f"Summary ({time.monotonic() - self.started:.0f} s)")
        for text in self.summary:
            print(f"  {text}")


class OneHost(Story):
    def __init__(self, programs):
        super().__init__()
        self.programs = programs
        self.node = single.SingleHost(NAME, programs)

    def exists(self):
        return os.path.exists(self.node.host.folder)

    def ending(self):
        return f"{HOST_TOOL} rm {NAME}"

    def remove(self):
        self.node.remove()

    def logTail(self):
        return self.node.logTail()

    def goOn(self):
        return (f"The host '{NAME}' goes on. For example:\n"
                f"  {HOST_TOOL} exec {NAME} {self.programs}/orch service ps web\n"
                f"  {HOST_TOOL} exec {NAME} curl -s http://127.0.0.1:{PORT}\n"
                f"  {self.ending()}      # ends it")

    def orch(self, *arguments):
        self.orchOn(self.node, "", *arguments)

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
        self.summarize()

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


class SeveralHosts(Story):
    """n1 manages; nothing here is about a published port, which each host has for its own tasks."""

    def __init__(self, programs, count):
        super().__init__()
        self.cluster = cluster.Cluster(NAME, programs, hosts=count)
        self.hosts = self.cluster.hosts

    def exists(self):
        return os.path.exists(self.cluster.folder)

    def ending(self):
        return f"{CLUSTER_TOOL} rm"

    def remove(self):
        self.cluster.remove()

    def logTail(self):
        return "".join(f"---- {node.name}\n{node.logTail(10)}" for node in self.hosts)

    def goOn(self):
        return (f"The hosts {' '.join(node.name for node in self.hosts)} go on. For example:\n"
                f"  {CLUSTER_TOOL} exec n1 orch service ps web\n"
                f"  {CLUSTER_TOOL} poweroff n3\n"
                f"  {self.ending()}      # ends it")

    def orch(self, *arguments, on=0):
        return self.orchOn(self.hosts[on], f"{self.hosts[on].name} ", *arguments)

    def spread(self):
        """{host: how many tasks of the service run there}"""
        n1 = self.hosts[0]
        names = {node["meta"]["id"]: node["description"]["hostname"] for node in n1.json("node", "ls")}
        running = [names.get(task["nodeId"], "?") for task in n1.running("web").values()]
        return {name: running.count(name) for name in sorted(set(running))}

    def run(self):
        self.chapter(f"{len(self.hosts)} hosts on a network of their own (namespaces; this machine is not touched)")
        self.cluster.create()
        self.chapter("The first becomes a manager, and says how others join")
        join = self.orch("init", on=0).splitlines()[-1].split()[1:]
        for number in range(1, len(self.hosts)):
            self.orch(*join, on=number)
        self.orch("node", "ls")
        self.seen(f"{len(self.hosts)} hosts are one cluster, {time.monotonic() - self.started:.1f} s after the first was there")
        self.deploy()
        self.poweroff()
        self.drain()
        self.update()
        self.summarize()

    def deploy(self):
        self.chapter("A service of six; the first host has its image, and the others fetch it from there")
        self.hosts[0].makeImages(1, 2)
        self.orch("service", "create", "--verify", "0s", "--name", "web", "--replicas", "6", "--stop-grace-period", "1s",
                  "web:1", "/bin/web")
        self.orch("service", "ps", "web")
        counts = self.spread()
        self.require(max(counts.values()) - min(counts.values()) <= 1, f"it is not spread: {counts}")
        self.seen(f"six tasks are spread over the hosts: {counts}")

    def poweroff(self):
        lost = self.hosts[-1]
        self.chapter(f"{lost.name} is powered off")
        started = time.monotonic()
        lost.poweroff()
        eventually("six run on the others", lambda: lost.name not in self.spread() and sum(self.spread().values()) == 6)
        took = time.monotonic() - started
        self.orch("node", "ls")
        self.orch("service", "ps", "--filter", "desired-state=running", "web")
        self.seen(f"{lost.name} was powered off: its tasks ran elsewhere {took:.1f} s later")
        lost.start()
        eventually("it is ready again", lambda: all(node["state"] == "ready" for node in self.hosts[0].json("node", "ls")))
        eventually("nothing of it is left there", lambda: not lost.webServers())
        self.seen(f"{lost.name} came back; what had been replaced did not run twice")

    def drain(self):
        name = self.hosts[1].name
        self.chapter(f"{name} is drained, for maintenance")
        self.orch("node", "update", "--availability", "drain", name)
        eventually("its tasks run elsewhere", lambda: name not in self.spread() and sum(self.spread().values()) == 6)
        self.orch("node", "ls")
        self.orch("node", "update", "--availability", "active", name)
        self.seen(f"{name} was drained: {self.spread()}")

    def update(self):
        self.chapter("Version 2, two at a time")
        self.orch("service", "update", "--image", "web:2", "--update-parallelism", "2", "--update-monitor", "1s", "web")
        versions = [version for node in self.hosts for version in node.webServers().values()]
        self.require(versions == [2] * 6, f"these versions run: {versions}")
        self.seen(f"all six run version 2: {self.spread()}")

    def cleanUp(self):
        self.chapter("Cleaning up")
        self.orch("service", "rm", "web")
        self.remove()
        self.seen("the service and the hosts are gone")


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("programs")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--hosts", type=int, default=1)
    chosen = parser.parse_args(arguments)
    programs = os.path.relpath(chosen.programs)
    story = OneHost(programs) if chosen.hosts == 1 else SeveralHosts(programs, chosen.hosts)
    if story.exists():
        print(f"demo: there is one already; end it with: {story.ending()}", file=sys.stderr)
        return 1
    try:
        story.run()
        if not chosen.keep:
            story.cleanUp()
    except (AssertionError, testbed.Failed) as error:
        print(f"\ndemo: not as it should be: {error}\n{story.logTail()}", file=sys.stderr)
        return 1
    finally:
        if not chosen.keep:
            story.remove()
    if chosen.keep:
        print(f"\n{story.goOn()}")
    return 0


sys.exit(main(sys.argv[1:]))
