"""Markdown for all platforms: splitting, partial text, HTML."""

from adapters.shared.markdown.aside import aside
from adapters.shared.markdown.growing import Growing, settled, tidy
from adapters.shared.markdown.html import to_html
from adapters.shared.markdown.images import ImageRemover, without_images
from adapters.shared.markdown.marks import code_spans
from adapters.shared.markdown.scanner import Scanner, blocks
from adapters.shared.markdown.splitting import Measure, Splitter, split, utf16
from adapters.shared.markdown.tree import Node, parse, plain

__all__ = [
    "Growing",
    "ImageRemover",
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
    "without_images",
]
