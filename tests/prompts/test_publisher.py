"""Publishing: active versions, trials, validation, roll back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from msgspec.structs import replace

from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.events import now
from bot.domain.prompts import Example, Template
from bot.domain.publications import Trial, Version
from bot.prompts import registry
from bot.prompts.prompty import read_text
from bot.prompts.publisher import Publisher
from bot.prompts.registry import TemplateRegistry
from bot.storage.prompts.versions import Versions
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import received
from tests.support.patience import PATIENCE_S


def text(words: str, parley: str = "") -> str:
    return f"---\nmetadata: {{parley: {{{parley}}}}}\n---\nsystem:\n{words}\n"


DEFAULT = "match: {default: true}"
COMMAND = "match: {commands: [go]}"
FILES = (
    read_text(text("I answer.", DEFAULT), "answer").template,
    read_text(text("I go.", COMMAND), "go").template,
)
PAIR = Example(user="one?", assistant="two")


class Publishing:
    """One process: its registry and its publisher."""

    def __init__(
        self,
        redis: Redis,
        files: tuple[Template, ...] = FILES,
        check: Callable[[Template], None] | None = None,
    ) -> None:
        versions = Versions(redis)
        pools = {"filed": (PAIR,)}
        self.registry = (
            TemplateRegistry(files, pools, versions, check)
            if check
            else TemplateRegistry(files, pools, versions)
        )
        self.publisher = Publisher(self.registry, versions)

    async def publish(
        self,
        name: str,
        words: str,
        parley: str = DEFAULT,
        trial: Trial | None = None,
        after: int | None = None,
    ) -> int:
        version = await self.publisher.publish(
            name, text(words, parley), author="Ada", reason="better", trial=trial, after=after
        )
        return version.number

    async def back(self, name: str, number: int) -> int:
        return (await self.publisher.roll_back(name, number, author="Bob", reason="worse")).number

    def system(self, name: str = "answer", conversation: str = "", channel: str = "") -> str:
        there = received(conversation=conversation, channel=channel) if conversation else None
        return next((one.system for one in self.registry.templates(there) if one.name == name), "")


@pytest.fixture
def editor(redis: Redis) -> Publishing:
    return Publishing(redis)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(registry: TemplateRegistry) -> AsyncGenerator[None]:
    task = asyncio.create_task(registry.watch())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# ------------------------------------------------------------------ what counts


async def test_files_are_active_until_something_is_published(editor: Publishing) -> None:
    await editor.registry.refresh()
    assert list(editor.registry.templates()) == list(FILES)
    assert editor.registry.templates(received()) is editor.registry.templates()


async def test_a_publication_overrides_its_file(editor: Publishing) -> None:
    assert await editor.publish("answer", "I answer better.") == 1
    assert editor.system() == "I answer better."
    held = editor.registry.active("answer")
    assert held.version is not None
    assert (held.version.author, held.version.reason, held.file) == ("Ada", "better", FILES[0])
    assert held.template is not None
    assert held.template.digest == held.version.digest != FILES[0].digest


async def test_a_published_template_needs_no_file(editor: Publishing) -> None:
    await editor.publish("new", "I am new.", "match: {commands: [new]}")
    assert [one.name for one in editor.registry.templates()] == ["answer", "go", "new"]
    await editor.back("new", 0)
    assert [one.name for one in editor.registry.templates()] == ["answer", "go"]


async def test_other_processes_see_a_publication_soon(redis: Redis, editor: Publishing) -> None:
    other = Publishing(redis)
    async with watching(other.registry):
        await editor.publish("answer", "I answer better.")
        await until(lambda: other.system() == "I answer better.")


class Deaf(Versions):
    """Receives no notifications."""

    async def wakeups(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


async def test_a_lost_notification_only_costs_time(
    redis: Redis, editor: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "POLL_S", 0.01)
    other = TemplateRegistry(FILES, {}, Deaf(redis))
    async with watching(other):
        await editor.publish("answer", "I answer better.")
        await until(lambda: other.templates()[0].system == "I answer better.")


async def test_the_last_state_serves_without_redis(redis_url: str, editor: Publishing) -> None:
    away = Redis("redis://127.0.0.1:1")
    registry = TemplateRegistry(FILES, {}, Versions(away))
    async with watching(registry):
        await asyncio.sleep(0)
        assert list(registry.templates()) == list(FILES)
    await away.close()


async def test_a_lost_log_falls_back_to_files(redis: Redis, editor: Publishing) -> None:
    await editor.publish("answer", "I answer better.")
    await redis.call("DEL", keys.VERSIONS)
    await editor.registry.refresh()
    assert list(editor.registry.templates()) == list(FILES)


async def test_a_clashing_file_overrides_a_publication(
    redis: Redis, editor: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    await editor.publish("new", "I am new.", "match: {commands: [new]}")
    await editor.publish("answer", "I answer better.")
    later = (*FILES, read_text(text("I came by file.", "match: {commands: [new]}"), "rival").template)
    other = Publishing(redis, later)
    await other.registry.refresh()
    assert [one.name for one in other.registry.templates()] == ["answer", "go", "rival"]
    assert other.system() == "I answer better."
    assert "'new' of commands is already claimed by rival.prompty" in caplog.text


async def test_a_trial_clashing_with_a_file_is_inactive(
    redis: Redis, editor: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    trial = Trial(percent=100)
    await editor.publish("new", "I am new.", "match: {commands: [new]}", trial=trial)
    later = (*FILES, read_text(text("I came by file.", "match: {commands: [new]}"), "rival").template)
    other = Publishing(redis, later)
    await other.registry.refresh()
    assert other.system("new", "test:1") == ""
    assert other.system("rival", "test:1") == "I came by file."
    assert "The trial of new can't be used" in caplog.text


async def test_an_unreadable_version_is_ignored(
    redis: Redis, editor: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    await editor.publish("go", "I go faster.", COMMAND)
    future = Version(
        number=2,
        name="answer",
        text="---\nmood: {kind: sunny}\n---\nsystem:\nI beam.\n",
        digest="0",
        author="Eve",
        at=now(),
        reason="of a newer Parley",
    )
    assert await Versions(redis).append(future)
    await editor.registry.refresh()
    assert editor.system() == "I answer."
    assert editor.system("go") == "I go faster."
    assert "Version 2 can't be read" in caplog.text


async def test_a_broken_subscription_is_restored(redis: Redis, editor: Publishing) -> None:
    other = Publishing(redis)
    async with watching(other.registry):
        await editor.publish("answer", "First.")
        await until(lambda: other.system() == "First.")
        await redis.call("CLIENT", "KILL", "TYPE", "pubsub")
        await editor.publish("answer", "Second.")
        await until(lambda: other.system() == "Second.")


# ------------------------------------------------------------------ trials


async def test_a_trial_serves_only_its_channels(editor: Publishing) -> None:
    await editor.publish("answer", "I try.", trial=Trial(channels=("C1",)))
    assert editor.system() == "I answer."
    assert editor.system(conversation="test:1", channel="C2") == "I answer."
    assert editor.system(conversation="test:1", channel="C1") == "I try."


async def test_a_percentage_is_stable_and_grows(
    editor: Publishing,
) -> None:
    def trying() -> set[int]:
        return {at for at in range(300) if editor.system(conversation=f"test:{at}") == "I try."}

    await editor.publish("answer", "I try.", trial=Trial(percent=20))
    first = trying()
    assert 30 <= len(first) <= 90
    assert trying() == first
    await editor.publish("answer", "I try.", trial=Trial(percent=50))
    assert first < trying()
    await editor.publish("answer", "I try.", trial=Trial(percent=100))
    assert len(trying()) == 300


async def test_a_new_template_can_start_as_a_trial(editor: Publishing) -> None:
    trial = Trial(channels=("C1",))
    await editor.publish("new", "I am new.", "match: {commands: [new]}", trial=trial)
    assert editor.system("new") == ""
    assert editor.system("new", "test:1", "C1") == "I am new."


async def test_publishing_for_everyone_ends_the_trial(editor: Publishing) -> None:
    await editor.publish("answer", "I try.", trial=Trial(percent=100))
    assert editor.registry.active("answer").trial is not None
    await editor.publish("answer", "I answer better.")
    assert editor.registry.active("answer").trial is None
    assert editor.system(conversation="test:1") == "I answer better."


async def test_reverting_to_the_file_ends_the_trial(editor: Publishing) -> None:
    await editor.publish("answer", "I try.", trial=Trial(percent=100))
    await editor.back("answer", 0)
    assert editor.system(conversation="test:1") == "I answer."


@pytest.mark.parametrize("trial", [Trial(), Trial(percent=101), Trial(percent=-1, channels=("C1",))])
async def test_a_trial_without_an_audience_is_refused(editor: Publishing, trial: Trial) -> None:
    with pytest.raises(NotAllowed, match="of 1 to 100"):
        await editor.publish("answer", "I try.", trial=trial)


# ------------------------------------------------------------------ taking back


async def test_a_roll_back_is_a_new_version(editor: Publishing) -> None:
    await editor.publish("answer", "First.")
    await editor.publish("answer", "Second.")
    assert await editor.back("answer", 1) == 3
    assert editor.system() == "First."
    assert await editor.back("answer", 0) == 4
    assert editor.system() == "I answer."
    history = await editor.publisher.history("answer")
    assert [(one.number, one.author) for one in history] == [(4, "Bob"), (3, "Bob"), (2, "Ada"), (1, "Ada")]
    assert history[1].text == history[3].text
    assert history[0].digest == FILES[0].digest


@pytest.mark.parametrize(
    ("number", "words"), [(7, "no version 7"), (2, "no version 2"), (0, "already uses its file")]
)
async def test_rolling_back_needs_an_existing_version(editor: Publishing, number: int, words: str) -> None:
    await editor.publish("answer", "First.")
    await editor.back("answer", 0)  # version 2 says only that the file counts
    with pytest.raises(NotAllowed, match=words):
        await editor.back("answer", number)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("name", "published", "words"),
    [
        ("answer", text("Hi {{nobody}}.", DEFAULT), "answer.prompty:5: {{nobody}} is an unknown placeholder"),
        ("answer", text("Hi.", "mach: {}"), "did you mean 'match'?"),
        ("answer", text("Hi."), "this is the default template and must keep"),
        ("new", text("Hi.", COMMAND), "new.prompty:2: 'go' of commands is already claimed by go.prompty"),
        ("new", text("Hi.", DEFAULT), "already claimed by answer.prompty"),
        ("new", text("Hi.", "pool: nowhere, shots: 1"), "the pool 'nowhere' is missing"),
        ("Bad Name", text("Hi."), "lower-case letters"),
        ("new", text("Hi.", "tools: [hammer]"), "there is no tool 'hammer'"),
    ],
)
async def test_publications_are_validated_like_files(
    redis: Redis, name: str, published: str, words: str
) -> None:
    def check(template: Template) -> None:
        if template.tools:
            raise TemplateError(f"{template.name}.prompty: there is no tool {template.tools[0]!r}")

    editor = Publishing(redis, check=check)
    with pytest.raises(TemplateError) as raised:
        await editor.publisher.publish(name, published, author="Ada", reason="why")
    assert words in str(raised.value)
    assert (await Versions(redis).since(0))[0] == 0


async def test_a_clash_with_a_trial_is_refused(editor: Publishing) -> None:
    trial = Trial(channels=("C1",))
    await editor.publish("new", "I am new.", "match: {commands: [new]}", trial=trial)
    with pytest.raises(TemplateError, match="already claimed by new"):
        await editor.publish("other", "I too.", "match: {commands: [new]}")


async def test_reverting_to_a_clashing_file_is_refused(editor: Publishing) -> None:
    await editor.publish("go", "I go by run.", "match: {commands: [run]}")
    await editor.publish("other", "I took it.", COMMAND)
    with pytest.raises(TemplateError, match="already claimed by other"):
        await editor.back("go", 0)


async def test_concurrent_authors_do_not_overwrite_each_other(redis: Redis, editor: Publishing) -> None:
    other = Publishing(redis)
    assert await editor.publish("answer", "First.", after=0) == 1
    with pytest.raises(NotAllowed, match="Ada published version 1"):
        await other.publish("answer", "Mine.", after=0)
    assert await other.publish("answer", "Mine.", after=1) == 2
    await editor.back("answer", 0)
    with pytest.raises(NotAllowed, match="it was reverted to file"):
        await other.publish("answer", "Mine.", after=2)


async def test_concurrent_publications_all_arrive(redis: Redis) -> None:
    presses = [Publishing(redis) for _ in range(4)]
    await asyncio.gather(*(editor.publish(f"t{at}", "Hi.", "") for at, editor in enumerate(presses)))
    await presses[0].registry.refresh()
    assert {one.name for one in presses[0].registry.templates()} >= {"t0", "t1", "t2", "t3"}


@pytest.mark.parametrize(("reason", "words"), [(" ", "Enter a reason"), ("x" * 501, "the limit is 500")])
async def test_a_publication_has_a_reason(editor: Publishing, reason: str, words: str) -> None:
    with pytest.raises(NotAllowed, match=words):
        await editor.publisher.publish("answer", text("Hi.", DEFAULT), author="Ada", reason=reason)


# ------------------------------------------------------------------ pools


async def change(
    editor: Publishing, pool: str, added: tuple[Example, ...], removed: tuple[Example, ...] = ()
) -> None:
    await editor.publisher.change_pool(pool, added=added, removed=removed, author="Ada", reason="better")


async def test_a_pool_grows_and_shrinks(redis: Redis, editor: Publishing) -> None:
    more = replace(PAIR, user="three?")
    await change(editor, "filed", (more, more, PAIR))
    assert editor.registry.pools()["filed"] == (PAIR, more)
    await change(editor, "filed", (), (PAIR,))
    other = Publishing(redis)
    await other.registry.refresh()
    assert other.registry.pools()["filed"] == (more,)


async def test_a_template_can_use_a_new_pool(editor: Publishing) -> None:
    await change(editor, "fresh", (PAIR,))
    await editor.publish("new", "I am new.", "pool: fresh, shots: 1")
    assert editor.system("new") == "I am new."
    with pytest.raises(NotAllowed, match="its last example can't be removed"):
        await change(editor, "fresh", (), (PAIR,))


@pytest.mark.parametrize(
    ("pool", "added", "words"),
    [
        ("filed", (PAIR,), "does not change"),
        ("Not A Name", (PAIR,), "lower-case letters"),
        ("filed", (replace(PAIR, assistant=" "),), "both a question and an answer"),
        ("filed", tuple(replace(PAIR, user=str(at)) for at in range(1000)), "would have 1001 examples"),
    ],
)
async def test_an_invalid_change_of_a_pool_is_refused(
    editor: Publishing, pool: str, added: tuple[Example, ...], words: str
) -> None:
    with pytest.raises(NotAllowed, match=words):
        await change(editor, pool, added)
