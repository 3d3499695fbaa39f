"""Preferences of tenants, channels, conversations and people: template, deployment, participation mode."""

import time
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec.structs import replace

from bot.domain.events import MessageReceived, User
from bot.domain.participation import ParticipationMode, mode_named
from bot.domain.publications import Assignment, Place, Scope
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """The preferences of one scope; empty means not chosen. `quiet` applies to one conversation: only mentions there.

    `usual` is the default template of the tenant, `chosen_at` when a template was last chosen or reset, in seconds
    since 1970.
    """

    template: str = ""
    usual: str = ""
    deployment: str = ""
    participation: ParticipationMode | Literal[""] = msgspec.field(default="", name="manner")
    quiet: bool = False
    chosen_at: float = 0.0


class PreferenceStore:
    """Reads and writes preferences. Every method raises StateUnavailable.

    They apply to a channel, a person, or a tenant, and expire after `keys.CHOICE_S` without use.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def effective(self, received: MessageReceived) -> Preference:
        """The preferences for this message; those of its channel take precedence over the person's."""
        user, conversation = received.user, received.address.conversation
        channel, quiet, person, tenant = await self._read(
            _key(_place(user, "" if received.direct else received.channel)),
            keys.of_tenant("choice", user.tenant, "talk", conversation),
            _key(_place(user, "")),
            _key(Place(tenant=user.tenant)),
        )
        return Preference(
            template=channel.template or person.template,
            usual=tenant.template,
            deployment=channel.deployment or person.deployment,
            participation=channel.participation,
            quiet=quiet.quiet,
            chosen_at=max(channel.chosen_at, person.chosen_at),
        )

    async def of(self, user: User, channel: str) -> Preference:
        """The preferences of a channel or, without one, of this person."""
        choice, tenant = await self._read(_key(_place(user, channel)), _key(Place(tenant=user.tenant)))
        return replace(choice, usual=tenant.template)

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        mode: ParticipationMode | Literal[""] | None = None,
    ) -> None:
        """Store preferences of a channel or person; an empty one is reset, None leaves it unchanged."""
        chosen = {"deployment": deployment, "manner": mode}
        if template is not None:
            chosen |= _template(template, "")
        await self._write(_place(user, channel), chosen)

    async def modes(self, places: Sequence[Place]) -> list[ParticipationMode | None]:
        """The participation modes chosen for channels; None where none is."""
        found = await self._redis.many([("HGET", _key(place), "manner") for place in places])
        return [mode_named(mode.decode()) if mode else None for mode in found]

    async def set_mode(self, channel: Place, mode: ParticipationMode | None) -> None:
        """Choose the participation mode of a channel; None takes the choice back."""
        await self._write(channel, {"manner": mode or ""})

    async def set_quiet(self, received: MessageReceived, quiet: bool) -> None:
        """Set whether to wait for a mention in this conversation."""
        place = keys.of_tenant("choice", received.user.tenant, "talk", received.address.conversation)
        await self._redis.many(_writing(place, {"quiet": "1" if quiet else ""}))

    async def forget(self, user: User) -> bool:
        """Delete this person's preferences. Returns whether there were any."""
        place = _place(user, "")
        gone, _ = await self._redis.many(
            [("DEL", _key(place)), ("SREM", _bound(place.tenant), _field(place))]
        )
        return bool(gone)

    # -------------------------------------------------------------- assignments

    async def bind(self, place: Place, template: str, author: str) -> None:
        """Assign a template to a scope; an empty one removes the assignment."""
        await self._write(place, _template(template, author if template else ""))

    async def bound(self) -> list[Assignment]:
        """All assignments, sorted by scope."""
        tenants = [item.decode() for item in await self._redis.call("SMEMBERS", keys.ASSIGNMENTS)]
        fields = await self._redis.many([("SMEMBERS", _bound(tenant)) for tenant in tenants])
        places = [
            _place_of(tenant, field.decode())
            for tenant, found in zip(tenants, fields, strict=True)
            for field in found
        ]
        answers = await self._redis.many([("HMGET", _key(place), "template", "author") for place in places])
        found = [
            Assignment(place=place, template=template.decode(), author=(author or b"").decode())
            for place, (template, author) in zip(places, answers, strict=True)
            if template
        ]
        return sorted(found, key=lambda each: (each.place.tenant, each.place.scope, each.place.id))

    async def _read(self, *places: str) -> list[Preference]:
        commands = [("HGETALL", place) for place in places]
        commands += [("EXPIRE", place, keys.CHOICE_S) for place in places]
        answers = await self._redis.many(commands)
        return [_choice(answer) for answer in answers[: len(places)]]

    async def _write(self, place: Place, chosen: dict[str, Any]) -> None:
        """Store preferences, and update the index of assignments."""
        commands = _writing(_key(place), chosen)
        if "template" in chosen:
            index = _bound(place.tenant)
            commands.append(("SADD" if chosen["template"] else "SREM", index, _field(place)))
            commands += [("EXPIRE", index, keys.CHOICE_S), ("SADD", keys.ASSIGNMENTS, place.tenant)]
            commands.append(("EXPIRE", keys.ASSIGNMENTS, keys.CHOICE_S))
        await self._redis.many(commands)


def _template(name: str, author: str) -> dict[str, Any]:
    return {"template": name, "author": author, "chosen_at": str(time.time())}


def _writing(key: str, chosen: dict[str, Any]) -> list[tuple[str | int, ...]]:
    commands: list[tuple[str | int, ...]] = []
    for name, value in chosen.items():
        if value is not None:
            commands.append(("HSET", key, name, value) if value else ("HDEL", key, name))
    return [*commands, ("EXPIRE", key, keys.CHOICE_S)]


def _place(user: User, channel: str) -> Place:
    if channel:
        return Place(tenant=user.tenant, scope="channel", id=channel)
    return Place(tenant=user.tenant, scope="person", id=user.id)


def _field(place: Place) -> str:
    """The name of a scope within its tenant."""
    return f"{place.scope}:{place.id}"


def _place_of(tenant: str, field: str) -> Place:
    scope, _, id = field.partition(":")
    return Place(tenant=tenant, scope=cast("Scope", scope), id=id)


def _key(place: Place) -> str:
    return keys.of_tenant("choice", place.tenant, place.scope, *([place.id] if place.id else []))


def _bound(tenant: str) -> str:
    return keys.of_tenant("bound", tenant)


def _choice(pairs: dict[bytes, bytes]) -> Preference:
    fields = {name.decode(): value.decode() for name, value in pairs.items()}
    return msgspec.convert({**fields, "quiet": "quiet" in fields}, Preference, strict=False)
