"""What a measurement asks of an orchestrator. `docker_driver` and `orch_driver` implement it."""

import threading

from hub import Hub
from machine import BenchError, poll

JOIN_SECONDS = 60


class Session:
    """One open connection to a manager. Used by one thread at a time.

    `last_ms` is the time that the last call took on the wire: from its bytes being sent to the
    answer being there, without the encoding on our side.
    """

    last_ms = 0.0

    def create(self, name, replicas, net="bridge", delay=None, order="stop-first", parallelism=1, label=None):
        """A service of `wl LABEL`; `delay` is the restart delay in seconds, None the default one."""
        raise NotImplementedError

    def scale(self, name, replicas):
        """Changes the number of replicas."""
        raise NotImplementedError

    def relabel(self, name, label):
        """Replaces every task by one with another label: a rolling update."""
        raise NotImplementedError

    def remove(self, name):
        """Removes the service and its tasks."""
        raise NotImplementedError

    def running(self, name):
        """How many tasks the orchestrator says are running."""
        raise NotImplementedError

    def update_done(self, name):
        """Whether the last update is reported as completed."""
        raise NotImplementedError

    def fail(self, name, program):
        """A rolling update to a program that cannot be started, with failure action rollback. Back at the
        same pace and in the same order."""
        raise NotImplementedError

    def rolled_back(self, name):
        """Whether the last update is reported as taken back."""
        raise NotImplementedError

    def services(self):
        """The number of services, from a list of all of them."""
        raise NotImplementedError

    def cluster_nodes(self):
        """As the manager sees them, in the shape of docker's /nodes: ID, Status.State, and of managers
        ManagerStatus with Addr and Leader."""
        raise NotImplementedError

    def tasks_by_node(self, name):
        """Running tasks, counted by the id of their node."""
        raise NotImplementedError

    def ready(self):
        """How many nodes the manager says are ready."""
        raise NotImplementedError

    def drain(self, node):
        """Empties a node, which is given by its number."""
        raise NotImplementedError

    def left(self):
        """How many containers (and whatever else a task holds) the node still has."""
        raise NotImplementedError

    def inode(self):
        """Of the client's end of the connection: it names it in the lists of sockets."""
        raise NotImplementedError

    def close(self):
        """Ends the connection."""
        raise NotImplementedError


class Driver:
    """One orchestrator with its nodes. A context: all is taken away at the end."""

    name = ""
    networks = ()
    most_managers = 1
    answers_everywhere = False  # on a published port, where no task is, too
    OVERLAY_SUBNET = "10.77.0.0/16"

    def __init__(self, setup):
        self.setup = setup
        self.tag = setup.new_tag(self.name)
        self.managers = 1
        self.nodes = {}
        self.hub = None
        self.session = None
        self.sessions = []
        self.lock = threading.Lock()

    def make_node(self, number, namespace):
        """A Node that has not been started."""
        raise NotImplementedError

    def form_cluster(self):
        """Makes the first of the started nodes a cluster, with the image loaded."""
        raise NotImplementedError

    def load_image(self, number):
        """Into that node's store, for a cluster that fetches it from nowhere."""
        raise NotImplementedError

    def prepare_join(self, number, role):
        """A call that makes a started node part of the cluster and returns when it was told so."""
        raise NotImplementedError

    def settle(self):
        """Waits until a death among the managers is survived."""

    def promote(self, number):
        """Makes a worker a manager."""
        raise NotImplementedError

    def managing(self):
        """How many managers there are that could lead, the leader among them."""
        raise NotImplementedError

    def open_session(self, number, timeout):
        """A Session with the manager on that node."""
        raise NotImplementedError

    def serve(self, name, replicas, published=None):
        """A service on the overlay, with a virtual address if there are any; `published`: the hosts'
        port and that of the tasks."""
        raise NotImplementedError

    def virtual_address(self, name):
        """Of a service on the overlay; None if it has none."""
        raise NotImplementedError

    def service_ls(self):
        """Command and environment of the command line that lists the ids of all services."""
        raise NotImplementedError

    def version_only(self):
        """The shortest thing that the command line can do without the daemon."""
        raise NotImplementedError

    def up(self, count=1, role="manager"):
        """Starts `count` nodes: a manager, and others that join it as what `role` says."""
        self.managers = count if role == "manager" else 1
        self.start_nodes(count)
        for number in list(self.nodes)[1:]:
            self.prepare_join(number, role)()
        if poll(lambda: self.session.ready() == count, JOIN_SECONDS, 0.1) is None:
            raise BenchError(f"{count} nodes were not ready within {JOIN_SECONDS} s")
        self.settle()
        return self

    def start_nodes(self, count):
        """The first of them is a cluster; the others are alone yet."""
        self.hub = Hub(count, self.tag)
        self.hub.up()
        for number, namespace in self.hub.namespaces.items():
            self.nodes[number] = self.make_node(number, namespace)
            self.nodes[number].start()
        for node in self.nodes.values():
            node.wait_ready()
        self.form_cluster()
        for number in list(self.nodes)[1:]:
            self.load_image(number)
        self.session = self.connect()

    def connect(self, number=1, timeout=60):
        """Another session, for a thread of its own."""
        session = self.open_session(number, timeout)
        with self.lock:
            self.sessions.append(session)
        return session

    def cpu(self):
        """CPU seconds of all nodes."""
        return sum(node.cpu() for node in self.nodes.values())

    def down(self):
        """Takes all of it away. May be called at any time."""
        for session in self.sessions:
            session.close()
        self.sessions = []
        for node in self.nodes.values():
            node.close()
        self.nodes = {}
        if self.hub is not None:
            self.hub.down()
            self.hub = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()
