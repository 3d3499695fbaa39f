"""What people say to each other in threads that the bot takes part in, in five languages: it answers only its share."""

import itertools
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pytest

from tests.simulators.teams import BOT
from tests.story.conftest import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

GENERAL = "C0GENERAL"
_numbers = itertools.count()


class Line(NamedTuple):
    """One message: `asks` mentions the bot, `goes on` is a follow-up without a mention, `talks` is for people."""

    who: Literal["ada", "bob"]
    kind: Literal["asks", "goes on", "talks"]
    text: str


def lines(script: str) -> list[Line]:
    """A thread as text: `ada > to the bot`, `ada + a follow-up`, `ada : to people`."""
    kinds: dict[str, Literal["asks", "goes on", "talks"]] = {">": "asks", "+": "goes on", ":": "talks"}
    found: list[Line] = []
    for line in script.strip().splitlines():
        who, mark, text = line.strip().split(" ", 2)
        assert who in ("ada", "bob")
        found.append(Line(who, kinds[mark], text))
    return found


THREADS = {
    "English": lines("""
        ada > what is our refund policy?
        ada + and for customers in Japan?
        bob : lol
        ada : right?
        bob : brb
        ada : Forget!
        bob : Mute!
        ada : image is broken again
        bob : reset?
        ada : @Bob can you check this?
        bob : usage is up 20 % this week
        ada : stop
        bob : forget me now
        ada : /forget about it
        ada > are you still there?
    """),
    "English with tags": lines("""
        bob > tell the incident in one sentence
        bob + shorter, please
        bob : @Ada does that match what you saw?
        bob : I can wait
        ada : @oncall please have a look
        bob : @here lunch?
        ada : @Jira create a ticket
        bob : draw two tickets, one each
        ada : compare: yours or mine?
        bob : translate it for them tomorrow
        ada > who wrote the runbook?
        ada + and when?
        ada > thank you
    """),
    "German": lines("""
        ada > wie lange ist die Kündigungsfrist?
        ada + und in Österreich?
        bob : haha
        ada : Vergiss es!
        bob : bin gleich zurück
        ada : @Bob kannst du das prüfen?
        bob : mach ich
        ada : Danke, Bob!
        bob : zeichne das mal jemand auf
        ada : stopp, das stimmt nicht
        bob : wer kommt mit essen?
        bob > bist du noch da?
    """),
    "French": lines("""
        bob > quel est le taux de TVA ?
        bob + et en Corse ?
        ada : mdr
        bob : oublie !
        ada : tu peux vérifier, Bob ?
        bob : @Ada c'est fait
        ada : super, merci
        bob : dessine-moi un mouton
        ada : on arrête ?
        bob : à demain
        ada > tu es là ?
    """),
    "Spanish": lines("""
        ada > ¿cuántos días de vacaciones tenemos?
        ada + ¿y en México?
        ada : @Bob ¿lo ves?
        ada : jajaja
        bob : ahora no puedo
        ada : olvídalo
        bob : @channel reunión en 5 minutos
        ada : voy
        bob : silencio, por favor
        ada : la imagen no carga
        bob : vale
        bob > ¿sigues ahí?
    """),
    "Japanese": lines("""
        bob > 経費の締め切りはいつですか
        bob + 海外出張の場合は？
        ada : なるほど
        bob : 笑
        ada : @Bob これ確認してもらえますか
        bob : 了解です
        ada : 忘れて！
        bob : 画像が表示されない
        ada : リセットする？
        bob : 止めて
        ada : お昼行きますか
        ada > 一文でまとめて
        ada + 英語で
    """),
    "a dialogue": lines("""
        ada > ask me which format I need?
        ada + PDF
        ada + reset
    """),
}
EVERYTHING = [line for thread in THREADS.values() for line in thread]

SLACK_TAGS = {
    "@Bob": "<@U0BOB>",
    "@Ada": "<@U0ADA>",
    "@Jira": "<@U0JIRA>",
    "@oncall": "<!subteam^S0OPS|@oncall>",
    "@here": "<!here>",
    "@channel": "<!channel>",
}
TEAMS_TAGS = {
    "@Bob": "29:bob",
    "@Ada": "29:ada",
    "@Jira": "28:jira",
    "@oncall": "MDg4-tag",
    "@here": "19:team@thread.tacv2",
    "@channel": "19:channel@thread.tacv2",
}
_TAG = re.compile("|".join(SLACK_TAGS))


def expected(thread: Sequence[Line]) -> list[str]:
    """What the bot says in a thread, if it answers what is for it and nothing else."""
    return [f"You said: {line.text}" for line in thread if line.kind != "talks"]


async def answered_in_slack(town: Town, root: str, answer: str) -> None:
    await town.slack.until(lambda: town.slack.answers(GENERAL, root)[-1:] == [answer])


def paid(town: Town) -> int:
    """The calls of models so far, whatever for."""
    return len(town.azure.journal)


async def test_the_threads_have_the_messages() -> None:
    kinds = [line.kind for line in EVERYTHING]
    assert (kinds.count("talks"), kinds.count("goes on")) == (55, 10)


@pytest.mark.parametrize("name", THREADS)
async def test_a_thread_of_slack_is_left_to_people(town: Town, name: str) -> None:
    """Field faults 104 and 105: 49 of 55 messages between people got a reaction, 15 of them ran commands."""
    thread, before, root, told = THREADS[name], paid(town), "", list[str]()
    alone = len(town.slack.workspace.ephemeral)
    for number, line in enumerate(thread, 1):
        text = _TAG.sub(lambda tag: SLACK_TAGS[tag[0]], line.text)
        text = f"<@U0BOT> {text}" if line.kind == "asks" else text
        ts = await town.slack.say(GENERAL, f"U0{line.who.upper()}", text, root or None)
        root = root or ts
        told = expected(thread[:number])
        if line.kind != "talks":  # messages are processed in order, so an answer shows that there is no other
            await answered_in_slack(town, root, told[-1])
    assert town.slack.answers(GENERAL, root) == told
    assert paid(town) == before + len(told)
    assert len(town.slack.workspace.ephemeral) == alone
    assert thread[0].text in str(town.azure.journal[-1].body["messages"]), "nothing was forgotten"


@pytest.mark.parametrize("name", THREADS)
async def test_a_thread_of_teams_is_left_to_people(town: Town, name: str) -> None:
    """Field faults 104 and 105, with the permission to receive all messages of a channel."""
    thread, before, told = THREADS[name], paid(town), list[str]()
    place = f"19:followed{next(_numbers):04d}@thread.tacv2"
    for number, line in enumerate(thread, 1):
        text, entities = _in_teams(line)
        received = await town.teams.say(place, line.who, text, entities=entities)
        assert received.status == 200
        place, told = received.conversation, expected(thread[:number])
        if line.kind != "talks":
            await town.teams.answered(place, len(told))
    assert [message.text for message in town.teams.answers(place)] == told
    assert paid(town) == before + len(told)


def _in_teams(line: Line) -> tuple[str, list[dict[str, Any]]]:
    """The text and the entities of a message, as Teams sends them."""
    entities: list[dict[str, Any]] = []

    def mention(id: str, name: str) -> str:
        tag = f"<at>{name}</at>"
        entities.append({"type": "mention", "mentioned": {"id": id, "name": name}, "text": tag})
        return tag

    text = f"{mention(BOT, 'Parley')} {line.text}" if line.kind == "asks" else line.text
    return _TAG.sub(lambda tag: mention(TEAMS_TAGS[tag[0]], tag[0][1:]), text), entities


async def test_a_mention_in_a_quiet_channel_of_slack(town: Town) -> None:
    """Field fault 104: in a muted channel a mention got no reply at all; the mode is set in the Home tab."""
    channel, people = "C0QUIET", town.slack.workspace
    people.channels[channel] = {"U0ALICE", people.bot_user}
    await town.slack.open_home("U0ALICE", tab="home")
    await town.slack.until(lambda: "Pick a channel" in str(people.views.homes.get("U0ALICE")))
    await town.slack.choose_at_home("U0ALICE", "choose_channel", channel)
    await town.slack.until(lambda: "choose_mode" in str(people.views.homes["U0ALICE"]))
    await town.slack.choose_at_home("U0ALICE", "choose_mode", "quiet")
    await town.slack.until(lambda: "is now quiet" in str(people.views.homes["U0ALICE"]))
    alone = len(people.ephemeral)
    ts = await town.slack.say(channel, "U0ALICE", "<@U0BOT> what is up?")
    await town.slack.until(lambda: len(people.ephemeral) > alone)
    told = people.ephemeral[alone]
    assert (told["user"], told["markdown"], told["thread_ts"]) == ("U0ALICE", "You said: what is up?", ts)
    assert town.slack.answers(channel, ts) == []


async def test_a_mention_in_a_quiet_chat_of_teams(town: Town) -> None:
    """Field fault 104: the mode is set on the settings card; the answer is a targeted message."""
    group = f"19:quiet{next(_numbers):04d}@thread.v2"
    pressed = await town.teams.press(group, "ada", "choose", "1", {"mode": "quiet"})
    assert "Saved." in pressed.body
    await town.teams.say(group, "ada", "what is up?", mention=True)
    told = await town.teams.answered(group)
    assert (told.text, told.only) == ("You said: what is up?", "29:ada")
