"""The composition root: the only module that knows every room, and the processes that Parley runs as."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from adapters.shared.client_address import TrustedProxies
from adapters.shared.http_server import serving
from adapters.studio import Office, StudioAdapter
from adapters.terminal import TerminalAdapter
from bot.app import capacity
from bot.app.health import Health
from bot.app.services import House, open_house
from bot.app.settings import Settings, is_loopback, outdated
from bot.conversation.playground import Workbench
from bot.domain import telemetry
from bot.domain.adapter import Accept, Adapter
from bot.domain.errors import ConfigError
from bot.domain.turns import Finding, Turn
from bot.evals.results import Archive
from bot.evals.runner import Examiner
from bot.prompts import loader
from bot.prompts.assignments import Bindings
from bot.prompts.editing import Press
from bot.storage.prompts.preferences import Choices
from bot.storage.prompts.saved_configs import Saves
from bot.storage.usage.charges import bill
from bot.tools import registry
from bot.worker.watchdog import Watchdog, threshold_s

if TYPE_CHECKING:
    from adapters.studio.auth.entra import Entra

log = logging.getLogger(__name__)

_BODY_BYTES = 8 * 1024 * 1024


# ------------------------------------------------------------------ platforms


def find_adapters(house: House) -> list[Adapter]:
    """The adapters of the platforms that are set up, and the studio where it is safe."""
    settings = house.settings
    found: list[Adapter] = []
    if settings.slack:
        from adapters.slack import SlackAdapter

        found.append(
            SlackAdapter(
                bot_token=settings.slack_bot_token,
                signing_secret=settings.slack_signing_secret,
                app_token=settings.slack_app_token,
                api_url=settings.slack_api_url,
                client_id=settings.slack_client_id or "",
                client_secret=settings.slack_client_secret,
                limiter=house.limiter if settings.slack_is_limited else None,
                desk=house.desk,
                vault=house.vault,
            )
        )
    if settings.teams:
        found.append(_teams(house))
    if settings.studio_is_open:
        found.append(_studio(house))
    else:
        log.warning("The studio is off: HOST=%s is open to others; set PARLEY_STUDIO_TOKEN.", settings.host)
    return found


def _teams(house: House) -> Adapter:
    from adapters.teams import Cloud, TeamsAdapter

    settings = house.settings
    return TeamsAdapter(
        app_id=settings.microsoft_app_id or "",
        app_password=settings.microsoft_app_password,
        app_type=settings.microsoft_app_type,
        tenant_id=settings.microsoft_app_tenant_id,
        authenticate=settings.parley_teams_auth == "on",
        certificate_path=settings.microsoft_app_certificate_path,
        tenants=settings.teams_tenants,
        sensitivity=settings.parley_teams_sensitivity,
        desk=house.desk,
        cloud=Cloud.us_government() if settings.parley_teams_cloud == "us-government" else Cloud(),
    )


def _studio(house: House) -> StudioAdapter:
    settings = house.settings
    return StudioAdapter(
        house.feed,
        house.turns,
        settings.parley_studio_token,
        editor_token=settings.parley_studio_editor_token,
        viewer_token=settings.parley_studio_viewer_token,
        office=_office(house),
        entra=_entra(settings),
        public_url=settings.parley_public_url or "",
    )


def _entra(settings: Settings) -> "Entra | None":
    """Sign-in by Microsoft Entra, where an app is registered for it."""
    secret = settings.parley_studio_entra_client_secret
    if secret is None:
        return None
    from adapters.studio.auth.entra import Entra, Registration

    return Entra(
        Registration(
            tenant=settings.parley_studio_entra_tenant or "",
            client_id=settings.parley_studio_entra_client_id or "",
            client_secret=secret,
            authority=settings.parley_studio_entra_authority,
            roles=settings.studio_roles,
        )
    )


def _office(house: House) -> Office:
    """What stands behind the studio's pages."""

    async def settle(turn: Turn) -> None:
        await house.bills.settle(bill(turn))
        await house.bills.tidy()

    workbench = Workbench(
        engine=house.engine, library=house.library, every=lambda: house.deployments, settle=settle
    )
    press = Press(house.library)
    return Office(
        workbench=workbench,
        press=press,
        bindings=Bindings(
            choices=Choices(house.redis), archive=house.archive, templates=house.library.shelf.templates
        ),
        saves=Saves(house.redis),
        archive=house.archive,
        books=house.books,
        fleet=house.gateway,
        sent=house.turns.sent,
        votes=house.votes,
        latency=house.latency.read,
        image=house.turns.image,
        evaluations=Examiner(
            bench=house.bench,
            deployments=lambda: house.deployments,
            folder=(house.settings.parley_prompts or loader.FOLDER) / "evaluations",
            archive=Archive(house.settings.parley_data_dir / "evaluations"),
            settle=settle,
        ),
        live=house.stage.look,
    )


def web_app(house: House, adapters: Sequence[Adapter]) -> web.Application:
    """Every route: the platforms', health, metrics."""
    app = web.Application(client_max_size=_BODY_BYTES)
    accept: Accept = house.accept
    for adapter in adapters:
        app.router.add_routes(adapter.routes(accept))

    app.router.add_routes(Health(house).routes())
    return app


# ------------------------------------------------------------------ processes


async def serve(settings: Settings, *, web_on: bool = True, worker_on: bool = True) -> None:
    """Run until SIGTERM or SIGINT, then drain. Raises ConfigError."""
    telemetry.start_logging(settings.parley_log, settings.parley_log_level)
    until = _until_signal()
    capacity.raise_file_limit()
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(open_house(settings))
        if hangup := getattr(signal, "SIGHUP", None):  # Windows has none
            asyncio.get_running_loop().add_signal_handler(hangup, house.reload)
        adapters = [await stack.enter_async_context(adapter) for adapter in find_adapters(house)]
        limits = house.ledger.limits.check(house.deployments)
        for risk in [*outdated(), *await house.redis.risks(), *limits]:
            if risk.level != "ok":
                log.warning("%s: %s", risk.subject, risk.words)
        if web_on:
            await stack.enter_async_context(_listening(house, adapters))
        elif settings.parley_worker_port is not None:
            await stack.enter_async_context(
                _serving(settings, web_app(house, ()), settings.parley_worker_port)
            )
        await (_work(house, adapters, until) if worker_on else until.wait())


async def _work(house: House, adapters: Sequence[Adapter], until: asyncio.Event) -> None:
    """Answer until told to stop, watched for a loop that stands still."""
    worker = house.worker(adapters)

    async def abandon(conversation: str) -> None:
        async with house.inbox.elsewhere() as inbox:
            await worker.suspects.abandon(inbox, conversation)

    with Watchdog(abandon, threshold_s(house.settings.parley_lease_s)):
        await worker.run(until)


def _until_signal() -> asyncio.Event:
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)
    return until


@asynccontextmanager
async def _listening(house: House, adapters: Sequence[Adapter]) -> AsyncGenerator[None]:
    """The web server and the adapters' own connections, until the end of the block."""
    settings = house.settings
    sockets: list[asyncio.Task[None]] = []
    async with _serving(settings, web_app(house, adapters), settings.port) as port:
        try:
            sockets += [asyncio.create_task(adapter.listen(house.accept)) for adapter in adapters]
            _greet(house, adapters, port)
            yield
        finally:
            for task in sockets:
                task.cancel()
            await asyncio.gather(*sockets, return_exceptions=True)


@asynccontextmanager
async def _serving(settings: Settings, app: web.Application, port: int) -> AsyncGenerator[int]:
    """A web server until the end of the block; the port that it has. Raises ConfigError when it is taken."""
    async with AsyncExitStack() as stack:
        server = serving(app, settings.host, port, TrustedProxies(settings.trusted_proxies))
        try:
            taken = await stack.enter_async_context(server)
        except OSError as error:
            raise ConfigError(
                f"Can't listen on {settings.host}:{port} ({error.strerror}). "
                "Is Parley running already? Port 0 takes any free port."
            ) from None
        yield taken


def _greet(house: House, adapters: Sequence[Adapter], port: int) -> None:
    """Tell the person who started it where everything is."""
    host = "localhost" if is_loopback(house.settings.host) else house.settings.host
    at = f"http://{host}:{port}"
    where = {"studio": f"{at}/", "slack": f"{at}/slack/events", "teams": f"{at}/api/messages"}
    lines = [f"  {adapter.name:<8} {where[adapter.name]}" for adapter in adapters if adapter.name in where]
    lines.append(f"  {'health':<8} {at}/readyz   metrics {at}/metrics")
    model = ", ".join(one.name for one in house.deployments)
    print("Parley is running.", *lines, f"  {'models':<8} {model}", sep="\n", flush=True)


async def chat(settings: Settings, conversation: str) -> None:
    """Talk in the terminal, by the same engine and the same path, with a memory of its own."""
    telemetry.start_logging(settings.parley_log, "error")
    folder = settings.parley_data_dir / "terminal"
    async with open_house(settings, folder=folder) as house:
        adapter = TerminalAdapter(conversation, folder / "pictures")
        until = asyncio.Event()
        work = asyncio.create_task(house.worker([adapter]).run(until))
        try:
            await adapter.listen(house.accept)
        finally:
            until.set()
            await work


async def check(settings: Settings) -> list[Finding]:
    """Look at everything that the settings name; each line says how it is and what to do. Never raises."""
    findings = outdated() or [
        Finding(level="ok", subject="settings", words="every setting that is there can be used")
    ]
    try:
        TrustedProxies(settings.trusted_proxies)
        async with open_house(settings) as house:
            loaded = ", ".join(template.name for template in house.templates)
            findings.append(Finding(level="ok", subject="templates", words=loaded))
            findings.append(registry.check())
            findings += await house.redis.check()
            findings += house.ledger.limits.check(house.deployments)
            findings += await house.gateway.check()
            for adapter in find_adapters(house):
                async with adapter:
                    findings += await adapter.check()
    except ConfigError as error:
        findings.append(Finding(level="error", subject="start", words=str(error)))
    return findings + _absent(settings)


def _absent(settings: Settings) -> list[Finding]:
    platforms: Mapping[str, tuple[bool, str]] = {
        "slack": (
            settings.slack,
            "not set up: SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET make it answer there",
        ),
        "teams": (settings.teams, "not set up: MicrosoftAppId and MicrosoftAppPassword make it answer there"),
    }
    return [
        Finding(level="ok", subject=name, words=words)
        for name, (present, words) in platforms.items()
        if not present
    ]
