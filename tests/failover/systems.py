"""Redis servers with replicas: behind sentinels, and as a cluster. One master can be killed or paused."""

import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol, cast

from tests.support import servers
from tests.support.servers import HOST, Server, free_port

REPLICAS = 2
"""Of each master, so that a write can be confirmed after one has become the master."""

_DURABLE = ("--appendonly", "yes", "--appendfsync", "no", "--repl-diskless-sync-delay", "0")


class System(Protocol):
    """What a failover needs to know of servers."""

    url: str

    def master(self, random: Random) -> Server:
        """A master that has replicas."""
        ...

    def replaced(self, former: Server) -> bool:
        """Whether another server is the master now."""
        ...


def pause(server: Server) -> None:
    """Stop a process; its connections stay open."""
    os.kill(server.pid, signal.SIGSTOP)


def resume(server: Server) -> None:
    """Let it go on, as if nothing had happened."""
    os.kill(server.pid, signal.SIGCONT)


@contextmanager
def paused(*processes: Server) -> Generator[None]:
    """Let them go on at the end of the block, also if it fails: a paused process can't be ended."""
    for process in processes:
        pause(process)
    try:
        yield
    finally:
        for process in processes:
            resume(process)


# ------------------------------------------------------------------ sentinels


@dataclass
class Watched:
    """A master, its replicas, and three sentinels."""

    url: str
    nodes: Sequence[Server]
    sentinels: Sequence[Server]

    def master(self, random: Random) -> Server:
        port = self._port()
        return next(node for node in self.nodes if node.port == port)

    def replaced(self, former: Server) -> bool:
        return self._port() not in (None, former.port)

    def _port(self) -> int | None:
        answer = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        return int(cast("list[bytes]", answer)[1]) if answer else None


@contextmanager
def by_sentinels(folder: Path) -> Generator[Watched]:
    """A master with replicas, watched by three sentinels of which two must agree."""
    master = Server(folder / "0", *_DURABLE)
    replicas = [
        Server(folder / str(number), *_DURABLE, "--replicaof", f"{HOST} {master.port}")
        for number in range(1, REPLICAS + 1)
    ]
    with servers.running(master, *replicas):
        servers.until(lambda: all(map(_copies, replicas)), "the first copies of the replicas")
        sentinels = [
            Server(
                folder / f"sentinel-{number}",
                "protected-mode no",
                f"sentinel monitor mymaster {HOST} {master.port} 2",
                "sentinel down-after-milliseconds mymaster 500",
                "sentinel failover-timeout mymaster 2000",
                sentinel=True,
            )
            for number in range(3)
        ]
        with servers.running(*sentinels):
            servers.until(lambda: all(map(_is_ready, sentinels)), "what the sentinels know")
            hosts = ",".join(f"{HOST}:{one.port}" for one in sentinels)
            yield Watched(f"redis+sentinel://{hosts}/mymaster", [master, *replicas], sentinels)


def _copies(replica: Server) -> bool:
    answer = replica.ask("INFO", "replication")
    return isinstance(answer, dict) and cast("dict[str, object]", answer).get("master_link_status") == "up"


def _is_ready(sentinel: Server) -> bool:
    replicas = sentinel.ask("SENTINEL", "REPLICAS", "mymaster")
    others = sentinel.ask("SENTINEL", "SENTINELS", "mymaster")
    return (
        len(cast("list[object]", replicas or ())) == REPLICAS and len(cast("list[object]", others or ())) == 2
    )


# ------------------------------------------------------------------ cluster


@dataclass
class Cluster:
    """Three masters and their replicas."""

    url: str
    nodes: Sequence[Server]

    def master(self, random: Random) -> Server:
        return random.choice([node for node in self.nodes if _is_master(node)])

    def replaced(self, former: Server) -> bool:
        others = [node for node in self.nodes if node is not former]
        return sum(map(_is_master, others)) == 3


@contextmanager
def by_cluster(folder: Path) -> Generator[Cluster]:
    """Three masters, each with replicas; a node counts as away after one second."""
    with servers.cluster(folder) as masters:
        settings = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", *_DURABLE]
        replicas = [
            Server(folder / f"replica-{number}", *settings, port=free_port())
            for number in range(REPLICAS * len(masters))
        ]
        with servers.running(*replicas):
            nodes = [*masters, *replicas]
            for node in nodes:
                node.ask("CONFIG", "SET", "cluster-node-timeout", 1000)
            for number, replica in enumerate(replicas):
                _join(replica, masters[number % len(masters)])
            servers.until(lambda: all(map(_copies, replicas)), "the first copies of the replicas")
            servers.until(lambda: all(servers.whole(node, 3) for node in nodes), "the whole cluster")
            yield Cluster(f"redis+cluster://{','.join(f'{HOST}:{one.port}' for one in masters)}", nodes)


def _join(replica: Server, master: Server) -> None:
    name = cast("bytes", master.ask("CLUSTER", "MYID")).decode()
    replica.ask("CLUSTER", "MEET", HOST, master.port, master.port + 10_000)
    servers.until(lambda: replica.ask("CLUSTER", "REPLICATE", name) is not None, "a replica's master")


def _is_master(node: Server) -> bool:
    answer = node.ask("ROLE")
    return isinstance(answer, list) and cast("list[object]", answer)[0] == b"master"
