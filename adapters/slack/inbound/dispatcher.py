"""Dispatches verified payloads: each becomes an event, is stored, and only then acknowledged."""

import logging

import msgspec
from msgspec.structs import replace

from adapters.slack.events.parser import REMOVALS, parse, people, removed, uninstalled
from adapters.slack.formatting import views
from adapters.slack.formatting.mrkdwn import mentioned, plain
from adapters.slack.formatting.views import typed
from adapters.slack.inbound import posted_questions
from adapters.slack.inbound.home_and_modals import HomeAndModals
from adapters.slack.inbound.senders import actor_id, sender_id, with_known_sender, write_for_person
from adapters.slack.messages.content import with_file_data
from adapters.slack.payloads import Origin, Payload, origin, part, string, user_of
from adapters.slack.workspaces.installations import NotInstalled
from adapters.slack.workspaces.workspace import Later, Workspace, Workspaces
from bot.domain.adapter import Accept
from bot.domain.errors import ConfigError, Malformed, PlatformUnavailable, StateUnavailable
from bot.domain.events import Event, FeedbackGiven, MessageEdited, MessageReceived, StopRequested, User
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

WORKING = marked("Working on it…")
NOT_YOURS = marked("Only the person who asked, or an administrator of this bot, can stop this answer.")
BUSY = marked("Several of your messages are still waiting for an answer here. Please try again in a moment.")


class Dispatcher:
    """Turns payloads into stored events."""

    def __init__(
        self, accept: Accept, workspaces: Workspaces, home_and_modals: HomeAndModals, later: Later
    ) -> None:
        self._accept, self._workspaces = accept, workspaces
        self._home_and_modals, self._later = home_and_modals, later

    async def receive(self, payload: Payload) -> str:
        """Return the body of the immediate response: empty, or a message for whoever typed a command.

        Raises StateUnavailable; Slack then delivers again.
        """
        place = origin(payload)
        if part(payload, "event").get("type") in REMOVALS:
            return await self._removed(payload)
        try:
            workspace = await self._workspaces.of(*place)
            if (addressed := await self._mentioned(payload, workspace, place)) != place:
                workspace, place = await self._workspaces.of(*addressed), addressed
            team = place.team or (await workspace.bot()).team
            return await self._received(payload, workspace, Origin(team, place.enterprise))
        except NotInstalled as error:
            log.warning("Ignored a payload for a workspace without an installation: %s", error)
            return ""
        except ConfigError as error:
            log.error("An event was not accepted; Slack will deliver it again: %s", error)
            raise StateUnavailable(str(error)) from error
        except PlatformUnavailable as error:
            # Without the token, or the bot's own id, its messages can't be told from those of people.
            raise StateUnavailable(f"The workspace is not known now: {error}") from error
        except (LookupError, TypeError, ValueError, AttributeError, Malformed) as error:
            kind = payload.get("type")
            log.warning("Ignored an invalid payload of type %r (%s)", kind, type(error).__name__)
            return ""

    async def _mentioned(self, payload: Payload, workspace: Workspace, place: Origin) -> Origin:
        """The installation whose bot a message mentions: Slack delivers it to the app once, for any of them."""
        event = part(payload, "event")
        if event.get("type") != "app_mention":
            return place
        users = mentioned(string(event.get("text")))
        if (await workspace.bot()).user in users:
            return place
        return await self._workspaces.of_mentioned(place, users)

    async def _received(self, payload: Payload, workspace: Workspace, place: Origin) -> str:
        if (told := part(payload, "event")).get("type") == "user_change":
            await workspace.person_changed(part(told, "user"))
            return ""
        bot = await workspace.bot()
        if (actor := actor_id(payload)) not in bot.ids:
            await write_for_person(workspace, actor)
        posted = await self._posted(payload, workspace, place.team)
        if posted is not None:
            return await self._accept_posted(posted, payload, workspace, place)
        who = (people(payload) | sender_id(payload)) - bot.ids
        names = await workspace.names(who) if who else {}
        event = parse(payload, bot, names, place.team)
        if event is None:
            await self._home_and_modals.receive(payload, workspace, place.team)
            return ""
        receipt = await self._accept(_with_origin(with_known_sender(event, workspace, payload), place))
        if receipt == "accepted" and isinstance(event, MessageReceived | FeedbackGiven):
            self._home_and_modals.event_stored(event, payload, workspace)
        if "command" in payload:
            return _ephemeral_response({"accepted": WORKING, "busy": BUSY}.get(receipt, ""))
        if receipt == "busy":
            self._later(self._notify(BUSY, event, workspace))
        stops = isinstance(event, StopRequested) and payload.get("type") == "block_actions"
        if receipt == "ignored" and stops:
            self._later(self._notify(NOT_YOURS, event, workspace))
        return ""

    async def _accept_posted(
        self, received: MessageReceived, payload: Payload, workspace: Workspace, place: Origin
    ) -> str:
        """Store a question that was posted for its asker; delete the post if it can't be answered."""
        try:
            receipt = await self._accept(_with_origin(received, place))
        except StateUnavailable:
            self._later(posted_questions.retract(workspace, received))
            raise
        if receipt != "busy":
            return ""
        self._later(posted_questions.retract(workspace, received))
        if "command" in payload:
            return _ephemeral_response(BUSY)
        self._later(self._notify(BUSY, received, workspace))
        return ""

    async def _posted(self, payload: Payload, workspace: Workspace, team: str) -> MessageReceived | None:
        """Post a question from `/ask` or a form in its channel; None if there is none, or posting is not allowed."""
        if payload.get("command") == "/ask":
            user = User(id=payload["user_id"], tenant=team, name=str(payload.get("user_name") or ""))
            user = workspace.person(user.id).as_user(user)
            text = plain(str(payload.get("text") or ""), "", await workspace.names(people(payload)))
            if not text or text.startswith("/"):
                return None
            return await posted_questions.post(workspace, payload["channel_id"], user, text)
        view, person = part(payload, "view"), part(payload, "user")
        if payload.get("type") == "view_submission" and view.get("callback_id") == views.ASK_VIEW:
            user = user_of(person, team)
            user = workspace.person(user.id).as_user(user)
            opened = await workspace.api.call("conversations.open", {"users": user.id})
            received = await posted_questions.post(workspace, str(opened["channel"]["id"]), user, typed(view))
            if received is None:
                raise StateUnavailable("the question from a form could not be posted")
            return received
        return None

    async def _removed(self, payload: Payload) -> str:
        """The app was uninstalled. The event is stored before the token is deleted, else Slack delivers again."""
        try:
            for place in removed(payload, origin(payload)):
                event = uninstalled(payload, place)
                if await self._accept(event) == "busy":
                    raise StateUnavailable("too many events are waiting in this workspace")
                own = event.installation == (place.team or place.enterprise)
                await self._workspaces.forget(place, event.at, own=own)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            log.warning("Ignored an invalid uninstall event (%s)", type(error).__name__)
        return ""

    async def _notify(self, words: str, event: Event, workspace: Workspace) -> None:
        """Send an ephemeral message to the author of an event that was meant for the bot."""
        data = event.address.data
        for_us = event.addressed if isinstance(event, MessageReceived) else isinstance(event, StopRequested)
        if not (for_us and data.get("user")):
            return
        asked_here = data.get("question") == data.get("thread")
        thread = {} if asked_here else {"thread_ts": data["thread"]}
        args = {"channel": data["channel"], "user": data["user"], "text": tr(words)}
        try:
            await workspace.api.call("chat.postEphemeral", args | thread)
        except PlatformUnavailable as error:
            log.info("Could not send an ephemeral message: %s", error)


def _ephemeral_response(words: str) -> str:
    """The body of an ephemeral response to a command."""
    if not words:
        return ""
    return msgspec.json.encode({"response_type": "ephemeral", "text": tr(words)}).decode()


def _with_origin(event: Event, place: Origin) -> Event:
    """Add what a worker needs to find the token: to the address, and to the files."""
    if place.enterprise:
        data = event.address.data | {"enterprise": place.enterprise}
        user = replace(event.user, organisation=place.enterprise)
        event = replace(event, address=replace(event.address, data=data), user=user)
    data = {"team": place.team, "enterprise": place.enterprise}
    if isinstance(event, MessageReceived):
        return with_file_data(event, data)
    if isinstance(event, MessageEdited) and event.parts is not None:
        return replace(event, parts=with_file_data(event.parts, data))
    return event
