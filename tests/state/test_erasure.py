"""Forgetting a person: nothing that they wrote stays in Redis, whoever quoted it, whatever was pending."""

from bot.state.erasure import Erasure
from bot.state.inbox import Inbox
from bot.state.redis import Redis
from tests.acts import BOB, said


async def test_a_preview_counts_what_waits_of_one_person_only(redis: Redis) -> None:
    inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
    await inbox.accept(said(event="a"))
    await inbox.accept(said(event="b", user=BOB))
    preview = await Erasure(redis).preview(BOB, "test:room")
    assert (preview.conversations, preview.answers, preview.waiting) == (0, 0, 1)
