"""Markdown as a tree: its blocks, and the words of a run of text."""

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

# Runs of text are left alone: they cost two thirds of the time, and borders lie between blocks.
_blocks = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_blocks.disable(["inline", "text_join"])

# Without the two joining rules an emphasis sign that found no partner stays a token of its own.
loose = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
loose.disable(["fragments_join", "text_join"])

_WORDS = ("text", "text_special", "code_inline")
"""What holds words; a special text is an entity, or a sign behind a backslash."""


def parse(text: str) -> SyntaxTreeNode:
    """The blocks of CommonMark with tables; `map` is a block's range of lines.

    What a block says is one `inline` node, whose `content` is Markdown.
    """
    return SyntaxTreeNode(_blocks.parse(text))


def plain(markdown: str) -> str:
    """The words of one run of text, without its signs."""
    tree = SyntaxTreeNode(loose.parseInline(markdown))
    return "".join(node.content for node in tree.walk() if node.type in _WORDS)
