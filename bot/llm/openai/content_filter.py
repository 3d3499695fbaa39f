"""Results of the content filter, and messages about them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from bot.domain.errors import ContentFiltered
from bot.domain.words import marked, tr
from bot.llm.failures.reply import record

_PLAIN = {
    "hate": marked("hate"),
    "sexual": marked("sexual content"),
    "violence": marked("violence"),
    "self_harm": marked("self-harm"),
    "profanity": marked("profanity"),
    "jailbreak": marked("an attempt to bypass the rules"),
    "indirect_attack": marked("hidden instructions in a document"),
    "protected_material_text": marked("text under copyright"),
    "protected_material_code": marked("code under a licence"),
    "custom_blocklists": marked("a word on this organisation's blocklist"),
}
_WITH_SEVERITY = {
    "low": marked("{category} (low severity)"),
    "medium": marked("{category} (medium severity)"),
    "high": marked("{category} (high severity)"),
}
_STOPPED = {
    "question": marked("The content filter stopped this question. Please rephrase your message."),
    "answer": marked("The content filter stopped this answer. Please rephrase your message."),
    "picture": marked("The content filter stopped this image. Please rephrase your message."),
}
_STOPPED_BECAUSE = {
    "question": marked(
        "The content filter stopped this question. It found: {found}. Please rephrase your message."
    ),
    "answer": marked(
        "The content filter stopped this answer. It found: {found}. Please rephrase your message."
    ),
    "picture": marked(
        "The content filter stopped this image. It found: {found}. Please rephrase your message."
    ),
}
_MAX_CATEGORY = 60  # characters of an unknown category
_SEVERITIES = ("safe", "detected", "low", "medium", "high")


class Verdict(NamedTuple):
    """One category: `severity` is low, medium or high, or `detected` for filters without severities."""

    category: str
    severity: str
    stopped: bool

    @property
    def plain(self) -> str:
        """The category in plain language."""
        return _PLAIN.get(self.category, self.category[:_MAX_CATEGORY].replace("_", " "))

    @property
    def words(self) -> str:
        """The category in the reader's language, with its severity if known."""
        plain = tr(self.plain)
        known = _WITH_SEVERITY.get(self.severity)
        return tr(known, category=plain) if known else plain


def verdicts(results: object) -> Iterator[Verdict]:
    """The categories of an annotation that aren't safe.

    Formats: https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter-annotations
    """
    for category, verdict in record(results).items():
        received = record(verdict)
        stopped, severity = bool(received.get("filtered")), str(received.get("severity") or "")
        if severity not in _SEVERITIES[2:]:
            severity = "detected" if stopped or received.get("detected") else "safe"
        if severity != "safe" or stopped:
            yield Verdict(category, severity, stopped)


def note(notes: dict[str, str], where: str, results: object) -> None:
    """Add annotations as {"answer violence": "medium, stopped"}; the worst per category."""
    for verdict in verdicts(results):
        name = f"{where} {verdict.category[:_MAX_CATEGORY]}"
        received = f"{verdict.severity}, stopped" if verdict.stopped else verdict.severity
        if _rank(received) > _rank(notes.get(name, "safe")):
            notes[name] = received


def note_prompt(notes: dict[str, str], results: object) -> None:
    """Like `note`, for the annotations of a prompt, a list with one per message."""
    for item in cast("list[object]", results) if isinstance(results, list) else []:
        received = record(item)
        note(
            notes, "question", received.get("content_filter_results") or received.get("content_filter_result")
        )


def blocked(what: str, results: object, notes: Mapping[str, str] | None = None) -> ContentFiltered:
    """The message to the person if the filter stopped the question, the answer or the image."""
    stopped = [verdict for verdict in verdicts(results) if verdict.stopped][: len(_PLAIN)]
    found = {"found": ", ".join(item.words for item in stopped)} if stopped else {}
    message = (_STOPPED_BECAUSE if stopped else _STOPPED)[what]
    kept = dict(notes or {})
    note(kept, what, results)
    return ContentFiltered(message, tuple(item.plain for item in stopped), kept, **found)


def is_filter(code: str, body: Mapping[str, Any]) -> bool:
    """Whether an error is from the content filter; images use three spellings of its code."""
    inner = _inner(body).get("code")
    return inner == "ResponsibleAIPolicyViolation" or code in (
        "content_filter",
        "contentFilter",
        "content_policy_violation",
        "moderation_blocked",
    )


def results_of(body: Mapping[str, Any]) -> object:
    """The annotation inside an error."""
    inner = _inner(body)
    return inner.get("content_filter_result") or inner.get("content_filter_results")


def _inner(body: Mapping[str, Any]) -> dict[str, Any]:
    return record(body.get("innererror") or body.get("inner_error"))


def _rank(received: str) -> tuple[int, int]:
    severity, _, stopped = received.partition(", ")
    return _SEVERITIES.index(severity), len(stopped)
