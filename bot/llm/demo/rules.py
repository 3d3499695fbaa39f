"""Rules of the demo model: sums, dates, earlier messages, summaries."""

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

# The limit of results; larger powers would take minutes.
MAX_RESULT_BITS = 256

# Characters of a question that are searched.
MAX_QUESTION = 500

Rule = Callable[[str, Sequence[str]], str | None]
"""Called with the question and the person's earlier messages, oldest first; None if the rule does not apply."""


# ------------------------------------------------------------------ sums

_WORDS = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "multiplied by": "*",
    "divided by": "/",
    "over": "/",
    "x": "*",
}

_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: operator.mod,
}


def arithmetic(question: str, statements: Sequence[str]) -> str | None:
    """`What is 12 * (3 + 4)?`, also with operators in words, and per cent."""
    if len(question) > MAX_QUESTION:
        return None
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
    return f"{re.sub(r'[*]{2}', '^', phrase)} = **{shown}**"


def _value(node: ast.expr) -> float:
    """The value of a sum. Raises ValueError for anything else, or if it is too large."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            if abs(right) * max(abs(left), 2.0).__ceil__().bit_length() > MAX_RESULT_BITS:
                raise ValueError("too large")
            return float(left) ** right if right < 0 else left**right
        if type(node.op) in _OPERATIONS:
            value = _OPERATIONS[type(node.op)](left, right)
            if abs(value).__ceil__().bit_length() > 4 * MAX_RESULT_BITS:
                raise ValueError("too large")
            return value
    raise ValueError("not a sum")


# ------------------------------------------------------------------ the calendar


def calendar(question: str, statements: Sequence[str]) -> str | None:
    """The current date and time, or the date in some days or weeks."""
    text = question.lower()
    today = datetime.now(UTC)
    if re.search(r"\bwhat('s| is)? (the )?time\b", text):
        return f"It is {today:%H:%M} UTC."
    if not re.search(r"\b(what|which|when)\b.*\b(day|date|weekday)\b|\btoday('s)? date\b", text):
        return None
    days = 0
    if ahead := re.search(r"\bin (\d{1,5}) (day|week)s?\b", text):
        days = int(ahead[1]) * (7 if ahead[2] == "week" else 1)
    elif "tomorrow" in text:
        days = 1
    elif "yesterday" in text:
        days = -1
    when = today + timedelta(days=days)
    words = {0: "Today is", 1: "Tomorrow is", -1: "Yesterday was"}.get(days, f"In {days} days it is")
    return f"{words} {when:%A}, {when.day} {when:%B %Y} (UTC)."


# ------------------------------------------------------------------ earlier messages

_FACT = re.compile(
    r"\b(?:remember(?: that)? )?(?:"
    r"my (?P<what>[a-z][\w' -]{0,40}?) (?:is|are|was|=) (?P<value>[^.!?\n]{1,120})"
    r"|i am called (?P<called>[^.!?,\n]{1,60})"
    r"|call me (?P<call>[^.!?,\n]{1,60})"
    r"|i (?P<verb>live in|work at|work for|work in|work as|like|love|speak|come from|am from) "
    r"(?P<thing>[^.!?\n]{1,120})"
    r"|remember(?: that)?[: ]+(?P<note>[^.!?\n]{3,200}))",
    re.IGNORECASE,
)


def facts(statements: Sequence[str]) -> dict[str, str]:
    """Facts that the person stated, by subject; later ones win."""
    known: dict[str, str] = {}
    for text in statements:
        for found in _FACT.finditer(text):
            if (
                re.match(r"\s*(what|which|where|who|how|do|is|are|can)\b", text, re.IGNORECASE)
                and "?" in text
            ):
                continue
            if found["what"]:
                known[found["what"].lower()] = found["value"].strip()
            elif name := found["called"] or found["call"]:
                known["name"] = name.strip()
            elif found["verb"]:
                known[found["verb"].lower()] = found["thing"].strip()
            else:
                known[f"note {len(known) + 1}"] = found["note"].strip()
    return known


def memory(question: str, statements: Sequence[str]) -> str | None:
    """Answers about facts: `what is my name?`, `where do I live?`, `what do you know about me?`."""
    text = question.lower()
    known = facts(statements)
    if re.search(r"\bwho am i\b|\bmy name\b.*\?|\bwhat('s| is) my name\b|\bdo you know my name\b", text):
        return f"Your name is {known['name']}." if "name" in known else "You haven't told me your name yet."
    asked = re.search(
        r"\b(?:what|which|who|when|where)(?:'s|'re| is| are| was)? my ([a-z][\w' -]{0,40}?)\s*\?*$", text
    )
    if asked and (found := _about(asked[1], known)):
        return (
            f"Your {found} is {known[found]}."
            if not found.endswith("s")
            else f"Your {found}: {known[found]}."
        )
    if asked:
        return f"You haven't told me your {asked[1]} yet."
    asked = re.search(
        r"\b(?:where|what|who|which language) do i (live|work|like|love|speak|come from)\b", text
    )
    if asked:
        match = next((verb for verb in known if verb.startswith(asked[1])), None)
        return f"You told me: you {match} {known[match]}." if match else "You haven't told me that yet."
    if re.search(r"\bwhat (do|did) you (know|remember|learn)\b|\bwhat have i told you\b", text):
        if not known:
            return "Nothing yet. Tell me something, such as your name."
        return "You told me:\n\n" + "\n".join(f"- {_sentence(what, value)}" for what, value in known.items())
    return _repeat(text, statements)


def _repeat(text: str, statements: Sequence[str]) -> str | None:
    if not re.search(
        r"\bwhat (did|have) i (just )?(say|said|write|ask)\b|\brepeat (that|what i said)\b", text
    ):
        return None
    if not statements:
        return "That was the first thing you said to me."
    if "first" in text:
        return f"The first thing you said was: “{statements[0].strip()}”"
    if re.search(r"\b(so far|all|everything|until now)\b", text):
        return "You said:\n\n" + "\n".join(
            f"{n}. {statement.strip()}" for n, statement in enumerate(statements, 1)
        )
    return f"You said: “{statements[-1].strip()}”"


def told(question: str, statements: Sequence[str]) -> str | None:
    """Acknowledges a fact that the person states."""
    if question.rstrip().endswith("?"):
        return None
    known = facts([question])
    if not known:
        return None
    if "name" in known:
        return f"Nice to meet you, {known['name']}! I'll remember your name in this conversation."
    return "Noted: " + "; ".join(_sentence(what, value) for what, value in known.items()) + "."


def _about(asked: str, known: dict[str, str]) -> str | None:
    if asked in known:
        return asked
    return next((what for what in known if asked in what or what in asked), None)


def _sentence(what: str, value: str) -> str:
    if what.startswith("note "):
        return value
    first = what.partition(" ")[0]
    if first in ("live", "work", "like", "love", "speak", "come", "am"):
        return f"you {what.replace('am from', 'are from')} {value}"
    return f"your {what} is {value}"


# ------------------------------------------------------------------ texts

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a all an and are as at be but by can do does for from had has have he her his i if in is it its "
        "not of on or our she so than that the their them then there they this to was we were which will "
        "with you your",
    )
)

_ASKS_SUMMARY = re.compile(
    r"^\s*(?:please |can you |could you )*(?:summari[sz]e|sum up|shorten|tl;?dr)\b[^:\n]{0,60}[:\n]?\s*", re.I
)
_ASKS_LIST = re.compile(
    r"^\s*(?:please )?(?:list|make a list of|bullet points?(?: of| for)?|number)\b[^:\n]{0,40}[:\n]\s*", re.I
)
_ASKS_COUNT = re.compile(r"\bhow many (words|letters|characters|lines|sentences)\b[^:\n]{0,200}[:\n]", re.I)


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
    all_of_it = [item.strip() for item in re.split(r"(?<=[.!?])\s+|\n+", text) if item.strip()]
    if len(all_of_it) <= sentences:
        return "\n".join(f"- {item}" for item in all_of_it)
    counts = Counter(_content_words(text))

    def weight(sentence: str) -> float:
        words = _content_words(sentence)
        return sum(counts[word] for word in words) / (len(words) + 3)

    best = sorted(range(len(all_of_it)), key=lambda n: (-weight(all_of_it[n]), n))[:sentences]
    return "\n".join(f"- {all_of_it[n]}" for n in sorted(best))


def listing(question: str, statements: Sequence[str]) -> str | None:
    """Items separated by commas or line breaks, as a list."""
    asked = _ASKS_LIST.match(question)
    if not asked:
        return None
    things = [
        item.strip(" .") for item in re.split(r"[,;\n]| and ", question[asked.end() :]) if item.strip(" .")
    ]
    if len(things) < 2:
        return None
    return "\n".join(f"{n}. {thing}" for n, thing in enumerate(things, 1))


def counting(question: str, statements: Sequence[str]) -> str | None:
    """Counts words, letters, lines or sentences of a text."""
    asked = _ASKS_COUNT.search(question)
    text = question[asked.end() :].strip() if asked else ""
    if not asked or not text:
        return None
    what = asked[1].lower()
    counted = {
        "words": len(text.split()),
        "letters": sum(letter.isalpha() for letter in text),
        "characters": len(text),
        "lines": len(text.splitlines()),
        "sentences": len([item for item in re.split(r"(?<![.!?])[.!?]+(?:\s+|$)", text) if item.strip()]),
    }[what]
    return f"**{counted}** {what if counted != 1 else what.removesuffix('s')}."


def greeting(question: str, statements: Sequence[str]) -> str | None:
    """Hello, thanks, goodbye."""
    text = question.strip().lower().rstrip("!.? ")
    if re.fullmatch(
        r"(hi|hello|hey|hallo|good (morning|afternoon|evening)|bonjour|grüezi|hola)( \w+)?", text
    ):
        name = facts(statements).get("name")
        return f"Hello{f', {name}' if name else ''}! What can I do for you?"
    if re.fullmatch(r"(many )?(thanks|thank you|cheers|merci|danke)( .{0,20})?", text):
        return "You're welcome!"
    if re.fullmatch(r"(bye|goodbye|good night|see you)( .{0,20})?", text):
        return "Goodbye!"
    return None


def about(question: str, statements: Sequence[str]) -> str | None:
    """Answers questions about the bot itself."""
    text = question.strip().lower().rstrip("!.? ")
    if not re.fullmatch(
        r"(who|what) are you|what can you do( for me)?|(what|who) is parley|help( me)?", text
    ):
        return None
    return (
        "I'm Parley: I answer here, in Slack and in Microsoft Teams from the models that your organisation "
        "runs on Azure OpenAI. None is connected yet, so this is the built-in demo model."
    )


RULES: tuple[Rule, ...] = (greeting, about, memory, told, counting, summary, listing, calendar, arithmetic)
_OF_TEXTS: tuple[Rule, ...] = (counting, summary, listing, arithmetic)


def answer(question: str, statements: Sequence[str]) -> str | None:
    """The answer of the first rule that applies. Only rules about texts read long questions completely."""
    for rule in RULES:
        asked = question if rule in _OF_TEXTS else question[:MAX_QUESTION]
        if (found := rule(asked, statements)) is not None:
            return found
    return None


def _content_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]{2,}", text.lower()) if word not in STOP_WORDS]
