"""Accepts events from the platforms before they are acknowledged."""

from contextlib import suppress
from dataclasses import dataclass

from bot.app.settings import Settings
from bot.conversation import addressing
from bot.conversation.commands import registry
from bot.conversation.engine import Engine
from bot.domain import telemetry
from bot.domain.adapter import Receipt
from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import Event, MessageDeleted, MessageEdited, MessageReceived, StopRequested
from bot.storage.erasure.organisations import Organisations
from bot.storage.queue.inbox import Inbox
from bot.storage.usage.contacts import OperatorContacts


@dataclass(frozen=True, slots=True)
class Intake:
    """Stores events in the inbox and stops answers that they supersede. Raises StateUnavailable."""

    settings: Settings
    inbox: Inbox
    engine: Engine
    contacts: OperatorContacts | None = None
    organisations: Organisations | None = None

    async def accept(self, event: Event) -> Receipt:
        """Store and count an event."""
        adapter = event.address.adapter
        with telemetry.ACCEPT_SECONDS.labels(adapter).time():
            if self.organisations is not None:
                await self.organisations.note(event)
            receipt = await self._accept(event)
            if receipt == "accepted":
                await self._supersede(event)
        telemetry.EVENTS.labels(adapter, receipt).inc()
        if receipt == "accepted" and isinstance(event, MessageReceived) and self.contacts is not None:
            with suppress(StateUnavailable, ConfigError):
                await self.contacts.remember(event)
        return receipt

    async def _accept(self, event: Event) -> Receipt:
        if isinstance(event, StopRequested):
            return await self._stop(event)
        if not isinstance(event, MessageReceived):
            return await self.inbox.accept(event)
        stop = StopRequested(id=event.id, address=event.address, user=event.user, at=event.at)
        if event.addressed and registry.is_stop(event):
            receipt = await self._stop(stop)
            nothing = receipt in ("duplicate", "ignored")  # of theirs to stop: the command says so
            return await self.inbox.accept(event) if nothing else receipt
        # Without a mention it stops an answer to its author; otherwise it is one of the things that people say.
        if addressing.says_stop(event) and await self.inbox.stop(stop) == "accepted":
            return "accepted"
        return await self.inbox.accept(event)

    async def _stop(self, event: StopRequested) -> Receipt:
        """Stop an answer of whomever the table says: of everybody, of the person themselves, or of nobody."""
        permissions, user = self.engine.commands.permissions, event.user
        if not permissions.allows("stop", user, shared=True, asker=user):
            return "ignored"
        return await self.inbox.stop(event, leave=permissions.allows("stop", user, shared=True))

    async def _supersede(self, event: Event) -> None:
        """Stop the answer to a question that was edited, deleted or, if so configured, followed by another.

        Commands don't stop anything, nor do messages without a mention, which may be for other people.
        """
        match event:
            case MessageEdited() | MessageDeleted():
                await self.inbox.supersede(event)
            case MessageReceived() if self.settings.parley_while_answering == "supersede":
                if event.addressed and self.engine.command(event) is None:
                    await self.inbox.supersede(event)
            case _:
                pass
