"""Events for tests: what people do, with everything that a test does not care about filled in."""

from msgspec.structs import replace

from bot.domain.events import (
    Address,
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    StopRequested,
    User,
    now,
)

ADA = User(id="ada", tenant="acme", name="Ada")
BOB = User(id="bob", tenant="acme", name="Bob")


def _where(event: str, conversation: str) -> Address:
    return Address(conversation=conversation, event=event)


def received(
    text: str = "hello",
    *,
    event: str = "e1",
    conversation: str = "test:room",
    user: User = ADA,
    addressed: bool = True,
    channel: str = "",
) -> MessageReceived:
    """Somebody says something."""
    return MessageReceived(
        id=event,
        address=_where(event, conversation),
        user=user,
        at=now(),
        text=text,
        addressed=addressed,
        channel=channel,
    )


def pressed(command: str, *, event: str = "e1", user: User = ADA) -> MessageReceived:
    """Somebody presses a button that stands for a command, or sends a slash command of the app."""
    return replace(received(command, event=event, user=user), registered=True)


def forgets(event: str, *, user: User = ADA, channel: str = "") -> tuple[MessageReceived, MessageReceived]:
    """Somebody asks to be forgotten, and confirms it."""
    return (
        received("forget me", event=f"{event} asks", user=user, channel=channel),
        received("forget me now", event=event, user=user, channel=channel),
    )


def edited(target: str, text: str, *, event: str = "edit", conversation: str = "test:room") -> MessageEdited:
    """Somebody edits what they said."""
    return MessageEdited(
        id=event, address=_where(event, conversation), user=ADA, at=now(), target=target, text=text
    )


def deleted(target: str, *, event: str = "delete", conversation: str = "test:room") -> MessageDeleted:
    """Somebody deletes what they said."""
    return MessageDeleted(id=event, address=_where(event, conversation), user=ADA, at=now(), target=target)


def rated(
    post: str, *, good: bool = True, event: str = "rate", conversation: str = "test:room"
) -> FeedbackGiven:
    """Somebody rates an answer."""
    return FeedbackGiven(
        id=event, address=_where(event, conversation), user=ADA, at=now(), post=post, good=good
    )


def stopped(conversation: str = "test:room") -> StopRequested:
    """Somebody presses stop."""
    return StopRequested(id="stop", address=_where("stop", conversation), user=ADA, at=now())


__all__ = ["ADA", "BOB", "deleted", "edited", "forgets", "rated", "received", "stopped"]
