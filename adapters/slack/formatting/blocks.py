"""Text and blocks for Slack: within its limits, and without mentions that would notify people."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Any

import msgspec

from adapters.shared.markdown import split, tidy, utf16, without_images
from adapters.slack.formatting.mrkdwn import escaped, from_markdown
from bot.domain.turns import Reply, Source
from bot.domain.words import tr

Block = dict[str, Any]

# A markdown block and `markdown_text` take 12,000 characters, a streamed message about 13,200 in all
# (docs.slack.dev/reference/block-kit/blocks/markdown-block, slackapi/bolt-js#2509).
MESSAGE_LIMIT = 11_000
PLAIN_LIMIT = 3_000  # chat.update takes 4,000 characters of `text` after escaping
FALLBACK_LIMIT = 700  # `text` next to blocks is for notifications; chat.update takes 4,000 after escaping
CONTEXT_LIMIT = 2_900  # a mrkdwn element takes 3,000
TITLE_LIMIT = 150
ALT_LIMIT = 1_000
HOLD_BACK = 40  # the longest unfinished mention that is held back
WITHOUT_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}
"""Arguments of every message: a preview makes Slack load what an answer links to, which could leak data."""
RATING_ACTION, AGAIN_ACTION, SENT_ACTION, STOP_ACTION = "feedback", "again", "sent", "stop"
VARY_ACTION, CONFIRM_ACTION = "variations", "confirm"

_BROADCAST = "here|channel|everyone"
_UNFINISHED = re.compile(rf"(?:[<@][^\s<>@]{{0,{HOLD_BACK}}}|!)\Z")
_MENTIONS = (
    rf"<(?P<entity>(?=[@#][A-Z0-9]|!(?:{_BROADCAST}|subteam\^|date\^)))"
    rf"|@(?P<handle>(?<![^\W_]@)(?<![^\W_][_.+-]@)(?=(?i:{_BROADCAST})))"
)
_MENTION = re.compile(_MENTIONS)
_SIGN = re.compile(rf"{_MENTIONS}|`(?P<tick>`*)|\n(?P<line>(?:[ \t>]*(?P<fence>```|~~~))?)")
"""Each alternative begins with a different character, which keeps the search fast."""
_FENCE = re.compile(r"(?P<line>[ \t>]*(?P<fence>```|~~~))")  # at the start of a line
_MAX_OPEN_LINE = 2_000  # characters of an unfinished line that are processed again when text is added
_SAFE_BREAK = re.compile(r"[^\w<@#!^`]|(?<=\w{12})\w|(?=<)")  # does not cut a marker in two
_URL_END = ' \n\t<>`|"'
_MAX_URL = 2_000  # characters of a URL that may stand before a handle
_WORD_JOINER = "\u2060"  # invisible, and breaks an entity


length = utf16
"""The length of a text as Slack counts it."""


def parts(text: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """Split `text` into messages of at most `limit` UTF-16 units, in order."""
    return [text] if length(text) <= limit else split(text, limit, length)


def growing(text: str) -> str:
    """`text` without an unfinished mention or image at its end, so that shown text never has to change."""
    unfinished = _UNFINISHED.search(text, max(len(text) - HOLD_BACK - 1, 0))
    return text[: unfinished.start()] if unfinished else text


def defused(text: str) -> str:
    """`text` without images and without mentions that notify anybody: `<!channel>` and `@here` become plain text.

    Entities are broken everywhere, because Slack reads them in code, too; bare handles only outside of code.
    """
    return without_images(Defusing().defused(text))


@dataclass(slots=True)
class _Code:
    """Whether a text is code at a position: within which fence, or after an open backtick."""

    at: int = 0
    fence: str = ""
    ticked: bool = False


class Defusing:
    """Defuses a growing text. All but the end of its last line is processed once."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._done: str | None = None  # defused up to `_at`; None if that changes nothing
        self._code = _Code()

    def defused(self, text: str) -> str:
        """The text so far, defused; see `defused`."""
        if not text.startswith(self._text):
            self.__init__()
        self._text = text
        if (end := _border(text, self._at)) > self._at:
            new = self._defuse_until(end, final=True)
            if self._done is not None or new is not None:
                self._done = f"{self._before()}{text[self._at : end] if new is None else new}"
            self._at = end
        rest = self._defuse_until(len(text), final=False)
        if self._done is None and rest is None:
            return text
        return f"{self._before()}{text[self._at :] if rest is None else rest}"

    def _before(self) -> str:
        return self._text[: self._at] if self._done is None else self._done

    def _defuse_until(self, end: int, final: bool) -> str | None:
        """The new text up to `end`, defused; None if it has no mentions. Code is looked for only before mentions.

        What is not `final` is read again next time.
        """
        if not _MENTION.search(self._text, self._at, end):
            return None
        pieces: list[str] = []
        at = self._at
        for _ in _mentions(self._text, at, self._code):
            pass
        for found in _mentions(self._text, end, self._code if final else copy(self._code)):
            pieces += [self._text[at:found], _WORD_JOINER]
            at = found
        return "".join([*pieces, self._text[at:end]])


def _mentions(text: str, end: int, code: _Code) -> Iterator[int]:
    """Where to break the mentions from `code.at` to `end`; `code` moves there.

    Code is recognized from what precedes it, so results stay valid.
    """
    at, code.at = code.at, end
    first = _FENCE.match(text, at, end) if text[at - 1 : at] in ("", "\n") else None
    begun = first.end() if first else at
    for sign in chain([first] if first else [], _SIGN.finditer(text, begun, end)):
        kind = sign.lastgroup
        if kind in ("entity", "handle"):
            if kind == "entity" or not (code.fence or code.ticked or _in_url(sign)):
                yield sign.end()
        elif kind == "line" and (mark := sign["fence"]):
            code.ticked = False
            if code.fence in ("", mark):
                code.fence = "" if code.fence else mark
        elif not code.fence:
            code.ticked = kind == "tick" and not code.ticked


def _border(text: str, start: int) -> int:
    """Where to continue later: after the last complete line or, in a long line, at a safe break. At least `start`."""
    end = text.rfind("\n", start) + 1
    last = max(end, start)
    if len(text) - last <= _MAX_OPEN_LINE:
        return last
    near = len(text) - HOLD_BACK
    for found in _SAFE_BREAK.finditer(text, near - HOLD_BACK, near):
        last = found.end()
    return last


def _in_url(handle: re.Match[str]) -> bool:
    """Whether a handle is part of a URL, where it notifies nobody."""
    before = handle.string[max(handle.start() - _MAX_URL, 0) : handle.start()]
    return "://" in before[max(map(before.rfind, _URL_END)) + 1 :]


class MessageForm(IntEnum):
    """How much Slack accepts of a message: everything, no blocks but the text's own, or plain text."""

    WHOLE = 0
    TEXT = 1
    PLAIN = 2


def message(
    text: str, trailer: Sequence[Block] = (), form: MessageForm = MessageForm.WHOLE
) -> dict[str, Any]:
    """The arguments of an ordinary message in Markdown: blocks, a text for notifications, and no previews."""
    if form == MessageForm.PLAIN:
        return {"text": from_markdown(text), **WITHOUT_PREVIEWS}
    if form == MessageForm.TEXT:
        trailer = ()
    fallback = text if len(text) <= FALLBACK_LIMIT else text[:FALLBACK_LIMIT] + "…"
    body = {"text": escaped(fallback), "blocks": [{"type": "markdown", "text": text}, *trailer]}
    return body | WITHOUT_PREVIEWS


def trailer(reply: Reply, post: str, conversation: str) -> list[Block]:
    """The blocks below an answer: sources, the prompt that answered, buttons.

    An empty `post` means the message that holds the buttons.
    """
    blocks: list[Block] = [_sources(reply.sources)] if reply.sources else []
    if reply.prompt:
        named = {"type": "mrkdwn", "text": f"{tr('Prompt')}: {escaped(defused(reply.prompt[:TITLE_LIMIT]))}"}
        blocks.append({"type": "context", "elements": [named]})
    if reply.confirm:
        blocks.append(_confirmation(reply, conversation))
    if reply.rate and not reply.private:
        value = button_value(post, conversation)
        again = _button(tr("Try again"), AGAIN_ACTION, value)
        sent = _button(tr("What did you send?"), SENT_ACTION, value)
        more = [_button(tr("Variations"), VARY_ACTION, value)] if reply.images else []
        blocks += [_rating(post, conversation), {"type": "actions", "elements": [*more, again, sent]}]
    return blocks


def _confirmation(reply: Reply, conversation: str) -> Block:
    """The button that confirms a command."""
    value = button_value("", conversation, command=reply.confirm)
    confirm = _button(tr(reply.confirm_label), CONFIRM_ACTION, value) | {"style": "danger"}
    return {"type": "actions", "elements": [confirm]}


def stop_button(conversation: str, event: str) -> list[Block]:
    """The Stop button of a message that grows by edits; native streams have Slack's own."""
    stop = _button(tr("Stop"), STOP_ACTION, button_value("", conversation, event=event))
    return [{"type": "actions", "elements": [stop]}]


def button_value(post: str, conversation: str, **more: object) -> str:
    """The value of a button, as JSON: its answer, its conversation, and more."""
    return msgspec.json.encode({"post": post, "conversation": conversation, **more}).decode()


def _button(words: str, action: str, value: str) -> Block:
    text = {"type": "plain_text", "text": words}
    return {"type": "button", "text": text, "action_id": action, "value": value}


def _sources(sources: Sequence[Source]) -> Block:
    line = f"{tr('Sources:')} "
    for number, source in enumerate(sources):
        title = escaped(defused(source.title[:TITLE_LIMIT]).replace("|", "/")) or source.url
        url = source.url.replace("|", "%7C").replace(">", "%3E").replace("<", "%3C")
        entry = f"<{url}|{title}>" if url.startswith(("https://", "http://")) else title
        if len(line) + len(entry) > CONTEXT_LIMIT:
            line += " …"
            break
        line += entry if number == 0 else f", {entry}"
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": line}]}


def _rating(post: str, conversation: str) -> Block:
    def button(good: bool, words: str, label: str) -> dict[str, Any]:
        return {
            "text": {"type": "plain_text", "text": words},
            "value": button_value(post, conversation, good=good),
            "accessibility_label": label,
        }

    buttons = {
        "type": "feedback_buttons",
        "action_id": RATING_ACTION,
        "positive_button": button(True, tr("Good"), tr("Rate this answer as good")),
        "negative_button": button(False, tr("Bad"), tr("Rate this answer as bad")),
    }
    return {"type": "context_actions", "elements": [buttons]}


def reply_digest(reply: Reply) -> str:
    """A digest of a reply, 16 hex digits."""
    return hashlib.blake2b(msgspec.json.encode(reply), digest_size=8).hexdigest()


def preview(text: str) -> str:
    """An unfinished text for an edited message: without open Markdown, and never empty."""
    tidied = tidy(text)
    return tidied if tidied.strip() else "…"


def shown_text(reply: Reply, form: MessageForm = MessageForm.WHOLE) -> str:
    """The text of a reply; for images without text, their description. Without blocks it ends with the sources."""
    text = (
        reply.text
        if reply.text.strip()
        else next((i.alt for i in reply.images if i.alt), tr("Here you are."))
    )
    if form == MessageForm.WHOLE or not reply.sources:
        return text
    sources = (f"[{one.title}]({one.url})" if one.url else one.title for one in reply.sources)
    return "\n".join([f"{text}\n\n{tr('Sources:')}", *(f"- {source}" for source in sources)])
