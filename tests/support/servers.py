"""Real Redis servers for tests: single, in a cluster, sentinels; each private, and ended by its id."""

import asyncio
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from bot.storage.embedded.lifecycle import find_server
from tests.support.patience import PATIENCE_S

HOST = "127.0.0.1"
SLOTS = 16_384
_BUS = 10_000
"""A cluster's nodes talk to each other on the port that is this much higher."""
_claims: list[socket.socket] = []
"""One for each port that `free_port` gave away; closed when the process ends."""


class Server:
    """A server process on a port of loopback. It can be killed and started again on the same data."""

    def __init__(
        self, folder: Path, *arguments: str, port: int | None = None, sentinel: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self._arguments = arguments
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How a client names it."""
        return f"redis://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The process, which must run."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and don't wait."""
        common = ["--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)]
        if self._sentinel:  # a sentinel rewrites its file, so it has to have one
            config = self.folder / "sentinel.conf"
            config.write_text("\n".join(self._arguments) + "\n")
            command = [_program(), str(config), "--sentinel", *common]
        else:
            command = [_program(), *common, "--save", "", *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready(self) -> None:
        """Wait until it answers."""
        until(lambda: self.ask("PING") is not None, f"the server on port {self.port}")

    def ask(self, *command: str | int) -> object:
        """One command, by a client of its own; None while it does not answer."""
        once = Retry(NoBackoff(), 0)
        client: Any = Client(host=HOST, port=self.port, socket_timeout=PATIENCE_S, protocol=2, retry=once)
        try:
            return client.execute_command(*command)
        except (RedisError, OSError):
            return None
        finally:
            client.close()

    def stop(self, *, kill: bool = False) -> None:
        """End it: in order, or as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            (process.kill if kill else process.terminate)()
            process.wait(PATIENCE_S)


@cache
def _program() -> str:
    with ThreadPoolExecutor(1) as thread:  # this one may run a loop already
        return thread.submit(asyncio.run, find_server()).result()


@contextmanager
def running(*servers: Server) -> Generator[None]:
    """These servers, started side by side, until the end of the block."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.ready()
        yield
    finally:
        for server in servers:
            server.stop()


@contextmanager
def cluster(folder: Path, *, announce: Sequence[int | None] = (None,) * 3) -> Generator[list[Server]]:
    """Masters that share all slots evenly, and know each other: one for each port to `announce` to clients.

    Without `cluster-require-full-coverage` the slots of the others are served while one is away.
    """
    count = len(announce)
    settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
    settings += ["--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "no"]
    nodes = [
        Server(
            folder / str(number),
            *settings,
            *(("--cluster-announce-port", str(port)) if port is not None else ()),
        )
        for number, port in enumerate(announce)
    ]
    with running(*nodes):
        for number, node in enumerate(nodes):
            slots = range(SLOTS * number // count, SLOTS * (number + 1) // count)
            assert node.ask("CLUSTER", "ADDSLOTS", *slots) is not None
            assert node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1) is not None
        for node in nodes[1:]:
            nodes[0].ask("CLUSTER", "MEET", HOST, node.port, node.port + _BUS)
        until(lambda: all(whole(node, count) for node in nodes), "the cluster")
        yield nodes


def whole(node: Server, count: int) -> bool:
    """Whether this node sees a cluster of so many, all of them there."""
    told = node.ask("CLUSTER", "INFO")
    text = told.decode() if isinstance(told, bytes) else str(told)
    return all(
        line in text for line in ("cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_size:{count}")
    )


def free_port() -> int:
    """A port of loopback that is free, as is the one that a cluster's node there would also take.

    It is not one of those that outgoing connections get: a server that is away for a moment must find it
    free when it comes back. No other test gets it while this process lives: the UDP port of the same number
    stays bound, which says so to every process of the machine.
    """
    while True:
        port = 12_000 + secrets.randbelow(10_000)
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe, socket.socket() as bus:
            try:
                claim.bind((HOST, port))
                probe.bind((HOST, port))
                bus.bind((HOST, port + _BUS))
            except OSError:
                claim.close()
                continue
        _claims.append(claim)
        return port


def until(test: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition of servers."""
    deadline = time.monotonic() + within_s
    while not test():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not in {within_s:g} s")
        time.sleep(0.02)


__all__: Sequence[str] = ["HOST", "Server", "cluster", "free_port", "running", "until", "whole"]
