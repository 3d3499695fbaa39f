"""What people choose for a channel, for themselves, for one conversation."""

from msgspec.structs import replace

from bot.domain.publications import Binding, Place
from bot.storage.prompts.preferences import Choice, Choices
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, said


async def test_a_channels_choice_goes_before_a_persons(redis: Redis) -> None:
    choices = Choices(redis)
    await choices.choose(ADA, "", template="support", deployment="mini")
    await choices.choose(BOB, "C1", template="translate")
    here = said(channel="C1")
    assert await choices.here(here) == Choice(template="translate", deployment="mini")
    assert await choices.here(replace(here, user=BOB)) == Choice(template="translate")
    assert (await choices.here(said(channel="C2"))).template == "support"
    assert (await choices.here(replace(here, direct=True))).template == "support"


async def test_an_empty_choice_takes_it_back_and_none_leaves_it(redis: Redis) -> None:
    choices = Choices(redis)
    await choices.choose(ADA, "C1", template="support", deployment="mini", manner="mention")
    await choices.choose(ADA, "C1", template="")
    assert await choices.of(ADA, "C1") == Choice(deployment="mini", manner="mention")


async def test_quiet_is_of_one_conversation(redis: Redis) -> None:
    choices = Choices(redis)
    await choices.hush(said(), True)
    assert (await choices.here(said())).quiet
    assert not (await choices.here(said(conversation="test:other"))).quiet
    await choices.hush(said(), False)
    assert not (await choices.here(said())).quiet


async def test_tenants_with_the_same_channel_do_not_share_choices(redis: Redis) -> None:
    choices = Choices(redis)
    await choices.choose(ADA, "C1", template="support")
    assert await choices.of(replace(ADA, tenant="other"), "C1") == Choice()


async def test_forgetting_a_person_takes_their_own_choices(redis: Redis) -> None:
    choices = Choices(redis)
    await choices.choose(ADA, "", template="support")
    assert await choices.forget(ADA)
    assert await choices.of(ADA, "") == Choice()
    assert not await choices.forget(ADA)


async def test_what_a_tenant_has_is_the_usual_one_of_its_people(redis: Redis) -> None:
    choices = Choices(redis)
    await choices.bind(Place(tenant=ADA.tenant), "support", "Eve")
    assert await choices.here(said(channel="C1")) == Choice(usual="support")
    assert await choices.of(ADA, "") == Choice(usual="support")
    assert await choices.of(replace(ADA, tenant="other"), "") == Choice()
    await choices.bind(Place(tenant=ADA.tenant), "", "Eve")
    assert await choices.here(said(channel="C1")) == Choice()


async def test_every_place_is_listed_with_who_gave_it(redis: Redis) -> None:
    choices = Choices(redis)
    channel = Place(tenant=ADA.tenant, scope="channel", id="19:a@thread.tacv2;messageid=1")
    person = Place(tenant=ADA.tenant, scope="person", id=BOB.id)
    await choices.choose(BOB, "", template="translate")
    await choices.bind(channel, "support", "Eve")
    await choices.choose(ADA, "C2", deployment="small")
    assert await choices.bound() == [
        Binding(place=channel, template="support", author="Eve"),
        Binding(place=person, template="translate"),
    ]
    await choices.bind(person, "support", "Eve")
    await choices.choose(ADA, channel.id, template="")
    assert await choices.bound() == [Binding(place=person, template="support", author="Eve")]
    await choices.choose(BOB, "", template="translate")
    assert await choices.bound() == [Binding(place=person, template="translate")]
    await choices.forget(BOB)
    assert await choices.bound() == []
