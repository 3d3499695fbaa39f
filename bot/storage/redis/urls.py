"""What a REDIS_URL stands for: one server, a cluster, or the master that sentinels name."""

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
rediss instead of redis speaks TLS; USER:PASSWORD@ goes before the first host."""
_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    *(f"redis{s}+{kind}" for s in ("", "s") for kind in ("cluster", "sentinel")),
)
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class _Url:
    """A REDIS_URL, read. `options` are the driver's own for a connection."""

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
    """A client for this URL that has not connected yet; commands fail after `timeout_s` seconds,
    attempts to connect after `connect_timeout_s`. Raises ConfigError.

    More than `connections` commands at once are an error of the caller's.
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
        # One retry: a connection that was closed while it was idle is noticed only when it is used.
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in read.hosts],
            require_full_coverage=False,  # without one node the others' conversations go on
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
    """Close every connection of a client, its sentinels' too."""
    await client.aclose()
    if isinstance(client, RedisCluster):  # which by itself closes nothing while it looks for its nodes
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
            "retry": Retry(NoBackoff(), 0),  # there are others to ask
        },
    )
    db = int(number[0]) if number else 0
    return sentinels.master_for(name, max_connections=connections, ssl=url.tls, db=db, **options)


# ------------------------------------------------------------------ reading


def _read(url: str) -> _Url:
    """Parse a URL. What is said of one that can't be read holds nothing of it: it may hold a password."""
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES or not rest:
        _refuse("it has no scheme that Parley knows")
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
        _refuse("an option after the ? has a value that it can't have")
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
            "a host or its port is wrong. In a password, characters like / ? # @ : "
            "are written as %2F %3F %23 %40 %3A"
        )
    return host, port


def _check_shape(scheme: str, kind: str, hosts: tuple[tuple[str, int], ...], path: tuple[str, ...]) -> None:
    if scheme == "unix":
        return
    if not hosts:
        _refuse("it names no host")
    if kind == "cluster" and path not in ((), ("0",)):
        _refuse("a cluster has no numbered databases")
    if kind == "sentinel" and not path:
        _refuse("the name of the master is missing, as in redis+sentinel://HOST:26379/mymaster")
    number = path[1:] if kind == "sentinel" else path
    if len(number) > 1 or not all(step.isdecimal() for step in number):
        _refuse("the database at its end is not a number")
    if not kind and len(hosts) > 1:
        _refuse("redis:// takes one host; several are for redis+cluster:// and redis+sentinel://")


def _check(url: _Url, options: Mapping[str, Any]) -> None:
    """Have the driver look at the options before anything waits for them."""
    plain = {name: value for name, value in options.items() if not name.startswith("sentinel_")}
    try:
        url.connection(**plain)
    except (TypeError, ValueError, RedisError):
        given = ", ".join(sorted(set(url.options) - {"host", "port", "path", "db", "username", "password"}))
        _refuse(f"among its options ({given}) is one that is unknown here, or that has a value it can't have")
    for name in _FILES:
        if name in options and not Path(options[name]).is_file():
            _refuse(f"{name} names a file that is not there: {options[name]}")


def _refuse(why: str) -> NoReturn:
    raise ConfigError(f"REDIS_URL can't be read: {why}.\nIt has one of these forms:\n{_FORMS}")
