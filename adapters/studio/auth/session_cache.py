"""What a process knows of sessions: read again after seconds, and watched while streams are open."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress

from adapters.shared.bounded_cache import BoundedCache
from bot.domain.errors import StateUnavailable
from bot.storage.studio.sessions import Session, Sessions

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""How long a session that was read is taken for granted. Requests of one session read it at most this often."""
WATCH_S = 2.0
"""Time between two looks at the sessions with open streams. A request that a cached session let in opens its stream at
most `FRESH_S` after the end, so each stream of an ended session is closed within 5 s."""
USED_S = 60.0
"""Time between two records in Redis that a session is used."""
_MOST = 10_000


class SessionCache:
    """One per process. Ended sessions are noticed by all processes, and at once by the one that ends them."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._known = BoundedCache[str, tuple[Session | None, float]](_MOST)  # with when it was read
        self._used = BoundedCache[str, float](_MOST)  # when it was last recorded
        self._open: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._watch: asyncio.Task[None] | None = None

    async def get(self, id: str, *, used: bool = True) -> Session | None:
        """The session, None if it ended; at most one round trip. Raises StateUnavailable."""
        clock = time.monotonic()
        session, read = self._known.get(id, (None, float("-inf")))
        if clock - read < FRESH_S:
            return None if session is None or session.over else session
        record = used and clock - self._used.get(id, float("-inf")) >= min(USED_S, self.sessions.idle_s / 4)
        session = await self.sessions.get(id, used=record)
        self._known[id] = session, clock
        if record:
            self._used[id] = clock
        return session

    async def begin(self, session: Session) -> Session:
        """Store a new session. Raises StateUnavailable."""
        return await self.sessions.begin(session)

    async def change(self, session: Session) -> None:
        """Replace a session. Raises StateUnavailable."""
        await self.sessions.change(session)
        self._known.pop(session.id, None)

    async def end(self, ids: Collection[str]) -> None:
        """End sessions, and their streams. Raises StateUnavailable."""
        await self.sessions.end(ids)
        for id in ids:
            self._known[id] = None, time.monotonic()
            self._hang_up(id)

    # -------------------------------------------------------------- open streams

    @contextmanager
    def watching(self, id: str) -> Generator[asyncio.Future[None]]:
        """A future that is done when the session ends; cancelled at the end of the block."""
        ended = asyncio.get_running_loop().create_future()
        self._open[id].add(ended)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        try:
            yield ended
        finally:
            ended.cancel()
            if id in self._open:
                self._open[id].discard(ended)
                if not self._open[id]:
                    del self._open[id]

    async def _look(self) -> None:
        """As long as something is open."""
        while self._open:
            await asyncio.sleep(WATCH_S)
            watched = list(self._open)
            try:
                alive = await self.sessions.alive(watched)
            except StateUnavailable as error:
                log.debug("Can't look for ended sessions: %s", error)
                continue
            for id in watched:
                if id not in alive:
                    self._known.pop(id, None)
                    self._hang_up(id)

    def _hang_up(self, id: str) -> None:
        for ended in self._open.pop(id, ()):
            if not ended.done():
                ended.set_result(None)

    async def close(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
