"""The studio, as the contract suite sees it: an HTTP client that reads the feed as the page does."""

import base64
import html
import io
import json
import re
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, CookieJar, web
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard
from bot.domain.adapter import Adapter
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions
from tests.contracts.platform import FakeSelfService

CONVERSATION = "c" * 32
TOKEN = SecretStr("a token of some length")


class OnStudio:
    """With a token, so that there is something to be unsigned without."""

    has_routes = True
    completes = True

    def __init__(self) -> None:
        self.self_service = FakeSelfService()
        self.event_stream = MemoryFeed()
        self.history = MemoryHistory()
        self.adapter: Adapter = StudioAdapter(
            self.event_stream, self.history, Guard({"operator": TOKEN}, sessions=MemorySessions())
        )

    async def __aenter__(self) -> Self:
        await self.adapter.__aenter__()
        app = web.Application()
        app.add_routes(self.adapter.routes(self.self_service.accept))
        self.runner = web.AppRunner(app, shutdown_timeout=1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.http = ClientSession(cookie_jar=CookieJar(unsafe=True))
        await self.http.post(f"{self.url}/studio/sign-in", data={"token": TOKEN.get_secret_value()})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()
        await self.adapter.__aexit__(None, None, None)
        await self.runner.cleanup()

    async def say(self, text: str, number: int = 1) -> int:
        return await self.deliver(json.dumps({"id": f"{number:032x}", "text": text}).encode())

    async def deliver(self, body: bytes, *, signed: bool = True) -> int:
        headers = {"Content-Type": "application/json", "X-Parley": "studio"}
        if not signed:
            self.http.cookie_jar.clear()
        address = f"{self.url}/studio/conversations/{CONVERSATION}/messages"
        async with self.http.post(address, data=io.BytesIO(body), headers=headers) as response:
            return response.status

    def _answers(self) -> list[dict[str, Any]]:
        """What the page holds after all frames: one answer for each message, in the order of the messages."""
        answers: dict[str, dict[str, Any]] = {}
        for frame in map(json.loads, self.event_stream.frames[f"studio:{CONVERSATION}"]):
            if frame["kind"] == "text":
                before = answers.get(frame["event"], {}).get("html", "")
                units = before.encode("utf-16-le")[: frame["keep"] * 2]
                frame["html"] = units.decode("utf-16-le") + frame["html"]
            if frame["kind"] != "said":
                answers[frame["event"]] = frame
        return [*answers.values()]

    async def shown(self) -> list[str]:
        pages = [answer.get("html", "") for answer in self._answers()]
        return [html.unescape(re.sub(r"<[^>]*>", "", page)) for page in pages]

    async def pictures(self) -> list[str]:
        pictures = [picture for answer in self._answers() for picture in answer.get("images", [])]
        for picture in pictures:
            kind, _, data = picture["src"].partition(",")
            assert kind == "data:image/png;base64"
            assert base64.b64decode(data)
        return [picture["alt"] for picture in pictures]

    async def harm(self) -> list[str]:
        pages = [answer.get("html", "") for answer in self._answers()]
        return [tag for page in pages for tag in re.findall(r"<(?:script|img|iframe|at|[^a-z/])[^>]*>", page)]

    def outage(self, on: bool) -> None:
        self.event_stream.away = on

    async def another(self) -> Adapter:
        return await StudioAdapter(
            self.event_stream, self.history, Guard({"operator": TOKEN}, sessions=MemorySessions())
        ).__aenter__()
