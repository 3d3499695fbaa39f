"""The sessions of people who are signed in to the studio."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from bot.domain.events import now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

log = logging.getLogger(__name__)

_DROP = Script("drop")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One browser in which a person is signed in.

    `id` is a digest of the secret in the browser's cookie: whoever reads it here can't use the session. `role` is that
    of a token; with Microsoft Entra (`way`) the role follows from `grants`, the app roles and groups that the person
    had at the sign-in. `browser` is its name and system, as it introduced itself.
    """

    id: str
    person: str
    name: str
    role: str
    way: str
    began_at: datetime
    ends_at: datetime
    login: str = ""
    grants: tuple[str, ...] = ()
    browser: str = ""
    seen_at: datetime | None = None
    """Only in a list: when it was last used, give or take a minute."""

    @property
    def over(self) -> bool:
        """Whether its absolute limit is reached."""
        return self.ends_at <= now()


_session = msgspec.json.Decoder(Session)


class Sessions:
    """Stores sessions until they are ended, not used for `idle_s` seconds, or older than `absolute_s` seconds.

    Every method raises StateUnavailable.
    """

    def __init__(self, redis: Redis, *, idle_s: int, absolute_s: int) -> None:
        self._redis = redis
        self.idle_s = min(idle_s, absolute_s)
        self.absolute_s = absolute_s

    async def begin(self, session: Session) -> Session:
        """Store a new session; returns it with its limit."""
        begun = replace(session, ends_at=session.began_at + timedelta(seconds=self.absolute_s))
        await self._redis.many(
            [
                ("SET", keys.session(begun.id), msgspec.json.encode(begun), "EX", self.idle_s),
                ("ZREMRANGEBYSCORE", keys.SESSIONS, "-inf", now().timestamp()),
                ("ZADD", keys.SESSIONS, begun.ends_at.timestamp(), begun.id),
                ("EXPIRE", keys.SESSIONS, keys.SESSION_S),
            ]
        )
        return begun

    async def get(self, id: str, *, used: bool = True) -> Session | None:
        """The session, in one round trip; None if it ended. With `used` its idle time begins again."""
        command = ("GETEX", keys.session(id), "EX", self.idle_s) if used else ("GET", keys.session(id))
        return _read(await self._redis.call(*command))

    async def change(self, session: Session) -> None:
        """Replace a session, unless it ended; its limits stay."""
        await self._redis.call("SET", keys.session(session.id), msgspec.json.encode(session), "XX", "KEEPTTL")

    async def alive(self, ids: Collection[str]) -> set[str]:
        """Those that have not ended, in one round trip; none of them counts as used."""
        wanted = list(ids)
        if not wanted:
            return set()
        found: list[bytes | None] = await self._redis.call("MGET", *map(keys.session, wanted))
        read = zip(wanted, map(_read, found), strict=True)
        return {id for id, session in read if session is not None}

    async def all(self, person: str = "") -> list[Session]:
        """Those of a person, or everybody's: last used first."""
        ids = [id.decode() for id in await self._redis.call("ZRANGE", keys.SESSIONS, 0, -1)]
        if not ids:
            return []
        names = [keys.session(id) for id in ids]
        stored, *left_ms = await self._redis.many([("MGET", *names), *(("PTTL", name) for name in names)])
        found = [
            replace(session, seen_at=self._seen(ms))
            for session, ms in zip(map(_read, stored), left_ms, strict=True)
            if session is not None and person in ("", session.person)
        ]
        return sorted(found, key=lambda session: session.seen_at or session.began_at, reverse=True)

    async def end(self, ids: Collection[str]) -> int:
        """End sessions. Returns how many there were."""
        if not ids:
            return 0
        ended: int = await self._redis.run(_DROP, [*map(keys.session, ids)], [])
        await self._redis.call("ZREM", keys.SESSIONS, *ids)
        return ended

    async def end_of(self, person: str = "", *, besides: str = "") -> Sequence[Session]:
        """End those of a person, or everybody's, except for the one with the id `besides`. Returns them."""
        found = [session for session in await self.all(person) if session.id != besides]
        await self.end([session.id for session in found])
        return found

    def _seen(self, left_ms: int) -> datetime:
        return now() - timedelta(seconds=max(0.0, self.idle_s - left_ms / 1000))


def _read(stored: bytes | None) -> Session | None:
    """The session; None if there is none, its absolute limit is reached, or it is of a newer version."""
    if stored is None:
        return None
    try:
        session = _session.decode(stored)
    except msgspec.MsgspecError as error:
        log.error("Skipped a session that can't be read: %s", error)
        return None
    return None if session.over else session
