"""The connection to Redis: pools, scripts, health, and one mapping of its errors."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeAlias, cast

import redis.asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError, ResponseError

from bot.errors import ConfigError, StateUnavailable
from bot.types import Finding

Key: TypeAlias = str | bytes
Argument: TypeAlias = str | bytes | int | float

BASELINE = (6, 2)
"""The oldest Redis that has every command in use (ZADD with GT, GETEX, effects replication of scripts)."""

_TIMEOUT_S = 5.0


class Script:
    """A Lua script that lives beside its Python: called by digest, sent again when the server forgot it."""

    def __init__(self, name: str) -> None:
        self.body = files("bot.state").joinpath(f"{name}.lua").read_text("utf-8")
        self.digest = sha1(self.body.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def mapped() -> Generator[None]:
    """Turn the driver's errors into StateUnavailable; a failing script is a fault of ours, and stays."""
    try:
        yield
    except ResponseError as error:
        # The first word tells a state of the server, which passes, from a mistake in a script.
        if str(error).split(" ", 1)[0] in _PASSING:
            raise StateUnavailable(f"Redis can't take writes now: {error}") from error
        raise
    except (RedisError, OSError) as error:
        raise StateUnavailable(f"Redis is away: {error}") from error


_PASSING = {
    "OOM",
    "READONLY",
    "LOADING",
    "MISCONF",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MASTERDOWN",
    "BUSY",
}


class Redis:
    """One server, or a cluster (`redis+cluster://` and `rediss+cluster://` URLs), behind one small face."""

    def __init__(self, url: str, *, connections: int = 64) -> None:
        self.url = url
        self._client = _connect(url, connections)
        # Followers of feeds and nudges block for seconds; they must not take a connection from a turn.
        self._waiting = _connect(url, 512, timeout_s=None)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        await self._waiting.aclose()

    async def run(self, script: Script, keys: Sequence[Key], args: Sequence[Argument]) -> Any:
        """Run a script in one round trip. Raises StateUnavailable."""
        with mapped():
            try:
                return await self._client.execute_command("EVALSHA", script.digest, len(keys), *keys, *args)
            except NoScriptError:
                return await self._client.execute_command("EVAL", script.body, len(keys), *keys, *args)

    async def call(self, *command: Argument) -> Any:
        """Run one command. Raises StateUnavailable."""
        with mapped():
            return await self._client.execute_command(*command)

    async def wait(self, *command: Argument) -> Any:
        """Run one command that may block for seconds. Raises StateUnavailable."""
        with mapped():
            return await self._waiting.execute_command(*command)

    async def many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run commands in one round trip (one for each node of a cluster). Raises StateUnavailable."""
        with mapped():
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
        client: Any = self._waiting
        node: Any = None
        if isinstance(client, RedisCluster):
            with mapped():
                await client.initialize()
                first = client.get_default_node()
            client = node = aioredis.Redis(host=first.host, port=int(first.port))
        try:
            async with client.pubsub() as listener:
                with mapped():
                    await listener.subscribe(*channels)
                yield "", ""
                while True:
                    with mapped():
                        message: dict[str, Any] | None = await listener.get_message(
                            ignore_subscribe_messages=True, timeout=None
                        )
                    if message is not None:
                        yield message["channel"].decode(), message["data"].decode()
        finally:
            if node is not None:
                await node.aclose()

    async def risks(self) -> list[Finding]:
        """What could lose something that was acknowledged: eviction, no append-only file. Raises
        StateUnavailable.
        """
        said = await self.info()
        found: list[Finding] = []
        policy = str(said.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction":
            words = f"maxmemory-policy is {policy}: waiting messages can be evicted. Set it to noeviction."
            found.append(Finding(level="warning", subject="redis", words=words))
        if not said.get("aof_enabled"):
            words = "there is no append-only file: a restart of Redis loses messages. Set appendonly yes."
            found.append(Finding(level="warning", subject="redis", words=words))
        return found

    async def check(self) -> list[Finding]:
        """What `parley check` says of Redis. Never raises."""
        try:
            said = await self.info()
            risks = await self.risks()
        except StateUnavailable as error:
            words = f"{error}. Is REDIS_URL right, and the server running?"
            return [Finding(level="error", subject="redis", words=words)]
        version = str(said.get("redis_version", "0.0"))
        if tuple(map(int, version.split(".")[:2])) < BASELINE:
            words = f"version {version} is too old: Parley needs {BASELINE[0]}.{BASELINE[1]} or newer"
            return [Finding(level="error", subject="redis", words=words), *risks]
        return [Finding(level="ok", subject="redis", words=f"version {version} answers"), *risks]

    async def info(self) -> dict[str, Any]:
        """What the server says of itself. Raises StateUnavailable."""
        with mapped():
            return cast(dict[str, Any], await self._client.info())


def _connect(url: str, connections: int, timeout_s: float | None = _TIMEOUT_S) -> Any:
    options: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "socket_connect_timeout": _TIMEOUT_S,
        "socket_timeout": timeout_s,
    }
    try:
        if "+cluster://" in url:
            return RedisCluster.from_url(
                url.replace("+cluster", "", 1), max_connections=connections, **options
            )
        pool: Any = aioredis.BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
            url, max_connections=connections, timeout=_TIMEOUT_S, **options
        )
    except ValueError as error:
        raise ConfigError(f"REDIS_URL can't be read: {error}. It looks like redis://HOST:6379/0.") from None
    return aioredis.Redis.from_pool(pool)
