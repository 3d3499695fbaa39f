"""What people open outside of conversations: the Home tab, modals, and the older assistant threads."""

import logging
from collections.abc import Mapping

import msgspec

from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.formatting import views
from adapters.slack.formatting.blocks import RATING_ACTION
from adapters.slack.formatting.views import View
from adapters.slack.inbound.linked_messages import is_in_channel
from adapters.slack.inbound.senders import PATIENCE_S, write_for_person
from adapters.slack.manifest import ASK_ABOUT_SHORTCUT, ASK_SHORTCUT, SUGGESTED_PROMPTS
from adapters.slack.messages.content import MessageContent, as_text, author_of, mentioned_ids, read_message
from adapters.slack.payloads import Origin, Payload, origin, part, string, user_of
from adapters.slack.workspaces.workspace import Later, Workspace
from bot.domain.adapter import SelfService
from bot.domain.errors import PlatformUnavailable, Refused, StateUnavailable
from bot.domain.events import FeedbackGiven, MessageReceived, User
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

HOME_AWAY = marked("I can't load this right now. Please reopen this tab in a moment.")
HOME_EMPTY = marked("Send me a message in the Messages tab, or mention me in a channel.")
NOT_A_MEMBER = marked(
    "Only members of a channel can change what I answer there. Join the channel, or ask one of its members."
)
MODE_NOT_SET = marked(
    "I couldn't change that: I can't see who is a member of this channel. Invite me there, or mention me in it with "
    "`follow`, `dialogue`, `mention-only` or `mute`."
)
TITLE_LIMIT = 80
THREADS_KEPT = 1_000
AUTHOR_LIMIT = 100
FILES_KEPT = 5


class HomeAndModals:
    """Shows views for payloads that are not events. Calls run in the background; failures are logged."""

    def __init__(self, self_service: SelfService | None, later: Later) -> None:
        self._self_service, self._later = self_service, later
        self._untitled = BoundedCache[tuple[str, str], None](THREADS_KEPT)

    async def receive(self, payload: Payload, workspace: Workspace, team: str) -> None:
        """Raises StateUnavailable if a choice could not be stored."""
        match payload.get("type"):
            case "event_callback":
                self._opened(part(payload, "event"), workspace, team)
            case None if payload.get("command") == "/ask":
                self.open(workspace, payload, views.ask())
            case "shortcut" if payload.get("callback_id") == ASK_SHORTCUT:
                self.open(workspace, payload, views.ask())
            case "message_action" if payload.get("callback_id") == ASK_ABOUT_SHORTCUT:
                self._later(self._ask_about(payload, workspace, Origin(team, origin(payload).enterprise)))
            case "block_actions":
                await self._pressed_at_home(payload, workspace, team)
            case _:
                pass

    def open(self, workspace: Workspace, payload: Payload, view: View) -> None:
        """Open a modal for the sender of the payload. Its trigger_id expires after three seconds."""
        trigger = payload.get("trigger_id")
        if trigger is None:
            log.warning("Can't open a modal: the payload of type %r has no trigger_id", payload.get("type"))
            return
        args = {"trigger_id": trigger, "view": view}
        self._later(self._call(workspace, "views.open", args))

    def event_stored(
        self, event: MessageReceived | FeedbackGiven, payload: Payload, workspace: Workspace
    ) -> None:
        """Show what follows a stored event: the comment form, or the title of an assistant thread."""
        data = event.address.data
        if isinstance(event, FeedbackGiven):
            actions: list[Payload] = payload.get("actions") or [{}]
            if not event.good and actions[0].get("action_id") == RATING_ACTION:
                known = data | {"post": event.post, "conversation": event.address.conversation}
                self.open(workspace, payload, views.comment(known))
            return
        thread = (data["channel"], data.get("thread", ""))
        if thread in self._untitled:
            del self._untitled[thread]
            args = {"channel_id": thread[0], "thread_ts": thread[1], "title": event.text[:TITLE_LIMIT]}
            self._later(self._call(workspace, "assistant.threads.setTitle", args))

    # -------------------------------------------------------------- tabs and threads

    def _opened(self, event: Payload, workspace: Workspace, team: str) -> None:
        prompts = [{name: tr(words) for name, words in prompt.items()} for prompt in SUGGESTED_PROMPTS]
        match event.get("type"), event.get("tab"):
            case "app_home_opened", "messages":
                # With a thread_ts, the prompts don't appear in an agent's messages tab.
                args = {"channel_id": event["channel"], "prompts": prompts}
                self._later(self._call(workspace, "assistant.threads.setSuggestedPrompts", args))
            case "app_home_opened", "home":
                self._later(self._publish(workspace, User(id=str(event["user"]), tenant=team)))
            case "assistant_thread_started", _:
                thread = part(event, "assistant_thread")
                channel, ts = str(thread["channel_id"]), str(thread["thread_ts"])
                args = {"channel_id": channel, "thread_ts": ts, "prompts": prompts}
                self._later(self._call(workspace, "assistant.threads.setSuggestedPrompts", args))
                self._untitled[channel, ts] = None
            case _:
                pass

    async def _publish(
        self, workspace: Workspace, user: User, words: str = "", *, asks: bool = False, channel: str = ""
    ) -> None:
        await write_for_person(workspace, user.id, PATIENCE_S)
        try:
            view = views.notice(tr(HOME_EMPTY))
            if self._self_service is not None:
                there = await self._self_service.profile(user, channel) if channel else None
                profile = await self._self_service.profile(user, "")
                view = views.home(profile, words, asks=asks, channel=channel, there=there)
        except StateUnavailable as error:
            log.warning("Could not load a Home tab: %s", error)
            view = views.notice(tr(HOME_AWAY))
        await self._call(workspace, "views.publish", {"user_id": user.id, "view": view})

    async def _pressed_at_home(self, payload: Payload, workspace: Workspace, team: str) -> None:
        if self._self_service is None:
            return
        user = user_of(part(payload, "user"), team)
        await write_for_person(workspace, user.id, PATIENCE_S)
        user = workspace.person(user.id).as_user(user)
        channel = string(part(payload, "view").get("private_metadata"))
        words, asks = "", False
        actions: list[Payload] = payload.get("actions") or []
        for action in actions:
            try:
                match action.get("action_id"):
                    case views.CHOOSE_TEMPLATE:
                        await self._self_service.choose(user, "", template=views.chosen(action))
                    case views.CHOOSE_DEPLOYMENT:
                        await self._self_service.choose(user, "", deployment=views.chosen(action))
                    case views.CHOOSE_CHANNEL:
                        channel = views.picked_channel(action)
                    case views.CHOOSE_MODE:
                        self._later(self._choose_mode(workspace, user, channel, views.chosen(action)))
                        return
                    case views.KEEP:
                        pass
                    case views.FORGET:
                        words, asks = await self._self_service.ask_forget(user), True
                    case views.FORGET_NOW:
                        event = f"slack:{team}:home:{user.id}:{action['action_ts']}"
                        words = await self._self_service.confirm_forget(user, event)
                    case _:
                        return
            except Refused as refusal:
                words = str(refusal)
        self._later(self._publish(workspace, user, words, asks=asks, channel=channel))

    async def _choose_mode(self, workspace: Workspace, user: User, channel: str, mode: str) -> None:
        """Set the participation mode of a channel, for one of its members, and show the result."""
        try:
            if self._self_service is None or not channel:
                return
            if await is_in_channel(workspace, user.id, channel):
                await self._self_service.choose(user, channel, mode=mode)
                words = tr("Saved: the mode of this channel is now the default one.")
                if mode:
                    words = tr("Saved: the mode of this channel is now {mode}.", mode=mode)
            else:
                words = tr(NOT_A_MEMBER)
        except Refused as refusal:
            words = str(refusal)
        except (PlatformUnavailable, StateUnavailable) as error:
            log.info("The participation mode of a channel could not be set: %s", error)
            words = tr(MODE_NOT_SET)
        await self._publish(workspace, user, words, channel=channel)

    # -------------------------------------------------------------- forms

    async def _ask_about(self, payload: Payload, workspace: Workspace, shown_by: Origin) -> None:
        """Open the form for a question about a message."""
        message, channel = part(payload, "message"), part(payload, "channel").get("id")
        ts = message.get("ts")
        if ts is None or channel is None:
            log.warning("Can't ask about a message: the payload has no channel or timestamp")
            return
        author = str(message.get("user") or "")
        names = await workspace.names({author, *mentioned_ids(message)} - {""})
        content = read_message(message, "", names)
        place = str(part(payload, "channel").get("name") or "")
        known = {
            "team": shown_by.team,
            "channel": channel,
            "thread": str(message.get("thread_ts") or ts),
            "question": ts,
            "author": author_of(message, names)[:AUTHOR_LIMIT],
            "by": author,
            "origin": "" if channel.startswith("D") or not place else f"#{place}"[:AUTHOR_LIMIT],
            "files": _file_ids(content),
            "response_url": str(payload.get("response_url") or ""),
        } | ({"enterprise": shown_by.enterprise} if shown_by.enterprise else {})
        self.open(workspace, payload, views.ask_about(as_text(content) or tr("(no text)"), known))

    async def _call(self, workspace: Workspace, method: str, args: Mapping[str, object]) -> None:
        try:
            await workspace.api.call(method, args)
        except PlatformUnavailable as error:
            log.info("Could not show a view or title: %s", error)


def _file_ids(content: MessageContent) -> str:
    """The first files of a message as JSON, to be looked up when the form is sent: a form holds 3,000 characters."""
    found = [*content.attachments, *(file for quote in content.quotes for file in quote.attachments)]
    kept = [
        {"id": file.id, "name": file.name[:80], "mimetype": file.mime[:80]} for file in found[:FILES_KEPT]
    ]
    return msgspec.json.encode(kept).decode() if kept else ""
