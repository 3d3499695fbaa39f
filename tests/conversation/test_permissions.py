"""Field fault 123: who may do what where, by one table, on every surface that changes something."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from bot.conversation.preferences import Preferences
from bot.domain import permissions
from bot.domain.errors import ConfigError, NotPermitted
from bot.domain.events import MessageReceived, Role, User
from bot.domain.permissions import TABLE, Action
from tests.conversation.test_builtin_tools import calls, deployment
from tests.support.acts import ADA, BOB, received
from tests.support.harness import ASSISTANT, DRAW, Harness

ROOT = Path(__file__).parents[2]
COLUMNS = ("asker", *permissions.ROLES)
CHANNEL = "C1"
SUPPORT = replace(ASSISTANT, name="support", match=replace(ASSISTANT.match, default=False))
MODELS = (deployment("small"), deployment("large"))
CHANGES: dict[str, Action] = {
    "prompt support": "prompt",
    "model large": "model",
    "follow": "follow",
    "mention-only": "follow",
    "quiet": "follow",
    "mute": "mute",
}


@pytest.fixture
def able(harness: Harness) -> Harness:
    harness.templates, harness.deployments = (ASSISTANT, SUPPORT, DRAW), MODELS
    harness.operators = {"olga"}
    return harness


def somebody(role: Role) -> User:
    """A person in a role. Operators are known by their id, and the platform says what it knows."""
    return User(id="olga" if role == "operator" else role, tenant="acme", name=role.title(), role=role)


def said(text: str, user: User, *, event: str, registered: bool = False) -> MessageReceived:
    message = received(text, event=event, user=user, channel=CHANNEL, conversation=f"test:{user.id}")
    return replace(message, registered=registered)


async def chosen(harness: Harness) -> tuple[str, str, str]:
    """What is chosen for the channel."""
    found = await harness.preferences.store.of(ADA, CHANNEL)
    return found.template, found.deployment, found.participation


@pytest.mark.parametrize("role", permissions.ROLES)
async def test_only_some_change_a_channel(able: Harness, role: Role) -> None:
    """Typed, and by a slash command or a button: guests, partners and webhooks changed what everybody shares."""
    user = somebody(role)
    for number, (text, action) in enumerate(CHANGES.items()):
        for form in (text, f"/{text}"):
            before, told = await chosen(able), len(able.adapter.replies)
            event = f"e{number}{form[0]}"
            await able.answer(said(form, user, event=event, registered=form[0] == "/"))
            (reply,) = able.adapter.replies[told:]
            if role in TABLE[action].shared:
                assert reply.confirm or await chosen(able) != before or text == "quiet" or form[0] == "/", (
                    form
                )
                assert "Only" not in reply.text, form
            else:
                assert (await chosen(able), reply.confirm) == (before, ""), form
                assert reply.text.startswith("Apps and" if role == "bot" else "Only members"), form
                assert reply.private == (role != "bot"), "nobody can read what only a webhook is shown"


@pytest.mark.parametrize(("role", "may"), [("guest", True), ("partner", True), ("bot", False)])
async def test_guests_choose_for_themselves(able: Harness, role: Role, may: bool) -> None:
    user = somebody(role)
    await able.answer(received("prompt support", event="a", user=user))
    assert ((await able.preferences.store.of(user, "")).template == "support") == may


async def test_forms_send_what_stays_the_same(able: Harness) -> None:
    """A settings card sends all of its fields, so only a changed one needs permission."""
    able.permitted = "mute: admin; prompt: admin"
    preferences: Preferences = able.preferences
    await preferences.choose(somebody("admin"), CHANNEL, template="support", mode="quiet")
    member = somebody("member")
    await preferences.choose(member, CHANNEL, template="support", deployment="large", mode="quiet")
    assert await chosen(able) == ("support", "large", "mute")
    for change in ({"template": ""}, {"template": "assistant"}):
        with pytest.raises(NotPermitted):
            await preferences.choose(member, CHANNEL, **change)
    assert await chosen(able) == ("support", "large", "mute")


async def test_models_can_change_no_more(able: Harness) -> None:
    """The tools of a model act for the person who asks."""
    able.built_in = True
    able.model.script = calls("choose_prompt", name="support")
    await able.answer(said("switch to support", somebody("guest"), event="a"))
    assert await chosen(able) == ("", "", "")


@pytest.mark.parametrize(
    ("role", "resets"), [("member", False), ("guest", False), ("admin", True), ("operator", True)]
)
async def test_admins_start_a_shared_thread_over(able: Harness, role: Role, resets: bool) -> None:
    user = somebody(role)
    await able.answer(received("one", event="a"), received("two", event="b", user=BOB))
    turns = await able.answer(
        received("reset", event="c", user=user), received("reset now", event="d", user=user)
    )
    assert any(turn.resets for turn in turns) == resets
    assert able.adapter.replies[-1].private != resets


async def test_drawing_may_be_left_to_some(able: Harness) -> None:
    """Tools that cost money; the refusal of a question is private, too."""
    able.permitted = "draw: member"
    guest, member = somebody("guest"), somebody("member")
    await able.answer(said("/image a cat", guest, event="a"))
    assert able.adapter.replies[-1].private
    assert "Only members of this organisation" in able.adapter.texts[-1]
    await able.answer(said("/image a cat", member, event="b"))
    assert able.adapter.replies[-1].images


def test_an_unknown_role_is_a_member() -> None:
    known = permissions.read("", {"olga"})
    assert known.role_of(User(id="x", tenant="acme")) == "member"
    assert known.role_of(somebody("operator")) == "operator"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("mutes: admin", "begin with one of prompt, model, follow, mute"),
        ("mute", "“mute” is invalid"),
        ("mute: boss", "“boss” is no role; use asker, member, guest"),
        ("forget: admin", "“forget: admin” is invalid"),
    ],
)
def test_an_invalid_table_is_explained(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        permissions.read(setting)


def test_the_documented_table_is_the_data() -> None:
    page = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if re.match(r"\| .* \| `\w+` \|", line)]
    rows = [row for row in rows if len(row) == 2 + len(COLUMNS)]
    documented = {
        row[1].strip(" `"): {who for who, cell in zip(COLUMNS, row[2:], strict=True) if "✓" in cell}
        for row in rows
    }
    assert documented == {action: rule.shared for action, rule in TABLE.items()}
