"""Summaries of the part of a conversation that prompts no longer include."""

from datetime import datetime, timedelta

import msgspec

from bot.domain.events import now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_REMEMBER = Script("remember")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of everything before a turn; `since` is the id of that turn.

    `earlier` is the summary that prompts use until their history begins with that turn. `oldest` is when the oldest
    turn that it tells about was answered; unknown in summaries of earlier versions, which are used no longer.
    """

    since: str
    text: str
    earlier: "Summary | None" = None
    oldest: datetime | None = None

    def before(self, since: str) -> "Summary | None":
        """This summary or the earlier one, whichever ends before the turn `since`."""
        if self.since == since:
            return Summary(since=self.since, text=self.text, oldest=self.oldest)
        return self.earlier if self.earlier is not None and self.earlier.since == since else None

    def texts(self) -> dict[str, str]:
        """The texts by the turn before which they end, newest first."""
        return {self.since: self.text, **(self.earlier.texts() if self.earlier is not None else {})}


_decoder = msgspec.json.Decoder(Summary)


class SummaryStore:
    """Stores summaries until the oldest turn that they tell about expires. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis, retention_s: int) -> None:
        self._redis = redis
        self._retention_s = retention_s

    async def get(self, conversation: str) -> Summary | None:
        """The summary of a conversation, if there is one within the retention time."""
        stored: bytes | None = await self._redis.call("GET", keys.of("summary", conversation))
        summary = _decoder.decode(stored) if stored else None
        return summary if summary is not None and self._life_s(summary) > 0 else None

    async def put(self, conversation: str, summary: Summary, erasures: str = "0") -> None:
        """Store a summary, unless there were erasures since the claim (`erasures`), or it has expired already."""
        life_s = self._life_s(summary)
        if life_s > 0:
            names = [keys.of("summary", conversation), keys.of("lease", conversation)]
            await self._redis.run(_REMEMBER, names, [msgspec.json.encode(summary), life_s, erasures])

    def _life_s(self, summary: Summary) -> int:
        """Seconds until a summary expires; 0 or less if it has."""
        if summary.oldest is None:
            return 0
        return int((summary.oldest + timedelta(seconds=self._retention_s) - now()).total_seconds())

    async def forget(self, *conversations: str) -> None:
        await self._redis.many([("DEL", keys.of("summary", conversation)) for conversation in conversations])
