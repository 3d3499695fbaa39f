"""What people choose for a channel, for themselves, for one conversation."""

from msgspec.structs import replace

from bot.domain.publications import Assignment, Place
from bot.storage.prompts.preferences import Preference, PreferenceStore
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, received


def _chosen(preference: Preference) -> Preference:
    """What was chosen, no matter when."""
    assert preference.chosen_at
    return replace(preference, chosen_at=0.0)


async def test_a_channels_choice_goes_before_a_persons(redis: Redis) -> None:
    store = PreferenceStore(redis)
    await store.choose(ADA, "", template="support", deployment="mini")
    await store.choose(BOB, "C1", template="translate")
    here = received(channel="C1")
    assert _chosen(await store.effective(here)) == Preference(template="translate", deployment="mini")
    assert _chosen(await store.effective(replace(here, user=BOB))) == Preference(template="translate")
    assert (await store.effective(received(channel="C2"))).template == "support"
    assert (await store.effective(replace(here, direct=True))).template == "support"


async def test_an_empty_choice_resets_and_none_keeps(redis: Redis) -> None:
    store = PreferenceStore(redis)
    await store.choose(ADA, "C1", template="support", deployment="mini", mode="mention")
    await store.choose(ADA, "C1", template="")
    assert _chosen(await store.of(ADA, "C1")) == Preference(deployment="mini", participation="mention")


async def test_quiet_is_of_one_conversation(redis: Redis) -> None:
    store = PreferenceStore(redis)
    await store.set_quiet(received(), True)
    assert (await store.effective(received())).quiet
    assert not (await store.effective(received(conversation="test:other"))).quiet
    await store.set_quiet(received(), False)
    assert not (await store.effective(received())).quiet


async def test_tenants_with_equal_channels_share_no_choices(redis: Redis) -> None:
    store = PreferenceStore(redis)
    await store.choose(ADA, "C1", template="support")
    assert await store.of(replace(ADA, tenant="other"), "C1") == Preference()


async def test_deleting_a_person_deletes_their_choices(redis: Redis) -> None:
    store = PreferenceStore(redis)
    await store.choose(ADA, "", template="support")
    assert await store.forget(ADA)
    assert await store.of(ADA, "") == Preference()
    assert not await store.forget(ADA)


async def test_a_tenants_template_is_the_default(redis: Redis) -> None:
    store = PreferenceStore(redis)
    await store.bind(Place(tenant=ADA.tenant), "support", "Eve")
    assert await store.effective(received(channel="C1")) == Preference(usual="support")
    assert await store.of(ADA, "") == Preference(usual="support")
    assert await store.of(replace(ADA, tenant="other"), "") == Preference()
    await store.bind(Place(tenant=ADA.tenant), "", "Eve")
    assert await store.effective(received(channel="C1")) == Preference()


async def test_every_assignment_is_listed_with_its_author(redis: Redis) -> None:
    store = PreferenceStore(redis)
    channel = Place(tenant=ADA.tenant, scope="channel", id="19:a@thread.tacv2;messageid=1")
    person = Place(tenant=ADA.tenant, scope="person", id=BOB.id)
    await store.choose(BOB, "", template="translate")
    await store.bind(channel, "support", "Eve")
    await store.choose(ADA, "C2", deployment="small")
    assert await store.bound() == [
        Assignment(place=channel, template="support", author="Eve"),
        Assignment(place=person, template="translate"),
    ]
    await store.bind(person, "support", "Eve")
    await store.choose(ADA, channel.id, template="")
    assert await store.bound() == [Assignment(place=person, template="support", author="Eve")]
    await store.choose(BOB, "", template="translate")
    assert await store.bound() == [Assignment(place=person, template="translate")]
    await store.forget(BOB)
    assert await store.bound() == []
