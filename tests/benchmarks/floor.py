"""The least that these packages can do: bolt, slack_sdk's stream, the openai SDK, two Redis commands.

A yardstick, not a bot: it forgets what it was asked when it dies. It reads the environment of `parley serve`.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import redis.asyncio as aioredis
from aiohttp import web
from openai import AsyncOpenAI
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.storage.embedded.lifecycle import embedded


async def serve(url: str) -> None:
    """Answer every direct message until the process is ended."""
    pool: Any = aioredis.BlockingConnectionPool.from_url(url, max_connections=64)  # pyright: ignore[reportUnknownMemberType]
    history: Any = aioredis.Redis(connection_pool=pool)
    model = AsyncOpenAI(
        base_url=os.environ["AZURE_OPENAI_ENDPOINT"], api_key=os.environ["AZURE_OPENAI_API_KEY"]
    )
    slack: Any = AsyncWebClient(os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"])
    app: Any = AsyncApp(client=slack, signing_secret=os.environ["SLACK_SIGNING_SECRET"])

    @app.event("message")
    async def on_message(event: dict[str, Any]) -> None:  # pyright: ignore[reportUnusedFunction]
        if event.get("bot_id"):
            return
        thread = event.get("thread_ts") or event["ts"]
        name = f"floor:{event['channel']}:{thread}"
        past: list[bytes] = await history.lrange(name, -20, -1)
        messages: Any = [{"role": "system", "content": "You help."}]
        messages += [{"role": "user", "content": one.decode()} for one in past]
        messages.append({"role": "user", "content": event["text"]})
        answer = await model.chat.completions.create(
            model=os.environ["AZURE_OPENAI_CHAT_DEPLOYMENT"],
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
        )
        stream = await slack.chat_stream(
            channel=event["channel"],
            thread_ts=thread,
            recipient_user_id=event["user"],
            recipient_team_id=event["team"],
        )
        text = ""
        async for chunk in answer:
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                text += piece
                await stream.append(markdown_text=piece)
        await stream.stop(metadata={"event_type": "floor", "event_payload": {"event": event["ts"]}})
        await history.rpush(name, event["text"], text)

    async def receive(request: web.Request) -> web.StreamResponse:
        return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

    server = web.Application()
    server.router.add_post("/slack/events", receive)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"])).start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await runner.cleanup()


async def main() -> None:
    """A Redis of its own, and the server."""
    async with embedded(Path(os.environ["PARLEY_DATA_DIR"])) as url:
        await serve(url)


if __name__ == "__main__":
    asyncio.run(main())
