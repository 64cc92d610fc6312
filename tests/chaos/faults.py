"""What can happen to the hosts, and how each of it ends. A fault is drawn from a seed, begins and ends; whoever ends all leaves the
hosts whole."""
import signal

CLOCKS = (-86_000, -600, -5, 5, 600, 86_000)  # seconds


class Fault:
    """`severe`: one of its hosts may be called down for it."""
    severe = True
    pair = False
    longest = 12  # seconds

    def __init__(self, hosts, node, other=None):
        self.hosts, self.node, self.other = hosts, node, other

    @classmethod
    def targets(cls, hosts):
        return hosts.hosts

    @property
    def names(self):
        return tuple(node.name for node in (self.node, self.other) if node)

    def __str__(self):
        return f"{self.kind} {' '.join(self.names)}"


class Poweroff(Fault):
    kind = "poweroff"

    def begin(self):
        self.node.poweroff()

    def end(self):
        self.hosts.boot(self.node)


class Crash(Fault):
    kind = "orchd killed"

    def begin(self):
        self.hosts.signalOrchd(self.node, signal.SIGKILL)

    def end(self):
        if self.node.state() == "stopped":
            self.hosts.startOrchd(self.node)


class Freeze(Fault):
    kind = "host frozen"

    def begin(self):
        self.node.freeze()

    def end(self):
        self.node.thaw()


class StopOrchd(Fault):
    kind = "orchd stopped"
    longest = 30

    def begin(self):
        self.hosts.signalOrchd(self.node, signal.SIGSTOP)

    def end(self):
        self.hosts.signalOrchd(self.node, signal.SIGCONT)


class OfServer(Fault):
    severe = False

    @classmethod
    def targets(cls, hosts):
        return hosts.managers


class KillServer(OfServer):
    kind = "server killed"

    def begin(self):
        self.hosts.killServer(self.node)

    def end(self):
        if not self.hosts.serverRuns(self.node):
            self.hosts.startServers(self.node)


class StopServer(OfServer):
    kind = "server stopped"

    def begin(self):
        self.hosts.signalServer(self.node, signal.SIGSTOP)

    def end(self):
        self.hosts.signalServer(self.node, signal.SIGCONT)


class OfNetwork(Fault):
    """The nemesis has the network as all of them say that are under way."""

    def begin(self):
        pass

    def end(self):
        pass


class Cut(OfNetwork):
    kind = "cut off"

    def apply(self):
        self.hosts.cut(self.node.name)


class CutPair(OfNetwork):
    kind = "cut pair"
    pair = True

    def apply(self):
        self.hosts.cut(self.node.name, self.other.name)


class CutOneWay(OfNetwork):
    kind = "cut one way"
    pair = True

    def apply(self):
        self.hosts.cut(self.node.name, self.other.name, oneWay=True)


class CutTalking(OfNetwork):
    """It hears all, and nobody hears it, but for the clients."""
    kind = "cut to all"

    def apply(self):
        for other in self.hosts.hosts:
            if other is not self.node:
                self.hosts.cut(self.node.name, other.name, oneWay=True)


class CutFromHosts(OfNetwork):
    """From all other hosts, but not from the clients: they can still ask it."""
    kind = "cut from hosts"

    def apply(self):
        for other in self.hosts.hosts:
            if other is not self.node:
                self.hosts.cut(self.node.name, other.name)


class Lose(OfNetwork):
    kind = "losses"
    severe = False

    def apply(self):
        self.hosts.lose(self.node.name, 20)


class Delay(OfNetwork):
    kind = "delay"
    severe = False

    def apply(self):
        self.hosts.delay(self.node.name, 60)


class Clock(Fault):
    kind = "clock jump"
    severe = False
    seconds = 0  # is drawn

    def begin(self):
        self.hosts.setClock(self.node, self.seconds)

    def end(self):
        self.hosts.setClock(self.node, 0)

    def __str__(self):
        return f"{super().__str__()} {self.seconds:+d} s"


class FullDisk(Fault):
    kind = "disk full"
    severe = False

    def begin(self):
        self.node.fillDisk()

    def end(self):
        self.node.freeDisk()


class StalledDisk(Fault):
    kind = "disk stalled"
    severe = False

    def begin(self):
        self.node.stallDisk()

    def end(self):
        self.node.resumeDisk()


KINDS = (Poweroff, Crash, Freeze, StopOrchd, KillServer, StopServer, Cut, CutPair, CutOneWay, CutTalking, CutFromHosts, Lose, Delay, Clock,
         FullDisk, StalledDisk)
BY_NAME = {kind.kind: kind for kind in KINDS}
