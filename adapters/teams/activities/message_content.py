"""What a Teams message says: the sender's own words, quotes, files, links, and what can't be read."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple, TypeVar

from adapters.teams.activities.activity import HTML, Activity, File, as_object
from adapters.teams.activities.attachments import VOICE, OwnText, picture, read_attachment
from adapters.teams.activities.html_text import HtmlContent, mentions, render
from adapters.teams.activities.html_tree import Element, parse_html
from adapters.teams.activities.message_links import message_links
from adapters.teams.activities.quotes import Quote, merged, quoted_reply, split_unread, text_of, words
from bot.domain.events import Attachment, QuotedMessage, UnreadPart
from bot.domain.words import marked

EMPTY = UnreadPart(
    name="Your message",
    reason="reached me without text or files. Teams doesn't pass on every kind of message. Please write it as text.",
)
_CUT = UnreadPart(
    name="The end of your message",
    reason="is too long for me to read. Please send it in parts, or as a file.",
)
_HIDDEN = marked(
    "reached me without content: Teams doesn't pass it on to apps here. Please paste it, or send it to me in a "
    "one-on-one chat."
)
_ALL_HIDDEN = marked(
    "reached me without content: Teams doesn't pass them on to apps here. Please paste them, or send them to me in a "
    "one-on-one chat."
)
_RECORDED = UnreadPart(name="The voice message or the content of an app", reason=_HIDDEN)
_QUOTED = re.compile(r"<quoted messageId=\"[^\">]{1,64}\"\s*/>")
_MARKUP = re.compile(r"<blockquote[^<>]{0,500}\sitemtype=\"http://schema\.(?:skype\.com|org)/", re.I)
"""A quote as Teams writes it. Other tags may be typed by the person, for example in a question about HTML."""

_CITED = frozenset(("blockquote", "code", "pre", "codeblock"))

_Item = TypeVar("_Item")


class ActivityContent(NamedTuple):
    """The parts of a message; `addressed` says whether it mentions the bot, `mentions_others` whether anybody else."""

    text: str
    addressed: bool
    attachments: tuple[Attachment, ...]
    quotes: tuple[QuotedMessage, ...]
    unread: tuple[UnreadPart, ...]
    links: tuple[str, ...]
    mentions_others: bool = False


def read_content(activity: Activity) -> ActivityContent:
    """The content of a message activity.

    Its own words come from the text or, where that says less, from the HTML copy: some clients send words,
    tables, lists, code and links only there. What is quoted or forwarded is never part of them.
    """
    plain, addressed = without_mentions(activity)
    html, plain = _html_copy(activity, plain)
    parts = [part for file in _others(activity) if (part := read_attachment(file)) is not None]
    known = [quote for entity in activity.entities or [] if (quote := quoted_reply(entity)) is not None]
    quotes = merged([*known, *html.quotes, *(part for part in parts if isinstance(part, Quote))])
    if html.pictures:  # a forwarded image without words
        quotes = [quote for quote in quotes if quote.text or quote.kind != "forwarded"]
    quoted, unquoted = split_unread(quotes)
    own = [_own_words(plain, html, quotes), *(part.text for part in parts if isinstance(part, OwnText))]
    attachments = [part for part in parts if isinstance(part, Attachment)]
    unread = [part for part in parts if isinstance(part, UnreadPart)]
    unread += [*html.unread, *unquoted, *_missing(activity, html, plain)]
    text = "\n".join(_distinct(words for words in own if words))
    if text_of(as_object(activity.value), "transcription"):
        text = text or text_of(as_object(activity.value), "transcription")
    elif "voice" in (activity.value_type or ""):
        unread.append(VOICE)
    return ActivityContent(
        text=text,
        addressed=addressed,
        attachments=(*attachments, *_pictures(activity, html, attachments)),
        quotes=quoted,
        unread=tuple(_distinct(unread)),
        links=message_links([text, *html.links]),
        mentions_others=_mentions_others(activity),
    )


def without_mentions(activity: Activity) -> tuple[str, bool]:
    """The text without mentions of the bot, with others as names; and whether the bot was mentioned.

    Only the texts of mention entities are replaced, each once and in order.
    """
    text, at, addressed = (activity.text or "").replace("\xa0", " ").replace("&nbsp;", " "), 0, False
    for entity in _mentions(activity):
        mentioned = as_object(entity.get("mentioned"))
        own = mentioned.get("id") == activity.recipient.id
        addressed = addressed or own
        begin, end = _place(text, at, entity.get("text"), str(mentioned.get("name") or ""))
        if begin < 0:
            continue
        name = "" if own else str(mentioned.get("name") or "")
        if own and text[end : end + 1] == " " and (begin == 0 or text[begin - 1].isspace()):
            end += 1
        text, at = text[:begin] + name + text[end:], begin + len(name)
    return _QUOTED.sub("", text).strip(), addressed


def _place(text: str, at: int, mention: object, name: str) -> tuple[int, int]:
    """Where the next mention begins and ends in a text; -1 if it is not there.

    Teams leaves out the text of entities whose name has a `&` (microsoft/BotFramework-Services#204).
    """
    if isinstance(mention, str) and mention and (begin := text.find(mention, at)) >= 0:
        return begin, begin + len(mention)
    for shown in (name, escape(name, quote=False)) if name else ():
        if found := re.compile(rf"<at(?: [^<>]{{0,100}})?>{re.escape(shown)}</at>", re.I).search(text, at):
            return found.span()
    return -1, -1


def _mentions(activity: Activity) -> list[dict[str, Any]]:
    return [entity for entity in activity.entities or [] if entity.get("type") == "mention"]


def _others(activity: Activity) -> list[File]:
    """The attachments that are not the HTML copy of the text."""
    return [file for file in activity.attachments or [] if not _is_copy(file)]


def _is_copy(file: File) -> bool:
    return file.content_type.partition(";")[0].strip().casefold() == HTML and isinstance(file.content, str)


def _html_copy(activity: Activity, plain: str) -> tuple[HtmlContent, str]:
    """The HTML copy of the text, and the plain text, which may itself be HTML and is empty then."""
    copies = [file.content for file in activity.attachments or [] if _is_copy(file)]
    if activity.text_format == "xml" or (not copies and _MARKUP.search(activity.text or "")):
        copies, plain = copies or [activity.text or ""], ""
    if not copies:
        return HtmlContent(), plain
    root, complete = parse_html("\n".join(copies))
    return render(root, complete, _own_mentions(activity, root)), plain


def _own_mentions(activity: Activity, root: Element) -> list[Element]:
    """The elements that mention the bot: by their order or, if it differs from that of the entities, by name."""
    entities, groups = _mentions(activity), mentions(root)
    mentioned = [as_object(entity.get("mentioned")) for entity in entities]
    own = [person.get("id") == activity.recipient.id for person in mentioned]
    names = [words(str(person.get("name") or "")) for person in mentioned]
    shown = [words(" ".join(element.text for element in group)) for group in groups]
    if shown != names:
        ours = [name for name, is_own in zip(names, own, strict=True) if is_own]
        ours.append(words(activity.recipient.name or ""))
        own = [bool(name) and name in ours for name in shown]
    return [element for group, is_own in zip(groups, own, strict=True) if is_own for element in group]


def _mentions_others(activity: Activity) -> bool:
    """Whether the sender mentions anybody but the bot: people, tags, channels, teams, everyone, other bots.

    What stands in code or in a quote does not count: the HTML copy says what that is.
    """
    entities = [as_object(entity.get("mentioned")) for entity in _mentions(activity)]
    others = any(mentioned.get("id") != activity.recipient.id for mentioned in entities)
    copies = [file.content for file in activity.attachments or [] if _is_copy(file)]
    if not any("<at" in copy or "/Mention" in copy for copy in copies):
        return others
    root, complete = parse_html("\n".join(copies))
    groups = mentions(root)
    if not groups or not complete:
        return others
    own = {id(element) for element in _own_mentions(activity, root)}
    cited = {id(inner) for element in root.walk() if element.tag in _CITED for inner in element.walk()}
    return any(id(element) not in own | cited for group in groups for element in group)


# ------------------------------------------------------------------ the sender's own words


def _own_words(plain: str, html: HtmlContent, quotes: Sequence[Quote]) -> str:
    if html.quotes and html.text:
        return html.text
    if quotes:
        known = html.quotes or any(quote.kind == "forwarded" for quote in quotes)
        plain = _without_quotes(plain, quotes) or ("" if known else plain)  # a reply always has own words
    if not plain or not html.complete:
        return plain or html.text
    typed, copied = set(words(plain)), set(words(html.text))
    if not html.structured and (copied <= typed or typed.isdisjoint(copied)):
        return plain  # the HTML says no more, or is a copy of something else
    # What only the plain text says comes last, so that nothing is lost.
    more = [line for line in plain.splitlines() if not copied.issuperset(words(line))]
    return "\n".join([html.text, *more]) if html.text else plain


def _without_quotes(plain: str, quotes: Sequence[Quote]) -> str:
    """A text without the quotes that clients repeat in it: at its beginning, and what is forwarded also at its end.

    Only lines that repeat a quote as a whole are left out: own words may be the same as some of its words.
    """
    lines = plain.splitlines()
    for quote in quotes:
        wanted = _compared(quote.text) if quote.kind != "card" else ""
        lines = lines[_repeated(map(_compared, lines), wanted) :]
        if quote.kind == "forwarded":
            backwards = (_compared(line)[::-1] for line in reversed(lines))
            lines = lines[: len(lines) - _repeated(backwards, wanted[::-1])]
    return "\n".join(lines).strip()


def _compared(text: str) -> str:
    """The words without spaces: clients put what were lines into one."""
    return "".join(words(text))


def _repeated(lines: Iterable[str], wanted: str) -> int:
    """How many of the first lines are a quote as a whole; 0 if they say anything else."""
    found: list[str] = []
    size = 0
    for count, line in enumerate(lines, 1):
        found.append(line)
        size += len(line)
        if size >= len(wanted):
            return count if "".join(found) == wanted else 0
    return 0


# ------------------------------------------------------------------ what is in the HTML only


def _pictures(activity: Activity, html: HtmlContent, known: Sequence[Attachment]) -> list[Attachment]:
    """The pictures that only the HTML names."""
    urls = [attachment.id for attachment in known if attachment.mime.startswith("image/")]
    if len(urls) >= len(html.pictures):
        return []
    missing = [id for id in _distinct(html.pictures) if not any(id in url for url in urls)]
    service = activity.service_url.rstrip("/")
    return [picture(f"{service}/v3/attachments/{id}/views/original") for id in missing]


def _missing(activity: Activity, html: HtmlContent, plain: str) -> list[UnreadPart]:
    """What the HTML has a place for, but Teams did not send."""
    others = [file for file in _others(activity) if not file.content_type.startswith("image/")]
    cards = [file for file in others if "card" in file.content_type]
    missing: list[UnreadPart] = []
    if html.attachments > len(others):
        count = html.attachments - len(others)
        missing.append(
            UnreadPart(name=marked("An attachment"), reason=_HIDDEN)
            if count == 1
            else UnreadPart(name="Some attachments ({count})", reason=_ALL_HIDDEN, values=(("count", count),))
        )
    if html.extensions > len(cards):
        missing.append(_RECORDED)
    if not html.complete and (not plain or html.quotes):
        missing.append(_CUT)
    return missing


def _distinct(items: Iterable[_Item]) -> list[_Item]:
    return list(dict.fromkeys(items))
