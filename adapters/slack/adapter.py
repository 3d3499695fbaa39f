"""The adapter for Slack: the methods of the adapter protocol, over one shared HTTP session."""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple, Self

from aiohttp import web
from pydantic import SecretStr
from slack_bolt.async_app import AsyncApp

from adapters.shared.background_tasks import BackgroundTasks
from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.answers.direct_message import send_once
from adapters.slack.answers.elsewhere import ANNOUNCED_FROM_S, Elsewhere
from adapters.slack.answers.slash_command import CommandAnswer
from adapters.slack.answers.stream import SlackAnswer
from adapters.slack.answers.thread import NativeStreams
from adapters.slack.api import files
from adapters.slack.api.error_hints import TOKEN_ERRORS, as_config_error, config_error
from adapters.slack.api.web_api import SlackRateLimited, SlackRejected, WebApi, new_session
from adapters.slack.formatting.blocks import reply_digest
from adapters.slack.health_check import inspect, inspect_many
from adapters.slack.inbound import linked_messages, senders, thread_history
from adapters.slack.inbound.dispatcher import Dispatcher
from adapters.slack.inbound.home_and_modals import HomeAndModals
from adapters.slack.inbound.http import EventRoute, bolt_app
from adapters.slack.inbound.socket_mode import listen
from adapters.slack.manifest import INSTALL_PATH, PATH, REDIRECT_PATH
from adapters.slack.workspaces import directory
from adapters.slack.workspaces.installations import Installations, NotInstalled
from adapters.slack.workspaces.oauth import InstallPages
from adapters.slack.workspaces.workspace import Workspace, Workspaces
from bot.domain.adapter import Accept, Limiter, Secrets, SelfService, StillServed
from bot.domain.errors import BotError, ConfigError, PlatformUnavailable
from bot.domain.events import (
    Address,
    AppUninstalled,
    Attachment,
    MessageReceived,
    PostedMessage,
    QuotedMessage,
    User,
)
from bot.domain.turns import CheckResult, Reply
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

SLACK_API_URL = "https://slack.com/api/"
ANSWERS_KEPT = 1_100  # more than a worker has in progress at once; older ones were abandoned
POSTS_KEPT = 100  # of complete answers: closing one again changes nothing
RECOVERY_PATIENCE_S = 10.0
STATUS_AFTER_S = 0.4
STATUS = marked("is thinking…")
_USER_ID = re.compile(r"[UW][A-Z0-9]+")
SURFACE = (
    "Your answers are shown in Slack: Markdown with headings, lists, tables, links and code blocks. LaTeX, HTML, "
    "footnotes and images by link are not shown: write formulas in plain characters."
)


class SlackCredentials(NamedTuple):
    """The tokens of one workspace, or the client id and secret of an app that many workspaces install."""

    bot_token: SecretStr | None = None
    signing_secret: SecretStr | None = None
    app_token: SecretStr | None = None
    client_id: str = ""
    client_secret: SecretStr | None = None


class SlackAdapter:
    """Answers in the workspace of a bot token, or in every workspace that installs the app (`client_id`).

    Events arrive by HTTP, or by Socket Mode if there is an app token. `open`, `close`, `context` and `fetch`
    raise ConfigError for what only the operator can fix, such as a revoked token or an archived channel.
    """

    name = "slack"
    surface = SURFACE

    def __init__(
        self,
        credentials: SlackCredentials,
        api_url: str = SLACK_API_URL,
        *,
        limiter: Limiter | None = None,
        self_service: SelfService | None = None,
        secrets: Secrets | None = None,
        tenants: Collection[str] = (),
    ) -> None:
        """`tenants` are ids and domains of workspaces and organisations that may install the app; empty: all."""
        self._tenants = tenants
        if credentials.signing_secret is None and credentials.app_token is None:
            raise ConfigError("Set SLACK_SIGNING_SECRET (events by HTTP) or SLACK_APP_TOKEN (Socket Mode).")
        if credentials.bot_token is None and (credentials.client_secret is None or secrets is None):
            raise ConfigError("Set SLACK_BOT_TOKEN, or SLACK_CLIENT_ID and SLACK_CLIENT_SECRET.")
        self._credentials, self._api_url = credentials, api_url
        self._limiter, self._self_service, self._secrets = limiter, self_service, secrets
        self._streams = NativeStreams(secrets)
        self._answers = BoundedCache[str, SlackAnswer | CommandAnswer](ANSWERS_KEPT)
        self._whole = BoundedCache[str, PostedMessage](POSTS_KEPT)
        self._statuses: dict[str, asyncio.Task[None]] = {}
        self._tasks = BackgroundTasks()

    async def __aenter__(self) -> Self:
        self._session = new_session()
        self._api = WebApi(self._session, self._credentials.bot_token or SecretStr(""), self._api_url)
        self._workspaces = Workspaces(
            self._session,
            self._api_url,
            self._credentials.bot_token,
            self._installations(),
            self._limiter,
            self._secrets,
        )
        self._home_and_modals = HomeAndModals(self._self_service, self._tasks.start)
        return self

    def _installations(self) -> Installations | None:
        app = self._credentials
        if app.bot_token is not None or app.client_secret is None or self._secrets is None:
            return None
        return Installations(
            self._secrets, self._limiter, self._api, app.client_id, app.client_secret, self._tenants
        )

    async def __aexit__(self, *error: object) -> None:
        for answer in self._answers.values():
            await answer.settle()
        await self._tasks.close()
        await self._workspaces.close()
        await self._session.close()

    # -------------------------------------------------------------- in

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """POST /slack/events, unless only Socket Mode is used, and the pages that install the app."""
        if self._workspaces.only is not None:  # the first event needs the bot's own ids
            self._tasks.start(self._workspaces.only.bot(), "Reading the bot's identity from Slack")
        found: list[web.AbstractRouteDef] = []
        if (secret := self._credentials.signing_secret) is not None:
            found.append(web.post(PATH, EventRoute(self._bolt_app(accept), secret).handle))
        if self._secrets is not None and (installations := self._workspaces.installations) is not None:
            pages = InstallPages(installations, self._secrets, self._api_url)
            found += [web.get(INSTALL_PATH, pages.install), web.get(REDIRECT_PATH, pages.redirect)]
        return found

    async def listen(self, accept: Accept) -> None:
        """Receive events by Socket Mode until cancelled, if there is an app token."""
        if self._credentials.app_token is not None:
            await listen(self._bolt_app(accept), self._credentials.app_token, self._api_url)

    def _bolt_app(self, accept: Accept) -> AsyncApp:
        dispatcher = Dispatcher(accept, self._workspaces, self._home_and_modals, self._tasks.start)
        return bolt_app(self._credentials.bot_token, dispatcher.receive)

    # -------------------------------------------------------------- out

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """Start an answer. Nothing is posted before the first text.

        On a retry, messages of an earlier attempt that were not recorded are found in the thread by their metadata.
        """
        data = address.data | {"event": address.event, "conversation": address.conversation}
        data |= begun.data if begun else {}
        if data.get("kind") != "command":
            data.setdefault("question", data["thread"])
        if data.pop("shown", ""):
            data["anew"] = "1"
            for name in ("sent", "announced"):  # of the answer that is replaced
                data.pop(name, None)
        post = PostedMessage(id=begun.id if begun else f"answer-to:{address.event}", data=data)
        if (abandoned := self._answers.pop(post.id, None)) is not None:
            await abandoned.settle()
        workspace = await self._workspaces.at(data)
        answer = self._answer_of(workspace, post)
        if isinstance(answer, SlackAnswer):
            if retry or (begun is not None and not answer.visible):
                await self._recover(answer)
            if not answer.visible:
                self._hide_status(post.id)
                self._statuses[post.id] = self._tasks.start(self._show_status(workspace, post))
        self._answers[answer.post.id] = answer
        return answer.post

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Show the text so far, throttled. An answer that was opened elsewhere is only shown by `close`."""
        answer = self._answers.get(post.id)
        self._hide_status(post.id)
        if answer is None:
            return True
        answer.offer(text)
        return not answer.stopped

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Show the complete reply. The post keeps the ids of its messages and images.

        Where the bot can't post, only the asker sees the answer, by the response_url of their command or by a direct
        message that says why.
        """
        workspace = await self._workspaces.at(post.data)
        answer = self._answers.get(post.id)
        if answer is None:
            answer = self._answers[post.id] = self._answer_of(workspace, self._whole.get(post.id, post))
        self._hide_status(post.id)
        try:
            finished = await self._finish(workspace, answer, reply)
        except PlatformUnavailable as error:
            error.post = error.post or answer.post
            raise
        self._answers.pop(post.id, None)
        self._whole[post.id] = finished
        return finished

    async def _finish(
        self, workspace: Workspace, answer: SlackAnswer | CommandAnswer, reply: Reply
    ) -> PostedMessage:
        """Show the complete reply, at another place if Slack refuses this one, and announce a long delay."""
        post = answer.post
        elsewhere = Elsewhere(workspace.api, post.data, answer.sent)
        try:
            return await answer.finish(reply)
        except SlackRateLimited as error:
            late = error.wait_s >= ANNOUNCED_FROM_S and not post.data.get("announced")
            if late and await elsewhere.announce(error):
                error.post = PostedMessage(id=answer.post.id, data=answer.post.data | {"announced": "1"})
            raise
        except SlackRejected as error:
            if isinstance(answer, SlackAnswer) and post.data.get("response_url"):
                with suppress(SlackRejected):
                    alone = PostedMessage(id=post.id, data=post.data | {"kind": "command"})
                    return await CommandAnswer(workspace.api, alone, answer.sent).finish(reply)
            await elsewhere.deliver(reply, error)
            answer.finished = reply_digest(reply)
            return answer.post

    async def _recover(self, answer: SlackAnswer) -> None:
        """Find what an earlier attempt has posted. Where the thread can't be read, the answer is shown all the same."""
        try:
            await answer.recover(RECOVERY_PATIENCE_S)
        except SlackRejected as error:
            if error.code in TOKEN_ERRORS - {"missing_scope"}:
                raise config_error(error) from error
            log.warning("An earlier attempt at an answer can't be looked up in the thread: %s", error)

    async def with_sender(self, received: MessageReceived) -> MessageReceived:
        """The message with what Slack knows of its sender and channel."""
        try:
            workspace = await self._workspaces.at(received.address.data)
            return await senders.with_sender(received, workspace)
        except BotError as error:
            log.info("The sender of a message could not be looked up: %s", error)
            return received

    async def tell(self, user: User, address: Address | None, notice: str, write: Callable[[], str]) -> bool:
        """Send a direct message, which needs no earlier one. False for the ids of other platforms and workspaces."""
        if not _USER_ID.fullmatch(user.id):
            return False
        try:
            data = address.data if address is not None else {"team": user.tenant}
            workspace = await self._workspaces.at(data)
            await senders.write_for_person(workspace, user.id, senders.PATIENCE_S)
            await send_once(workspace, user.id, notice, write())
        except NotInstalled:
            return False
        except SlackRejected as error:
            if error.code in ("user_not_found", "users_not_found", "channel_not_found"):
                return False
            raise
        return True

    async def find_channels(self, names: Collection[str]) -> Mapping[str, str]:
        """The ids of channels in the workspace of the bot token, by name."""
        return await directory.find_channels(self._only.api, names)

    async def find_person(self, email: str) -> str:
        """The id of a member of the workspace of the bot token."""
        return await directory.find_person(self._only.api, email)

    @property
    def _only(self) -> Workspace:
        if self._workspaces.only is None:
            raise ConfigError("Names repeat in each workspace that installs the app. Write IDs.")
        return self._workspaces.only

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """At most the newest fifty messages of others in the thread before the question."""
        data = address.data
        threaded = data.get("kind") != "command" and data["thread"] != data["question"]
        if not (threaded or include_channel):
            return ()
        with as_config_error():
            workspace = await self._workspaces.at(data)
            if threaded:
                return await thread_history.thread_messages(workspace, data, summary=include_channel)
            return await thread_history.channel_messages(workspace, data)

    async def linked(self, address: Address, link: str) -> tuple[QuotedMessage, ...]:
        """The thread that a permalink leads to, if both the bot and the asker may read it."""
        with as_config_error():
            workspace = await self._workspaces.at(address.data)
            return await linked_messages.linked(workspace, address.data, link)

    async def fetch(self, attachment: Attachment) -> bytes:
        workspace = await self._workspaces.at(attachment.data)
        return await files.fetch(workspace.api, attachment)

    async def still_served(self, removal: AppUninstalled) -> StillServed:
        """What is left after the app was removed: a newer installation, or another one for the same workspace."""
        installations, tenant = self._workspaces.installations, removal.user.tenant
        if installations is None:
            return StillServed()
        own, whole = await installations.serves(tenant, removal.organisation)
        at_s, of_whole = removal.at.timestamp(), removal.installation == removal.organisation
        removed = whole if of_whole else own
        renewed = removed is not None and removed.installed_at_s > at_s
        if not tenant:
            return StillServed(await installations.with_their_own(removal.organisation), renewed)
        other = own if of_whole else whole
        return StillServed(frozenset((tenant,)) if other is not None else frozenset(), renewed)

    async def check(self) -> list[CheckResult]:
        installations = self._workspaces.installations
        if installations is not None:
            return await inspect_many(installations, self._api, self._credentials.app_token)
        return await inspect(self._api, self._credentials.app_token)

    # -------------------------------------------------------------- answers in progress

    def _answer_of(self, workspace: Workspace, post: PostedMessage) -> SlackAnswer | CommandAnswer:
        if post.data.get("kind") == "command":
            return CommandAnswer(workspace.api, post)
        return SlackAnswer(workspace, self._streams, post, self._tasks.start)

    async def _show_status(self, workspace: Workspace, post: PostedMessage) -> None:
        """Show the status "is thinking" after a moment, unless the answer starts before that."""
        await asyncio.sleep(STATUS_AFTER_S)
        del self._statuses[post.id]
        place = {"channel_id": post.data["channel"], "thread_ts": post.data["thread"]}
        try:
            await workspace.api.call("assistant.threads.setStatus", place | {"status": tr(STATUS)})
        except PlatformUnavailable as error:
            log.debug("Could not set the assistant status: %s", error)

    def _hide_status(self, post_id: str) -> None:
        if (status := self._statuses.pop(post_id, None)) is not None:
            status.cancel()
