"""Warnings about valid templates that probably contain a mistake."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bot.domain.prompts import Example, Template
from bot.prompts.body import PLACEHOLDER

_LONG_CHARACTERS = 12_000


def warnings(template: Template, pools: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    match, given = template.match, template.parameters
    if not template.description:
        yield "it has no description, which help would show"
    if not (match.default or match.commands or match.prefixes or match.channels):
        yield "it has no match, so it only answers where somebody chooses it by name"
    if given.temperature is not None and given.top_p is not None:
        yield "temperature and topP are both set; set only one of them"
    if len(template.system) > _LONG_CHARACTERS:
        yield f"its system message has {len(template.system)} characters, which are charged with every question"
    used = {placeholder.strip() for placeholder in PLACEHOLDER.findall(template.system + template.question)}
    yield from (f"the input {name!r} is not used" for name in template.inputs if name not in used)
    questions = Counter(example.user.strip().casefold() for example in template.examples)
    yield from (f"two examples ask {user!r}" for user, count in questions.items() if count > 1)
    for example in pools.get(template.pool or "", ()):
        if example.user.strip().casefold() in questions:
            yield f"the pool {template.pool!r} repeats an example of the template: {example.user!r}"
