"""Requests for pictures: which options reach the image API or are reported, and what changes a picture."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.intent.hold import AT_ONCE, answered, begun
from tests.intent.model import Label
from tests.intent.sentences import AfterPicture, PictureRequest
from tests.intent.stage import Measurement
from tests.simulators.azure import Asked

FIRST_PICTURE = "a lighthouse on a cliff"
_SHAPES = {"landscape": 3 / 2, "portrait": 2 / 3, "square": 1.0}
_NEAR = 0.03
"""How much an aspect ratio may differ from the one asked for and still be that one."""
_APOLOGY = re.compile(r"\b(not|can't|cannot|only|instead|ignored|at most|nearest|closest)\b", re.IGNORECASE)
_OFFSET = 10_000
"""References of pictures begin here, after those of sentences."""


By = Literal["words", "command"]
"""Asked in words, so that the model calls the tool; or with `/image`, where no chat model reads the request."""


@dataclass(frozen=True, kw_only=True)
class PictureResult:
    """One request with options on one surface: the options that were neither passed on nor reported."""

    surface: str
    by: By
    asked: PictureRequest
    lost: tuple[str, ...]
    told: str


@dataclass(frozen=True, kw_only=True)
class ChangeResult:
    """One message after a picture: `outcome` is `change`, `new`, or what else happened. `by`: how the first came."""

    surface: str
    asked: AfterPicture
    by: str
    outcome: str
    told: str


async def request_all(
    town: Measurement, chosen: Sequence[PictureRequest], surfaces: Iterable[str], by: By = "words"
) -> list[PictureResult]:
    """Every request on every surface, many at once."""
    gate = asyncio.Semaphore(AT_ONCE)
    ask = _request if by == "words" else _command

    async def one(surface: str, number: int, asked: PictureRequest) -> PictureResult:
        async with gate:
            return await ask(town, surface, number, asked)

    work = [one(surface, number, each) for number, each in enumerate(chosen) for surface in surfaces]
    return list(await asyncio.gather(*work))


async def _request(town: Measurement, surface: str, number: int, asked: PictureRequest) -> PictureResult:
    async with begun(town, surface, _OFFSET + number) as (conversation, reference):
        arguments = {"prompt": f"{asked.prompt} {reference}", **asked.options}
        town.model.labels[reference] = Label(text=asked.text, tool="draw", arguments=arguments)
        shown = await answered(town, conversation, asked.text)
    results = [text for seen in town.model.seen[reference] for _, text in seen.results]
    told = "\n".join(results) or shown.text
    drawn = _drawn(town, reference)
    lost = (*_lost(asked, drawn, told), *_untold(drawn, told)) if drawn else ("picture",)
    return PictureResult(surface=surface, by="words", asked=asked, lost=lost, told=told)


async def _command(town: Measurement, surface: str, number: int, asked: PictureRequest) -> PictureResult:
    async with begun(town, surface, 3 * _OFFSET + number) as (conversation, reference):
        told = (await answered(town, conversation, f"/image {asked.text} {reference}")).text
    drawn = _drawn(town, reference)
    lost = tuple(_lost(asked, drawn, told.replace(asked.text, ""))) if drawn else ("picture",)
    return PictureResult(surface=surface, by="command", asked=asked, lost=lost, told=told)


def _drawn(town: Measurement, reference: str) -> list[Asked]:
    """The requests to the image API that belong to a conversation."""
    return [asked for asked in town.model.drawn if reference in str(asked.body.get("prompt"))]


def _lost(asked: PictureRequest, drawn: Sequence[Asked], told: str) -> Iterator[str]:
    """The options that neither reached the image API nor are reported as not possible."""
    for name, value in asked.options.items():
        if not _reached(name, value, drawn) and not (str(value) in told and _APOLOGY.search(told)):
            yield f"{name}={value}"


def _untold(drawn: Sequence[Asked], told: str) -> Iterator[str]:
    """A size that was drawn and of which the model was not told."""
    size = str(drawn[-1].body.get("size") or "")
    if size and size not in told:
        yield f"the size that it has, {size}"


def _reached(name: str, value: Any, drawn: Sequence[Asked]) -> bool:
    body = drawn[-1].body
    match name:
        case "number":
            return sum(int(each.body.get("n") or 1) for each in drawn) == value
        case "aspect_ratio":
            return _ratio(str(body.get("size"))) is not None and _is_near(
                _ratio(str(body["size"])), _ratio(value)
            )
        case "style":
            return body.get("style") == value or value in str(body["prompt"])
        case _:
            return body.get(name) == value


def _ratio(size: str) -> float | None:
    """Width by height of a size, a ratio or a named shape."""
    if size in _SHAPES:
        return _SHAPES[size]
    found = re.fullmatch(r"(\d+)[x:](\d+)", size)
    return int(found[1]) / int(found[2]) if found else None


def _is_near(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one / other - 1) <= _NEAR


async def change_all(
    town: Measurement, chosen: Sequence[AfterPicture], surfaces: Iterable[str]
) -> list[ChangeResult]:
    """Every message after a picture, on every surface; every other first picture is made by the command."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(surface: str, number: int, asked: AfterPicture) -> ChangeResult:
        async with gate:
            return await _change(town, surface, 2 * _OFFSET + number, asked)

    work = [one(surface, number, each) for number, each in enumerate(chosen) for surface in surfaces]
    return list(await asyncio.gather(*work))


async def _change(town: Measurement, surface: str, number: int, asked: AfterPicture) -> ChangeResult:
    by = "command" if number % 2 else "words"
    async with begun(town, surface, number) as (conversation, reference):
        words = f"draw {FIRST_PICTURE}, please"
        first = {"prompt": f"{FIRST_PICTURE} {reference}"}
        town.model.labels[reference] = Label(text=words, tool="draw", arguments=first)
        await answered(town, conversation, words if by == "words" else f"/image {FIRST_PICTURE} {reference}")
        before = len(town.model.drawn)
        arguments = {"prompt": f"{asked.text} {reference}", "change_last_picture": asked.kind == "change"}
        town.model.labels[reference] = Label(text=asked.text, tool="draw", arguments=arguments)
        shown = await answered(town, conversation, asked.text)
    outcome = _change_of([each for each in town.model.drawn[before:] if _concerns(each, reference, asked)])
    return ChangeResult(surface=surface, asked=asked, by=by, outcome=outcome, told=shown.text)


def _concerns(drawn: Asked, reference: str, asked: AfterPicture) -> bool:
    """Whether a request belongs to this conversation: by its reference, or by the words without a model between."""
    prompt = str(drawn.body.get("prompt"))
    return reference in prompt or asked.text in prompt or prompt in asked.text


def _change_of(drawn: Sequence[Asked]) -> str:
    if not drawn:
        return "no picture"
    edits = [
        bool(each.body.get("image[]") or each.body.get("image")) and "/edits" in each.path for each in drawn
    ]
    return "change" if all(edits) else "new"


def picture_table(results: Sequence[PictureResult], changes: Sequence[ChangeResult]) -> Iterator[str]:
    """How many requests kept all options, and how many changes and new pictures were right."""
    yield "| Surface | All options, in words | All options, with `/image` | Changes right | New pictures right |"
    yield "|---|--:|--:|--:|--:|"
    for surface in dict.fromkeys(each.surface for each in results):
        here = [each for each in results if each.surface == surface]
        cells = [_share([not each.lost for each in here if each.by == by]) for by in ("words", "command")]
        for kind in ("change", "new"):
            after = [each for each in changes if each.surface == surface and each.asked.kind == kind]
            cells.append(_share([each.outcome == kind for each in after]))
        yield f"| {surface} | {' | '.join(cells)} |"


def _share(right: Sequence[bool]) -> str:
    return f"{sum(right)} of {len(right)}"


def wrong_pictures(results: Sequence[PictureResult], changes: Sequence[ChangeResult]) -> Iterator[str]:
    """Everything that went wrong, a line each."""
    for each in results:
        if each.lost:
            told = each.told.replace("\n", " / ")[:200]
            yield f"{each.surface}\tlost {', '.join(each.lost)} ({each.by})\t{each.asked.text}\t{told}"
    for each in changes:
        if each.outcome != each.asked.kind:
            told = each.told.replace("\n", " / ")[:120]
            what = f"{each.asked.kind} -> {each.outcome} (first by {each.by})"
            yield f"{each.surface}\t{what}\t{each.asked.text}\t{told}"


def broken_picture_limits(
    results: Sequence[PictureResult], changes: Sequence[ChangeResult], right: float = 0.95
) -> Iterator[str]:
    """What is worse than it may be, in words. What `/image` loses is shown, but has no limit: no model reads it."""
    for each in results:
        if each.lost and each.by == "words":
            yield f"Lost on {each.surface}: {', '.join(each.lost)} of “{each.asked.text}”."
    for surface in dict.fromkeys(each.surface for each in changes):
        here = [each for each in changes if each.surface == surface]
        share = sum(each.outcome == each.asked.kind for each in here) / len(here)
        if share < right:
            yield f"On {surface} {100 * share:.0f} % of the changes and new pictures were right."
