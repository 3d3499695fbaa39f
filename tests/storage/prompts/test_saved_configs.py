"""Set-ups that are saved for everybody."""

import pytest

from bot.domain.errors import NotAllowed
from bot.storage.prompts.saved_configs import MAX_BYTES, MAX_CONFIGS, SavedConfigs
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


async def test_a_saved_configuration_is_found_by_its_id(redis: Redis) -> None:
    saved_configs = SavedConfigs(redis)
    first = await saved_configs.save("  Friendly   support ", "[1]", author="Ada", replace=False)
    second = await saved_configs.save("Terse", "[2]", author="Bob", replace=False)
    assert await saved_configs.get(first.id) == first
    assert (first.name, first.author, first.setups) == ("Friendly support", "Ada", "[1]")
    assert await saved_configs.all() == [second, first]
    assert await saved_configs.get("unknown") is None


async def test_a_taken_name_is_replaced_only_on_request(redis: Redis) -> None:
    saved_configs = SavedConfigs(redis)
    first = await saved_configs.save("Terse", "[1]", author="Ada", replace=False)
    with pytest.raises(NotAllowed, match="saved by Ada"):
        await saved_configs.save("Terse", "[2]", author="Bob", replace=False)
    second = await saved_configs.save("Terse", "[2]", author="Bob", replace=True)
    assert second.id == first.id, "links to it go on"
    assert await saved_configs.all() == [second]


async def test_a_configuration_is_renamed_and_deleted(redis: Redis) -> None:
    saved_configs = SavedConfigs(redis)
    saved = await saved_configs.save("Terse", "[1]", author="Ada", replace=False)
    await saved_configs.save("Wordy", "[2]", author="Ada", replace=False)
    with pytest.raises(NotAllowed, match="already"):
        await saved_configs.rename(saved.id, "Wordy")
    renamed = await saved_configs.rename(saved.id, "Laconic")
    assert (renamed.id, renamed.name, renamed.at) == (saved.id, "Laconic", saved.at)
    assert await saved_configs.delete(saved.id) == renamed
    assert await saved_configs.delete(saved.id) is None
    with pytest.raises(NotAllowed, match="has been deleted"):
        await saved_configs.rename(saved.id, "Terse")


@pytest.mark.parametrize("name", ["", "  ", "x" * 81])
async def test_a_name_has_a_length(redis: Redis, name: str) -> None:
    with pytest.raises(NotAllowed, match="80 characters"):
        await SavedConfigs(redis).save(name, "[]", author="Ada", replace=False)


async def test_their_number_and_size_are_capped(redis: Redis) -> None:
    saved_configs = SavedConfigs(redis)
    with pytest.raises(NotAllowed, match="larger than the limit"):
        await saved_configs.save("Huge", "x" * (MAX_BYTES + 1), author="Ada", replace=False)
    saved = await saved_configs.save("One", "[]", author="Ada", replace=False)
    raw = await redis.call("HGET", keys.SAVED_CONFIGS, saved.id)
    for number in range(MAX_CONFIGS - 1):
        await redis.call(
            "HSET", keys.SAVED_CONFIGS, f"id{number}", raw.replace(saved.id.encode(), b"id%d" % number)
        )
    with pytest.raises(NotAllowed, match="limit of"):
        await saved_configs.save("One too many", "[]", author="Ada", replace=False)


async def test_an_unreadable_configuration_hides_no_other(redis: Redis) -> None:
    saved_configs = SavedConfigs(redis)
    saved = await saved_configs.save("One", "[]", author="Ada", replace=False)
    await redis.call("HSET", keys.SAVED_CONFIGS, "new", b'{"of": "a newer Parley"}')
    assert await saved_configs.all() == [saved]
    assert await saved_configs.get("new") is None
