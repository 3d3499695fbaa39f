"""Parses REDIS_URL: one server, a cluster, or a master behind sentinels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bot.domain.errors import ConfigError

TIMEOUT_S = 5.0

_FORMS = """\
  redis://HOST:6379/0                           one server (unix:///PATH: by its socket)
  redis+cluster://HOST:6379,HOST:6379           a cluster, by any of its nodes
  redis+sentinel://HOST:26379,HOST:26379/NAME/0 the master of that name, by its sentinels
Write rediss instead of redis for TLS, and USER:PASSWORD@ before the first host."""
_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    *(f"redis{s}+{kind}" for s in ("", "s") for kind in ("cluster", "sentinel")),
)
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class _Url:
    """A parsed REDIS_URL. `options` are the driver's options of a connection."""

    kind: str
    hosts: tuple[tuple[str, int], ...]
    path: tuple[str, ...]
    connection: type[Any]
    options: Mapping[str, Any]

    @property
    def tls(self) -> bool:
        return self.connection is SSLConnection


def connect(
    url: str, *, connections: int, timeout_s: float | None = TIMEOUT_S, connect_timeout_s: float = TIMEOUT_S
) -> Any:
    """A client for this URL, not yet connected. Commands time out after `timeout_s` seconds, connecting after
    `connect_timeout_s`. Raises ConfigError.

    The caller must not run more than `connections` commands at once.
    """
    read = _read(url)
    options: dict[str, Any] = {
        **read.options,
        "socket_connect_timeout": connect_timeout_s,
        "socket_timeout": timeout_s,
        "protocol": 2,
        "decode_responses": False,
    }
    _check(read, options)
    if read.kind == "cluster":
        # One retry, because a connection that was closed while idle fails on its next use.
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in read.hosts],
            require_full_coverage=False,  # the conversations of other nodes go on if one is missing
            max_connections=connections,
            retry=Retry(NoBackoff(), 1),
            ssl=read.tls,
            **options,
        )
    if read.kind == "sentinel":
        return _by_sentinel(read, options, connections)
    pool: Any = aioredis.ConnectionPool(
        connection_class=read.connection, max_connections=connections, **options
    )
    return aioredis.Redis.from_pool(pool)


async def close(client: Any) -> None:
    """Close all connections of a client and its sentinels."""
    await client.aclose()
    if isinstance(client, RedisCluster):  # it closes nothing while it discovers its nodes
        await client.nodes_manager.aclose()
        await client.nodes_manager.aclose("startup_nodes")
    sentinels: Sentinel | None = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    if sentinels is not None:
        await sentinels.aclose()


def _by_sentinel(url: _Url, options: dict[str, Any], connections: int) -> Any:
    name, *number = url.path
    own = {
        "username": options.pop("sentinel_username", None),
        "password": options.pop("sentinel_password", None),
    }
    shared = {option: value for option, value in options.items() if option.startswith("ssl_")}
    sentinels: Any = Sentinel(
        url.hosts,
        sentinel_kwargs={
            **{option: value for option, value in own.items() if value},
            **shared,
            "ssl": url.tls,
            "socket_connect_timeout": TIMEOUT_S,
            "socket_timeout": TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),  # the next sentinel is asked instead
        },
    )
    db = int(number[0]) if number else 0
    return sentinels.master_for(name, max_connections=connections, ssl=url.tls, db=db, **options)


# ------------------------------------------------------------------ parsing


def _read(url: str) -> _Url:
    """Parse a URL. Errors contain nothing of it, because it may contain a password."""
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES or not rest:
        _refuse("its scheme is unknown")
    kind = scheme.partition("+")[2]
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    path = tuple(unquote(step) for step in parts.path.split("/") if step)
    places = tuple(map(_host, hosts.split(","))) if hosts else ()
    _check_shape(scheme, kind, places, path)
    single = f"{scheme.partition('+')[0]}://{user}@{hosts.partition(',')[0]}?{parts.query}"
    try:
        options: dict[str, Any] = dict(parse_url(url if not kind else single))
    except ValueError:
        _refuse("an option after the ? has an invalid value")
    connection = options.pop("connection_class", Connection)
    if kind:
        options = {name: value for name, value in options.items() if name not in ("host", "port")}
    return _Url(kind or "server", places, path, connection, options)


def _host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        host, port = None, 0
    if not host:
        _refuse(
            "a host or port is invalid. In a password, write characters like / ? # @ : as %2F %3F %23 %40 %3A"
        )
    return host, port


def _check_shape(scheme: str, kind: str, hosts: tuple[tuple[str, int], ...], path: tuple[str, ...]) -> None:
    if scheme == "unix":
        return
    if not hosts:
        _refuse("it has no host")
    if kind == "cluster" and path not in ((), ("0",)):
        _refuse("a cluster has no numbered databases")
    if kind == "sentinel" and not path:
        _refuse("the name of the master is missing, as in redis+sentinel://HOST:26379/mymaster")
    number = path[1:] if kind == "sentinel" else path
    if len(number) > 1 or not all(step.isdecimal() for step in number):
        _refuse("the database at its end is not a number")
    if not kind and len(hosts) > 1:
        _refuse("redis:// takes one host; use redis+cluster:// or redis+sentinel:// for several")


def _check(url: _Url, options: Mapping[str, Any]) -> None:
    """Validate the options with the driver."""
    plain = {name: value for name, value in options.items() if not name.startswith("sentinel_")}
    try:
        url.connection(**plain)
    except (TypeError, ValueError, RedisError):
        given = ", ".join(sorted(set(url.options) - {"host", "port", "path", "db", "username", "password"}))
        _refuse(f"one of its options ({given}) is unknown or has an invalid value")
    for name in _FILES:
        if name in options and not Path(options[name]).is_file():
            _refuse(f"the file of {name} does not exist: {options[name]}")


def _refuse(why: str) -> NoReturn:
    raise ConfigError(f"REDIS_URL is invalid: {why}.\nUse one of these forms:\n{_FORMS}")
