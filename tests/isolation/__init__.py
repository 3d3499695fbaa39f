"""Random operations over tenants with equal ids, against an oracle of who may see and do what."""

from bot.storage.redis.client import Redis
from tests.isolation import commands, questions
from tests.isolation.run import Report, Rounds, Run


async def play(redis: Redis, operations: int, seed: int) -> Report:
    """Run this many operations over an empty Redis."""
    run = Run(redis, seed)
    try:
        return await Rounds(run, (*questions.KINDS, *commands.KINDS), seed).play(operations)
    finally:
        await run.harness.files.pool.close()
