"""What is sent to the page: the frames of an answer, and past turns in the same shapes."""

import asyncio
import io
import re
import sys
from base64 import b64encode
from datetime import datetime

import msgspec
from PIL import Image as Pillow

from adapters.shared.markdown import aside, to_html
from adapters.studio.web.direction import directed
from adapters.studio.web.highlight import coloured
from bot.domain.events import User
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Source, Turn


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """A frame belongs to the person's message `event`; `at` is Unix time in milliseconds.

    The page ignores frames that are older than the turn that it already shows.
    """

    event: str
    at: int


class QuestionFrame(Frame, frozen=True, tag="said"):
    """A message was stored: a page opened during an answer shows the question too."""

    text: str


class OpenFrame(Frame, frozen=True, tag="open"):
    """An answer begins, or begins again after a crash: what the page shows of it is replaced."""

    post: str


class TextFrame(Frame, frozen=True, tag="text"):
    """The HTML so far: the first `keep` UTF-16 units of the last one (JavaScript's count), then `html`."""

    post: str
    keep: int
    html: str


class PartialImageFrame(Frame, frozen=True, tag="sketch"):
    """A partial image, scaled down; `width` and `height` are those of the original."""

    post: str
    src: str
    alt: str
    width: int
    height: int


class ShownImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image of an answer."""

    src: str
    alt: str


class DoneFrame(Frame, frozen=True, tag="done"):
    """The whole answer; `text` is its Markdown, for copying. `confirm`, `confirm_label`, `prompt`, `forgotten` and
    `failed` are as in a reply.

    `cause` says why it failed, for operators; it is never in the stream, which others may follow.
    """

    post: str
    html: str
    text: str
    images: tuple[ShownImage, ...] = ()
    sources: tuple[Source, ...] = ()
    rate: bool = False
    confirm: str = ""
    confirm_label: str = "Delete"
    prompt: str = ""
    forgotten: bool = False
    failed: bool = False
    cause: str = ""


class PastTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as the page shows it after a reload, with the person's rating."""

    asked: QuestionFrame
    closed: DoneFrame
    good: bool | None


PARTIAL_IMAGE_PIXELS = 16_777_216
"""A larger image is not decoded; models generate at most half of it."""
PARTIAL_IMAGE_SIDE = 512
"""Pixels of the longer side: it is shown for seconds, and kept in Redis."""

_ALIGNED = re.compile(r'<(t[dh]) style="text-align: ?(left|center|right);?">')

encode = msgspec.json.Encoder().encode


def render(text: str, whole: bool = True) -> str:
    """Safe HTML; columns are aligned by class, as the content security policy allows no inline style.

    In a text that is not `whole` only short code is highlighted, as it is rendered repeatedly.
    """
    if not text:
        return ""
    html = _ALIGNED.sub(lambda cell: f'<{cell[1]} class="{cell[2]}">', to_html(text))
    return directed(coloured(html, whole))


async def rendered(text: str) -> str:
    """The same, in a thread if it is long or has code: the first use of a language loads its lexer."""
    await asyncio.sleep(0)  # lets other tasks run first
    return await aside(_work(text), render, text)


async def rendered_both(finished: str, rest: str) -> tuple[str, str]:
    """The same for finished blocks and for what is not finished after them."""
    await asyncio.sleep(0)
    return await aside(_work(finished) + _work(rest), lambda: (render(finished), render(rest, whole=False)))


def _work(text: str) -> int:
    return sys.maxsize if "```" in text or "~~~" in text else len(text)


def milliseconds(at: datetime) -> int:
    """Unix time in milliseconds."""
    return int(at.timestamp() * 1000)


async def done_frame(conversation: str, event: str, post: str, at: int, reply: Reply) -> DoneFrame:
    """The whole reply, rendered."""
    return DoneFrame(
        event=event,
        post=post,
        at=at,
        html=await rendered(reply.text),
        text=reply.text,
        images=tuple(_picture(conversation, image) for image in reply.images),
        sources=reply.sources,
        rate=reply.rate,
        confirm=reply.confirm,
        confirm_label=reply.confirm_label,
        prompt=reply.prompt,
        forgotten=reply.forgotten,
        failed=reply.failed,
    )


def partial_image_frame(event: str, post: str, at: int, image: Image) -> PartialImageFrame | None:
    """A partial image, small enough for the stream; None if it can't be decoded. Blocks."""
    try:
        with Pillow.open(io.BytesIO(image.data), formats=["PNG", "JPEG", "WEBP"]) as opened:
            width, height = opened.size
            if width * height > PARTIAL_IMAGE_PIXELS:
                return None
            small = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return None
    small.thumbnail((PARTIAL_IMAGE_SIDE, PARTIAL_IMAGE_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=70)
    src = f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"
    return PartialImageFrame(
        event=event, post=post, at=at, src=src, alt=image.alt, width=width, height=height
    )


async def past_turn(conversation: str, turn: Turn, reader: User, *, causes: bool = False) -> PastTurn:
    """A past turn in the shapes of the stream, as `reader` rated it; with `causes`, why it failed."""
    rating = turn.ratings.get(reader.id)
    event = turn.received.address.data.get("message", turn.received.id)
    post = turn.post.id if turn.post else ""
    at = milliseconds(turn.ended_at)
    closed = await done_frame(conversation, event, post, at, turn.reply)
    if turn.outcome == "failed":
        closed = msgspec.structs.replace(closed, failed=True, cause=turn.reason if causes else "")
    return PastTurn(
        asked=QuestionFrame(event=event, at=milliseconds(turn.received.at), text=turn.received.text),
        closed=closed,
        good=rating.good if rating else None,
    )


def _picture(conversation: str, image: Image) -> ShownImage:
    """A stored image has a URL; one that is not stored is sent in the frame."""
    if image.ref:
        src = f"/studio/conversations/{conversation.removeprefix('studio:')}/images/{image.ref}"
    else:
        src = f"data:{image.mime};base64,{b64encode(image.data).decode()}"
    return ShownImage(src=src, alt=image.alt)
