"""Corrects estimates of one conversation's tokens by what a deployment counted for its prompts."""

from collections.abc import Mapping, Sequence

from bot.domain.turns import Turn
from bot.llm.tokens.estimator import KINDS, Kind

_LOWEST, _HIGHEST = 0.5, 2.0
_CAUTION = 0.3
"""Too high estimates are corrected in steps of this exponent, too low ones at once: too long prompts are refused."""


def corrected(
    factors: Mapping[Kind, float], by_kind: Mapping[Kind, float], counted: int, estimated: int
) -> dict[Kind, float]:
    """The factors by kind of text for the next estimates of a conversation.

    `estimated` is the estimate of a prompt, made with the factors so far, `counted` what the deployment counted,
    `by_kind` what of the text was estimated for each kind. The more of a kind there was, the more its factor changes.
    """
    whole = sum(by_kind.values())
    if counted <= 0 or estimated <= 0 or whole <= 0:
        return dict(factors)
    off = min(max(counted / estimated, _LOWEST), _HIGHEST)
    step = off if off > 1 else off**_CAUTION
    return {
        kind: round(min(max(factors.get(kind, 1.0) * step ** (tokens / whole), _LOWEST), _HIGHEST), 4)
        for kind, tokens in by_kind.items()
    }


def recalled(turns: Sequence[Turn]) -> dict[Kind, float]:
    """The factors that the turns of a conversation have taught."""
    stored = next((turn.token_factors for turn in reversed(turns) if turn.token_factors), dict[str, float]())
    return {kind: min(max(stored[kind], _LOWEST), _HIGHEST) for kind in KINDS if kind in stored}
