"""The terminal, as the contract suite sees it: a pipe to type into, and what was printed."""

import asyncio
import io
import os
import re
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.terminal import TerminalAdapter
from bot.domain.adapter import Adapter
from tests.contracts.platform import FakeSelfService


class OnTerminal:
    """What is printed stays printed: nothing is completed in place."""

    has_routes = False
    completes = False

    def __init__(self) -> None:
        self.self_service = FakeSelfService()
        self.screen = io.StringIO()
        self.folder = tempfile.TemporaryDirectory()
        reading, self.keyboard = os.pipe()
        self.reader = os.fdopen(reading)
        self.adapter: Adapter = self._adapter()

    def _adapter(self) -> TerminalAdapter:
        return TerminalAdapter("desk", Path(self.folder.name), self.reader, self.screen)

    async def __aenter__(self) -> Self:
        await self.adapter.__aenter__()
        self.listening = asyncio.create_task(self.adapter.listen(self.self_service.accept))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.adapter.__aexit__(None, None, None)
        os.close(self.keyboard)
        await self.listening
        self.reader.close()
        self.folder.cleanup()

    async def say(self, text: str, number: int = 1) -> int:
        before = len(self.self_service.events)
        os.write(self.keyboard, f"{text}\n".encode())
        async with self.self_service.news:
            await self.self_service.news.wait_for(lambda: len(self.self_service.events) > before)
        return 200

    async def deliver(self, body: bytes, *, signed: bool = True) -> int:
        raise NotImplementedError("A terminal has no door.")

    async def shown(self) -> list[str]:
        return [self.screen.getvalue()]

    async def pictures(self) -> list[str]:
        found = re.findall(r"\[(.+): (/.+)\]", self.screen.getvalue())
        return [alt for alt, path in found if await asyncio.to_thread(Path(path).stat)]

    async def harm(self) -> list[str]:
        return re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", self.screen.getvalue())

    def outage(self, on: bool) -> None:
        """A terminal that has gone: writing to it fails."""
        if on:
            self.screen.write = _gone  # type: ignore[method-assign]
        else:
            del self.screen.write

    async def another(self) -> Adapter:
        return await self._adapter().__aenter__()


def _gone(text: str, /) -> int:
    raise BrokenPipeError
