"""Markdown as every platform needs it: split at its borders, tidied while it grows, and shown as HTML."""

from adapters.markdown.growing import settled, tidy
from adapters.markdown.html import to_html
from adapters.markdown.splitting import Measure, split
from adapters.markdown.tree import parse, plain

__all__ = ["Measure", "parse", "plain", "settled", "split", "tidy", "to_html"]
