"""Deletes or keeps the data of a place from which the bot was removed."""

import logging
from dataclasses import dataclass

from bot.domain.adapter import StillServed
from bot.domain.events import AppUninstalled
from bot.storage.embedded.compaction import ON_DISK, Compaction
from bot.storage.erasure.tenants import Tenants

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Uninstaller:
    """Deletes the data of that place, or keeps it for the retention time, as configured."""

    tenants: Tenants
    compaction: Compaction
    keep: bool = False

    async def uninstall(self, event: AppUninstalled, served: StillServed) -> None:
        """Delete or keep. Raises StateUnavailable."""
        where = event.user.tenant or event.address.conversation
        if self.keep:
            log.info("The bot was removed from %s. Its data there is kept for the retention time.", where)
            return
        erased = await self.tenants.forget(event, served)
        log.info("The bot was removed from %s. Deleted: %s", where, erased)
        if erased:
            await self.compaction.request()
            log.info("The files on disk: %s.", ON_DISK[await self.compaction.finish()])
