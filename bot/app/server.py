"""The composition root: connects services and adapters, and runs the processes of Parley."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from adapters.shared.client_address import TrustedProxies
from adapters.shared.http_server import serving
from adapters.terminal import TerminalAdapter
from bot.app import capacity
from bot.app.health import Health
from bot.app.platforms import PLATFORMS
from bot.app.price_watch import PriceWatch
from bot.app.services import Services, open_services
from bot.app.settings import Settings, is_loopback, outdated
from bot.app.studio import studio_adapter
from bot.domain import telemetry
from bot.domain.adapter import Adapter, FindsIds
from bot.domain.errors import ConfigError
from bot.domain.turns import CheckResult
from bot.storage.usage.price_tables import PriceTables
from bot.tools import registry
from bot.worker.watchdog import Watchdog, threshold_s

log = logging.getLogger(__name__)

_BODY_BYTES = 8 * 1024 * 1024


# ------------------------------------------------------------------ platforms


def find_adapters(services: Services) -> list[Adapter]:
    """The adapters of the configured platforms, and the studio if only authorised people can reach it."""
    settings = services.settings
    found = [platform.adapter(services) for platform in PLATFORMS if platform.is_set_up(settings)]
    if settings.studio_is_open:
        found.append(studio_adapter(services))
    else:
        log.warning(
            "The studio is off, because HOST=%s accepts requests from other machines. Set PARLEY_STUDIO_TOKEN.",
            settings.host,
        )
    return found


def web_app(services: Services, adapters: Sequence[Adapter]) -> web.Application:
    """The web application with the routes of the adapters, health and metrics."""
    app = web.Application(client_max_size=_BODY_BYTES)
    for adapter in adapters:
        app.router.add_routes(adapter.routes(services.intake.accept))
    app.router.add_routes(Health(services).routes())
    return app


# ------------------------------------------------------------------ processes


async def serve(settings: Settings, *, web_on: bool = True, worker_on: bool = True) -> None:
    """Run until SIGTERM or SIGINT, then drain. Raises ConfigError."""
    telemetry.start_logging(settings.parley_log, settings.parley_log_level)
    until = _until_signal()
    capacity.raise_file_limit()
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        if hangup := getattr(signal, "SIGHUP", None):  # Windows has none
            asyncio.get_running_loop().add_signal_handler(hangup, services.reload)
        adapters = [await stack.enter_async_context(adapter) for adapter in find_adapters(services)]
        await stack.enter_async_context(services.storage.secret_store.resealing())
        await stack.enter_async_context(services.limit_names.resolving(adapters))
        limits = services.storage.ledger.limits.check(services.deployments)
        for risk in [*outdated(), *await services.storage.redis.risks(), *limits]:
            if risk.level != "ok":
                log.warning("%s: %s", risk.subject, risk.words)
        if web_on:
            await stack.enter_async_context(_listening(services, adapters))
        elif settings.parley_worker_port is not None:
            await stack.enter_async_context(
                _web_server(settings, web_app(services, ()), settings.parley_worker_port)
            )
        capacity.freeze_startup_objects()
        await (_work(services, adapters, until) if worker_on else until.wait())


async def _work(services: Services, adapters: Sequence[Adapter], until: asyncio.Event) -> None:
    """Run a worker until it is stopped, with a watchdog."""
    worker = services.worker(adapters)

    async def abandon(conversation: str) -> None:
        async with services.storage.inbox.elsewhere() as inbox:
            await worker.suspects.abandon(inbox, conversation)

    with Watchdog(abandon, threshold_s(services.settings.parley_lease_s)):
        async with services.operator_messages(adapters).sending():
            await worker.run(until)


def _until_signal() -> asyncio.Event:
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)
    return until


@asynccontextmanager
async def _listening(services: Services, adapters: Sequence[Adapter]) -> AsyncGenerator[None]:
    """Run the web server and the adapters' own connections until the block ends."""
    settings = services.settings
    sockets: list[asyncio.Task[None]] = []
    async with _web_server(settings, web_app(services, adapters), settings.port) as port:
        try:
            sockets += [asyncio.create_task(adapter.listen(services.intake.accept)) for adapter in adapters]
            _print_urls(services, adapters, port)
            yield
        finally:
            for task in sockets:
                task.cancel()
            await asyncio.gather(*sockets, return_exceptions=True)


@asynccontextmanager
async def _web_server(settings: Settings, app: web.Application, port: int) -> AsyncGenerator[int]:
    """Run a web server until the block ends; yields its port. Raises ConfigError if the port is in use."""
    async with AsyncExitStack() as stack:
        server = serving(app, settings.host, port, TrustedProxies(settings.trusted_proxies))
        try:
            bound = await stack.enter_async_context(server)
        except OSError as error:
            raise ConfigError(
                f"Can't listen on {settings.host}:{port} ({error.strerror}). "
                "Is Parley already running? Use another PORT; 0 picks a free one."
            ) from None
        yield bound


def _print_urls(services: Services, adapters: Sequence[Adapter], port: int) -> None:
    """Print the URLs of the process and its deployments."""
    host = "localhost" if is_loopback(services.settings.host) else services.settings.host
    at = f"http://{host}:{port}"
    paths = {"studio": "/", **{platform.name: platform.path for platform in PLATFORMS}}
    lines = [
        f"  {adapter.name:<8} {at}{paths[adapter.name]}" for adapter in adapters if adapter.name in paths
    ]
    lines.append(f"  {'health':<8} {at}/readyz   metrics {at}/metrics")
    model = ", ".join(deployment.name for deployment in services.deployments)
    print("Parley is running.", *lines, f"  {'models':<8} {model}", sep="\n", flush=True)


async def chat(settings: Settings, conversation: str) -> None:
    """Chat in the terminal, with a worker and an embedded Redis of its own."""
    telemetry.start_logging(settings.parley_log, "error")
    folder = settings.parley_data_dir / "terminal"
    async with open_services(settings, folder=folder) as services:
        adapter = TerminalAdapter(conversation, folder / "pictures")
        until = asyncio.Event()
        work = asyncio.create_task(services.worker([adapter]).run(until))
        try:
            await adapter.listen(services.intake.accept)
        finally:
            until.set()
            await work


def _others(adapters: Sequence[Adapter], finder: Adapter) -> str:
    """The names of the other platforms, as people write them."""
    others = [platform.name for platform in PLATFORMS if platform.name != finder.name]
    return " and ".join(adapter.name.title() for adapter in adapters if adapter.name in others)


async def check(settings: Settings) -> list[CheckResult]:
    """Check everything that is configured. Errors become results with a next step; none is raised."""
    findings = outdated() or [CheckResult(level="ok", subject="settings", words="valid")]
    try:
        TrustedProxies(settings.trusted_proxies)
        async with open_services(settings) as services:
            loaded = ", ".join(template.name for template in services.templates)
            findings.append(CheckResult(level="ok", subject="templates", words=loaded))
            for problem in services.library.registry.problems:
                words = f"skipped: {problem}"
                findings.append(CheckResult(level="error", subject="templates", words=words))
            findings.append(registry.check())
            findings += await services.storage.redis.check()
            findings += await PriceWatch(PriceTables(services.storage.redis), services.gateway).check()
            findings += await services.storage.secret_store.check()
            findings += services.storage.ledger.limits.check(services.deployments)
            findings += await services.gateway.check()
            adapters = find_adapters(services)
            for adapter in adapters:
                async with adapter:
                    findings += await adapter.check()
                    if isinstance(adapter, FindsIds):
                        findings += await services.limit_names.check(adapter, _others(adapters, adapter))
    except ConfigError as error:
        findings.append(CheckResult(level="error", subject="start", words=str(error)))
    absent = [platform for platform in PLATFORMS if not platform.is_set_up(settings)]
    return findings + [
        CheckResult(level="ok", subject=each.name, words=each.how_to_set_up) for each in absent
    ]
