"""Field fault 88: formulas keep their backslashes."""

import html
import re

import pytest

from adapters.shared.markdown import to_html
from adapters.shared.markdown.formulas import hidden, shown

FORMULAS = (
    r"\(a\)",
    r"\[x^2 \\ y\]",
    "\\[\na_1 * b_2\n- c\n= d\n\\]",
    r"$$a*b*c \\ \{x\}$$",
    r"$\alpha_{i} * \beta_{j}$",
    r"$f\_name$",
    r"\begin{align} a &= b \\ c &< d \end{align}",
    r"\(\sqrt[3]{x}\_\*\#\)",
    r"\[P(A|B) = \frac{P(B|A)}{P(B)}\]",
    r"\(a < b > c & d ~ e\)",
    r"\[[1](2)\]",
    r"\(-1 + 2! \)",
)


def text_of(rendered: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", rendered))


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    "around", ["{}", "So **{}** holds.", "- first\n- {}", "> {}", "`code` {} `code`", "\\*no\\* {} \\_no\\_"]
)
def test_a_formula_is_shown_as_written(formula: str, around: str) -> None:
    """Field fault 88."""
    lines = formula if around not in ("> {}", "- first\n- {}") else formula.replace("\n", " ")
    assert lines in text_of(to_html(around.format(lines)))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_in_code_is_shown_as_written(formula: str) -> None:
    """Field fault 88."""
    assert text_of(to_html(f"```latex\n{formula}\n```")).strip() == formula
    line = formula.replace("\n", " ")
    assert text_of(to_html(f"a `{line}` b")).strip() == f"a {line} b"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"\[optional\] \(see below\) \[1\]", "[optional] (see below) [1]"),
        (r"\[a\](https://contoso.example)", "[a](https://contoso.example)"),
        (r"\*not bold\* \_nor this\_ 1\. no list", "*not bold* _nor this_ 1. no list"),
        ("$5 for **one** and $6 for _two_", "$5 for one and $6 for two"),
        ("`\\(` and **bold** and `\\)`", "\\( and bold and \\)"),
        ("costs \\( smile", "costs ( smile"),
    ],
)
def test_what_is_no_formula_is_markdown(text: str, words: str) -> None:
    assert text_of(to_html(text)).strip() == words


def test_an_address_with_dollars_stays() -> None:
    assert 'href="https://x.example/?$filter=a_b&amp;$top=1"' in to_html(
        "[a](https://x.example/?$filter=a_b&$top=1)"
    )


@pytest.mark.parametrize("sign", ["\\(", "\\[", "$$", "$x_", "\\begin{a}", "\\)", "\\[^\\](", "\\(aaa\\)"])
def test_many_open_formulas_take_linear_time(sign: str) -> None:
    """A quadratic search would exceed the time limit of a test."""
    text = sign * (400_000 // len(sign))
    assert shown(hidden(text)) == text
