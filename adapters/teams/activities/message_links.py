"""Links to messages of Teams."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

MAX_LINKS = 5
_HOSTS = frozenset(
    (
        "teams.microsoft.com",
        "teams.cloud.microsoft",
        "teams.live.com",
        "gov.teams.microsoft.us",
        "dod.teams.microsoft.us",
        "teams.microsoft.us",
    )
)
_LINK = re.compile(r"https://[\w.-]{4,60}/l/message/[^\s<>\"'`\])]{5,1500}", re.I)
_WRAPPED = re.compile(
    r"https://[\w.-]{1,60}\.safelinks\.protection\.outlook\.com/[^\s<>\"'`\])]{1,2000}", re.I
)
_ID = re.compile(r"[0-9]{10,16}")
_CHAT = re.compile(r"[\w:.@=-]{3,300}")


class MessageLink(NamedTuple):
    """What a link to a message names; `root` is the first message of its thread in a channel."""

    conversation: str
    message: str
    root: str = ""
    group: str = ""
    tenant: str = ""

    @property
    def in_channel(self) -> bool:
        """Whether the message is in a channel, not in a chat."""
        return (
            bool(self.group) or "@thread.tacv2" in self.conversation or "@thread.skype" in self.conversation
        )


def message_links(texts: Iterable[str]) -> tuple[str, ...]:
    """The links to messages in these texts, each once."""
    found: dict[str, None] = {}
    for text in texts:
        for wrapped in _WRAPPED.findall(text):
            text = f"{text}\n{_unwrapped(wrapped)}"
        for link in _LINK.findall(text):
            link = link.rstrip(".,;:!?")
            if read_link(link) is not None:
                found[link] = None
    return tuple(found)[:MAX_LINKS]


def read_link(link: str) -> MessageLink | None:
    """The parts of a link ("Copy link" of a message, or a deep link); None if it is no link to a message."""
    try:
        parts = urlsplit(link)
        named = parse_qs(parts.query, max_num_fields=30)
    except ValueError:
        return None
    conversation, _, message = unquote(parts.path.partition("/l/message/")[2]).partition("/")
    message = message.rstrip("/")
    if (
        (parts.hostname or "") not in _HOSTS
        or not _CHAT.fullmatch(conversation)
        or not _ID.fullmatch(message)
    ):
        return None
    root = named.get("parentMessageId", [""])[0]
    return MessageLink(
        conversation=conversation,
        message=message,
        root=root if _ID.fullmatch(root) else "",
        group=named.get("groupId", [""])[0],
        tenant=named.get("tenantId", [""])[0],
    )


def _unwrapped(link: str) -> str:
    """The target of a link that Microsoft Defender has rewritten (Safe Links)."""
    try:
        return parse_qs(urlsplit(link).query, max_num_fields=30).get("url", [""])[0]
    except ValueError:
        return ""
