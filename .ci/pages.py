"""Gathers the documents for the documentation site in build/docs, each at its place in the repository: pages.py

A link to what is no page (source code, a folder) becomes its path, as text. `zensical build` checks the others.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "docs"
PAGES = (
    "*.md",
    "docs/*.md",
    "docs/*.png",
    "docs/*.css",
    "docs/decisions/*.md",
    "prompts/*.md",
    "examples/*.md",
)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]+)?\)")


def gather():
    """The files of the site."""
    return [*(path for pattern in PAGES for path in ROOT.glob(pattern)), ROOT / "tests/emulators/README.md"]


def page(path, pages):
    """The text of a page, with links to other pages alone."""

    def resolve(link):
        target = (path.parent / link[2]).resolve()
        if target in pages or not target.exists():
            return link[0]
        name = str(target.relative_to(ROOT))
        return f"`{name}`" if link[1].strip("`") in (name, target.name) else f"{link[1]} (`{name}`)"

    return LINK.sub(resolve, path.read_text(encoding="utf-8"))


def main():
    shutil.rmtree(BUILD, ignore_errors=True)
    pages = set(gather())
    for path in pages:
        copy = BUILD / "pages" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            copy.write_text(page(path, pages), encoding="utf-8")
        else:
            shutil.copyfile(path, copy)
    shutil.copyfile(ROOT / "docs" / "zensical.toml", BUILD / "zensical.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
