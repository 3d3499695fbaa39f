"""Reads a message or thread that a link leads to, if the bot and whoever posted the link may read it."""

from collections.abc import Mapping

from adapters.slack.api.web_api import SlackRejected
from adapters.slack.inbound import thread_history
from adapters.slack.messages.content import LINKED
from adapters.slack.messages.permalinks import Permalink, parse_link
from adapters.slack.payloads import Payload, part, string
from adapters.slack.workspaces.workspace import Workspace
from bot.domain.errors import NotAllowed
from bot.domain.events import QuotedMessage
from bot.domain.words import marked

PATIENCE_S = 5.0
MEMBER_PAGES = 5
MEMBERS = 1_000  # of one page, the maximum (docs.slack.dev/reference/methods/conversations.members)

LONG = marked(
    "were not read: of a long thread, I read the first message and the newest 49."  # thread_history.MESSAGES - 1
)
NO_LINK = marked("I can't open this link: it doesn't lead to a message in Slack.")
NOT_THERE = marked(
    "I can't read the linked message: I'm not a member of its channel, or it isn't in this workspace. Invite me there "
    "with /invite, or copy the text here."
)
GONE = marked("The linked message no longer exists, so I can't read it.")
OTHER_DM = marked(
    "I can't read the linked message: it is in a direct conversation that isn't this one. Copy its text here."
)
NOT_FOR_YOU = marked(
    "I can't show the linked message here: only members of its channel may read it, and you aren't one."
)
NO_SCOPE = marked(
    "I can't check who may read the linked message, because the app lacks a permission. Ask an administrator to run "
    "`parley check`, or copy the text here."
)
TOO_MANY_MEMBERS = marked(
    "I can't check whether you may read the linked message, because its channel has more than {count} "
    "members. Copy its text here."
)
_NOT_THERE = frozenset(
    {"not_in_channel", "channel_not_found", "team_not_found", "no_permission", "access_denied"}
)
_GONE = frozenset({"thread_not_found", "message_not_found"})
_NO_SCOPE = frozenset({"missing_scope", "unknown_method", "not_allowed_token_type"})


async def linked(workspace: Workspace, data: Mapping[str, str], link: str) -> tuple[QuotedMessage, ...]:
    """The thread of the linked message, oldest first; at the end, of the kind "gap", why some messages are missing.

    `data` are those of the question's address.

    Raises NotAllowed, with a sentence for the person, and PlatformUnavailable.
    """
    place = parse_link(link)
    if place is None:
        raise NotAllowed(NO_LINK)
    try:
        await _require_access(workspace, data, place.channel)
        messages, gaps = await _thread(workspace, place)
    except SlackRejected as error:
        raise _refusal(error) from error
    if not messages:
        raise NotAllowed(GONE)
    quotes = await thread_history.quoted(workspace, messages, data)
    return (*thread_history.with_kind(quotes, LINKED, link), *map(thread_history.gap_of, gaps))


def _refusal(error: SlackRejected) -> Exception:
    if error.code in _NOT_THERE:
        return NotAllowed(NOT_THERE)
    if error.code in _GONE:
        return NotAllowed(GONE)
    return NotAllowed(NO_SCOPE) if error.code in _NO_SCOPE else error


async def _require_access(workspace: Workspace, data: Mapping[str, str], channel: str) -> None:
    """Raise NotAllowed unless whoever asks may read the channel. In the channel of the question, they may."""
    if channel == data.get("channel"):
        return
    if channel.startswith("D"):
        raise NotAllowed(OTHER_DM)
    found = part(
        await workspace.api.call("conversations.info", {"channel": channel}, patience_s=PATIENCE_S), "channel"
    )
    if found.get("is_im") is True:
        raise NotAllowed(OTHER_DM)
    is_open = found.get("is_private") is False and not (found.get("is_mpim") or found.get("is_group"))
    if is_open and await _is_full_member(workspace, data):
        return
    if not await is_in_channel(workspace, data.get("user", ""), channel):
        raise NotAllowed(NOT_FOR_YOU)


async def _is_full_member(workspace: Workspace, data: Mapping[str, str]) -> bool:
    """Whether this person may see every public channel: guests and people of other organisations may not."""
    user = data.get("user", "")
    if not user or data.get("user_team", data.get("team")) != data.get("team"):
        return False
    found = part(await workspace.api.call("users.info", {"user": user}, patience_s=PATIENCE_S), "user")
    guest = any(
        found.get(name) is True for name in ("is_restricted", "is_ultra_restricted", "is_stranger", "deleted")
    )
    return bool(found) and not guest


async def is_in_channel(workspace: Workspace, user: str, channel: str) -> bool:
    """Whether a person is among the members. Raises NotAllowed if there are too many, and PlatformUnavailable."""
    args: dict[str, object] = {"channel": channel, "limit": MEMBERS}
    for _ in range(MEMBER_PAGES if user else 0):
        page = await workspace.api.call("conversations.members", args, patience_s=PATIENCE_S)
        members = page.get("members")
        if isinstance(members, list) and user in members:
            return True
        cursor = string(part(page, "response_metadata").get("next_cursor"))
        if not cursor:
            return False
        args["cursor"] = cursor
    if user:
        raise NotAllowed(TOO_MANY_MEMBERS, count=MEMBER_PAGES * MEMBERS)
    return False


async def _thread(workspace: Workspace, place: Permalink) -> tuple[list[Payload], tuple[str, ...]]:
    """The newest messages of the thread, with its first one, or the only message; and why others were not read."""
    messages, gaps = await _pages(workspace, place.channel, place.thread or place.ts)
    root = string(messages[0].get("thread_ts")) if messages else ""
    if root and root != (place.thread or place.ts):  # the link to a reply did not name its thread
        messages, gaps = await _pages(workspace, place.channel, root)
    if len(messages) > thread_history.MESSAGES:
        return [messages[0], *messages[1 - thread_history.MESSAGES :]], (*gaps, LONG)
    return messages, gaps


async def _pages(workspace: Workspace, channel: str, thread: str) -> tuple[list[Payload], tuple[str, ...]]:
    found = [one async for one in thread_history.read_pages(workspace, channel, thread)]
    messages = [one for one in found if not isinstance(one, str)]
    return messages, tuple(one for one in found if isinstance(one, str))
