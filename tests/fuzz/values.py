"""Odd values, and mutations of real ones; all of it follows from one source of random numbers."""

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any, cast

TEXTS = (
    *("", " ", "0", "-1", "null", "true", "NaN", "١٢", "²", "%00", "%zz", "../..", "a b", "a:b", "C:D:E:F"),
    *("\x00", "\r\nX: y", "\n", "\u2028", "\ud800", "\udfff\ud800", "\ufeff", "é", "日本語", "😀", "‮"),
    *("9" * 19, "9" * 5000, "1e400", "1.5", "1700000000.000100", "99999999999999999999.1", "-1.5", "inf"),
    *("<@U0BOT>", "<@U0BOT> hi", "<!subteam^|", "<a|", "&lt;", "`" * 50, "*a " * 50, "[" * 200, "(" * 200),
    *(
        "http://[::",
        "https://",
        "javascript:x",
        "data:,",
        "{",
        "{}",
        '{"a":',
        "[1",
        '"',
        "'",
        "/help",
        "/ask",
    ),
    *(
        "command payload",
        "payload=x",
        "studio:",
        "slack:::",
        "teams:",
        "=",
        "assistant",
        "x" * 300,
        "y" * 20_000,
    ),
)
NUMBERS: Sequence[Any] = (
    *(0, 1, -1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 10**4000),
    *(0.5, -0.5, 1e308, float("nan"), float("inf"), 1700000000.0001, 253402300800),
)


def text(random: Random) -> str:
    """A string that somebody did not think of."""
    if random.random() < 0.8:
        return random.choice(TEXTS)
    points = (random.choice((0x20, 0x7F, 0xFF, 0xD800, 0xDFFF, 0xFFFF, 0x1F600)) for _ in range(4))
    return "".join(chr(max(0, point - random.randrange(32))) for point in points)


def value(random: Random, depth: int = 2) -> Any:
    """Any JSON value, and some that are none."""
    kind = random.randrange(8 if depth else 5)
    if kind < 2:
        return text(random)
    if kind == 2:
        return random.choice(NUMBERS)
    if kind < 5:
        return random.choice((None, True, False, list[Any](), dict[str, Any]()))
    if kind == 5:
        return nested(random.choice((5, 60, 99, 101, 400)), random)
    if kind == 6:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    return {text(random): value(random, depth - 1) for _ in range(random.randrange(4))}


def nested(levels: int, random: Random) -> Any:
    """So many arrays or objects in one another."""
    inner: Any = None
    for _ in range(levels):
        inner = [inner] if random.random() < 0.5 else {"a": inner}
    return inner


def mutated(original: Any, random: Random, changes: int) -> Any:
    """A copy of a JSON value with so many parts replaced, left out, doubled or made odd."""
    copy = json.loads(json.dumps(original))
    for _ in range(changes):
        places = _places(copy)
        if not places:
            return copy
        holder, key = random.choice(places)
        kind = random.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder[key], str):
            cut = random.randrange(len(holder[key]) + 1)
            holder[key] = holder[key][:cut] + text(random) + holder[key][cut:]
        elif kind == 2 and isinstance(holder, list):
            cast("list[Any]", holder).append(holder[key])
        elif kind == 3:
            _, other = random.choice(places)
            if isinstance(other, str) and isinstance(holder, dict):
                holder[other] = value(random)
        else:
            holder[key] = value(random)
    return copy


def _places(inside: Any) -> list[tuple[Any, Any]]:
    """Every place in a value, as its holder and its key."""
    found: list[tuple[Any, Any]] = []
    keys: list[Any] = []
    if isinstance(inside, dict):
        keys = list(cast("dict[str, Any]", inside))
    elif isinstance(inside, list):
        keys = list(range(len(cast("list[Any]", inside))))
    for key in keys:
        found.append((cast("Any", inside), key))
        found += _places(inside[key])
    return found


def encoded(given: Any, random: Random) -> bytes:
    """JSON as bytes; now and then in another encoding, with a mark before it, cut short or broken."""
    body = json.dumps(given, ensure_ascii=random.random() < 0.5)
    data = body.encode("utf-8", "surrogatepass")
    match random.randrange(40):
        case 0:
            return body.encode(random.choice(("utf-16", "utf-16-le", "utf-32")), "surrogatepass")
        case 1:
            return b"\xef\xbb\xbf" + data
        case 2:
            return data[: random.randrange(len(data) + 1)]
        case 3:
            return spoiled(data, random)
        case 4:
            return re.sub(rb"\{", rb'{"a": 1, "a": 2, ', data, count=1)
        case 5:
            return data + random.choice((b"}", b"\x00", b" ", b"{}"))
        case _:
            return data


def spoiled(data: bytes, random: Random) -> bytes:
    """The same bytes but for a few."""
    spoilt = bytearray(data or b"x")
    for _ in range(random.randrange(1, 4)):
        spoilt[random.randrange(len(spoilt))] = random.randrange(256)
    return bytes(spoilt)
