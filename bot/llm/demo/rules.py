"""Rules of the demo model: sums, dates, earlier messages, summaries."""

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

# The limit of results; larger powers would take minutes.
MAX_RESULT_BITS = 256

# Characters of a question; longer ones are only summarised.
MAX_QUESTION = 500

Rule = Callable[[str, Sequence[str]], str | None]
"""Called with the question and the person's earlier messages, oldest first; None if the rule does not apply."""


# ------------------------------------------------------------------ sums

_WORDS = {"plus": "+", "minus": "-", "times": "*", "divided by": "/", "x": "*"}

_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
    ast.Mod: operator.mod,
}


def arithmetic(question: str, statements: Sequence[str]) -> str | None:
    """`What is 12 * (3 + 4)?`, also with operators in words, and per cent."""
    text = question.lower().replace("×", "*").replace("÷", "/").replace("−", "-")
    for word, sign in _WORDS.items():
        text = re.sub(rf"(?<=[\d)])\s*\b{word}\b\s*(?=[\d(-])", sign, text)
    text = re.sub(r"(\d+(?:\.\d+)?)\s*(?:%|per ?cent) of\s*", r"\1/100*", text)
    found = re.search(r"[-(]*\d[\d\s.,()+*/%^-]*[+*/%^-][\d\s.,()+*/%^-]*[\d)]", text)
    if not found:
        return None
    phrase = found[0].replace(",", "").replace("^", "**").strip()
    if re.fullmatch(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}", phrase):
        return None  # a date
    if re.fullmatch(r"\d+(-\d+)+", phrase) and not re.match(r"\W*(\d|what|how much|calculate|compute)", text):
        return None  # a telephone number, a part number
    try:
        value = _value(ast.parse(phrase, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError):
        return None
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.6f}".rstrip("0").rstrip(".")
    return f"{phrase.replace('**', '^')} = **{shown}**"


def _value(node: ast.expr) -> float:
    """The value of a sum. Raises ValueError for anything else, or if it is too large."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if not isinstance(node, ast.BinOp):
        raise ValueError("not a sum")
    left, right = _value(node.left), _value(node.right)
    if isinstance(node.op, ast.Pow):
        if abs(right) * max(abs(left), 2.0).__ceil__().bit_length() > MAX_RESULT_BITS:
            raise ValueError("too large")
        return float(left) ** right if right < 0 else left**right
    if type(node.op) not in _OPERATIONS:
        raise ValueError("not a sum")
    value = _OPERATIONS[type(node.op)](left, right)
    if abs(value).__ceil__().bit_length() > 4 * MAX_RESULT_BITS:
        raise ValueError("too large")
    return value


# ------------------------------------------------------------------ the calendar


def calendar(question: str, statements: Sequence[str]) -> str | None:
    """The current date and time, or the date in some days or weeks."""
    text = question.lower()
    today = datetime.now(UTC)
    if re.search(r"\bwhat('s| is)? (the )?time\b", text):
        return f"It is {today:%H:%M} UTC."
    if not re.search(r"\b(what|which|when)\b.*\b(day|date|weekday)\b|\btoday('s)? date\b", text):
        return None
    days = int("tomorrow" in text) - int("yesterday" in text)
    if ahead := re.search(r"\bin (\d{1,5}) (day|week)s?\b", text):
        days = int(ahead[1]) * (7 if ahead[2] == "week" else 1)
    when = today + timedelta(days=days)
    words = {0: "Today is", 1: "Tomorrow is", -1: "Yesterday was"}.get(days, f"In {days} days it is")
    return f"{words} {when:%A}, {when.day} {when:%B %Y} (UTC)."


# ------------------------------------------------------------------ earlier messages

_VERBS = ("live in", "work at", "work for", "work in", "work as", "like", "love", "speak", "come from")

_FACT = re.compile(
    r"\b(?:remember(?: that)? )?(?:"
    r"my (?P<what>[a-z][\w' -]{0,40}?) (?:is|are|was|=) (?P<value>[^.!?\n]{1,120})"
    r"|(?:i am called|call me) (?P<name>[^.!?,\n]{1,60})"
    rf"|i (?P<verb>{'|'.join(_VERBS)}) (?P<thing>[^.!?\n]{{1,120}})"
    r"|remember(?: that)?[: ]+(?P<note>[^.!?\n]{3,200}))",
    re.I,
)


def facts(statements: Sequence[str]) -> dict[str, str]:
    """Facts that the person stated, by subject (`name`, `live in`); later ones win."""
    known: dict[str, str] = {}
    for text in statements:
        if "?" in text and re.match(r"\s*(what|which|where|who|how|do|is|are|can)\b", text, re.I):
            continue
        for found in _FACT.finditer(text):
            what = found["what"] or found["verb"] or ("name" if found["name"] else f"note {len(known) + 1}")
            value = found["value"] or found["thing"] or found["name"] or found["note"]
            known[what.lower()] = value.strip()
    return known


def memory(question: str, statements: Sequence[str]) -> str | None:
    """Answers about facts: `what is my name?`, `where do I live?`, `what do you know about me?`."""
    text = question.lower()
    known = facts(statements)
    asked = re.search(
        r"\b(?:what|which|who|when|where)(?:'s|'re| is| are| was)? my ([a-z][\w' -]{0,40}?)\s*\?*$", text
    )
    if asked or re.search(r"\bwho am i\b|\b(what|know)\b.* my name\b", text):
        what = asked[1] if asked else "name"
        return f"Your {what} is {known[what]}." if what in known else f"You haven't told me your {what} yet."
    if asked := re.search(r"\bdo i (live|work|like|love|speak|come)\b", text):
        what = next((verb for verb in known if verb.startswith(asked[1])), None)
        return f"You told me: {_sentence(what, known[what])}." if what else "You haven't told me that yet."
    if re.search(r"\bwhat (do|did) you (know|remember|learn)\b|\bwhat have i told you\b", text):
        if not known:
            return "Nothing yet. Tell me something, such as your name."
        return "You told me:\n\n" + "\n".join(f"- {_sentence(what, value)}" for what, value in known.items())
    return _repeat(text, statements)


def _repeat(text: str, statements: Sequence[str]) -> str | None:
    if not re.search(r"\bwhat (did|have) i (just )?(say|said|write|ask)\b", text):
        return None
    if not statements:
        return "That was the first thing you said to me."
    if "first" in text:
        return f"The first thing you said was: “{statements[0]}”"
    if re.search(r"\b(so far|all|everything)\b", text):
        return "You said:\n\n" + "\n".join(f"{n}. {one}" for n, one in enumerate(statements, 1))
    return f"You said: “{statements[-1]}”"


def told(question: str, statements: Sequence[str]) -> str | None:
    """Acknowledges a fact that the person states."""
    known = {} if question.rstrip().endswith("?") else facts([question])
    if "name" in known:
        return f"Nice to meet you, {known['name']}! I'll remember your name in this conversation."
    return f"Noted: {'; '.join(_sentence(*fact) for fact in known.items())}." if known else None


def _sentence(what: str, value: str) -> str:
    if what.startswith("note "):
        return value
    return f"you {what} {value}" if what in _VERBS else f"your {what} is {value}"


# ------------------------------------------------------------------ texts

_STOP_WORDS = """
    a all an and are as at be but by can do does for from had has have he her his i if in is it its not of on or
    our she so than that the their them then there they this to was we were which will with you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_ASKS_SUMMARY = re.compile(
    r"^\s*(?:please |can you |could you )*(?:summari[sz]e|sum up|shorten|tl;?dr)\b[^:\n]{0,60}[:\n]?\s*", re.I
)


def asks_summary(question: str) -> bool:
    """Whether a summary of something else than the question is requested."""
    asked = _ASKS_SUMMARY.match(question)
    return asked is not None and not question[asked.end() :].strip()


def summary(question: str, statements: Sequence[str]) -> str | None:
    """Summarises a given text."""
    asked = _ASKS_SUMMARY.match(question)
    if not asked:
        return None
    text = question[asked.end() :].strip() or (statements[-1] if statements else "")
    return shortened(text) if text else "Paste the text after the word “summarise”."


def shortened(text: str, sentences: int = 3) -> str:
    """The sentences with the most frequent words, in order, as a list."""
    found = [item.strip() for item in re.split(r"(?<=[.!?])\s+|\n+", text) if item.strip()]
    counts = Counter(_content_words(text))

    def weight(at: int) -> float:
        words = _content_words(found[at])
        return sum(counts[word] for word in words) / (len(words) + 3)

    best = sorted(range(len(found)), key=weight, reverse=True)[:sentences]
    return "\n".join(f"- {found[at]}" for at in sorted(best))


def _content_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]{2,}", text.lower()) if word not in STOP_WORDS]


# ------------------------------------------------------------------ small talk


def small_talk(question: str, statements: Sequence[str]) -> str | None:
    """Hello, thanks, goodbye, and questions about the bot itself."""
    text = question.strip().lower().rstrip("!.? ")
    if re.fullmatch(r"(hi|hello|hey|hallo|good (morning|afternoon|evening))( \w+)?", text):
        name = facts(statements).get("name")
        return f"Hello{f', {name}' if name else ''}! What can I do for you?"
    if re.fullmatch(r"(many )?(thanks|thank you)( .{0,20})?", text):
        return "You're welcome!"
    if re.fullmatch(r"(bye|goodbye|good night)( .{0,20})?", text):
        return "Goodbye!"
    if re.fullmatch(r"(who|what) are you|what can you do( for me)?|(what|who) is parley|help( me)?", text):
        return (
            "I'm Parley: I answer here, in Slack and in Microsoft Teams from the models that your organisation "
            "runs on Azure OpenAI. None is connected yet, so this is the built-in demo model."
        )
    return None


RULES: tuple[Rule, ...] = (summary, small_talk, memory, told, calendar, arithmetic)


def answer(question: str, statements: Sequence[str]) -> str | None:
    """The answer of the first rule that applies. Long questions are only summarised."""
    rules = RULES if len(question) <= MAX_QUESTION else (summary,)
    return next((found for rule in rules if (found := rule(question, statements)) is not None), None)
