"""Where operators can be written to: the last one-to-one chat of each with the bot."""

import time
from collections.abc import Collection
from contextlib import suppress

import msgspec

from bot.domain.adapter import Secrets, contact_key
from bot.domain.errors import SecretUnreadable
from bot.domain.events import Address, Frozen, MessageReceived, User
from bot.storage.redis import keys

_AGAIN_S = keys.DAY_S
"""A chat that has not changed is stored again after this time, in case it was deleted meanwhile."""
_PREFIX, _SUFFIX = "person:", ":contact"


class OperatorContact(Frozen):
    """An operator with their language and time zone, and the address of their last message to the bot alone."""

    user: User
    address: Address


class OperatorContacts:
    """The chats of the operators, encrypted. Its methods raise StateUnavailable, and ConfigError for an invalid key."""

    def __init__(self, secrets: Secrets, operators: Collection[str]) -> None:
        self._secrets = secrets
        self._operators = frozenset(operators)
        self._stored: dict[User, float] = {}

    async def remember(self, received: MessageReceived) -> None:
        """Store where a message came from, if an operator sent it to the bot alone, about once a day."""
        user = received.user
        if user.id not in self._operators or not received.direct:
            return
        if self._stored.get(user, 0.0) > time.monotonic():
            return
        contact = OperatorContact(user=user, address=received.address)
        await self._secrets.put(contact_key(user), msgspec.json.encode(contact), keys.CHOICE_S)
        self._stored[user] = time.monotonic() + _AGAIN_S

    async def of(self, operator: str) -> list[OperatorContact]:
        """The chats of an operator: at most one in each tenant."""
        found: list[OperatorContact] = []
        for name in await self._secrets.names(_PREFIX):
            if not name.endswith(f":{operator}{_SUFFIX}"):
                continue
            with suppress(
                SecretUnreadable
            ):  # `parley check` counts them; the operator's next message replaces it
                stored = await self._secrets.get(name)
                if stored is None:
                    continue
                contact = msgspec.json.decode(stored, type=OperatorContact)
                found += [contact] if contact.user.id == operator else []
        return found
