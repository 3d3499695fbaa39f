"""Keeps formulas (LaTeX) in Markdown as they were written: their backslashes and signs are not markup."""

import re

_SIGNS = "\\*_[]()`#+-=|!&>.:~<"
_STAND_INS = "".join(chr(0xFDD3 + at) for at in range(len(_SIGNS)))
"""Unicode noncharacters (U+FDD3 to U+FDE7) that replace signs in formulas while the parser reads the text."""
_HIDE = str.maketrans(_SIGNS, _STAND_INS)
_SHOW = str.maketrans(
    dict(zip(_STAND_INS, _SIGNS, strict=True))
    | {
        stand_in: entity
        for stand_in, sign in zip(_STAND_INS, _SIGNS, strict=True)
        if (entity := {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(sign))
    }
)
_TOKEN = re.compile(
    r"\\(?:begin\{(?P<begin>[A-Za-z]{1,30}\*?)\}|end\{(?P<end>[A-Za-z]{1,30}\*?)\}|[^\n])"
    r"|\$\$?|`+|~~~|\n(?=[ \t>]*(?:\n|$))"
)
_CLOSERS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$", "$": "$"}
_PLAIN = re.compile(r"(?:[^\W_]|[\s,.;:!?'’\"-])*")
_WORD = re.compile(r"[^\W\d_]{3}|^[\s\d]*$")
_LATEX = re.compile(r"[\\^_{]")
_BEFORE = "([{\"'*_>|-—"
"""What may stand before the `$` of a formula: it is no price, and no part of an address."""
_LINE_START = re.compile(r"(\n[ \t>]*)")


def hidden(text: str) -> str:
    """The text with the signs of its formulas replaced, for the parser; `shown` restores them.

    Formulas are `\\(…\\)`, `\\[…\\]`, `$$…$$`, `$…$` with LaTeX in it, and `\\begin{…}…\\end{…}`, each in one
    paragraph. The last one may be unfinished. The work is linear in the length of the text.
    """
    if "\\" not in text and "$" not in text:
        return text
    pieces: list[str] = []
    at = 0
    kind, begun = "", 0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        closes = bool(kind) and sign == (_CLOSERS.get(kind) or f"\\end{{{kind}}}")
        if sign[0] in "`~\n":
            kind = ""
        elif closes and _ends(text, kind, begun, token):
            pieces += [text[at:begun], _hide(text[begun : token.end()])]
            at, kind = token.end(), ""
        elif closes and kind != "$":
            kind = ""
        elif kind in ("", "$") or sign == kind:
            if begins := _begins(text, token):
                kind, begun = begins, token.start()
            elif sign == "$":
                kind = ""
    if kind not in ("", "$") and _LATEX.search(text, begun + 2):
        return "".join([*pieces, text[at:begun], _hide(text[begun:])])
    return "".join([*pieces, text[at:]])


def shown(html: str) -> str:
    """HTML with the formulas of the text as they were written."""
    return html.translate(_SHOW)


def _begins(text: str, token: re.Match[str]) -> str:
    """The kind of formula that begins here; empty for none."""
    sign = token[0]
    if sign == "$":
        before, after = text[token.start() - 1 : token.start()], text[token.end() : token.end() + 1]
        return sign if (not before.strip() or before in _BEFORE) and after.strip() else ""
    return sign if sign in _CLOSERS else token["begin"] or ""


def _ends(text: str, kind: str, begun: int, token: re.Match[str]) -> bool:
    """Whether the formula that began there ends here."""
    inner, after = text[begun + len(kind) : token.start()], text[token.end() : token.end() + 1]
    if kind == "$":
        return inner.strip() == inner and not after.isalnum() and bool(_LATEX.search(inner))
    if kind in ("\\(", "\\["):
        return not _is_prose(inner) and not (kind == "\\[" and after and after in "([")
    return True


def _is_prose(text: str) -> bool:
    """Whether words or a number stand between escaped brackets, such as `\\[optional\\]` and `\\[1\\]`."""
    return bool(_PLAIN.fullmatch(text) and _WORD.search(text))


def _hide(formula: str) -> str:
    """The marks of a quote at the start of a line stay."""
    pieces = _LINE_START.split(formula)
    return "".join(piece if at % 2 else piece.translate(_HIDE) for at, piece in enumerate(pieces))
