"""Operations that change something for others or end data: choices, modes, reset, forget, uninstalling."""

from bot.domain.events import Address, AppUninstalled, User, now
from tests.isolation.doubles import MODELS, SMALL
from tests.isolation.run import Kind, Operation, Run

MODES = ("follow", "dialogue", "dialogue", "mention-only", "mute")


async def choose(run: Run, operation: Operation) -> None:
    """A prompt or a model: for a channel by its members, in a one-to-one chat by everybody but apps."""
    row = operation.kind
    names = ("assistant", SMALL, SMALL, "auto", "auto") if row == "prompt" else (*MODELS, "auto")
    name = operation.dice.choice(names)
    value = "" if name == "auto" else name
    may = run.oracle.may(row, operation.person, shared=not operation.place.direct)
    may |= run.oracle.choice(operation.person, operation.place, row) == value  # nothing changes
    text = await run.command(operation, f"{row} {name}")
    run.expect_refusal(operation, text, may, row)
    if may:
        run.oracle.choose(operation.person, operation.place, row, value)


async def set_mode(run: Run, operation: Operation) -> None:
    """How much the bot says in a channel; `mute` asks first."""
    if operation.place.direct:
        return
    mode = operation.dice.choice(MODES)
    may = run.oracle.may("mute" if mode == "mute" else "follow", operation.person, shared=True)
    before = run.oracle.choice(operation.person, operation.place, "mode")
    may |= mode == before == "mention-only"  # nothing changes; other modes also end `quiet`, or ask first
    text = await run.command(operation, mode)
    run.expect_refusal(operation, text, may, mode)
    if mode == "mute" and may:
        text = await run.command(operation, "mute now")
        run.expect_refusal(operation, text, may, mode)
    if may:
        run.oracle.choose(operation.person, operation.place, "mode", mode)


async def reset(run: Run, operation: Operation) -> None:
    """Start over: alone at once; with others only who began the thread or an administrator, after a confirmation."""
    history = run.oracle.history[operation.place.conversation]
    shared = any(said.person.id != operation.person.id for said in history)
    asker = history[0].person if history else None
    may = run.oracle.may("reset", operation.person, shared=shared, asker=asker)
    text = await run.command(operation, "reset")
    run.expect_refusal(operation, text, may, "reset")
    if shared and may:
        if text.startswith("Done"):
            run.differ(operation, "a shared conversation was started over without a confirmation.")
        text = await run.command(operation, "reset now")
    if may:
        if not text.startswith("Done"):
            run.differ(operation, f"a reset was answered with {text[:90]!r}.")
        run.oracle.reset(operation.place.conversation)


async def confirm(run: Run, operation: Operation) -> None:
    """Somebody confirms what they never asked for: nothing happens, as later prompts and scans show."""
    commands = ["forget me now", "reset now"] if operation.place.direct else ["forget me now", "mute now"]
    text = await run.command(operation, operation.dice.choice(commands))
    if text.startswith("Done. I'll ignore"):  # alone, `reset now` needs no confirmation
        run.oracle.reset(operation.place.conversation)
    elif not text.startswith(("Nothing was", "Only ", "Apps and")):
        run.differ(operation, f"a confirmation of nothing was answered with {text[:90]!r}.")


async def forget(run: Run, operation: Operation) -> None:
    """Somebody has all their data deleted, wherever their installation serves; nothing of it is left anywhere."""
    may = run.oracle.may("forget", operation.person, shared=False)
    text = await run.command(operation, "forget me")
    run.expect_refusal(operation, text, may, "forget")
    if not may:
        return
    text = await run.command(operation, "forget me now")
    if not text.startswith("Done"):
        run.differ(operation, f"forgetting was answered with {text[:90]!r}.")
    run.oracle.forget(operation.person)
    await run.scan(f"{operation.person.id} of {operation.place.tenant} was forgotten")


async def uninstall(run: Run, operation: Operation) -> None:
    """A tenant removes the app: nothing of it is left, unless its organisation's installation still serves it."""
    tenant = operation.person.tenant
    served = tenant.id == "T21" and operation.dice.random() < 0.5
    run.platform.served = frozenset([tenant.id]) if served else frozenset()
    id = run.next_id(tenant.id)
    removal = AppUninstalled(
        id=id,
        address=Address(conversation=f"test:departed:{tenant.id}", event=id),
        user=User(id="", tenant=tenant.id),
        at=now(),
        conversation_prefix=f"test:{tenant.id}:",
        whole=True,
        installation=tenant.id,
        organisation=tenant.organisation,
    )
    await run.send(removal)
    if not served:
        run.oracle.uninstall(tenant.id)
    await run.scan(f"{tenant.id} {'is still served' if served else 'removed the app'}")
    await run.install(tenant.id)


KINDS = (
    Kind("prompt", choose, 4),
    Kind("model", choose, 4),
    Kind("mode", set_mode, 4),
    Kind("reset", reset, 4),
    Kind("confirm", confirm, 1),
    Kind("forget", forget, 1, alone=True),
    Kind("uninstall", uninstall, 1, alone=True),
)
