"""One run of chaos: the servers, the machines, the people, the havoc, and the counting."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from bot.domain.events import now
from bot.domain.turns import Usage
from bot.storage.redis.client import Redis
from bot.storage.usage import records
from bot.storage.usage.charges import SWEEP_S
from tests.chaos.havoc import Havoc, Plan
from tests.chaos.machines import Machine, RedisServer
from tests.chaos.nursery import a_nursery
from tests.chaos.report import BookedCalls, Options, Report, whispers_allowed
from tests.chaos.senders import Azure, Slack, Teams
from tests.chaos.tally import count, recoveries, resumptions
from tests.chaos.town import Town
from tests.conftest import immortal_keys
from tests.simulators.proxy import Proxy
from tests.support.patience import PATIENCE_S
from tests.support.processes import free_port, listening

KEY = "simulated-key"
_START_S = PATIENCE_S
"""All processes start at once, which takes seconds of both cores; other runs may want them too."""
_SETTLED_S = SWEEP_S + 2
_QUIET_S = PATIENCE_S
"""When nothing was done for so long, what is missing counts as lost."""


async def storm(options: Options, folder: Path) -> Report:
    """Run to the end, which comes by itself."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())  # what an earlier run left is not for us
        server = await stack.enter_async_context(RedisServer(Path(scratch), fsync=options.fsync))
        network = await stack.enter_async_context(Proxy([server.port]))
        slack = await stack.enter_async_context(Slack())
        teams = await stack.enter_async_context(Teams())
        azure = await stack.enter_async_context(Azure())
        redis = Redis(server.url)
        stack.push_async_callback(redis.close)
        nursery = await stack.enter_async_context(a_nursery())
        ports = [free_port() for _ in range(options.web)]
        env = _environment(options, network.port, slack, azure, folder)
        chance = random.Random(f"{options.seed} machines")

        def machine(name: str, command: str, **more: str) -> Machine:
            return Machine(nursery, command, {**env, **more}, folder / f"{name}.log", chance)

        webs = [machine(f"web{n}", "web", PORT=str(port)) for n, port in enumerate(ports)]
        workers = [machine(f"worker{n}", "worker") for n in range(options.workers)]
        for item in (*webs, *workers):
            await stack.enter_async_context(item.running())
        for port in ports:
            await listening(port, _START_S)
        entrance = await stack.enter_async_context(Proxy(ports))
        slack.bot_url = f"http://127.0.0.1:{entrance.port}/slack/events"
        teams.bot = f"http://127.0.0.1:{entrance.port}/api/messages"

        town = Town(slack, teams, azure, redis, options.seed, options.shares, options.refusals)
        havoc = Havoc(town, server, network, workers, webs, options.lease_s, options.seed)
        plan = Plan(
            kills=options.kills,
            stops=options.stops,
            restarts=options.restarts,
            outages=options.outages,
            platforms=options.platforms,
        )
        async with town.watched():
            wreaking = asyncio.create_task(havoc.wreak(plan, options.events))
            await town.do_everything(options.events, options.talks, options.faults)
            await wreaking
            await _quiet(town)
        tally = await count(town, redis)
        await immortal_keys(redis)
        return Report(
            options=options,
            tally=tally,
            done=dict(havoc.done),
            hit=frozenset(town.cut_off | teams.unheard),
            stood_still=town.stood_still,
            interrupted=frozenset(havoc.struck | town.interrupted | town.typed_again),
            whispers_allowed=whispers_allowed(town, havoc.struck),
            calls=await _booked(redis, azure),
            faults=dict(town.weather.faults),
            exits=sum(item.exits for item in (*webs, *workers)),
            recovered_s=recoveries(town.talks, havoc.blows),
            resumed_s=resumptions(town.talks, havoc.back_at),
            duration_s=time.monotonic() - began,
        )


async def _booked(redis: Redis, azure: Azure) -> BookedCalls:
    """The calls that were made and those that were booked, without those that a model refused, which cost nothing.

    Waits until all are settled.
    """
    await asyncio.sleep(_SETTLED_S)
    today, attempts = now().date(), Counter[tuple[str, str]]()
    found, exact = list[Usage](), Counter[tuple[str, object]]()
    async for charge in records.charges(redis, today - timedelta(days=1), today):
        made = [one for one in charge.usage if one.outcome != "failed" or one.estimated]
        found += made
        attempts[charge.event, charge.attempt] += 1
        exact.update((charge.event, one.at) for one in made if not one.estimated)
    return BookedCalls(
        made=azure.calls,
        made_tokens=azure.tokens,
        booked=len(found),
        booked_tokens=sum(one.input_tokens + one.output_tokens for one in found),
        estimated=sum(one.estimated for one in found),
        twice=sum(times - 1 for counts in (attempts, exact) for times in counts.values()),
    )


def _environment(
    options: Options, redis_port: int, slack: Slack, azure: Azure, folder: Path
) -> dict[str, str]:
    return {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "PARLEY_DATA_DIR": str(folder),
        "PARLEY_LEASE_S": str(options.lease_s),
        "PARLEY_ATTEMPTS": "50",
        "PARLEY_CONCURRENCY": "16",
        "PARLEY_LIMITS": "person: 900M tokens/day; channel: 900M tokens/day; tenant: 9000M tokens/day",
        "PARLEY_LOG_LEVEL": "warning",
        "PARLEY_TEAMS_AUTH": "off",
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_API_URL": slack.api_url,
        "AZURE_OPENAI_ENDPOINT": f"{azure.endpoint}/openai/v1/",
        "AZURE_OPENAI_API_KEY": KEY,
        "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
        "AZURE_OPENAI_IMAGE_DEPLOYMENT": "gpt-image-1",
    }


async def _quiet(town: Town) -> None:
    """Wait until everything is done, or nothing has moved for long."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < _QUIET_S:
        left = sum(talk.open for talk in town.talks)
        if left <= 0:
            return
        if left != seen:
            seen, since = left, time.monotonic()
        await asyncio.sleep(0.1)
