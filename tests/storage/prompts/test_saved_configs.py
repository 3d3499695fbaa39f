"""Set-ups that are saved for everybody."""

import pytest

from bot.domain.errors import NotAllowed
from bot.storage.prompts.saved_configs import MOST, MOST_BYTES, Saves
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


async def test_what_is_saved_is_found_by_its_id_with_who_saved_it_and_when(redis: Redis) -> None:
    saves = Saves(redis)
    first = await saves.save("  Friendly   support ", "[1]", author="Ada", replace=False)
    second = await saves.save("Terse", "[2]", author="Bob", replace=False)
    assert await saves.get(first.id) == first
    assert (first.name, first.author, first.setups) == ("Friendly support", "Ada", "[1]")
    assert await saves.all() == [second, first]
    assert await saves.get("unknown") is None


async def test_a_name_that_is_taken_is_replaced_only_by_who_says_so(redis: Redis) -> None:
    saves = Saves(redis)
    first = await saves.save("Terse", "[1]", author="Ada", replace=False)
    with pytest.raises(NotAllowed, match="saved by Ada"):
        await saves.save("Terse", "[2]", author="Bob", replace=False)
    second = await saves.save("Terse", "[2]", author="Bob", replace=True)
    assert second.id == first.id, "links to it go on"
    assert await saves.all() == [second]


async def test_a_set_up_is_renamed_and_deleted(redis: Redis) -> None:
    saves = Saves(redis)
    one = await saves.save("Terse", "[1]", author="Ada", replace=False)
    await saves.save("Wordy", "[2]", author="Ada", replace=False)
    with pytest.raises(NotAllowed, match="already"):
        await saves.rename(one.id, "Wordy")
    renamed = await saves.rename(one.id, "Laconic")
    assert (renamed.id, renamed.name, renamed.at) == (one.id, "Laconic", one.at)
    assert await saves.delete(one.id) == renamed
    assert await saves.delete(one.id) is None
    with pytest.raises(NotAllowed, match="deleted meanwhile"):
        await saves.rename(one.id, "Terse")


@pytest.mark.parametrize("name", ["", "  ", "x" * 81])
async def test_a_name_has_a_length(redis: Redis, name: str) -> None:
    with pytest.raises(NotAllowed, match="80 characters"):
        await Saves(redis).save(name, "[]", author="Ada", replace=False)


async def test_their_number_and_size_are_capped(redis: Redis) -> None:
    saves = Saves(redis)
    with pytest.raises(NotAllowed, match="too large"):
        await saves.save("Huge", "x" * (MOST_BYTES + 1), author="Ada", replace=False)
    one = await saves.save("One", "[]", author="Ada", replace=False)
    raw = await redis.call("HGET", keys.SAVES, one.id)
    for number in range(MOST - 1):
        await redis.call("HSET", keys.SAVES, f"id{number}", raw.replace(one.id.encode(), b"id%d" % number))
    with pytest.raises(NotAllowed, match="saved already"):
        await saves.save("One too many", "[]", author="Ada", replace=False)


async def test_one_that_can_not_be_read_hides_no_other(redis: Redis) -> None:
    saves = Saves(redis)
    one = await saves.save("One", "[]", author="Ada", replace=False)
    await redis.call("HSET", keys.SAVES, "new", b'{"of": "a newer Parley"}')
    assert await saves.all() == [one]
    assert await saves.get("new") is None
