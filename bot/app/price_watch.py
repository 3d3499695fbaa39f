"""Keeps the prices of a process current: the operator's table, and the dates from which entries hold."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import Self

from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import now
from bot.domain.turns import CheckResult
from bot.llm.catalog import price_file
from bot.llm.catalog.prices import PriceBook, bundled, prices_in_force, put_in_force, table_of
from bot.llm.routing.router import Gateway
from bot.storage.redis import tasks
from bot.storage.usage.price_tables import PriceTables

log = logging.getLogger(__name__)

POLL_S = 5.0
"""After this time a new table is in force in all processes."""


class PriceWatch:
    """Applies the stored table to this process and, if there is a gateway, to its deployments."""

    def __init__(self, tables: PriceTables, gateway: Gateway | None = None) -> None:
        self._tables = tables
        self._gateway = gateway
        self._seen: tuple[str, date] | None = None
        self.origin = ""
        """What the prices of this process are, for people: Parley's table, or which one of the operator."""
        self.problem = ""
        """Why the operator's table is not used."""

    async def refresh(self) -> None:
        """Use the current table and the entries of today. Raises StateUnavailable.

        A table that this version can't read is logged, and changes nothing.
        """
        seen = (await self._tables.digest(), now().date())
        if seen == self._seen:
            return
        stored = await self._tables.read()
        self._seen, self.problem = seen, ""
        try:
            files = [price_file.read(stored.text, stored.origin)] if stored else []
        except ConfigError as error:
            self.problem = str(error)
            log.error("The price table was not used: %s", error)
            return
        self.origin = f"own: from {stored.origin}, stored on {stored.at:%Y-%m-%d %H:%M} UTC" if stored else ""
        put_in_force(PriceBook(table=table_of(bundled(), *files), ceiling_usd=prices_in_force().ceiling_usd))
        if self._gateway is not None:
            self._gateway.reprice()

    async def check(self) -> list[CheckResult]:
        """The check of `parley check`: whose prices are in force; nothing while Redis is unavailable."""
        with suppress(StateUnavailable):
            await self.refresh()
            if self.problem:
                words = (
                    f"the table of `parley prices update` is not used: {self.problem}\n"
                    "Correct it, and run `parley prices update` again, or `parley prices reset`."
                )
                return [CheckResult(level="error", subject="prices", words=words)]
            return [CheckResult(level="ok", subject="prices", words=self.origin or "Parley's table")]
        return []

    @asynccontextmanager
    async def keeping(self) -> AsyncGenerator[Self]:
        """Refresh now, then every few seconds until the block ends."""
        with suppress(StateUnavailable):  # the bundled table is used until Redis is available
            await self.refresh()
        watching = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            await tasks.end(watching)
            put_in_force(PriceBook(table=table_of(bundled()), ceiling_usd=prices_in_force().ceiling_usd))

    async def _watch(self) -> None:
        while not tasks.cancelled():
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except StateUnavailable as error:
                log.debug("The price table can't be read: %s", error)
