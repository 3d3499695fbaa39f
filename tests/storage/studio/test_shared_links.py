"""A conversation is shared by a link with a secret, until its owner stops."""

from bot.storage.conversations.turns import Turns
from bot.storage.redis.client import Redis
from bot.storage.studio.shared_links import SharedLinks

TALK = "studio:" + "c" * 32


async def test_a_closed_link_never_opens_again(redis: Redis) -> None:
    links = SharedLinks(redis, life_s=60)
    assert await links.find(TALK) == ""
    assert not await links.opens(TALK, "")
    first = await links.open(TALK)
    assert await links.open(TALK) == await links.find(TALK) == first
    assert await links.opens(TALK, first)
    assert not await links.opens(TALK, first + "x")
    assert not await links.opens(TALK, "\udcff")
    await links.close(TALK)
    assert not await links.opens(TALK, first)
    assert await links.open(TALK) != first


async def test_a_deleted_conversation_loses_its_link(redis: Redis) -> None:
    links = SharedLinks(redis, life_s=60)
    first = await links.open(TALK)
    await Turns(redis).release([TALK])
    assert not await links.opens(TALK, first)
