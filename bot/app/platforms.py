"""The supported chat platforms. A new one is an adapter, its settings and an entry in PLATFORMS."""

from typing import Protocol

from bot.app.services import Services
from bot.app.settings import Settings
from bot.domain.adapter import Adapter


class Platform(Protocol):
    """A platform: whether it is configured, and its adapter."""

    name: str
    path: str
    """The path to which the platform sends events."""
    how_to_set_up: str

    def is_set_up(self, settings: Settings) -> bool:
        """Whether it is configured. (`Settings` rejects a partial configuration.)"""
        ...

    def adapter(self, services: Services) -> Adapter:
        """A new adapter, not connected yet. Raises ConfigError."""
        ...


class SlackPlatform:
    """Slack, by HTTP or Socket Mode."""

    name = "slack"
    path = "/slack/events"
    how_to_set_up = "not configured: to use it, set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET"

    def is_set_up(self, settings: Settings) -> bool:
        """With a bot token, or an app that workspaces install."""
        return settings.slack

    def adapter(self, services: Services) -> Adapter:
        """A new adapter. Imports the SDK only here, so that it is not needed elsewhere."""
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
            limiter=storage.limiter if settings.slack_is_limited else None,
            self_service=services.personal_data,
            secrets=storage.secret_store,
        )


class TeamsPlatform:
    """Microsoft Teams."""

    name = "teams"
    path = "/api/messages"
    how_to_set_up = "not configured: to use it, set MicrosoftAppId and MicrosoftAppPassword"

    def is_set_up(self, settings: Settings) -> bool:
        """With the id of an app, or without authentication."""
        return settings.teams

    def adapter(self, services: Services) -> Adapter:
        """A new adapter. Imports the SDK only here, so that it is not needed elsewhere."""
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


PLATFORMS: tuple[Platform, ...] = (SlackPlatform(), TeamsPlatform())
