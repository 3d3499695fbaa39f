"""Tells operators that a limit of a tenant is nearly, or fully, used up."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from bot.domain import telemetry
from bot.domain.adapter import Adapter, DirectMessages
from bot.domain.errors import ConfigError, PlatformUnavailable, StateUnavailable
from bot.domain.events import Address, User, now
from bot.domain.limits import operator_notice
from bot.domain.words import write_for
from bot.storage.redis import tasks
from bot.storage.usage.contacts import OperatorContact, OperatorContacts
from bot.storage.usage.notices import LEASE_S, LOG, LimitNotice, LimitNotices, read, resets

log = logging.getLogger(__name__)

SWEEP_S = 30.0
"""Interval for looking for the notices of other processes, and for those that have to be tried again."""
RETRY_S = 60.0
_CLOSING_S = 5.0


class OperatorMessages:
    """Sends each notice to its recipient: an operator by direct message, and one to the log and the metrics."""

    def __init__(
        self, notices: LimitNotices, contacts: OperatorContacts, adapters: Mapping[str, Adapter]
    ) -> None:
        self._notices = notices
        self._contacts = contacts
        self._adapters = {name: each for name, each in adapters.items() if isinstance(each, DirectMessages)}

    @asynccontextmanager
    async def sending(self) -> AsyncGenerator[None]:
        """Send notices until the block ends; the message that is being sent then has a few seconds."""
        ended = asyncio.Event()
        task = asyncio.create_task(self._run(ended))
        try:
            yield
        finally:
            ended.set()
            self._notices.waiting.set()
            await asyncio.wait([task], timeout=_CLOSING_S)
            await tasks.end(task)

    async def _run(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            try:
                await self.send_all(ended)
            except StateUnavailable as error:
                log.debug("Notices can't be read: %s", error)
            except Exception:
                log.exception("Sending of notices failed and will be retried")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._notices.waiting.wait(), SWEEP_S)

    async def send_all(self, ended: asyncio.Event | None = None) -> None:
        """Send what is due, also of other processes. Raises StateUnavailable."""
        for tenant in sorted(self._notices.take() | await self._notices.tenants()):
            while not (ended is not None and ended.is_set()):
                stored = await self._notices.claim(tenant)
                if stored is None:
                    break
                await self._send(tenant, stored)

    async def _send(self, tenant: str, stored: bytes) -> None:
        try:
            notice = read(stored)
        except msgspec.MsgspecError as error:
            log.error("Skipped a notice that can't be read: %s", error)
            await self._notices.done(tenant, stored)
            return
        if notice.recipient == LOG:
            _to_log(tenant, notice)
        elif notice.is_current(now()):
            try:
                async with asyncio.timeout(LEASE_S / 2):
                    told = await self._tell(tenant, notice, hashlib.sha256(stored).hexdigest()[:16])
            except (PlatformUnavailable, TimeoutError) as error:
                permanent = isinstance(error, PlatformUnavailable) and error.permanent
                log.warning(
                    "The operator %s was not told of a limit: %s", notice.recipient, error or "timeout"
                )
                if not permanent:
                    await self._notices.later(tenant, stored, RETRY_S)
                    return
            else:
                if not told:
                    _log_unreachable(notice.recipient)
        await self._notices.done(tenant, stored)

    async def _tell(self, tenant: str, notice: LimitNotice, id: str) -> bool:
        """Whether an adapter reached the operator. Raises PlatformUnavailable if none did, and one may later."""

        def write() -> str:
            return operator_notice(notice.limit, notice.used, notice.percent, tenant=tenant, at=now())

        failure: PlatformUnavailable | None = None
        contacts = await self._contacts.of(notice.recipient)
        for adapter in self._adapters.values():
            for user, address in _places(adapter.name, contacts, notice.recipient, tenant):
                write_for(user.locale, user.zone)
                try:
                    if await adapter.tell(user, address, id, write):
                        return True
                except ConfigError as error:
                    log.warning("%s can't reach the operator %s: %s", adapter.name, user.id, error)
                except PlatformUnavailable as error:
                    failure = error
        if failure is not None:
            raise failure
        return False


def _places(
    adapter: str, contacts: Sequence[OperatorContact], operator: str, tenant: str
) -> Sequence[tuple[User, Address | None]]:
    """Where to try on a platform: the operator's own chats or, without any, the tenant itself."""
    known = [(each.user, each.address) for each in contacts if each.address.adapter == adapter]
    return known or [(User(id=operator, tenant=tenant), None)]


def _log_unreachable(operator: str) -> None:
    log.warning(
        "The operator %s can't be told of a limit: no platform knows them. In Teams, they have to write to Parley in a "
        "one-to-one chat once.",
        operator,
    )


def _to_log(tenant: str, notice: LimitNotice) -> None:
    limit = notice.limit
    telemetry.LIMITS_REACHED.labels(limit.measure, limit.period, str(notice.percent)).inc()
    log.warning(
        "The limit of tenant %s, %s, has reached %d %%: %s are used. It resets at %s UTC",
        tenant,
        limit,
        notice.percent,
        limit.in_words(notice.used),
        f"{resets(notice):%Y-%m-%d %H:%M}",
    )
