"""What happens to a verified payload: it becomes an event, is written down, and only then acknowledged."""

import logging

import msgspec
from msgspec.structs import replace

from adapters.slack.events.parser import parse, people
from adapters.slack.events.uninstall import REMOVALS, removed, uninstalled
from adapters.slack.formatting import views
from adapters.slack.formatting.mrkdwn import plain
from adapters.slack.formatting.views import typed
from adapters.slack.inbound import posted_questions
from adapters.slack.inbound.home_and_modals import HomeAndModals
from adapters.slack.payloads import Origin, Payload, origin, part
from adapters.slack.workspaces.installations import NotInstalled
from adapters.slack.workspaces.workspace import Later, Workspace, Workspaces
from bot.domain.adapter import Accept
from bot.domain.errors import ConfigError, Malformed, PlatformUnavailable, StateUnavailable
from bot.domain.events import Event, FeedbackGiven, MessageReceived, StopRequested, User

log = logging.getLogger(__name__)

WORKING = "One moment, I am on it."
NOT_YOURS = "Only the person who asked, and those who run this bot, may stop this answer."
BUSY = "I still have several of your messages waiting here. Please try again in a moment."


class Dispatcher:
    """Receives payloads for one engine."""

    def __init__(self, accept: Accept, workspaces: Workspaces, surfaces: HomeAndModals, later: Later) -> None:
        self._accept, self._workspaces = accept, workspaces
        self._surfaces, self._later = surfaces, later

    async def receive(self, payload: Payload) -> str:
        """Returns what Slack is told at once: nothing, or words for whoever typed a command.

        Raises StateUnavailable, upon which Slack delivers again.
        """
        place = origin(payload)
        if part(payload, "event").get("type") in REMOVALS:
            return await self._removed(payload, place)
        try:
            workspace = await self._workspaces.of(*place)
            team = place.team or (await workspace.bot()).team
            return await self._received(payload, workspace, Origin(team, place.enterprise))
        except NotInstalled as error:
            log.warning("a payload of nobody's was left unread: %s", error)
            return ""
        except ConfigError as error:
            log.error("an event was handed back to Slack: %s", error)
            raise StateUnavailable(str(error)) from error
        except PlatformUnavailable as error:
            # Without our own id nothing can be told apart; Slack is asked to deliver again.
            raise StateUnavailable(f"Slack does not say who we are: {error}") from error
        except (LookupError, TypeError, ValueError, AttributeError, Malformed) as error:
            kind = payload.get("type")
            log.warning("a payload of type %r was not understood (%s)", kind, type(error).__name__)
            return ""

    async def _received(self, payload: Payload, workspace: Workspace, place: Origin) -> str:
        posted = await self._posted(payload, workspace, place.team)
        if posted is not None:
            return await self._accept_posted(posted, payload, workspace, place)
        bot = await workspace.bot()
        names = await workspace.names(who) if (who := people(payload) - bot.ids) else {}
        event = parse(payload, bot, names)
        if event is None:
            await self._surfaces.receive(payload, workspace, place.team)
            return ""
        receipt = await self._accept(_within(event, place))
        if receipt == "accepted" and isinstance(event, MessageReceived | FeedbackGiven):
            self._surfaces.heard(event, payload, workspace)
        if "command" in payload:
            return _told(WORKING if receipt == "accepted" else BUSY if receipt == "busy" else "")
        if receipt == "busy":
            self._later(self._say(BUSY, event, workspace))
        if (
            receipt == "ignored"
            and isinstance(event, StopRequested)
            and payload.get("type") == "block_actions"
        ):
            self._later(self._say(NOT_YOURS, event, workspace))
        return ""

    async def _accept_posted(
        self, received: MessageReceived, payload: Payload, workspace: Workspace, place: Origin
    ) -> str:
        """A question that will not be answered does not stay visible."""
        try:
            receipt = await self._accept(_within(received, place))
        except StateUnavailable:
            self._later(posted_questions.take_back(workspace, received))
            raise
        if receipt != "busy":
            return ""
        self._later(posted_questions.take_back(workspace, received))
        if "command" not in payload:
            self._later(self._say(BUSY, received, workspace))
        return _told(BUSY) if "command" in payload else ""

    async def _posted(self, payload: Payload, workspace: Workspace, team: str) -> MessageReceived | None:
        """A question by `/ask`, or from a form, is shown where it was asked, if we may do that."""
        if payload.get("command") == "/ask":
            user = User(id=payload["user_id"], tenant=team, name=str(payload.get("user_name") or ""))
            text = plain(str(payload.get("text") or ""), "", await workspace.names(people(payload)))
            if not text or text.startswith("/"):
                return None
            return await posted_questions.in_channel(workspace, payload["channel_id"], user, text)
        view, person = part(payload, "view"), part(payload, "user")
        if payload.get("type") == "view_submission" and view.get("callback_id") == views.ASK_VIEW:
            user = User(id=str(person["id"]), tenant=team, name=str(person.get("name") or ""))
            opened = await workspace.api.call("conversations.open", {"users": user.id})
            received = await posted_questions.in_channel(
                workspace, str(opened["channel"]["id"]), user, typed(view)
            )
            if received is None:
                raise StateUnavailable("a question from a form could not be shown, so it is not taken")
            return received
        return None

    async def _removed(self, payload: Payload, place: Origin) -> str:
        """The app was taken away. That is written down before the token goes, or Slack tells it again."""
        try:
            for one in removed(payload, place):
                told = uninstalled(payload, one)
                if await self._accept(told) == "busy":
                    raise StateUnavailable("too much waits in this workspace to write down that it is gone")
                await self._workspaces.forget(one, told.at)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            log.warning("that the app was taken away was not understood (%s)", type(error).__name__)
        return ""

    async def _say(self, words: str, event: Event, workspace: Workspace) -> None:
        """Tell whoever did this, alone."""
        data = event.address.data
        heard = event.addressed if isinstance(event, MessageReceived) else isinstance(event, StopRequested)
        if not (heard and data.get("user")):
            return
        asked_here = data.get("question") == data.get("thread")
        thread = {} if asked_here else {"thread_ts": data["thread"]}
        args = {"channel": data["channel"], "user": data["user"], "text": words}
        try:
            await workspace.api.call("chat.postEphemeral", args | thread)
        except PlatformUnavailable as error:
            log.info("somebody could not be told why nothing happens: %s", error)


def _told(words: str) -> str:
    """What whoever typed a command reads at once."""
    if not words:
        return ""
    return msgspec.json.encode({"response_type": "ephemeral", "text": words}).decode()


def _within(event: Event, place: Origin) -> Event:
    """What a worker needs to find the token by: for an address, and for the files that came with it."""
    if place.enterprise:
        data = event.address.data | {"enterprise": place.enterprise}
        event = replace(event, address=replace(event.address, data=data))
    if isinstance(event, MessageReceived) and event.attachments:
        mark = {"team": place.team, "enterprise": place.enterprise}
        event = replace(
            event, attachments=tuple(replace(one, data=one.data | mark) for one in event.attachments)
        )
    return event
