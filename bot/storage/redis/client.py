"""The connection to Redis: pools, scripts, health, and one mapping of its errors."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeAlias, cast

from redis.asyncio.cluster import PipelineCommand, RedisCluster
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from bot.domain.errors import StateUnavailable
from bot.domain.turns import CheckResult
from bot.storage.redis import urls

Key: TypeAlias = str | bytes
Argument: TypeAlias = str | bytes | int | float

BASELINE = (6, 2)
"""The oldest Redis that has every command in use (ZADD with GT, GETEX, effects replication of scripts)."""

_PASSING = re.compile(
    r"(?:^|-)(OOM|READONLY|LOADING|MISCONF|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|BUSY)\b"
)
"""Answers that tell a state of the server, which passes, from a mistake in a script. Redis 6.2 puts a
script's own words around the code."""


def literal(text: str) -> str:
    """Text as the part of a pattern for `scan` that matches nothing but itself."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


class Script:
    """A Lua script of bot/storage/scripts: called by digest, sent again when the server forgot it."""

    def __init__(self, name: str) -> None:
        self.body = files("bot.storage").joinpath("scripts", f"{name}.lua").read_text("utf-8")
        self.digest = sha1(self.body.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def mapped() -> Generator[None]:
    """Turn the driver's errors into StateUnavailable; a failing script is a fault of ours, and stays."""
    try:
        yield
    except ResponseError as error:
        # The driver cuts the codes that it knows off the text, and keeps them aside.
        if _PASSING.search(f"{error.status_code or ''} {error}".lstrip()):
            raise StateUnavailable(f"Redis can't take writes now: {error}") from error
        raise
    except (RedisError, RedisClusterException, OSError) as error:
        raise StateUnavailable(f"Redis is away: {error}") from error
    except RuntimeError as error:
        # What uvloop says of a connection that broke just before something is written to it.
        if "handler is closed" not in str(error):
            raise
        raise StateUnavailable(f"Redis is away: {error}") from error


class Redis:
    """One server, a cluster, or a master that sentinels name (`bot.storage.redis.urls`), behind one small face.

    At most `connections` commands run at once, to each node of a cluster; more wait their turn. What gets no
    answer within `timeout_s` seconds raises StateUnavailable.
    """

    def __init__(self, url: str, *, connections: int = 64, timeout_s: float = urls.TIMEOUT_S) -> None:
        self.url = url
        self._free = asyncio.Semaphore(connections)
        # Over the number: what a cluster's client asks for itself.
        self._client = urls.connect(
            url, connections=connections + 8, timeout_s=timeout_s, connect_timeout_s=timeout_s
        )
        # Followers of event streams and wakeups block for seconds; they must not take a connection from a turn.
        self._waiting = urls.connect(url, connections=1024, timeout_s=None, connect_timeout_s=timeout_s)

    async def close(self) -> None:
        """Close every connection."""
        await urls.close(self._client)
        await urls.close(self._waiting)

    async def run(self, script: Script, keys: Sequence[Key], args: Sequence[Argument]) -> Any:
        """Run a script in one round trip. Raises StateUnavailable."""
        with mapped():
            async with self._free:
                try:
                    return await self._client.execute_command(
                        "EVALSHA", script.digest, len(keys), *keys, *args
                    )
                except NoScriptError:
                    return await self._client.execute_command("EVAL", script.body, len(keys), *keys, *args)

    async def each(self, script: Script, keys: Sequence[str]) -> list[Any]:
        """Run a script that answers for each of its keys, over keys of any slots: one round trip to a server.

        In a cluster it is one for each node, and the answer for a node that is away is None. Raises
        StateUnavailable.
        """
        if not isinstance(self._client, RedisCluster):
            return await self.run(script, keys, ())
        with mapped():
            await self._client.initialize()
            nodes: dict[Any, list[str]] = {}
            for key in keys:
                nodes.setdefault(self._client.get_node_from_key(key), []).append(key)
        parts = await asyncio.gather(*(self._each_of(node, script, own) for node, own in nodes.items()))
        answers = {key: answer for part in parts for key, answer in part.items()}
        if not answers:
            raise StateUnavailable("Redis is away: no node of the cluster answers")
        return [answers.get(key) for key in keys]

    async def _each_of(self, node: Any, script: Script, keys: Sequence[str]) -> dict[str, Any]:
        """The keys of one node, in a pipeline; a key that is not there (any more) is looked for."""
        commands: list[Any] = [
            PipelineCommand(n, "EVALSHA", script.digest, 1, key) for n, key in enumerate(keys)
        ]
        with suppress(RedisError, StateUnavailable), mapped():
            async with self._free:
                await node.execute_pipeline(commands)
        results: dict[str, Any] = {key: command.result for key, command in zip(keys, commands, strict=True)}
        away = [key for key, result in results.items() if not isinstance(result, list | ResponseError)]
        # Of a node that is away one key is enough: asking for it has the client look who is there instead.
        again = [key for key, result in results.items() if isinstance(result, ResponseError)] + away[:1]
        answers: dict[str, Any] = {key: item[0] for key, item in results.items() if isinstance(item, list)}
        for key in again:
            with suppress(StateUnavailable):
                answers[key] = (await self.run(script, [key], ()))[0]
        return answers

    async def call(self, *command: Argument) -> Any:
        """Run one command. Raises StateUnavailable."""
        with mapped():
            async with self._free:
                return await self._client.execute_command(*command)

    async def wait(self, *command: Argument) -> Any:
        """Run one command that may block for seconds. Raises StateUnavailable."""
        with mapped():
            return await self._waiting.execute_command(*command)

    async def many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run commands in one round trip (one for each node of a cluster). Raises StateUnavailable."""
        with mapped():
            async with self._free:
                pipe = self._client.pipeline(transaction=False)
                for command in commands:
                    pipe.execute_command(*command)
                return cast(list[Any], await pipe.execute())

    async def scan(self, pattern: str) -> AsyncIterator[str]:
        """The names of all keys that match, found step by step. Raises StateUnavailable."""
        with mapped():
            async for name in self._client.scan_iter(match=pattern, count=500):
                yield name.decode()

    async def subscribe(self, *channels: str) -> AsyncGenerator[tuple[str, str]]:
        """(channel, text) as published; the first item of each subscription is ("", ""): listening has begun.

        Raises StateUnavailable when the connection breaks.
        """
        async with aclosing(await self._listener(channels)) as listener:
            yield "", ""
            while True:
                with mapped():
                    message: dict[str, Any] | None = await listener.get_message(
                        ignore_subscribe_messages=True, timeout=None
                    )
                if message is not None:
                    yield message["channel"].decode(), message["data"].decode()

    async def _listener(self, channels: Sequence[str]) -> Any:
        """A subscription that has begun; in a cluster on any node that answers: each has every message."""
        nodes: list[Any] = [None]
        with mapped():
            if isinstance(self._waiting, RedisCluster):
                await self._waiting.initialize()
                nodes = list(self._waiting.get_primaries())
                random.shuffle(nodes)
            for left, node in enumerate(nodes, 1 - len(nodes)):
                listener: Any = self._waiting.pubsub(**({} if node is None else {"node": node}))
                try:
                    await listener.subscribe(*channels)
                    return listener
                except (RedisError, OSError):
                    await listener.aclose()
                    if left == 0:
                        raise
        raise StateUnavailable("Redis is away: the cluster has no nodes")

    async def risks(self) -> list[CheckResult]:
        """What could lose something that was acknowledged: eviction, what is not on disk. Never raises:
        a process that starts while Redis is away says so, and waits for it.
        """
        try:
            return _risks(await self.info())
        except StateUnavailable as error:
            return [CheckResult(level="warning", subject="redis", words=f"{error}. Waiting for it.")]

    async def check(self) -> list[CheckResult]:
        """What `parley check` says of Redis. Never raises."""
        try:
            servers_info = await self.info()
        except StateUnavailable as error:
            words = f"{error}. Is REDIS_URL right, and the server running?"
            return [CheckResult(level="error", subject="redis", words=words)]
        version = min((str(item.get("redis_version", "0.0")) for item in servers_info), key=_numbers)
        if _numbers(version) < BASELINE:
            words = f"version {version} is too old: Parley needs {BASELINE[0]}.{BASELINE[1]} or newer"
            return [CheckResult(level="error", subject="redis", words=words), *_risks(servers_info)]
        nodes = f", a cluster of {len(servers_info)}" if isinstance(self._client, RedisCluster) else ""
        return [
            CheckResult(level="ok", subject="redis", words=f"version {version} answers{nodes}"),
            *_risks(servers_info),
        ]

    async def info(self) -> list[dict[str, Any]]:
        """What the server says of itself; in a cluster, each master. Raises StateUnavailable.

        `appendfsync` is added; it is empty where the server does not let its settings be read.
        """
        if not isinstance(self._client, RedisCluster):
            return [await self._info()]
        with mapped():
            await self._client.initialize()
            nodes: list[Any] = self._client.get_primaries()
        return await asyncio.gather(*(self._info(target_nodes=node) for node in nodes))

    async def _info(self, **where: Any) -> dict[str, Any]:
        with mapped():
            servers_info: dict[str, Any] = await self._client.execute_command("INFO", **where)
            sync: dict[str, str] = {}
            with suppress(ResponseError):  # managed services refuse it
                sync = await self._client.execute_command("CONFIG GET", "appendfsync", **where)
        return servers_info | {"appendfsync": sync.get("appendfsync", "")}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def _risks(servers: Sequence[dict[str, Any]]) -> list[CheckResult]:
    words: dict[str, None] = {}  # said once, however many nodes it is true of
    for servers_info in servers:
        policy = str(servers_info.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction":
            lost = (
                "history and the memory of what was answered" if "volatile" in policy else "waiting messages"
            )
            words[f"maxmemory-policy is {policy}: {lost} can be evicted. Set it to noeviction."] = None
        if not servers_info.get("aof_enabled"):
            words["there is no append-only file: a restart of Redis loses messages. Set appendonly yes."] = (
                None
            )
        elif servers_info.get("appendfsync") == "":
            words["whether it syncs each write can't be read here: appendfsync should be always."] = None
        elif servers_info.get("appendfsync") != "always":
            sync = servers_info["appendfsync"]
            lost = "the last second" if sync == "everysec" else "half a minute"
            words[
                f"appendfsync is {sync}: when the server or its machine dies, {lost} of what was "
                "acknowledged can be lost. Set it to always."
            ] = None
    return [CheckResult(level="warning", subject="redis", words=text) for text in words]
