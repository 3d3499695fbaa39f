"""Which parts of a reply have been sent where they can't be found again: as ephemeral or direct messages."""

from collections.abc import Iterator, Mapping, Sequence


class SentParts:
    """Counts the parts of one reply, by route, so that a repeated delivery continues where it failed.

    `recorded` belongs under `sent` in the data of the post: ROUTE=DIGEST:SENT/ALL, separated by spaces.
    """

    def __init__(self, data: Mapping[str, str]) -> None:
        recorded = (entry.partition("=") for entry in data.get("sent", "").split())
        self._sent = {route: what for route, _, what in recorded}

    @property
    def recorded(self) -> str:
        return " ".join(f"{route}={what}" for route, what in self._sent.items())

    def rest(self, route: str, digest: str, parts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """The parts to send, with their numbers from 0. Each counts as sent when the next one is asked for.

        A text that is split in another way, or has another digest, begins at its first part.
        """
        for number in range(self._count(route, digest, len(parts)), len(parts)):
            yield number, parts[number]
            self._sent[route] = f"{digest}:{number + 1}/{len(parts)}"

    def _count(self, route: str, digest: str, total: int) -> int:
        known, _, counted = self._sent.get(route, "").partition(":")
        sent, _, all_parts = counted.partition("/")
        return int(sent) if known == digest and all_parts == str(total) and sent.isdecimal() else 0
