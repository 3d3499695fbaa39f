"""What people chose for a channel, a conversation or themselves: template, deployment, manners."""

from typing import Any, Literal

import msgspec

from bot.state import keys
from bot.state.redis import Redis
from bot.types import Said, User

Manner = Literal["", "follow", "mention", "mute"]
"""How the bot takes part in a channel: `follow` threads that it is in (also the meaning of ""), answer
where it is named (`mention`), or answer nothing but commands (`mute`)."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen in one place; empty is not chosen. `quiet` is of one conversation."""

    template: str = ""
    deployment: str = ""
    manner: Manner = ""
    quiet: bool = False


class Choices:
    """Reads and writes choices. Every method raises StateUnavailable.

    A place is a channel (with everybody in it) or, where `channel` is empty, a person, everywhere.
    A choice that nobody used for `keys.CHOICE_S` is forgotten.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def here(self, said: Said) -> Choice:
        """What counts for this message: what its channel chose goes before what the person chose."""
        user, conversation = said.user, said.address.conversation
        channel, quiet, person = await self._read(
            _place(user, "" if said.direct else said.channel),
            keys.of_tenant("choice", user.tenant, "talk", conversation),
            _place(user, ""),
        )
        return Choice(
            template=channel.template or person.template,
            deployment=channel.deployment or person.deployment,
            manner=channel.manner,
            quiet=quiet.quiet,
        )

    async def of(self, user: User, channel: str) -> Choice:
        """What was chosen for a channel, or, without one, by this person."""
        (choice,) = await self._read(_place(user, channel))
        return choice

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        manner: Manner | None = None,
    ) -> None:
        """Write choices for a place; an empty one takes the choice back, `None` leaves it."""
        chosen = {"template": template, "deployment": deployment, "manner": manner}
        await self._write(_place(user, channel), chosen)

    async def hush(self, said: Said, quiet: bool) -> None:
        """Whether to wait for a mention in this conversation."""
        place = keys.of_tenant("choice", said.user.tenant, "talk", said.address.conversation)
        await self._write(place, {"quiet": "1" if quiet else ""})

    async def forget(self, user: User) -> bool:
        """Delete what this person chose for themselves; whether there was anything."""
        return bool(await self._redis.call("DEL", _place(user, "")))

    async def _read(self, *places: str) -> list[Choice]:
        commands = [("HGETALL", place) for place in places]
        commands += [("EXPIRE", place, keys.CHOICE_S) for place in places]
        answers = await self._redis.many(commands)
        return [_choice(answer) for answer in answers[: len(places)]]

    async def _write(self, place: str, chosen: dict[str, Any]) -> None:
        commands: list[tuple[str | int, ...]] = []
        for name, value in chosen.items():
            if value is not None:
                commands.append(("HSET", place, name, value) if value else ("HDEL", place, name))
        commands.append(("EXPIRE", place, keys.CHOICE_S))
        await self._redis.many(commands)


def _place(user: User, channel: str) -> str:
    rest = ("channel", channel) if channel else ("user", user.id)
    return keys.of_tenant("choice", user.tenant, *rest)


def _choice(pairs: dict[bytes, bytes]) -> Choice:
    fields = {name.decode(): value.decode() for name, value in pairs.items()}
    return msgspec.convert({**fields, "quiet": "quiet" in fields}, Choice)
