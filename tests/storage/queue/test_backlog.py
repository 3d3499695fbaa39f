"""What is counted as waiting for a worker."""

from bot.storage.queue import backlog
from bot.storage.queue.inbox import Claim, Inbox
from bot.storage.redis.client import Redis
from tests.support.acts import received


async def test_the_backlog_is_due_and_unclaimed(redis: Redis) -> None:
    inbox = Inbox(redis, lease_s=300, limit=3, retention_s=3600)
    assert (await backlog.count(redis)).conversations == 0
    for number in range(5):
        await inbox.accept(received("first", event=f"a{number}", conversation=f"test:{number}"))
        await inbox.accept(received("second", event=f"b{number}", conversation=f"test:{number}"))
    found = await backlog.count(redis)
    assert found.conversations == 5, "conversations are counted, not messages: one worker takes each"
    assert found.oldest_s >= 0

    shards = {index for index, due in enumerate(await inbox.due()) if due.in_ms != -1}
    claim = await inbox.claim(min(shards))
    assert isinstance(claim, Claim)
    assert (await backlog.count(redis)).conversations == 4
    await inbox.release(claim, 300)
    assert (await backlog.count(redis)).conversations == 4, "what backs off is not due"
