"""What was chosen for a tenant, a channel, a conversation or a person: template, deployment, manners."""

from typing import Any, Literal, cast

import msgspec
from msgspec.structs import replace

from bot.domain.events import MessageReceived, User
from bot.domain.publications import Assignment, Place, Scope
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

ParticipationMode = Literal["", "follow", "mention", "mute"]
"""How the bot takes part in a channel: `follow` threads that it is in (without a choice, too), answer where
it is named (`mention`; in a chat without threads without a choice, too), or nothing but commands (`mute`)."""


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen in one place; empty is not chosen. `quiet` is of one conversation.

    `usual` is the template that answers in a tenant where nothing closer is chosen or matches.
    """

    template: str = ""
    usual: str = ""
    deployment: str = ""
    participation: ParticipationMode = msgspec.field(default="", name="manner")
    quiet: bool = False


class PreferenceStore:
    """Reads and writes choices. Every method raises StateUnavailable.

    A place is a channel (with everybody in it), a person, everywhere, or a whole tenant.
    A choice that nobody used for `keys.CHOICE_S` is forgotten.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def effective(self, received: MessageReceived) -> Preference:
        """What counts for this message: what its channel chose goes before what the person chose."""
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
        )

    async def of(self, user: User, channel: str) -> Preference:
        """What was chosen for a channel, or, without one, by this person."""
        choice, tenant = await self._read(_key(_place(user, channel)), _key(Place(tenant=user.tenant)))
        return replace(choice, usual=tenant.template)

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        mode: ParticipationMode | None = None,
    ) -> None:
        """Write choices for a place; an empty one takes the choice back, `None` leaves it."""
        chosen = {"deployment": deployment, "manner": mode}
        if template is not None:
            chosen |= {"template": template, "author": ""}
        await self._write(_place(user, channel), chosen)

    async def set_quiet(self, received: MessageReceived, quiet: bool) -> None:
        """Whether to wait for a mention in this conversation."""
        place = keys.of_tenant("choice", received.user.tenant, "talk", received.address.conversation)
        await self._redis.many(_writing(place, {"quiet": "1" if quiet else ""}))

    async def forget(self, user: User) -> bool:
        """Delete what this person chose for themselves; whether there was anything."""
        place = _place(user, "")
        gone, _ = await self._redis.many(
            [("DEL", _key(place)), ("SREM", _bound(place.tenant), _field(place))]
        )
        return bool(gone)

    # -------------------------------------------------------------- who gets which template

    async def bind(self, place: Place, template: str, author: str) -> None:
        """Choose a template for a place; an empty one takes the choice back."""
        await self._write(place, {"template": template, "author": author if template else ""})

    async def bound(self) -> list[Assignment]:
        """Every template that was chosen for a place, in the order of the places."""
        tenants = [item.decode() for item in await self._redis.call("SMEMBERS", keys.ASSIGNMENTS)]
        fields = (
            await self._redis.many([("SMEMBERS", _bound(tenant)) for tenant in tenants]) if tenants else []
        )
        places = [
            _place_of(tenant, field.decode())
            for tenant, found in zip(tenants, fields, strict=True)
            for field in found
        ]
        commands = [("HMGET", _key(place), "template", "author") for place in places]
        answers = await self._redis.many(commands) if commands else []
        found = [
            Assignment(place=place, template=template.decode(), author=(author or b"").decode())
            for place, (template, author) in zip(places, answers, strict=True)
            if template
        ]
        return sorted(found, key=lambda item: (item.place.tenant, item.place.scope, item.place.id))

    async def _read(self, *places: str) -> list[Preference]:
        commands = [("HGETALL", place) for place in places]
        commands += [("EXPIRE", place, keys.CHOICE_S) for place in places]
        answers = await self._redis.many(commands)
        return [_choice(answer) for answer in answers[: len(places)]]

    async def _write(self, place: Place, chosen: dict[str, Any]) -> None:
        """The choices, and where there are any: the index names places, what counts stands in their keys."""
        commands = _writing(_key(place), chosen)
        if "template" in chosen:
            index = _bound(place.tenant)
            commands.append(("SADD" if chosen["template"] else "SREM", index, _field(place)))
            commands += [("EXPIRE", index, keys.CHOICE_S), ("SADD", keys.ASSIGNMENTS, place.tenant)]
            commands.append(("EXPIRE", keys.ASSIGNMENTS, keys.CHOICE_S))
        await self._redis.many(commands)


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
    """A place within its tenant."""
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
    return msgspec.convert({**fields, "quiet": "quiet" in fields}, Preference)
