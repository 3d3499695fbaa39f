"""Accepts events from the platforms before they are acknowledged."""

from dataclasses import dataclass

from bot.app.settings import Settings
from bot.conversation.commands import registry
from bot.conversation.engine import Engine
from bot.domain import telemetry
from bot.domain.adapter import Receipt
from bot.domain.events import Event, MessageDeleted, MessageEdited, MessageReceived, StopRequested
from bot.storage.queue.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Intake:
    """Stores events in the inbox and stops answers that they supersede. Raises StateUnavailable."""

    settings: Settings
    inbox: Inbox
    engine: Engine

    async def accept(self, event: Event) -> Receipt:
        """Store and count an event."""
        if isinstance(event, MessageReceived) and registry.is_stop(event):
            event = StopRequested(id=event.id, address=event.address, user=event.user, at=event.at)
        adapter = event.address.adapter
        with telemetry.ACCEPT_SECONDS.labels(adapter).time():
            if isinstance(event, StopRequested):
                receipt = await self.inbox.stop(event, leave=event.user.id in self.settings.operators)
            else:
                receipt = await self.inbox.accept(event)
            if receipt == "accepted":
                await self._supersede(event)
        telemetry.EVENTS.labels(adapter, receipt).inc()
        return receipt

    async def _supersede(self, event: Event) -> None:
        """Stop the answer to a question that was edited, deleted or, if so configured, followed by another.

        Commands and messages that are not answered don't stop anything.
        """
        match event:
            case MessageEdited() | MessageDeleted():
                await self.inbox.supersede(event)
            case MessageReceived() if self.settings.parley_while_answering == "supersede":
                if self.engine.command(event) is None and await self.engine.should_answer(event):
                    await self.inbox.supersede(event)
            case _:
                pass
