"""What people do in Slack, act by act."""

import asyncio
import time
from typing import Any

from adapters.slack.inbound.dispatcher import BUSY, WORKING
from tests.chaos.senders import AGAIN_S, DELIVERIES, Slack
from tests.chaos.talks import Act, Talk
from tests.simulators.slack_courier import Payload
from tests.simulators.slack_methods import Message

MENTION = "<@U0BOT>"
_GROWING_S = 3.0
"""How long a person who wants to stop an answer waits for it to grow."""


class SlackPeople:
    """Every act is delivered one to three times and mixed up; each method returns when it was thanked for."""

    def __init__(self, slack: Slack) -> None:
        self.slack = slack

    def _badly(self, talk: Talk) -> None:
        self.slack.times, self.slack.shuffle = talk.chance.choice((1, 1, 2, 3)), talk.chance

    # -------------------------------------------------------------- words

    async def say(self, talk: Talk, act: Act, text: str) -> None:
        """Write a message, or type a command."""
        if talk.place in ("slash", "asked"):
            await self._command(talk, act, text)
            return
        files = [self._file(act)] if act.kind == "file" else []
        # Without a mention, a command is what people say to each other, or a question.
        told = not talk.thread or act.kind in ("command", "picture")
        named = talk.place == "thread" and (told or talk.chance.random() < 0.7)
        words = f"{MENTION} {text}" if named else text
        act.sign = await self._write(talk, words, files)
        act.event = f"slack:{self.slack.workspace.team}:{talk.channel}:{act.sign}"
        talk.thread = talk.thread or act.sign
        talk.conversation = f"slack:{self.slack.workspace.team}:{talk.channel}:{talk.thread}"
        act.acked_at = await self.slack.acked_at(act.sign)

    async def _write(self, talk: Talk, words: str, files: list[Payload]) -> str:
        if talk.place == "direct":
            self.slack.workspace.channels[talk.channel] = {talk.user, self.slack.workspace.bot_user}
        self._badly(talk)
        refused = {"refused": talk.refused} if talk.refused else {}
        return await self.slack.say(talk.channel, talk.user, words, talk.thread or None, files, **refused)

    def _file(self, act: Act) -> Payload:
        workspace = self.slack.workspace
        id, content = f"F{act.mark}", f"This file holds {act.mark}.".encode()
        url = f"{workspace.origin}/files/{id}"
        file = {"id": id, "name": f"{act.mark}.txt", "mimetype": "text/plain", "size": len(content)}
        workspace.files[id] = file | {"content": content, "url_private": url}
        return file | {"url_private_download": url}

    # -------------------------------------------------------------- slash commands

    async def _command(self, talk: Talk, act: Act, text: str) -> None:
        """A command that is not taken is typed again; what was typed may have arrived all the same."""
        workspace = self.slack.workspace
        workspace.people[talk.user] = talk.user.lower()
        workspace.channels[talk.channel].add(talk.user)
        word, words = ("/ask", text) if act.kind == "question" else ("/parley", text.lstrip("/"))
        for _ in range(DELIVERIES):
            act.sent_at = time.time()
            told = str((await self.slack.command(talk.channel, talk.user, word, words)).get("text") or "")
            trigger, status = self.slack.commands[talk.user]
            event = f"slack:{workspace.team}:{talk.channel}:command:{trigger}"
            if status == 200 and told != BUSY:
                act.acked_at = time.time()
                if told == WORKING:
                    act.event = event
                    talk.conversation = f"slack:{workspace.team}:{talk.channel}:command:{talk.user}"
                else:
                    talk.thread = self._posted(talk, act)
                    talk.conversation = act.event = f"slack:{workspace.team}:{talk.channel}:{talk.thread}"
                return
            talk.maybe.add(event)
            act.again = True
            await asyncio.sleep(AGAIN_S)

    def _posted(self, talk: Talk, act: Act) -> str:
        """The message by which a question is shown that came as a command."""
        return next(
            message["ts"]
            for (channel, _), message in reversed(self.slack.workspace.messages.items())
            if channel == talk.channel
            and "parley_question" in str(message.get("metadata"))
            and act.name in message["markdown"]
        )

    # -------------------------------------------------------------- second thoughts

    async def edit(self, talk: Talk, act: Act, text: str) -> None:
        """Change a message."""
        assert act.target is not None
        self._badly(talk)
        message = self.slack.workspace.messages[talk.channel, act.target.sign]
        mention = f"{MENTION} " if MENTION in message["text"] else ""
        await self.slack.edit(talk.channel, act.target.sign, mention + text)
        act.acked_at = await self.slack.acked_at(f"edit {act.target.sign} {message['edited']['ts']}")

    async def delete(self, talk: Talk, act: Act) -> None:
        """Delete a message."""
        assert act.target is not None
        self._badly(talk)
        await self.slack.delete(talk.channel, act.target.sign)
        act.acked_at = await self.slack.acked_at(f"deletion {act.target.sign}")

    async def rate(self, talk: Talk, act: Act) -> bool:
        """Press a button under a whole answer, until it is taken; False where there is none to press."""
        assert act.target is not None
        shown = [message for message in self._answers(talk, act.target.name) if _rateable(message)]
        if len(shown) != 1:
            return False
        for _ in range(DELIVERIES):
            act.sent_at = time.time()
            pressed = await self.slack.press(shown[0], talk.channel, talk.user, act.good)
            if pressed.status == 200:
                act.acked_at = time.time()
                break
            await asyncio.sleep(AGAIN_S)
        return True

    async def stop(self, talk: Talk, act: Act) -> None:
        """Press stop while an answer grows, or write it."""
        until = time.monotonic() + _GROWING_S
        while time.monotonic() < until:
            growing = [message for message in self._answers(talk, act.name) if message.get("streaming")]
            if growing:
                self._badly(talk)
                act.stopped_at = time.time()
                if talk.chance.random() < 0.5:
                    await self.slack.stop_stream(talk.channel, growing[0]["ts"], talk.user)
                    await self.slack.acked_at(f"stop {growing[0]['ts']}")
                else:
                    mention = f"{MENTION} " if talk.place == "thread" else ""
                    await self.slack.acked_at(await self._write(talk, f"{mention}stop", []))
                return
            await asyncio.sleep(0.05)

    def _answers(self, talk: Talk, name: str) -> list[Message]:
        bot = self.slack.workspace.bot_id
        thread = self.slack.thread(talk.channel, talk.thread)
        return [item for item in thread if item.get("bot_id") == bot and name in item["markdown"].split()]


def _rateable(message: Message) -> bool:
    blocks: list[dict[str, Any]] = message.get("blocks") or []
    return any(block["type"] == "context_actions" for block in blocks)
