"""The supported chat platforms. A new one is an adapter, its settings and an entry in PLATFORMS."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.app.services import Services
from bot.app.settings import Settings
from bot.domain.adapter import Adapter
from bot.storage.usage.limits import WindowLimiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform: whether it is configured, and its adapter, not connected yet.

    `path` is where the platform sends events. `Settings` rejects a partial configuration. `adapter` raises ConfigError;
    it imports the SDK only when it is called, so that it is not needed elsewhere.
    """

    name: str
    path: str
    how_to_set_up: str
    is_set_up: Callable[[Settings], bool]
    adapter: Callable[[Services], Adapter]


def _slack(services: Services) -> Adapter:
    from adapters.slack import SlackAdapter, SlackCredentials

    settings, storage = services.settings, services.storage
    return SlackAdapter(
        SlackCredentials(
            bot_token=settings.slack_bot_token,
            signing_secret=settings.slack_signing_secret,
            app_token=settings.slack_app_token,
            client_id=settings.slack_client_id or "",
            client_secret=settings.slack_client_secret,
        ),
        settings.slack_api_url,
        limiter=WindowLimiter(storage.redis) if settings.slack_is_limited else None,
        self_service=services.personal_data,
        secrets=storage.secret_store,
        tenants=settings.slack_tenants,
    )


def _teams(services: Services) -> Adapter:
    from adapters.teams import Cloud, Credentials, TeamsAdapter

    settings = services.settings
    credentials = None
    if settings.parley_teams_auth == "on":
        credentials = Credentials.checked(
            settings.microsoft_app_id or "",
            settings.microsoft_app_password,
            settings.microsoft_app_type,
            settings.microsoft_app_tenant_id,
            settings.microsoft_app_certificate_path,
        )
    return TeamsAdapter(
        credentials,
        tenants=settings.teams_tenants,
        sensitivity=settings.parley_teams_sensitivity,
        self_service=services.personal_data,
        cloud=Cloud.us_government() if settings.parley_teams_cloud == "us-government" else Cloud(),
    )


PLATFORMS = (
    Platform(
        name="slack",
        path="/slack/events",
        how_to_set_up="not configured: to use it, set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET",
        is_set_up=lambda settings: settings.slack,
        adapter=_slack,
    ),
    Platform(
        name="teams",
        path="/api/messages",
        how_to_set_up="not configured: to use it, set MicrosoftAppId and MicrosoftAppPassword",
        is_set_up=lambda settings: settings.teams,
        adapter=_teams,
    ),
)
