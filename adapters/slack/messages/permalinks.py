"""Links to messages and threads of Slack."""

import re
from typing import NamedTuple

MAX_LINKS = 3
"""Links of one message that are followed; each takes up to three calls of Slack's Web API."""

_CHANNEL = r"(?P<{}>[CDG][A-Z0-9]{{1,30}})"
_HOST = r"https?://(?:[\w-]+\.){0,3}slack(?:-gov)?\.com"
_ARCHIVES = re.compile(
    rf"{_HOST}/archives/{_CHANNEL.format('channel')}/p(?P<ts>\d{{10}}\d{{6}})(?P<query>\?[^\s<>|)\]\"']*)?",
    re.IGNORECASE,
)
_CLIENT = re.compile(
    rf"{_HOST}/client/[A-Z0-9]+/{_CHANNEL.format('channel')}"
    rf"/(?:thread/{_CHANNEL.format('again')}-)(?P<thread>\d{{10}}\.\d{{6}})",
    re.IGNORECASE,
)
_THREAD = re.compile(r"[?&](?:amp;)?thread_ts=(\d{10}\.\d{6})(?!\d)")


class Permalink(NamedTuple):
    """A message of a channel. `thread` is the timestamp of its thread's first message, if the link states it."""

    channel: str
    ts: str
    thread: str


def links_in(text: str) -> tuple[str, ...]:
    """The links to messages in a text, each once, in order."""
    found = sorted(
        (match.start(), match[0]) for form in (_ARCHIVES, _CLIENT) for match in form.finditer(text)
    )
    return tuple(dict.fromkeys(link.rstrip(".,;:!?") for _, link in found))


def parse_link(link: str) -> Permalink | None:
    """The message that a link leads to; None if it leads elsewhere."""
    if found := _ARCHIVES.match(link):
        digits = found["ts"]
        thread = _THREAD.search(found["query"] or "")
        return Permalink(
            found["channel"].upper(), f"{digits[:10]}.{digits[10:]}", thread[1] if thread else ""
        )
    if found := _CLIENT.match(link):
        return Permalink(found["channel"].upper(), found["thread"], found["thread"])
    return None
