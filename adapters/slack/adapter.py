"""Slack as an adapter: the protocol's methods, over one workspace and one shared session."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from pydantic import SecretStr

from adapters.slack import files
from adapters.slack.command import CommandAnswer
from adapters.slack.delivery import PATH, EventRoute, bolt_app
from adapters.slack.inspection import inspect
from adapters.slack.reception import Reception
from adapters.slack.socket import listen
from adapters.slack.stream import Answer
from adapters.slack.thread import NativeStreams
from adapters.slack.web_api import WebApi, new_session
from adapters.slack.workspace import Workspace
from bot.adapter import Accept
from bot.errors import ConfigError, LeaseLost, PlatformUnavailable
from bot.types import Address, Attachment, Finding, Post, Quote, Reply

log = logging.getLogger(__name__)

SLACK_API_URL = "https://slack.com/api/"
ANSWERS_KEPT = 1_000  # more than a worker has in progress; older ones can be made anew from their post
RECOVERY_PATIENCE_S = 30.0
STATUS_AFTER_S = 0.4
STATUS = "is thinking…"


class SlackAdapter:
    """Answers in one Slack workspace. Events come by HTTP, or by Socket Mode when there is an app token."""

    name = "slack"

    def __init__(
        self,
        bot_token: SecretStr,
        signing_secret: SecretStr | None,
        app_token: SecretStr | None = None,
        api_url: str = SLACK_API_URL,
    ) -> None:
        if signing_secret is None and app_token is None:
            raise ConfigError("Slack needs SLACK_SIGNING_SECRET for events by HTTP, or SLACK_APP_TOKEN.")
        self._bot_token, self._signing_secret, self._app_token = bot_token, signing_secret, app_token
        self._api_url = api_url
        self._streams = NativeStreams()
        self._answers: OrderedDict[str, Answer | CommandAnswer] = OrderedDict()
        self._statuses: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = new_session()
        self._api = WebApi(self._session, self._bot_token, self._api_url)
        self._workspace = Workspace(self._api)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for status in self._statuses.values():
            status.cancel()
        for answer in self._answers.values():
            await answer.settle()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    # -------------------------------------------------------------- in

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """POST /slack/events, unless events come by Socket Mode only."""
        if self._signing_secret is None:
            return []
        app = bolt_app(self._bot_token, self._reception(accept).receive)
        return [web.post(PATH, EventRoute(app, self._signing_secret).handle)]

    async def listen(self, accept: Accept) -> None:
        """Socket Mode, when there is an app token; until cancelled."""
        if self._app_token is not None:
            app = bolt_app(self._bot_token, self._reception(accept).receive)
            await listen(app, self._app_token, self._api_url)

    def _reception(self, accept: Accept) -> Reception:
        return Reception(accept, self._api, self._workspace, self._later)

    # -------------------------------------------------------------- out

    async def open(self, address: Address, begun: Post | None, retry: bool) -> Post:
        """Begin to answer. Nothing is posted yet: the first words begin the message.

        What an earlier attempt showed without recording it is looked for in the thread, by its mark.
        """
        data = address.data | {"event": address.event, "conversation": address.conversation}
        data |= begun.data if begun else {}
        if data.get("kind") != "command":
            data.setdefault("question", data["thread"])
        data.pop("shown", None)
        post = Post(id=begun.id if begun else _id_until_shown(address), data=data)
        if (abandoned := self._answers.pop(post.id, None)) is not None:
            await abandoned.settle()
        answer = self._answer_of(post)
        if isinstance(answer, Answer):
            if retry or (begun is not None and not answer.visible):
                await answer.recover(RECOVERY_PATIENCE_S)
            if not answer.visible:
                self._show_status_soon(post)
        post = answer.post
        self._remember(post.id, answer)
        return post

    async def update(self, post: Post, text: str) -> bool:
        """Let the answer grow at its pace."""
        answer = self._answers.get(post.id) or self._remember(post.id, self._answer_of(post))
        self._hide_status(post.id)
        answer.offer(text)
        return not answer.stopped

    async def close(self, post: Post, reply: Reply) -> Post:
        """Show the whole reply. The post keeps the ids of all its messages, and of its pictures."""
        answer = self._answers.get(post.id) or self._remember(post.id, self._answer_of(post))
        self._hide_status(post.id)
        finished = await answer.finish(reply)
        if post.id != finished.id:
            self._remember(finished.id, answer)
        return finished

    async def context(self, address: Address) -> tuple[Quote, ...]:
        """Nothing: here nobody speaks before the bot is called."""
        return ()

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file that a person sent."""
        return await files.fetch(self._api, attachment)

    async def check(self) -> list[Finding]:
        """Credentials and scopes, in words."""
        return await inspect(self._api, self._app_token)

    # -------------------------------------------------------------- answers in progress

    def _answer_of(self, post: Post) -> Answer | CommandAnswer:
        if post.data.get("kind") == "command":
            return CommandAnswer(self._api, post)
        return Answer(self._api, self._streams, post, self._workspace.our_ids, self._later)

    def _remember(self, post_id: str, answer: Answer | CommandAnswer) -> Answer | CommandAnswer:
        self._answers[post_id] = answer
        self._answers.move_to_end(post_id)
        while len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)
        return answer

    def _show_status_soon(self, post: Post) -> None:
        """Say that the bot is thinking, unless the first words are there before anybody could wonder."""
        loop = asyncio.get_running_loop()
        self._hide_status(post.id)
        self._statuses[post.id] = loop.call_later(STATUS_AFTER_S, self._show_status, post)

    def _show_status(self, post: Post) -> None:
        self._statuses.pop(post.id, None)
        self._later(self._set_status(post))

    async def _set_status(self, post: Post) -> None:
        place = {"channel_id": post.data["channel"], "thread_ts": post.data["thread"]}
        try:
            await self._api.call("assistant.threads.setStatus", place | {"status": STATUS})
        except PlatformUnavailable as error:
            log.debug("no status is shown: %s", error)

    def _hide_status(self, post_id: str) -> None:
        if (status := self._statuses.pop(post_id, None)) is not None:
            status.cancel()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        async def unless_another_has_the_floor() -> None:
            with suppress(LeaseLost):
                await work

        task = asyncio.get_running_loop().create_task(unless_another_has_the_floor())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _id_until_shown(address: Address) -> str:
    return f"answer-to:{address.event}"
