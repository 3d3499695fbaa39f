"""Summaries of the part of a conversation that prompts no longer include."""

import msgspec

from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_REMEMBER = Script("remember")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of everything before a turn; `since` is the id of that turn.

    `earlier` is the summary that prompts use until their history begins with that turn.
    """

    since: str
    text: str
    earlier: "Summary | None" = None

    def before(self, since: str) -> "Summary | None":
        """This summary or the earlier one, whichever ends before the turn `since`."""
        if self.since == since:
            return Summary(since=self.since, text=self.text)
        return self.earlier if self.earlier is not None and self.earlier.since == since else None

    def texts(self) -> dict[str, str]:
        """The texts by the turn before which they end, newest first."""
        return {self.since: self.text, **(self.earlier.texts() if self.earlier is not None else {})}


_decoder = msgspec.json.Decoder(Summary)


class SummaryStore:
    """Stores summaries. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis, retention_s: int) -> None:
        self._redis = redis
        self._retention_s = retention_s

    async def get(self, conversation: str) -> Summary | None:
        """The summary of a conversation, if there is one."""
        stored: bytes | None = await self._redis.call("GET", keys.of("summary", conversation))
        return _decoder.decode(stored) if stored else None

    async def put(self, conversation: str, summary: Summary, erasures: str = "0") -> None:
        """Store a summary for the retention of turns, unless there were erasures since the claim (`erasures`)."""
        names = [keys.of("summary", conversation), keys.of("lease", conversation)]
        packed = msgspec.json.encode(summary)
        await self._redis.run(_REMEMBER, names, [packed, self._retention_s, erasures])

    async def forget(self, *conversations: str) -> None:
        await self._redis.many([("DEL", keys.of("summary", conversation)) for conversation in conversations])
