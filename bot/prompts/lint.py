"""What is allowed in a template and yet seldom meant."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bot.domain.prompts import Example, Template
from bot.prompts.body import PLACEHOLDER

_LONG_CHARACTERS = 12_000


def doubts(template: Template, pools: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    """What its author should look at again, in words."""
    match, given = template.match, template.parameters
    if not template.description:
        yield "it has no description, so that help says nothing of it"
    if not (match.default or match.commands or match.prefixes or match.channels):
        yield "it matches nothing: only people who choose it by name meet it"
    if given.temperature is not None and given.top_p is not None:
        yield "temperature and topP are both set; change one of them and leave the other to the model"
    if len(template.system) > _LONG_CHARACTERS:
        yield f"its system text has {len(template.system)} characters, which every question pays for"
    used = {placeholder.strip() for placeholder in PLACEHOLDER.findall(template.system)}
    yield from (
        f"the input {name!r} stands nowhere in the text" for name in template.inputs if name not in used
    )
    shown = Counter(one.user.strip().casefold() for one in template.examples)
    yield from (f"two examples ask {user!r}" for user, count in shown.items() if count > 1)
    for example in pools.get(template.pool or "", ()):
        if example.user.strip().casefold() in shown:
            yield f"the pool {template.pool!r} holds one of its own examples: {example.user!r}"
