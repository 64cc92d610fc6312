"""What clients did and were told: one line for each operation.

A write is create, scale or remove of one service; a read is services, tasks or nodes. Times are of the machine's
monotonic clock, in ns, which all its test hosts share.
"""
import dataclasses
import json

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"
OLD = "old"  # of a read that says so: the store is silent
CREATE, SCALE, REMOVE = "create", "scale", "remove"
SERVICES, TASKS, NODES = "services", "tasks", "nodes"
WRITES = (CREATE, SCALE, REMOVE)


@dataclasses.dataclass(frozen=True)
class Operation:
    client: str
    what: str
    invoked: int
    completed: int
    outcome: str        # refused: it says that nothing was changed; unknown: it may have been done, or will be yet
    service: str = ""   # of writes
    replicas: int = 0   # of create and scale
    # Of reads. services: {name: replicas that it should have}; tasks: [a dictionary as `task()`]; nodes: {host: [state, message]}
    found: object = None
    said: str = ""      # what came on stderr
    asked: str = ""     # which managers, in order

    def line(self):
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")) + "\n"


def read(path):
    with open(path) as file:
        return [Operation(**json.loads(line)) for line in file]


def task(identity, service, slot, node, desired, state):
    """Of a task what the checker looks at."""
    return {"id": identity, "service": service, "slot": slot, "node": node, "desired": desired, "state": state}
