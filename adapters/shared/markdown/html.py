"""Markdown as safe HTML."""

import re

import nh3
import pyromark

from adapters.shared.markdown import formulas
from adapters.shared.markdown.bounds import BREAK, LESS_THAN, TILDE, bounded

_OPTIONS = (
    pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_STRIKETHROUGH | pyromark.Options.ENABLE_TASKLISTS
)
# The start of HTML, but not of links: `<https://…>`, `<a@b.c>`, `[words](<address>)`, `[name]: <address>`.
_TAG = re.compile(
    r"<(?<!\]\(<)(?<!\]: <)(?=[a-z/!?])(?![a-z][a-z0-9+.-]{1,31}:[^\s<>]*>|[^\s<>@]{1,200}@[^\s<>@]{1,200}>)",
    re.I,
)
_ONE_TILDE = re.compile(r"~(?<!~~)(?!~)")
# An image becomes a link, because loading it could leak data to its server.
_IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)"(?: title="[^"]*")? />')

_TAGS = {
    "p",
    "br",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "pre",
    "code",
    "em",
    "strong",
    "s",
    "a",
    "ul",
    "ol",
    "li",
    "input",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "code": {"class"},
    "ol": {"start"},
    "input": {"type", "disabled", "checked"},
    "th": {"style"},
    "td": {"style"},
}
_REL = "noopener noreferrer nofollow"
SANITIZER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    url_schemes={"http", "https", "mailto"},
    link_rel=_REL,
    filter_style_properties={"text-align"},
)

# HTML in which there is nothing to sanitize: text, and tags spelled exactly as the parser writes them.
_TAGS_ALONE = "p|h[1-6]|blockquote|pre|code|em|strong|s|ul|ol|li|table|thead|tbody|tr|th|td"
_NOTHING_TO_SANITIZE = re.compile(
    rf"""[^<\0\r]*+(?:<(?:/?(?:{_TAGS_ALONE})|/a|[bh]r|code[ ]class="language-[\w.+\#-]*"|ol[ ]start="\d+"
    |t[hd][ ]style="text-align:(?:left|center|right)"|input[ ]type="checkbox"[ ]disabled=""(?:[ ]checked="")?
    |a[ ]href="(?:https?://|mailto:)[^"<>]*"(?:[ ]title="[^"<>]*")?)>[^<\0\r]*+)*+""",
    re.X,
)
_LINK = re.compile('<a href="[^"]*"(?: title="[^"]*")?')
_SHORT = 50_000
"""Characters of HTML that are compared with the expression above. The sanitizer takes longer, but without the GIL."""


def to_html(text: str) -> str:
    """Safe HTML: no raw HTML, no scripts, no remote images, links without referrer. Formulas stay as they were written.

    Nesting and tables are limited, see `bounds`. Half a megabyte takes about 0.15 s, mostly without the GIL.
    """
    text = _ONE_TILDE.sub(TILDE, _TAG.sub(LESS_THAN, formulas.hidden(bounded(text))))
    html = _IMAGE.sub(lambda found: f'<a href="{found[1]}">{found[2] or found[1]}</a>', _rendered(text))
    return formulas.shown(sanitized(html))


def sanitized(html: str) -> str:
    """The parser's HTML with what `SANITIZER` permits, and nothing else. Short HTML that has only that skips it."""
    if len(html) > _SHORT or not _NOTHING_TO_SANITIZE.fullmatch(html):
        return SANITIZER.clean(html)
    return _LINK.sub(rf'\g<0> rel="{_REL}"', html)


def _rendered(text: str) -> str:
    html = pyromark.html(text, options=_OPTIONS)
    html = html.replace("<del>", "<s>").replace("</del>", "</s>")
    html = html.replace('<input disabled="" type="checkbox"/>\n', '<input type="checkbox" disabled="">')
    html = html.replace(
        '<input disabled="" type="checkbox" checked=""/>\n', '<input type="checkbox" disabled="" checked="">'
    )
    html = html.replace("<br />", "<br>").replace("<hr />", "<hr>")
    html = html.replace('<th style="text-align: ', '<th style="text-align:')
    html = html.replace('<td style="text-align: ', '<td style="text-align:')
    return html.replace(LESS_THAN, "&lt;").replace(TILDE, "~").replace(BREAK, "")
