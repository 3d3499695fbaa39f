"""Reads a message of Slack: the author's own words, what it quotes, its files and links, and what can't be read."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

from msgspec.structs import replace

from adapters.slack.formatting import mrkdwn
from adapters.slack.messages.block_text import TABLES, BlockReader, ReadBudget
from adapters.slack.messages.file_content import FileContents, read_files
from adapters.slack.messages.permalinks import MAX_LINKS, links_in
from adapters.slack.payloads import Payload, objects, part, string, time_of
from bot.domain.events import Attachment, MessageParts, MessageReceived, QuotedMessage, UnreadPart
from bot.domain.words import marked

MAX_ATTACHMENTS = 20
MAX_NESTING = 3
MAX_IDS = 60
_ORIGIN_CHARACTERS = 300
_AUTHOR_CHARACTERS = 100

FORWARDED, ALERT, PREVIEW, TABLE, TRANSCRIPT, LINKED = (
    "forwarded",
    "alert",
    "preview",
    "table",
    "transcript",
    "linked",
)
_MESSAGE_FLAGS = ("is_share", "is_msg_unfurl", "is_reply_unfurl", "is_thread_root_unfurl")
_PLACEHOLDERS = frozenset(
    {
        "this content can't be displayed.",
        "this content can’t be displayed.",
        "this message contains interactive elements.",
        "[no preview available]",
        "no preview available",
    }
)
"""Texts with which Slack stands in for blocks; they say nothing."""
_CODE_OR_QUOTE = re.compile(r"```.*?```|`[^`\n]+`|^(?:&gt;|>)[^\n]*", re.DOTALL | re.MULTILINE)
_TAG = re.compile(r"<(?:@(?P<id>[UWB][A-Z0-9]+)|!subteam\^|!(?:here|channel|everyone)\b)[^<>\n]*>")
_NOT_A_WORD = re.compile(r"[\W_]+")
_LONG = UnreadPart(name="The message", reason="was only read in part, because it is too large.")
_EMPTY_FORWARD = marked("came without its text, so I can't read it. Copy the text into a message, please.")


class MessageContent(NamedTuple):
    """What a message says. `text` is its author's own words; `quotes` are data that came with them."""

    text: str = ""
    quotes: tuple[QuotedMessage, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    unread: tuple[UnreadPart, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def own_parts(self) -> tuple[object, ...]:
        """What changes only if the author changes it; previews of links come and go by themselves."""
        quotes = tuple(quote for quote in self.quotes if quote.kind not in (PREVIEW, LINKED))
        return (quotes, tuple(attachment.id for attachment in self.attachments), self.unread)


def read_message(message: Payload, bot: str, names: Mapping[str, str]) -> MessageContent:
    """The content of a message. `bot` is the id of the bot's user; `names` are by id of person, channel or group."""
    return _MessageReading(message, bot, names).content()


def mentioned_ids(message: Payload) -> set[str]:
    """The ids of the people, channels and user groups that a message mentions without their names."""
    found: set[str] = set()
    waiting: list[object] = [message.get("text"), message.get("blocks"), message.get("attachments")]
    left = 5_000
    while waiting and left > 0 and len(found) < MAX_IDS:
        left -= 1
        value = waiting.pop()
        if isinstance(value, str) and "<" in value:
            found |= mrkdwn.mentioned(value) | mrkdwn.unlabelled(value)
        elif isinstance(value, list):
            waiting += cast("list[object]", value)[:500]
        elif isinstance(value, dict):
            element = cast("Payload", value)
            found |= _id_of(element)
            waiting += [each for each in list(element.values())[:60] if isinstance(each, str | list | dict)]
    return found


def own_mentions(message: Payload) -> set[str]:
    """The ids of the people whom the author of a message mentions, not what the message quotes."""
    own = {"text": message.get("text"), "blocks": message.get("blocks")}
    return {id for id in mentioned_ids(own) if id[0] in "UW"}


def tags_others(message: Payload, bot_ids: Collection[str]) -> bool:
    """Whether the author tags anybody but the bot: people, other bots, user groups, @here, @channel or @everyone.

    Code and quotes don't count. The rich text says what they are; without one, the text is read.
    """
    rich = [block for block in objects(message.get("blocks")) if block.get("type") == "rich_text"]
    if not rich:
        written = _CODE_OR_QUOTE.sub(" ", string(message.get("text"))[:40_000])
        return any(tag["id"] not in bot_ids for tag in _TAG.finditer(written))
    waiting, left = rich, 5_000
    while waiting and left > 0:
        left -= 1
        element = waiting.pop()
        kind = string(element.get("type"))
        if kind in ("rich_text_quote", "rich_text_preformatted") or part(element, "style").get("code"):
            continue
        tags_person = kind == "user" and string(element.get("user_id")) not in bot_ids
        if tags_person or kind in ("usergroup", "broadcast", "team"):
            return True
        waiting += objects(element.get("elements"))[:500]
    return False


def _id_of(element: Payload) -> set[str]:
    name = {"user": "user_id", "channel": "channel_id", "usergroup": "usergroup_id"}.get(
        string(element.get("type"))
    )
    id = string(element.get(name)) if name else ""
    return {id} if id[:1].isupper() and id.isalnum() and len(id) < 40 else set()


Parts = TypeVar("Parts", MessageReceived, MessageParts)


def with_file_data(parts: Parts, data: Mapping[str, str]) -> Parts:
    """The same with these data in its files, and in those of its quotes."""
    quotes = tuple(quote_with_file_data(quote, data) for quote in parts.quotes)
    return replace(parts, attachments=_with_data(parts.attachments, data), quotes=quotes)


def quote_with_file_data(quote: QuotedMessage, data: Mapping[str, str]) -> QuotedMessage:
    """The same with these data in its files."""
    return replace(quote, attachments=_with_data(quote.attachments, data)) if quote.attachments else quote


def _with_data(attachments: Sequence[Attachment], data: Mapping[str, str]) -> tuple[Attachment, ...]:
    return tuple(replace(attachment, data={**attachment.data, **data}) for attachment in attachments)


class _MessageReading:
    """One message while it is read."""

    def __init__(self, message: Payload, bot: str, names: Mapping[str, str]) -> None:
        self._message = message
        self._names = {**mrkdwn.labels(string(message.get("text"))[:40_000]), **names}
        self._budget = ReadBudget()
        self._reader = BlockReader(bot, self._names, self._budget)
        self._unread: list[UnreadPart] = []
        self._links: list[str] = []

    def content(self) -> MessageContent:
        text, files = self._own_words(self._message), read_files(self._message.get("files"))
        quotes = [*self._tables(self._message.get("blocks")), *files.quotes]
        quotes += self._attachments(self._message.get("attachments"), 1)
        transcripts = "\n".join(words for _, words in files.transcripts)
        if transcripts and text:
            quotes += [self._quote(TRANSCRIPT, words, origin=name) for name, words in files.transcripts]
        elif transcripts:
            text = transcripts
        unread = [*files.unread, *self._unread]
        if self._budget.cut:
            unread.append(_LONG)
        return MessageContent(
            text=text,
            quotes=tuple(quotes),
            attachments=files.attachments,
            unread=tuple(dict.fromkeys(unread)),
            links=tuple(dict.fromkeys((*links_in(text), *self._links)))[:MAX_LINKS],
        )

    # -------------------------------------------------------------- own words

    def _own_words(self, message: Payload) -> str:
        """The text together with what only the blocks say.

        Slack derives the text of a person's message from its rich text; that of an app may be a mere summary.
        """
        written, read = string(message.get("text")), self._reader
        text, listed = read.mrkdwn(written), objects(message.get("blocks"))
        if not written.strip() or message.get("bot_id"):
            return joined(
                [text, read.blocks([block for block in listed if string(block.get("type")) not in TABLES])]
            )
        rich = read.blocks([block for block in listed if block.get("type") == "rich_text"])
        whole = rich if text and joined([rich, text]) == rich else text
        others = read.blocks(
            [block for block in listed if string(block.get("type")) not in {"rich_text", *TABLES}]
        )
        return joined([whole if len(whole) > len(text) else text, others])

    def _tables(self, blocks: object) -> list[QuotedMessage]:
        found = [block for block in objects(blocks) if string(block.get("type")) in TABLES]
        texts = [self._reader.blocks([table]) for table in found]
        return [self._quote(TABLE, text) for text in texts if text]

    def _quote(self, kind: str, text: str, origin: str = "") -> QuotedMessage:
        """A part of the message that its author added to their words."""
        by = string(self._message.get("user")) or string(self._message.get("bot_id"))
        return QuotedMessage(
            author=author_of(self._message, self._names), text=text, by=by, kind=kind, origin=origin
        )

    # -------------------------------------------------------------- attachments: forwards, alerts, previews

    def _attachments(self, attachments: object, nesting: int) -> list[QuotedMessage]:
        listed = objects(attachments)
        quotes: list[QuotedMessage] = []
        for attachment in listed[:MAX_ATTACHMENTS] if nesting <= MAX_NESTING else ():
            quotes += self._attachment(attachment, nesting)
        if len(listed) > MAX_ATTACHMENTS or (listed and nesting > MAX_NESTING):
            self._unread.append(_LONG)
        return quotes

    def _attachment(self, attachment: Payload, nesting: int) -> list[QuotedMessage]:
        """An attachment as a quote, followed by what it quotes itself."""
        inner = part(attachment, "message")
        sources = [attachment, *([inner] if inner else []), *_messages(attachment.get("message_blocks"))]
        kind = _kind(attachment, bool(len(sources) > 1))
        files = FileContents()
        for source in sources:
            files = files.plus(read_files(source.get("files")))
        texts = [self._attachment_text(attachment), *(self._own_words(source) for source in sources[1:])]
        text = joined([*texts, *(words for _, words in files.transcripts)])
        nested = [quote for source in sources for quote in self._tables(source.get("blocks"))]
        nested += [
            quote for source in sources for quote in self._attachments(source.get("attachments"), nesting + 1)
        ]
        self._unread += files.unread
        if kind == ALERT and nested and not text:
            return nested
        if kind in (FORWARDED, LINKED):  # an alert or table in it has the same author
            own = [quote for quote in nested if quote.kind in (ALERT, TABLE)]
            nested = [quote for quote in nested if quote.kind not in (ALERT, TABLE)]
            text = joined([text, *(quote.text for quote in own)])
        found = [*files.quotes, *nested]
        if text or files.attachments:
            found.insert(0, self._attached(attachment, inner, kind, text, files.attachments))
        elif not found and not files.unread and kind in (FORWARDED, LINKED):
            self._not_delivered(attachment)
        return found

    def _attached(
        self, attachment: Payload, inner: Payload, kind: str, text: str, files: tuple[Attachment, ...]
    ) -> QuotedMessage:
        by = (string(attachment.get("author_id")) or string(inner.get("user")))[:_AUTHOR_CHARACTERS]
        author = _first(attachment, "author_name", "author_subname") or self._names.get(by, "")
        if kind in (ALERT, TABLE):
            author = author or author_of(self._message, self._names)
        elif kind == PREVIEW:
            author = _first(attachment, "service_name", "author_name") or _host(attachment)
        return QuotedMessage(
            author=self._plain(author or author_of(inner, self._names))[:_AUTHOR_CHARACTERS],
            text=text,
            at=_time(attachment.get("ts") or inner.get("ts")) if kind != PREVIEW else None,
            by=by,
            kind=kind,
            origin=_origin(attachment),
            attachments=files,
        )

    def _attachment_text(self, attachment: Payload) -> str:
        """The texts of an attachment from top to bottom; its fallback if there are no others."""
        read = self._reader.mrkdwn
        title, link = read(attachment.get("title")), _first(attachment, "title_link")
        texts = [read(attachment.get("pretext")), mrkdwn.link(title, link) if title and link else title]
        texts += [read(attachment.get("text")), self._fields(attachment.get("fields"))]
        blocks = [
            block for block in objects(attachment.get("blocks")) if string(block.get("type")) not in TABLES
        ]
        texts += [
            self._reader.blocks(blocks),
            self._reader.blocks(_plain_blocks(attachment.get("message_blocks"))),
        ]
        texts.append(self._reader.blocks(_buttons(attachment.get("actions"))))
        shown = joined(texts)
        has_table = any(string(block.get("type")) in TABLES for block in objects(attachment.get("blocks")))
        if not shown and not has_table:
            shown = joined([read(attachment.get("fallback"))])
        if _first(attachment, "image_url"):
            shown = f"{shown}\n[image]".strip()
        return joined([shown, read(attachment.get("footer"))]) if shown else ""

    def _fields(self, fields: object) -> str:
        pairs = [
            (self._reader.mrkdwn(one.get("title")), self._field_value(one)) for one in objects(fields)[:100]
        ]
        return "\n".join(f"{title}: {value}" if title and value else title or value for title, value in pairs)

    def _field_value(self, field: Payload) -> str:
        value = field.get("value")
        return self._reader.mrkdwn(str(value) if isinstance(value, int | float) else value)

    def _plain(self, text: str) -> str:
        return " ".join(mrkdwn.plain(text[:500], "", self._names).split())

    def _not_delivered(self, attachment: Payload) -> None:
        """A forwarded message without its text: it may be readable where it was written."""
        links = links_in(_first(attachment, "from_url", "original_url", "title_link"))
        if links:
            self._links += links
        else:
            self._unread.append(UnreadPart(name="The forwarded message", reason=_EMPTY_FORWARD))


def as_text(content: MessageContent) -> str:
    """A message as one text, for where it is quoted as a whole; the names of its files at the end."""
    pieces = [content.text]
    for quote in content.quotes:
        origin = f" in {quote.origin}" if quote.origin else ""
        head = (
            f"[{quote.kind}: {quote.author}{origin}]" if quote.kind not in (ALERT, TRANSCRIPT, TABLE) else ""
        )
        pieces.append(f"{head}\n{quote.text}".strip())
    pieces += [f"[{part.sentence}]" for part in content.unread]
    attachments = [*content.attachments, *(one for quote in content.quotes for one in quote.attachments)]
    if attachments:
        pieces.append(f"[with {', '.join(one.name or 'a file' for one in attachments)}]")
    return "\n".join(piece for piece in pieces if piece)


def joined(texts: Iterable[str]) -> str:
    """Texts one after the other, without those that another one contains, and without placeholders."""
    kept: list[tuple[str, str]] = []
    for text in texts:
        text = text.strip()
        words = f" {_NOT_A_WORD.sub(' ', text).strip().casefold() or text} "
        if not text or text.casefold() in _PLACEHOLDERS or any(words in known for known, _ in kept):
            continue
        kept = [(known, other) for known, other in kept if known not in words]
        kept.append((words, text))
    return "\n".join(text for _, text in kept)


def author_of(message: Payload, names: Mapping[str, str]) -> str:
    """The name of the author of a message: a person, or the app that posted it."""
    person = string(message.get("user"))
    profile = part(message, "user_profile")
    given = _first(profile, "display_name", "real_name", "name")
    app = _first(part(message, "bot_profile"), "name") or _first(message, "username")
    named = names.get(person) or app or given or person or string(message.get("bot_id")) or "somebody"
    return named[:_AUTHOR_CHARACTERS]


def _kind(attachment: Payload, holds_message: bool) -> str:
    if attachment.get("is_share") is True:
        return FORWARDED
    if holds_message or any(attachment.get(flag) is True for flag in _MESSAGE_FLAGS):
        return LINKED if _first(attachment, "from_url", "original_url") and not holds_message else FORWARDED
    if (
        _first(attachment, "from_url", "original_url", "app_unfurl_url")
        or attachment.get("is_app_unfurl") is True
    ):
        return PREVIEW
    return ALERT


def _messages(wrapped: object) -> list[Payload]:
    """The messages in `message_blocks`, whose items hold a message each; some hold blocks, see `_plain_blocks`."""
    return [inner for item in objects(wrapped)[:MAX_ATTACHMENTS] if (inner := part(item, "message"))]


def _plain_blocks(wrapped: object) -> Sequence[Payload]:
    return [item for item in objects(wrapped)[:100] if "type" in item and "message" not in item]


def _buttons(actions: object) -> list[Payload]:
    """The buttons of an older attachment, in the form of blocks."""
    return [
        {"type": "button", "text": {"text": action.get("text")}, "url": action.get("url")}
        for action in objects(actions)[:10]
        if action.get("type") == "button"
    ]


def _origin(attachment: Payload) -> str:
    """Where it was written: the name of a channel, or a link."""
    channel = _first(attachment, "channel_name").removeprefix("#")
    if channel and channel not in ("directmessage", "privategroup"):
        return f"#{channel}"[:_ORIGIN_CHARACTERS]
    return _first(attachment, "from_url", "original_url", "title_link", "app_unfurl_url")[:_ORIGIN_CHARACTERS]


def _host(attachment: Payload) -> str:
    try:
        return urlsplit(_first(attachment, "from_url", "original_url", "title_link")).hostname or "a web page"
    except ValueError:
        return "a web page"


def _time(ts: object) -> datetime | None:
    if not isinstance(ts, str | int | float) or isinstance(ts, bool):
        return None
    try:
        return time_of(ts)
    except ValueError:
        return None


def _first(of: Payload, *names: str) -> str:
    return next((value for name in names if (value := string(of.get(name)).strip())), "")
