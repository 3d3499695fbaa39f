"""The confusion tables as Markdown, and whether the limits hold."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.intent.hold import Held

AS_MEANT = 0.98


def tables(held: Sequence[Held]) -> Iterator[str]:
    """A summary, then what happened to what was meant, surface by surface."""
    surfaces = list(dict.fromkeys(each.surface for each in held))
    yield "| Surface | Sentences | As meant | Harmful |"
    yield "|---|--:|--:|--:|"
    for surface in surfaces:
        yield _summary(surface, [each for each in held if each.surface == surface])
    yield _summary("All", held)
    for surface in surfaces:
        yield ""
        yield f"### {surface}"
        yield ""
        yield from _confusion([each for each in held if each.surface == surface])


def _summary(name: str, held: Sequence[Held]) -> str:
    good, harmful = sum(each.as_meant for each in held), sum(each.harmful for each in held)
    return f"| {name} | {len(held)} | {100 * good / len(held):.1f} % | {harmful} |"


def _confusion(held: Sequence[Held]) -> Iterator[str]:
    """Rows are what was meant; what was as meant is in one column."""
    rows = list(dict.fromkeys(each.sentence.meant for each in held))
    wrong = Counter(each.outcome for each in held if not each.as_meant)
    columns = [outcome for outcome, _ in wrong.most_common()]
    yield f"| Meant | {' | '.join(['As meant', *columns])} |"
    yield "|---|" + "--:|" * (1 + len(columns))
    for meant in rows:
        of_row = [each for each in held if each.sentence.meant == meant]
        counts = Counter(each.outcome for each in of_row if not each.as_meant)
        figures = [sum(each.as_meant for each in of_row), *(counts[column] for column in columns)]
        yield f"| {meant} | {' | '.join(str(figure or '') for figure in figures)} |"


def misfires(held: Sequence[Held]) -> Iterator[str]:
    """Every sentence that went wrong, with what was shown."""
    for each in held:
        if not each.as_meant:
            mark = "HARMFUL " if each.harmful else ""
            shown = each.text.replace("\n", " / ")[:120]
            what = f"{mark}{each.sentence.meant} -> {each.outcome}"
            yield f"{each.surface}\t{what}\t{each.sentence.language}\t{each.sentence.text}\t{shown}"


def broken_limits(held: Sequence[Held]) -> Iterator[str]:
    """What is worse than it may be, in words."""
    for each in held:
        if each.harmful:
            yield f"Harmful on {each.surface}: “{each.sentence.text}” led to {each.outcome}."
    for surface in dict.fromkeys(each.surface for each in held):
        here = [each for each in held if each.surface == surface]
        share = sum(each.as_meant for each in here) / len(here)
        if share < AS_MEANT:
            yield f"On {surface} {100 * share:.1f} % were as meant, which is less than {100 * AS_MEANT:.0f} %."


def unexplained_pictures(held: Sequence[Held], paid: int) -> Iterator[str]:
    """Requests to the image API that are in no answer, in words; `paid` is how many there were."""
    if (shown := sum(each.outcome == "draw" for each in held)) != paid:
        yield f"{paid} pictures were paid for, but {shown} were shown."
