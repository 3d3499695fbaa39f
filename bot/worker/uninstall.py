"""What happens to the data of a place that the bot was removed from."""

import logging

from bot.domain.events import AppUninstalled
from bot.storage.embedded.compaction import Compaction
from bot.storage.erasure.tenants import Tenants

log = logging.getLogger(__name__)


class Uninstaller:
    """Deletes what was said there, or keeps it for its retention time, as the operator wants."""

    def __init__(self, tenants: Tenants, compaction: Compaction, *, keep: bool = False) -> None:
        self._tenants = tenants
        self._compaction = compaction
        self._keep = keep

    async def uninstall(self, event: AppUninstalled) -> None:
        """Delete or keep. Raises StateUnavailable."""
        where = event.user.tenant or event.address.conversation
        if self._keep:
            log.info("The bot was removed from %s. Its data there is kept for the retention time.", where)
            return
        erased = await self._tenants.forget(event)
        log.info("The bot was removed from %s. Deleted: %s", where, erased)
        if erased:
            await self._compaction.request()
