"""ZooKeeper's servers on test hosts."""

# Java looks for its limits in the cgroups, and dies of a test host's. One thread collects garbage.
JAVA = ["java", "-XX:-UseContainerSupport", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-cp", "/usr/share/java/zookeeper.jar"]


# As the README of store.zookeeper advises: or a server of 3.8.0 that comes back may lack changes that the others have.
SERVER = [*JAVA, "-Dzookeeper.forceSnapshotSync=true", "org.apache.zookeeper.server.quorum.QuorumPeerMain"]


def zookeeper(folder, lines=(), number=0):
    """Runs a server with its data there and these lines in its zoo.cfg; `number`: of an ensemble."""
    lines = [f"dataDir={folder}", "clientPort=2181", "admin.enableServer=false", *lines]
    config = "\n".join(lines)
    return ["bash", "-euc", f'mkdir -p {folder}; echo {number} > {folder}/myid; echo "$1" > {folder}.cfg; shift; exec "$@"',
            "zookeeper", config, *SERVER, f"{folder}.cfg"]


def ask(host, address, *words):
    """What zkCli.sh says there."""
    told = host.run(*JAVA, "org.apache.zookeeper.ZooKeeperMain", "-server", f"{address}:2181", *words)
    return [line for line in told.stdout.splitlines() if line and "WATCHER" not in line and "WatchedEvent" not in line]
