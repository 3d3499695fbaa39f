"""A studio without a worker: a feed and a history in memory, and an engine that follows a script."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import suppress
from datetime import timedelta

from msgspec.structs import replace

from bot.domain.adapter import Adapter, Receipt
from bot.domain.errors import PlatformUnavailable, StateUnavailable
from bot.domain.events import Event, FeedbackGiven, MessageEdited, MessageReceived, StopRequested, now
from bot.domain.prompts import Image
from bot.domain.turns import Rating, Reply, Turn
from bot.storage.conversations.turns import Turns
from bot.storage.live.event_stream import EventStream
from bot.storage.studio.sessions import Session, Sessions


class MemoryFeed(EventStream):
    """Keeps every frame; while `away` it raises as Redis would."""

    def __init__(self) -> None:
        self.frames: defaultdict[str, list[bytes]] = defaultdict(list)
        self.away = False
        self._news = asyncio.Condition()

    async def publish(self, channel: str, frame: bytes) -> None:
        if self.away:
            raise StateUnavailable("Redis is away.")
        async with self._news:
            self.frames[channel].append(frame)
            self._news.notify_all()

    async def follow(self, channel: str, after: str) -> AsyncGenerator[tuple[str, bytes]]:
        at = int(after or "0")
        while True:
            if self.away:
                raise StateUnavailable("Redis is away.")
            for frame in self.frames[channel][at:]:
                at += 1
                yield str(at), frame
            async with self._news:
                await self._news.wait_for(lambda at=at: self.away or len(self.frames[channel]) > at)

    async def grown(self, channel: str, count: int) -> None:
        """Until this many frames are kept."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.frames[channel]) >= count)

    async def leave(self) -> None:
        """Be away from now on: those who follow are told at once."""
        async with self._news:
            self.away = True
            self._news.notify_all()


class MemoryHistory(Turns):
    """Keeps every turn, and the pictures by their names."""

    def __init__(self) -> None:
        self.kept: defaultdict[str, list[Turn]] = defaultdict(list)
        self.images: dict[tuple[str, str], Image] = {}
        self.owners: dict[str, str] = {}
        self.asked = asyncio.Event()

    async def turns(self, conversation: str, count: int = 200) -> tuple[Turn, ...]:
        return tuple(self.kept[conversation][-count:])

    async def owner(self, conversation: str) -> str | None:
        return self.owners.get(conversation)

    async def image(self, conversation: str, ref: str) -> Image | None:
        self.asked.set()
        return self.images.get((conversation, ref))


class MemorySessions(Sessions):
    """Keeps every session; `reads` counts what would be round trips, and while `away` it raises as Redis would."""

    def __init__(self, *, idle_s: int = 4 * 3600, absolute_s: int = 12 * 3600) -> None:
        self.idle_s, self.absolute_s = idle_s, absolute_s
        self.kept: dict[str, Session] = {}
        self.reads = 0
        self.away = False

    def _read(self) -> None:
        self.reads += 1
        if self.away:
            raise StateUnavailable("Redis is away.")

    async def begin(self, session: Session) -> Session:
        begun = replace(session, ends_at=session.began_at + timedelta(seconds=self.absolute_s))
        self.kept[session.id] = begun
        return begun

    async def get(self, id: str, *, used: bool = True) -> Session | None:
        self._read()
        found = self.kept.get(id)
        return None if found is None or found.over else found

    async def change(self, session: Session) -> None:
        if session.id in self.kept:
            self.kept[session.id] = session

    async def alive(self, ids: Collection[str]) -> set[str]:
        self._read()
        return {id for id in ids if id in self.kept and not self.kept[id].over}

    async def all(self, person: str = "") -> list[Session]:
        found = [one for one in self.kept.values() if person in ("", one.person) and not one.over]
        return [replace(one, seen_at=one.began_at) for one in found]

    async def end(self, ids: Collection[str]) -> int:
        return sum(self.kept.pop(id, None) is not None for id in ids)


class ScriptedEngine:
    """Answers each message with what `script` says, piece by piece, and keeps the turn.

    `guard` closed holds an answer after its first pieces; `away` and `busy` are what a store may say.
    """

    def __init__(self, script: Callable[[MessageReceived], Reply], history: MemoryHistory) -> None:
        self.script = script
        self.history = history
        self.adapter: Adapter | None = None
        self.events: list[Event] = []
        self.guard = asyncio.Event()
        self.guard.set()
        self.stopped = asyncio.Event()
        self.away = self.busy = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, event: Event) -> Receipt:
        if self.away:
            raise StateUnavailable("Redis is away.")
        place, owner = event.address.conversation, event.address.owner
        if self.history.owners.setdefault(place, owner) != owner:
            return "denied"
        if self.busy:
            return "busy"
        if any(event.id == each.id for each in self.events):
            return "duplicate"
        self.events.append(event)
        turns = self.history.kept[event.address.conversation]
        match event:
            case MessageReceived():
                self._run(event, len(turns))
            case MessageEdited(target=target, text=text):
                place = next(at for at, turn in enumerate(turns) if turn.id == target)
                self._run(replace(turns[place].received, text=text), place)
            case FeedbackGiven(post=post, good=good):
                place = next(at for at, turn in enumerate(turns) if turn.post and turn.post.id == post)
                turns[place] = replace(turns[place], ratings={event.user.id: Rating(good=good)})
            case StopRequested():
                self.stopped.set()
            case _:
                pass
        return "accepted"

    def _run(self, received: MessageReceived, place: int) -> None:
        task = asyncio.create_task(self._answer(received, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, received: MessageReceived, place: int) -> None:
        assert self.adapter is not None
        began, reply = now(), self.script(received)
        post = await self.adapter.open(received.address, None, retry=False)
        for end in range(6, len(reply.text), 6):
            await self.adapter.update(post, reply.text[:end])
            await asyncio.sleep(0.01)
            if end > len(reply.text) // 2 and not self.guard.is_set():
                await self._hold()
                if self.stopped.is_set():
                    reply = Reply(text=reply.text[:end] + "\n\n*Stopped.*")
                    break
        with suppress(PlatformUnavailable):
            post = await self.adapter.close(post, reply)
        turn = Turn(
            id=received.id,
            received=received,
            template="scripted@000000000000",
            messages=(),
            reply=reply,
            outcome="answered",
            began_at=began,
            ended_at=now(),
            post=post,
        )
        self.history.kept[received.address.conversation][place : place + 1] = [turn]

    async def _hold(self) -> None:
        waits = {asyncio.create_task(self.guard.wait()), asyncio.create_task(self.stopped.wait())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
