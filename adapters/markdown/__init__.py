"""Markdown as every platform needs it: split at its borders, tidied while it grows, and shown as HTML."""

from adapters.markdown.aside import aside
from adapters.markdown.growing import Growing, settled, tidy
from adapters.markdown.html import to_html
from adapters.markdown.marks import code_spans
from adapters.markdown.scanner import Scanner, blocks
from adapters.markdown.splitting import Measure, Splitter, split, utf16
from adapters.markdown.tree import Node, parse, plain

__all__ = [
    "Growing",
    "Measure",
    "Node",
    "Scanner",
    "Splitter",
    "aside",
    "blocks",
    "code_spans",
    "parse",
    "plain",
    "settled",
    "split",
    "tidy",
    "to_html",
    "utf16",
]
