"""What people do in Microsoft Teams, act by act."""

import asyncio
import time
from typing import Any

from bot.domain.errors import StateUnavailable
from bot.storage.conversations.turns import Turns
from tests.chaos.senders import Teams
from tests.chaos.talks import Act, Talk
from tests.simulators.teams import TENANT

_FILE = "application/vnd.microsoft.teams.file.download.info"
_GROWING_S = 3.0


class TeamsPeople:
    """Every act is delivered one to three times; each method returns when it was thanked for."""

    def __init__(self, teams: Teams, history: Turns) -> None:
        self.teams = teams
        self._history = history

    def _badly(self, talk: Talk) -> None:
        self.teams.times = talk.chance.choice((1, 1, 2, 3))

    async def say(self, talk: Talk, act: Act, text: str) -> None:
        """Write a message."""
        self._badly(talk)
        talk.conversation = f"teams:{TENANT}:{talk.channel}"
        files = [self._file(act)] if act.kind == "file" else []
        act.sign = await self.teams.say(
            talk.channel, talk.user, text, talk.place == "group", attachments=files
        )
        act.event = f"teams:{talk.channel}:{act.sign.activity['id']}"
        act.acked_at = self.teams.acked_at(act.sign)

    def _file(self, act: Act) -> dict[str, Any]:
        name = f"{act.mark}.txt"
        self.teams.files[name] = (f"This file holds {act.mark}.".encode(), "text/plain")
        content = {"downloadUrl": f"{self.teams.service_url}files/{name}", "uniqueId": act.mark}
        return {"contentType": _FILE, "name": name, "content": content}

    async def edit(self, talk: Talk, act: Act, text: str) -> None:
        """Change a message."""
        assert act.target is not None
        self._badly(talk)
        act.acked_at = self.teams.acked_at(await self.teams.edit(act.target.sign, text))

    async def delete(self, talk: Talk, act: Act) -> None:
        """Delete a message."""
        assert act.target is not None
        self._badly(talk)
        act.acked_at = self.teams.acked_at(await self.teams.delete(act.target.sign))

    async def rate(self, talk: Talk, act: Act) -> bool:
        """Press a thumb below an answer that was delivered; False where there is none.

        Other messages may be orphans, with buttons that lead to nothing; and a reply that is only stored has, in
        a group, no message yet.
        """
        assert act.target is not None
        try:
            turns = await self._history.turns(talk.conversation)
        except StateUnavailable:
            return False
        turn = next((item for item in turns if item.id == act.target.event), None)
        if turn is None or turn.post is None or turn.undelivered is not None or not turn.reply.rate:
            return False
        self._badly(talk)
        act.sent_at = time.time()
        rated = await self.teams.rate(talk.channel, talk.user, turn.post.id.rpartition("|")[2], act.good)
        act.acked_at = self.teams.acked_at(rated)
        return True

    async def stop(self, talk: Talk, act: Act) -> None:
        """Press stop while an answer grows; in a group, where none does, write it."""
        until = time.monotonic() + _GROWING_S
        if talk.place == "group":
            await asyncio.sleep(talk.chance.uniform(0, 0.6))
            self._badly(talk)
            act.stopped_at = time.time()
            await self.teams.say(talk.channel, talk.user, "stop", mention=True)
            return
        while time.monotonic() < until:
            shown = self.teams.answers(talk.channel)
            if any(text.state == "streaming" and act.name in text.text.split() for text in shown):
                act.stopped_at = time.time()
                self.teams.stop(talk.channel)
                return
            await asyncio.sleep(0.05)
