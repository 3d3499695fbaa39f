"""The connection to Redis: pools, scripts, checks, and the mapping of errors."""

import asyncio
import random
import re
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeAlias, cast

from redis.asyncio.cluster import PipelineCommand, RedisCluster
from redis.exceptions import (
    AskError,
    MovedError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from bot.domain.errors import StateUnavailable
from bot.domain.turns import CheckResult
from bot.storage.redis import tasks, urls
from bot.storage.redis.replication import ConnectedReplicas
from bot.storage.redis.sentinels import Sentinels

Key: TypeAlias = str | bytes
Argument: TypeAlias = str | bytes | int | float

BASELINE = (6, 2)
"""The oldest Redis with all commands in use (ZADD with GT, GETEX, effects replication of scripts)."""

_PASSING = re.compile(
    r"(?:^|-)(OOM|READONLY|LOADING|MISCONF|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|BUSY)\b"
)
"""Error codes of temporary states of the server, unlike errors in a script. Redis 6.2 wraps the codes in the
script's own text."""


_CONFIRM_MS = 1000
"""How long replicas may take to confirm a write. Slack waits 3 s for the response to an event."""

_PING_S = 10.0
"""A subscription that is silent for so long is tested; if nothing comes for as long again, it is broken."""

BLOCK_S = 20.0
"""The longest time for which a command may block."""


def literal(text: str) -> str:
    """Text escaped for a pattern of `scan`."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


class Script:
    """A Lua script of bot/storage/scripts, called by digest, and sent again if the server does not know it.

    `beginning` is a script with functions that it uses.
    """

    def __init__(self, name: str, beginning: str = "") -> None:
        folder = files("bot.storage").joinpath("scripts")
        names = filter(None, (beginning, name))
        self.body = "".join(folder.joinpath(f"{one}.lua").read_text("utf-8") for one in names)
        self.digest = sha1(self.body.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def mapped() -> Generator[None]:
    """Map errors of the driver to StateUnavailable; errors in scripts are bugs and are re-raised."""
    try:
        yield
    except ResponseError as error:
        # The driver moves the codes that it knows from the text to `status_code`.
        if _PASSING.search(f"{error.status_code or ''} {error}".lstrip()):
            raise StateUnavailable(f"Redis does not accept writes: {error}") from error
        raise
    except (RedisError, RedisClusterException, OSError) as error:
        raise StateUnavailable(f"Redis is unavailable: {error}") from error
    except Exception as error:
        if not _of_driver(error):
            raise
        raise StateUnavailable(f"Redis is unavailable: {type(error).__name__}: {error}") from error


def _of_driver(error: Exception) -> bool:
    """Whether an error came out of the driver: it lets some escape if a connection ends while it is being used, such
    as AttributeError from a writer that is gone, and uvloop's RuntimeError for a handler that is closed.
    """
    if isinstance(error, RuntimeError) and "handler is closed" in str(error):
        return True
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__")).startswith("redis.") for frame, _ in frames)


class Redis:
    """One server, a cluster, or a master behind sentinels (`bot.storage.redis.urls`).

    At most `connections` commands run at once, per node of a cluster; others wait. Commands without a response
    within `timeout_s` seconds raise StateUnavailable. Scripts that run only count once at least so many `replicas`, and
    all that are connected, have confirmed what they wrote, so that no failover loses it.
    """

    def __init__(
        self, url: str, *, connections: int = 64, timeout_s: float = urls.TIMEOUT_S, replicas: int = 0
    ) -> None:
        self.url = url
        self.replicas = replicas
        self._connected = ConnectedReplicas(replicas)
        self._free = asyncio.Semaphore(connections)
        # Spare connections for the cluster client's own commands.
        self._client = urls.connect(
            url, connections=connections + 8, timeout_s=timeout_s, connect_timeout_s=timeout_s
        )
        # Separate connections for blocking reads, so that they don't starve turns.
        self._waiting = urls.connect(
            url, connections=1024, timeout_s=BLOCK_S + timeout_s, connect_timeout_s=timeout_s
        )

        self._sentinels = _sentinels_of(self._client)

    async def close(self) -> None:
        if self._sentinels is not None:
            await self._sentinels.close()
        await urls.close(self._client)
        await urls.close(self._waiting)

    async def run(self, script: Script, keys: Sequence[Key], args: Sequence[Argument]) -> Any:
        """Run a script in one round trip. Raises StateUnavailable, also if replicas don't confirm what it wrote."""
        execute = self._confirmed if self.replicas else self._client.execute_command
        with mapped():
            async with self._free:
                try:
                    return await execute("EVALSHA", script.digest, len(keys), *keys, *args)
                except NoScriptError:
                    return await execute("EVAL", script.body, len(keys), *keys, *args)

    async def _confirmed(self, *command: Argument) -> Any:
        """Run a script, and WAIT for replicas on the same connection, because WAIT looks at the writes of its own."""
        wanted = await self._wanted(command[3])
        wait = ("WAIT", wanted, _CONFIRM_MS)
        if isinstance(self._client, RedisCluster):
            result, confirmed = await self._on_node(self._client, command[3], command, wait)
        else:
            result, confirmed = await self._on_master(command, wait)
        for answer in (result, confirmed):
            if isinstance(answer, Exception):
                raise answer
        if confirmed < wanted and confirmed < (wanted := await self._wanted(command[3], again=True)):
            await self._find_master()
            words = f"confirmed by {confirmed} of {wanted} replicas (PARLEY_REDIS_REPLICAS)"
            raise StateUnavailable(f"Redis does not keep writes safely: {words}")
        return result

    async def _wanted(self, key: Argument, *, again: bool = False) -> int:
        """How many replicas of the master of this key have to confirm a write; read once a second, or `again`."""
        master, cluster = "", self._client
        if isinstance(cluster, RedisCluster):
            await cluster.initialize()
            node = cluster.get_node_from_key(cast(str, key))
            master = str(node.name) if node is not None else ""
        known = self._connected.wanted(master)
        if known is not None and not again:
            return known
        asked = ("INFO", "replication")
        if isinstance(cluster, RedisCluster):
            (info,) = await self._on_node(cluster, key, asked)
        else:
            info = await cluster.execute_command(*asked)
        if isinstance(info, Exception):
            raise info
        return self._connected.read(master, info)

    async def _on_master(self, *commands: Sequence[Argument]) -> list[Any]:
        """The results, or errors, of commands in one round trip, if the server was still the master afterwards."""
        pipe = self._client.pipeline(transaction=False)
        connection = pipe.connection = await self._client.connection_pool.get_connection()
        for command in commands:
            pipe.execute_command(*command)
        results = cast(list[Any], await pipe.execute(raise_on_error=False))
        if self._sentinels is not None:
            try:
                await self._sentinels.confirm((connection.host, connection.port))
            except StateUnavailable:
                await self._find_master()
                raise
        return results

    async def _on_node(
        self, cluster: RedisCluster, key: Argument, *commands: Sequence[Argument]
    ) -> list[Any]:
        """The results, or errors, of commands on the node of a key, in one round trip.

        The driver would ask for the keys of some commands, and always the same node, also when that is gone.
        """
        await cluster.initialize()
        for last in (False, True):
            sent = [PipelineCommand(number, *command) for number, command in enumerate(commands)]
            try:
                node: Any = cluster.get_node_from_key(cast(str, key))
                await node.execute_pipeline(sent)
            except (RedisError, RedisClusterException, OSError):  # the node may be gone for good
                await cluster.execute_command("EXISTS", key)
                raise
            if last or not isinstance(sent[0].result, MovedError | AskError):
                break
            await cluster.execute_command("EXISTS", key)  # follows the key, and remembers where it is
        return [one.result for one in sent]

    async def _find_master(self) -> None:
        """Close idle connections, so that the next ones ask the sentinels again: this master may be a former one."""
        if not isinstance(self._client, RedisCluster):
            await self._client.connection_pool.disconnect(inuse_connections=False)

    async def each(self, script: Script, keys: Sequence[str]) -> list[Any]:
        """Run a script that returns a result per key, over keys of any slots, in one round trip.

        In a cluster there is one round trip per node, and the results of an unavailable node are None. Raises
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
            raise StateUnavailable("Redis is unavailable: no node of the cluster answers")
        return [answers.get(key) for key in keys]

    async def _each_of(self, node: Any, script: Script, keys: Sequence[str]) -> dict[str, Any]:
        """Run the script for the keys of one node in a pipeline; keys that have moved are retried."""
        commands: list[Any] = [
            PipelineCommand(n, "EVALSHA", script.digest, 1, key) for n, key in enumerate(keys)
        ]
        with suppress(RedisError, StateUnavailable), mapped():
            async with self._free:
                await node.execute_pipeline(commands)
        results: dict[str, Any] = {key: command.result for key, command in zip(keys, commands, strict=True)}
        away = [key for key, result in results.items() if not isinstance(result, list | ResponseError)]
        # One key of an unavailable node is enough to make the client refresh its view of the cluster.
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

    async def wait(self, key: str, *command: Argument) -> Any:
        """Run one command that may block for seconds, on the node of its key. Raises StateUnavailable."""
        with mapped():
            if isinstance(self._waiting, RedisCluster):
                (answer,) = await self._on_node(self._waiting, key, command)
                if isinstance(answer, Exception):
                    raise answer
            else:
                answer = await self._waiting.execute_command(*command)
        if tasks.cancelled():  # the driver's timeout can lose that
            raise asyncio.CancelledError
        return answer

    async def many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run commands in one round trip (one per node of a cluster). Raises StateUnavailable."""
        with mapped():
            async with self._free:
                pipe = self._client.pipeline(transaction=False)
                for command in commands:
                    pipe.execute_command(*command)
                return cast(list[Any], await pipe.execute())

    async def scan(self, pattern: str) -> AsyncIterator[str]:
        """The names of all matching keys, incrementally. Raises StateUnavailable."""
        with mapped():
            async for name in self._client.scan_iter(match=pattern, count=500):
                yield name.decode()

    async def subscribe(self, *channels: str) -> AsyncGenerator[tuple[str, str]]:
        """Published messages as (channel, text); the first item, ("", ""), says that the subscription has started.

        Raises StateUnavailable if the connection breaks, or if nothing comes through it any more.
        """
        async with aclosing(await self._listener(channels)) as listener:
            yield "", ""
            tested = False
            while True:
                with mapped():
                    message: dict[str, Any] | None = await listener.get_message(timeout=_PING_S)
                    if message is None and not tested:
                        await listener.ping()
                if tasks.cancelled():  # the driver's timeout can lose that
                    raise asyncio.CancelledError
                if message is None and tested:
                    raise StateUnavailable("Redis is unavailable: it does not answer a subscription")
                tested = message is None
                if message is not None and message["type"] == "message":
                    yield message["channel"].decode(), message["data"].decode()

    async def _listener(self, channels: Sequence[str]) -> Any:
        """Subscribe; in a cluster on any node, because each receives all messages."""
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
        raise StateUnavailable("Redis is unavailable: the cluster has no nodes")

    async def risks(self) -> list[CheckResult]:
        """Warnings about settings that can lose acknowledged data: eviction, persistence. Never raises."""
        try:
            return _risks(await self.info(), self.replicas)
        except StateUnavailable as error:
            words = f"{error}. Waiting until it is available."
            return [CheckResult(level="warning", subject="redis", words=words)]

    async def check(self) -> list[CheckResult]:
        """The check of `parley check`. Never raises."""
        try:
            servers_info = await self.info()
        except StateUnavailable as error:
            words = f"{error}. Check REDIS_URL, and that the server is running."
            return [CheckResult(level="error", subject="redis", words=words)]
        version = min((str(item.get("redis_version", "0.0")) for item in servers_info), key=_numbers)
        if _numbers(version) < BASELINE:
            words = f"version {version} is too old; Parley requires {BASELINE[0]}.{BASELINE[1]} or newer"
            return [
                CheckResult(level="error", subject="redis", words=words),
                *_risks(servers_info, self.replicas),
            ]
        nodes = f", a cluster of {len(servers_info)}" if isinstance(self._client, RedisCluster) else ""
        return [
            CheckResult(level="ok", subject="redis", words=f"version {version} answers{nodes}"),
            *_risks(servers_info, self.replicas),
        ]

    async def info(self) -> list[dict[str, Any]]:
        """The INFO of the server or, in a cluster, of each master. Raises StateUnavailable.

        `appendfsync` is added; it is empty if the server does not allow reading its settings.
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


def _sentinels_of(client: Any) -> Sentinels | None:
    """The sentinels of a client's master, if it has any."""
    pool: Any = getattr(client, "connection_pool", None)
    return Sentinels(pool.sentinel_manager, pool.service_name) if hasattr(pool, "sentinel_manager") else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def _risks(servers: Sequence[dict[str, Any]], replicas: int) -> list[CheckResult]:
    found = (text for info in servers for text in (*_risks_of(info), *_failover_risks(info, replicas)))
    words = dict.fromkeys(found)  # several nodes may say the same
    return [CheckResult(level="warning", subject="redis", words=text) for text in words]


def _risks_of(info: dict[str, Any]) -> Iterator[str]:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        lost = "history and the record of handled events" if "volatile" in policy else "waiting messages"
        yield f"maxmemory-policy is {policy}: {lost} can be evicted. Set it to noeviction."
    sync = info.get("appendfsync")
    if not info.get("aof_enabled"):
        yield "There is no append-only file: a restart of Redis loses messages. Set appendonly yes."
    elif sync == "":
        yield "appendfsync can't be read here. Make sure that it is always."
    elif sync != "always":
        lost = "the last second" if sync == "everysec" else "half a minute"
        yield (
            f"appendfsync is {sync}: a crash of the server or its machine can lose {lost} of "
            "acknowledged messages. Set it to always."
        )


def _failover_risks(info: dict[str, Any], replicas: int) -> Iterator[str]:
    connected = int(info.get("connected_slaves") or 0)
    if replicas > connected:
        yield (
            f"PARLEY_REDIS_REPLICAS is {replicas}, but the number of connected replicas is {connected}: no message can "
            "be accepted. Connect more replicas, or lower the setting."
        )
    # With min-replicas-to-write, INFO has this field.
    elif connected and not replicas and "min_slaves_good_slaves" not in info:
        yield (
            "There are replicas, but writes do not wait for them: a failover can lose acknowledged messages. Set "
            "PARLEY_REDIS_REPLICAS to 1."
        )
