"""Texts of many kinds and languages for estimates of tokens: our own, and generated ones that stay the same."""

import base64
import json
import random
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import yaml

_COUNTS = Path(__file__).parent / "counts.json"
SAMPLES = 20
"""Of each kind and language."""
WORDS = (
    *("order", "bill", "shipment", "customer", "region", "total", "price", "status", "pending", "active"),
    *("closed", "north", "south", "water", "pump", "valve", "motor", "sensor", "report", "weekly"),
    *("budget", "account", "owner", "team", "plan", "review", "release", "server", "request", "response"),
    *("error", "timeout", "retry", "user", "session", "token", "index", "search", "result", "update"),
    *("delete", "create", "message", "channel", "thread", "answer", "question"),
)
_EMOJI = (
    "😂❤🤣👍😭🙏😘🥰😍😊🎉😁💕🥺😅🔥🤦🤷🙄😆🤗😉🎂🤔👏🙂😳🥳😎👌💜😔💪✨💖👀😋💯🌹🎈🚀✅🐘🦉🍉🏔🛠🧪🪴🧭📦📊🗓🔑"
)
_LOG = (
    '{0}.{1}.{2}.{3} - - [{4:02}/Nov/2026:{5:02}:{6:02}:{6:02} +0000] "GET /{w}/{v}?id={n} HTTP/1.1" {s} {n}',
    "2026-11-{4:02}T{5:02}:{6:02}:{6:02}.{7:03}Z {l} [{w}-{4}] com.example.{v}.Worker: {w} {v} id={n} took {7}ms",
)
_CODE = """\
def {w}_{v}(self, {x}: list[int], limit: int = {n}) -> dict[str, int]:
    \"\"\"The {w} of each {v}, without those that are {x}.\"\"\"
    found = {{}}
    for number, {w} in enumerate(self._{v}[:limit]):
        if {w} is None or {w}.{x} > {n}:
            raise ValueError(f"{{number}} has no {v}")
        found[{w}.name] = found.get({w}.name, 0) + {w}.{x} * 2
    return {{name: count for name, count in found.items() if count}}
"""
_SCRIPT = (
    "function {w}({v},e){{var t=0;for(let r=0;r<{v}.length;r++){{if({v}[r].{x}===e&&!{v}[r].done){{t+={v}[r].{w}||{n}"
    "}}}}return t?{{{x}:t,{w}:!0}}:null}}const {x}={w}([],{n});window.{v}=()=>{x}.map(n=>n.id);"
)


def _word(rnd: random.Random) -> str:
    return rnd.choice(WORDS)


def _csv(rnd: random.Random) -> str:
    row = "{n},{m:.2f},{d},{w} {v},{i},{b}\n"
    head = ",".join(f"{_word(rnd)}_{_word(rnd)}" for _ in range(6))
    return f"{head}\n" + "".join(
        row.format(
            n=rnd.randint(1, 10 ** rnd.randint(1, 7)),
            m=rnd.uniform(-500, 9999),
            d=f"2026-{rnd.randint(1, 12):02}-{rnd.randint(1, 28):02}",
            w=_word(rnd).capitalize(),
            v=_word(rnd),
            i=f"{rnd.choice('ABCX')}{rnd.randint(0, 999999):06}",
            b=rnd.choice(("true", "false")),
        )
        for _ in range(rnd.randint(8, 40))
    )


def _numeric_csv(rnd: random.Random) -> str:
    places = rnd.randint(0, 6)
    return "\n".join(",".join(f"{rnd.uniform(-99, 9999):.{places}f}" for _ in range(6)) for _ in range(25))


def _numeric_json(rnd: random.Random) -> str:
    places, indent = rnd.randint(1, 8), rnd.choice((None, None, 2))
    points = [[round(rnd.uniform(-180, 900), places) for _ in range(3)] for _ in range(30)]
    return json.dumps(points, indent=indent)


def _records(rnd: random.Random) -> str:
    rows = [
        {
            "id": rnd.randint(1, 99999),
            _word(rnd): _word(rnd),
            "created_at": f"2026-11-{rnd.randint(1, 28):02}T08:00:00Z",
            "name": f"{_word(rnd)} {_word(rnd)}",
            "score": round(rnd.random(), 4),
            "ok": rnd.choice((True, None)),
        }
        for _ in range(15)
    ]
    return json.dumps(rows, indent=rnd.choice((None, 2, 4)))


def _filled(template: str, rnd: random.Random) -> str:
    return template.format(
        *(rnd.randint(1, 255) for _ in range(4)),
        rnd.randint(1, 28),
        rnd.randint(0, 23),
        rnd.randint(0, 59),
        rnd.randint(0, 999),
        w=_word(rnd),
        v=_word(rnd),
        x=_word(rnd),
        n=rnd.randint(0, 99999),
        s=rnd.choice((200, 404, 500)),
        l=rnd.choice(("INFO", "WARN", "ERROR")),
    )


def _lines(template: str, count: int) -> Callable[[random.Random], str]:
    return lambda rnd: "\n".join(_filled(template, rnd) for _ in range(count))


def _logs(rnd: random.Random) -> str:
    return "\n".join(_filled(rnd.choice(_LOG), rnd) for _ in range(20))


def _base64(rnd: random.Random) -> str:
    text = base64.b64encode(rnd.randbytes(rnd.randint(150, 1200))).decode()
    width = rnd.choice((76, len(text)))
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def _digits(rnd: random.Random) -> str:
    width = rnd.choice((5, 16, 1000))
    return " ".join("".join(rnd.choices("0123456789", k=width)) for _ in range(2000 // (width + 10) + 1))


def _emoji(rnd: random.Random) -> str:
    between = rnd.choice(("", " "))
    return between.join(rnd.choices([*_EMOJI, "👩‍💻", "👨‍👩‍👧", "❤️", "🇩🇪", "👍🏽"], k=rnd.randint(40, 200)))


def _table(rnd: random.Random) -> str:
    width = rnd.choice((0, 12))
    rows = [[_word(rnd), str(rnd.randint(0, 9999)), f"{rnd.random():.2f}", _word(rnd)] for _ in range(15)]
    lines = [["name", "count", "share", "state"], ["-" * max(width, 3)] * 4, *rows]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell in line) + " |" for line in lines)


def _url(rnd: random.Random) -> str:
    path = "/".join(
        rnd.choice((_word(rnd), str(rnd.randint(0, 99999)), rnd.randbytes(4).hex())) for _ in range(3)
    )
    return f"https://www.{_word(rnd)}-{_word(rnd)}.example.com/{path}?{_word(rnd)}={rnd.randint(0, 999)}"


def _scribbled(rnd: random.Random) -> str:
    text = rnd.choice(texts()["English"])
    return "".join(
        c + "".join(chr(rnd.randint(0x300, 0x36F)) for _ in range(rnd.randint(1, 5))) for c in text
    )


KINDS: dict[str, Callable[[random.Random], str]] = {
    "CSV": _csv,
    "numeric CSV": _numeric_csv,
    "numeric JSON": _numeric_json,
    "JSON records": _records,
    "logs": _logs,
    "base64": _base64,
    "hexadecimal": lambda rnd: rnd.randbytes(rnd.randint(100, 600)).hex(),
    "UUIDs": lambda rnd: "\n".join(str(uuid.UUID(int=rnd.getrandbits(128))) for _ in range(20)),
    "digits": _digits,
    "emoji": _emoji,
    "Python": _lines(_CODE, 3),
    "indented code": lambda rnd: "".join(
        " " * 4 * rnd.randint(2, 7) + line + "\n" for line in _filled(_CODE, rnd).splitlines() * 3
    ),
    "minified JavaScript": _lines(_SCRIPT, 4),
    "Markdown table": _table,
    "URLs": lambda rnd: "\n".join(_url(rnd) for _ in range(15)),
    "accents that stand alone": _scribbled,
}
"""How a text of each kind is made from a random generator."""


def texts() -> dict[str, list[str]]:
    """Our own sentences by language."""
    return yaml.safe_load((Path(__file__).parent / "texts.yaml").read_text("utf-8"))


def _prose(sentences: list[str], language: str, rnd: random.Random) -> str:
    between = "" if language in ("Japanese", "Chinese") else " "
    return between.join(rnd.sample(sentences, k=rnd.randint(2, 6)))


def names() -> dict[str, list[str]]:
    """Our own names of people by script."""
    scripts: dict[str, str] = yaml.safe_load((Path(__file__).parent / "names.yaml").read_text("utf-8"))
    return {script: each.split(", ") for script, each in scripts.items()}


def _listed_names(people: list[str], rnd: random.Random) -> str:
    return rnd.choice((", ", "\n", "; ")).join(rnd.sample(people, k=rnd.randint(6, 12)))


def _more(texts_by_language: dict[str, list[str]]) -> dict[str, list[str]]:
    """Texts in capital letters, and names of people in the scripts of South Asia."""
    found: dict[str, list[str]] = {}
    for language in ("English", "German", "French"):
        rnd = random.Random(f"tokens of capitals in {language}")
        sentences = texts_by_language[language]
        found[f"{language} in capitals"] = [_prose(sentences, language, rnd).upper() for _ in range(SAMPLES)]
    for script, people in names().items():
        rnd = random.Random(f"tokens of names in {script}")
        found[f"names in {script}"] = [_listed_names(people, rnd) for _ in range(SAMPLES)]
    return found


def samples() -> dict[str, list[str]]:
    """The samples of each kind and language."""
    found: dict[str, list[str]] = {}
    for kind, make in KINDS.items():
        rnd = random.Random(f"tokens of {kind}")
        found[kind] = [make(rnd) for _ in range(SAMPLES)]
    for language, sentences in texts().items():
        rnd = random.Random(f"tokens of {language}")
        found[language] = [_prose(sentences, language, rnd) for _ in range(SAMPLES)]
    mixed = random.Random("tokens of everything")
    everything = [text for each in found.values() for text in each]
    found["mixed"] = ["\n\n".join(mixed.sample(everything, k=4)) for _ in range(SAMPLES)]
    return found | _more(texts())


def digest(texts: list[str]) -> int:
    """A number that tells whether samples are those that were counted."""
    return zlib.crc32("\0".join(texts).encode())


def counted() -> dict[str, dict[str, list[int]]]:
    """The tokens of the samples as the tokenizer counts them, by vocabulary and kind; `digests` has one number for
    each kind, the digest of its samples. Written by `python -m tests.benchmarks.tokens --count`.
    """
    return json.loads(_COUNTS.read_text("utf-8"))


def keep_counts(counts: dict[str, dict[str, list[int]]]) -> None:
    """Write the counts, one kind in a line."""
    parts = [
        f'"{name}": {{\n'
        + ",\n".join(f"  {json.dumps(kind)}: {numbers}" for kind, numbers in each.items())
        + "\n}"
        for name, each in counts.items()
    ]
    _COUNTS.write_text("{" + ", ".join(parts) + "}\n", "utf-8")
