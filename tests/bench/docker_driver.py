"""docker swarm mode: a dockerd of its own per node, spoken to over its socket."""

import json
import os
import shutil
import urllib.parse

from docker_http import HttpConnection
from driver import Driver, Session
from machine import BenchError
from node import Node

# Debian's own programs, whatever else comes first in PATH.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
NANOSECONDS = 1_000_000_000


def find(name):
    """The path of one of the distribution's programs."""
    path = shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        raise BenchError(f"'{name}' is not installed: run scripts/setup --bench")
    return path


class DockerNode(Node):
    """dockerd with its own containerd and runc."""

    KINDS = {"dockerd": "daemons", "containerd": "daemons", "wl": "wl"}

    def socket(self):
        """Of the API."""
        return f"{self.folder}/docker.sock"

    def script(self):
        """dockerd without the hugetlb hierarchy, which only crun asks for."""
        options = [
            f"--data-root {self.folder}/data --exec-root /run/docker -H unix://{self.socket()}",
            "--pidfile /run/docker.pid --storage-driver overlay2",
            f"--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /{self.cgroup}/containers",
        ]
        return f"umount /sys/fs/cgroup/hugetlb\nexec {find('docker-init')} -s -- {find('dockerd')} {' '.join(options)}"

    def environment(self):
        """Without the last variable docker asks a registry before each task: it is spared that."""
        environment = dict(os.environ, PATH=SYSTEM_PATH, DOCKER_SERVICE_PREFER_OFFLINE_IMAGE="1")
        environment.pop("DOCKER_HOST", None)
        return environment

    def answers(self):
        """Whether the API does."""
        connection = HttpConnection(self.socket(), 10)
        try:
            connection.call("GET", "/info")
            return True
        except (OSError, EOFError, BenchError):
            return False
        finally:
            connection.close()

    def kind(self, name):
        """A shim per container."""
        return "shim" if name.startswith("containerd-shim") else self.KINDS.get(name, "other")

    def load_image(self, path):
        """As bench:1."""
        connection = HttpConnection(self.socket(), 60)
        with open(path, "rb") as file:
            target = "/images/create?fromSrc=-&repo=bench&tag=1"
            status, answer = connection.send("POST", target, file.read(), "application/x-tar")
        connection.close()
        if status != 200:
            raise BenchError(f"dockerd did not import the image: {answer[:300]}")


class DockerSession(Session):
    """The Engine API on a connection that stays open."""

    def __init__(self, node, driver, timeout):
        self.driver = driver
        self.http = HttpConnection(node.socket(), timeout)

    @property
    def last_ms(self):
        """Of the last HTTP exchange."""
        return self.http.last_ms

    def create(self, name, replicas, net="bridge", delay=None, order="stop-first", parallelism=1, label=None):
        """One POST; docker's command line would wait for five seconds of stability after it."""
        spec = service_spec(name, replicas, order, parallelism, label or name)
        if delay is not None:
            spec["TaskTemplate"]["RestartPolicy"]["Delay"] = int(delay * NANOSECONDS)
        if net == "overlay":
            spec["TaskTemplate"]["Networks"] = [{"Target": self.driver.overlay_id()}]
        elif net == "host":
            spec["TaskTemplate"]["Networks"] = [{"Target": "host"}]
        return self.http.call("POST", "/services/create", spec)["ID"]

    def scale(self, name, replicas):
        """Reads, changes, writes, as docker's own command line does."""
        service = self._get(name)
        service["Spec"]["Mode"]["Replicated"]["Replicas"] = replicas
        self._put(name, service)

    def relabel(self, name, label):
        """Another command."""
        service = self._get(name)
        service["Spec"]["TaskTemplate"]["ContainerSpec"]["Command"] = ["/bin/wl", label]
        self._put(name, service)

    def remove(self, name):
        """Answered before anything has stopped."""
        self.http.call("DELETE", f"/services/{name}")

    def running(self, name):
        """Tasks whose state and wanted state are running."""
        tasks = self.http.call("GET", "/tasks?" + query(filters={"service": {name: True}}))
        return sum(is_running(task) for task in tasks)

    def tasks_by_node(self, name):
        """Running tasks, counted by the id of their node."""
        tasks = self.http.call("GET", "/tasks?" + query(filters={"service": {name: True}}))
        counts = {}
        for task in filter(is_running, tasks):
            counts[task.get("NodeID")] = counts.get(task.get("NodeID"), 0) + 1
        return counts

    def cluster_nodes(self):
        """As the managers see them."""
        return self.http.call("GET", "/nodes")

    def ready(self):
        """Of managers, those that the others reach."""

        def is_ready(node):
            reachability = (node.get("ManagerStatus") or {}).get("Reachability", "reachable")
            return node["Status"]["State"] == "ready" and reachability == "reachable"

        return sum(map(is_ready, self.cluster_nodes()))

    def drain(self, node):
        """Reads and writes, as docker's own command line does."""
        self.change_node(node, Availability="drain")

    def change_node(self, node, **fields):
        """Reads and writes."""
        address = self.driver.nodes[node].address
        known = next(n for n in self.cluster_nodes() if n["Status"].get("Addr") == address)
        spec = {**known["Spec"], **fields}
        self.http.call("POST", f"/nodes/{known['ID']}/update?version={known['Version']['Index']}", spec)

    def update_done(self, name):
        """Which docker says after its monitoring period."""
        return self._update_state(name) == "completed"

    def fail(self, name, program):
        """Another command."""
        service = self._get(name)
        spec = service["Spec"]
        spec["TaskTemplate"]["ContainerSpec"]["Command"] = [program]
        spec["UpdateConfig"]["FailureAction"] = "rollback"
        spec["RollbackConfig"] = {key: spec["UpdateConfig"][key] for key in ("Parallelism", "Order")}
        self._put(name, service)

    def rolled_back(self, name):
        """Which docker says after its monitoring period."""
        return self._update_state(name) == "rollback_completed"

    def _update_state(self, name):
        return (self._get(name).get("UpdateStatus") or {}).get("State")

    def services(self):
        """All, with their specs."""
        return len(self.http.call("GET", "/services"))

    def left(self):
        """Containers in any state."""
        return len(self.http.call("GET", "/containers/json?all=1"))

    def inode(self):
        """Of the HTTP connection."""
        return self.http.inode()

    def close(self):
        """Ends the connection."""
        self.http.close()

    def _get(self, name):
        return self.http.call("GET", f"/services/{name}")

    def _put(self, name, service):
        version = service["Version"]["Index"]
        self.http.call("POST", f"/services/{name}/update?version={version}", service["Spec"])


class DockerDriver(Driver):
    """Debian's docker.io."""

    name = "docker"
    networks = ("bridge", "overlay", "host")
    most_managers = 3

    def __init__(self, setup):
        super().__init__(setup)
        self.overlay = None
        self.tokens = {}

    def make_node(self, number, namespace):
        """A dockerd."""
        return DockerNode(number, namespace, self.tag, self.setup.data)

    def form_cluster(self):
        """The first node's swarm."""
        self.load_image(1)
        first = self.nodes[1]
        http = HttpConnection(first.socket(), 60)
        listen = {"ListenAddr": f"{first.address}:2377", "AdvertiseAddr": first.address}
        http.call("POST", "/swarm/init", {**listen, "ForceNewCluster": False, "Spec": {}})
        self.tokens = http.call("GET", "/swarm")["JoinTokens"]
        http.close()

    def load_image(self, number):
        """As bench:1."""
        self.nodes[number].load_image(self.setup.image)

    def prepare_join(self, number, role):
        """The connection is open already."""
        node = self.nodes[number]
        join = {"ListenAddr": f"{node.address}:2377", "AdvertiseAddr": node.address}
        join.update(RemoteAddrs=[f"{self.nodes[1].address}:2377"], JoinToken=self.tokens[role.capitalize()])
        http = HttpConnection(node.socket(), 60)

        def run():
            http.call("POST", "/swarm/join", join)
            http.close()

        return run

    def promote(self, number):
        """One change of the node."""
        self.session.change_node(number, Role="manager")

    def managing(self):
        """Those that the others reach are members of its raft."""
        nodes = self.session.cluster_nodes()
        return sum((node.get("ManagerStatus") or {}).get("Reachability") == "reachable" for node in nodes)

    def overlay_id(self):
        """Of the one overlay network, made when it is first asked for."""
        if self.overlay is None:
            http = HttpConnection(self.nodes[1].socket(), 60)
            network = {"Name": "benchnet", "Driver": "overlay", "CheckDuplicate": True}
            network["IPAM"] = {"Config": [{"Subnet": self.OVERLAY_SUBNET}]}
            self.overlay = http.call("POST", "/networks/create", network)["Id"]
            http.close()
        return self.overlay

    def serve(self, name, replicas, published=None):
        """Without a virtual address. Nor is the port answered where no task is: both need IPVS."""
        spec = service_spec(name, replicas, "stop-first", 1, name)
        spec["TaskTemplate"]["Networks"] = [{"Target": self.overlay_id()}]
        if published is not None:
            outside, target = published
            port = {"PublishedPort": outside, "TargetPort": target, "Protocol": "tcp", "PublishMode": "host"}
            spec["EndpointSpec"]["Ports"] = [port]
        self.session.http.call("POST", "/services/create", spec)

    def virtual_address(self, name):
        """There are none."""

    def open_session(self, number, timeout):
        """On that node's socket."""
        return DockerSession(self.nodes[number], self, timeout)

    def service_ls(self):
        """docker service ls -q"""
        environment = dict(os.environ, DOCKER_HOST=f"unix://{self.nodes[1].socket()}")
        return [find("docker"), "service", "ls", "-q"], environment

    def version_only(self):
        """docker --version"""
        return [find("docker"), "--version"]


def service_spec(name, replicas, order, parallelism, label):
    """Without a virtual address: this kernel may have no IPVS."""
    return {
        "Name": name,
        "TaskTemplate": {
            "ContainerSpec": {"Image": "bench:1", "Command": ["/bin/wl", label]},
            "RestartPolicy": {"Condition": "any"},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
        "UpdateConfig": {
            "Parallelism": parallelism,
            "Delay": 0,
            "Order": order,
            "FailureAction": "pause",
        },
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def is_running(task):
    """In fact and as wanted."""
    return task["Status"]["State"] == "running" and task["DesiredState"] == "running"


def query(**parameters):
    """Parameters of a URL, with JSON where they are structures."""
    return urllib.parse.urlencode({key: json.dumps(value) for key, value in parameters.items()})
