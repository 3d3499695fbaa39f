"""The settings, their bounds and defaults. Only this module reads the environment."""

import ipaddress
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.domain import limits, permissions
from bot.domain.errors import ConfigError
from bot.domain.participation import DEFAULT_MODE, ParticipationMode, mode_named
from bot.domain.turns import MAX_TOOL_CALLS, CheckResult

_FOR_READERS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")
_REPLACED = {
    "PARLEY_REQUESTS_PER_MINUTE": "PARLEY_LIMITS=person: 30 requests/minute",
    "PARLEY_DAILY_USD": "PARLEY_LIMITS=person: 30 requests/minute, $2/day",
}
"""Settings that were removed, and their replacements."""


_NO_NAMES = (
    "Only the Slack workspace of SLACK_BOT_TOKEN can be asked: names repeat in each workspace that installs the app "
    "and in each team of Teams, and Teams does not tell a bot the ID of a person who has not written to it."
)


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` accepts only local requests."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _named(name: str, default: str | None = None) -> Any:
    """A field whose environment variable has another name; tests use the upper-case form."""
    return Field(default=default, validation_alias=AliasChoices(name, name.upper()))


def _listed(text: str) -> frozenset[str]:
    return frozenset(value.strip() for value in text.split(",") if value.strip())


class Settings(BaseSettings):
    """Settings from the environment, then from `.env`. Empty values count as unset."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # --- Slack: a bot token and a signing secret, or a bot token and an app token (Socket Mode)
    slack_bot_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    slack_client_id: str | None = None  # with the secret, instead of the bot token: for many workspaces
    slack_client_secret: SecretStr | None = None
    slack_api_url: str = "https://slack.com/api/"
    parley_slack_tenants: str = ""

    # --- Microsoft Teams: names as in the samples of the Bot Framework
    microsoft_app_id: str | None = _named("MicrosoftAppId")
    microsoft_app_password: SecretStr | None = _named("MicrosoftAppPassword")
    microsoft_app_type: Literal["MultiTenant", "SingleTenant", "UserAssignedMSI"] = _named(
        "MicrosoftAppType", "MultiTenant"
    )
    microsoft_app_tenant_id: str | None = _named("MicrosoftAppTenantId")
    microsoft_app_certificate_path: Path | None = _named("MicrosoftAppCertificatePath")
    parley_teams_cloud: Literal["public", "us-government"] = "public"
    parley_teams_tenants: str = ""
    parley_teams_sensitivity: str = ""
    parley_teams_developer_name: str = Field(default="Parley", min_length=1, max_length=32)
    parley_teams_website_url: str = ""
    parley_teams_privacy_url: str = ""
    parley_teams_terms_url: str = ""
    parley_teams_auth: Literal["on", "off"] = "on"

    # --- Azure OpenAI, or any server with the same API
    azure_openai_endpoint: str | None = None
    azure_openai_api_key: SecretStr | None = None
    openai_api_version: str | None = None
    azure_openai_chat_deployment: str | None = None
    azure_openai_image_deployment: str | None = None
    azure_openai_embedding_deployment: str | None = None
    parley_deployments: Path | None = None
    tiktoken_cache_dir: Path | None = None  # named as the variable of tiktoken itself

    # --- storage, network, studio
    redis_url: SecretStr | None = None
    parley_redis_replicas: Annotated[int, Field(ge=0, le=5)] = 0
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 3978
    parley_worker_port: Annotated[int | None, Field(ge=0, le=65535)] = None
    parley_data_dir: Path = Path(".parley")
    parley_prompts: Path | None = None
    parley_public_url: str | None = None
    parley_trusted_proxies: str = ""
    parley_studio_token: SecretStr | None = None
    parley_studio_editor_token: SecretStr | None = None
    parley_studio_viewer_token: SecretStr | None = None
    parley_studio_entra_tenant: str | None = None
    parley_studio_entra_client_id: str | None = None
    parley_studio_entra_client_secret: SecretStr | None = None
    parley_studio_entra_viewers: str = "Parley.Viewer"
    parley_studio_entra_editors: str = "Parley.Editor"
    parley_studio_entra_operators: str = "Parley.Operator"
    parley_studio_entra_authority: str = "https://login.microsoftonline.com"
    parley_studio_session_hours: Annotated[float, Field(ge=0.25, le=720)] = 12.0
    parley_studio_session_idle_minutes: Annotated[int, Field(ge=5, le=43_200)] = 240
    parley_secret_keys: SecretStr | None = None

    # --- capacity and times
    parley_concurrency: Annotated[int, Field(ge=1, le=1024)] = 256
    parley_tenant_concurrency: Annotated[int | None, Field(ge=1, le=1024)] = None
    parley_lease_s: Annotated[float, Field(ge=0.2, le=600)] = 30.0
    parley_drain_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    parley_attempts: Annotated[int, Field(ge=1, le=50)] = 5
    parley_inbox_limit: Annotated[int, Field(ge=1, le=1000)] = 20
    parley_tenant_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    parley_document_memory_mb: Annotated[int, Field(ge=256, le=65_536)] = 768
    parley_tool_calls_per_round: Annotated[int, Field(ge=1, le=MAX_TOOL_CALLS)] = 8
    parley_answer_characters: Annotated[int, Field(ge=1000, le=2_000_000)] = 200_000
    parley_tool_calls_per_answer: Annotated[int, Field(ge=1, le=4 * MAX_TOOL_CALLS)] = 24
    parley_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30

    # --- what people may do
    parley_while_answering: Literal["queue", "supersede"] = "queue"
    parley_follow: Literal["follow", "dialogue", "mention-only", "quiet"] = "dialogue"
    parley_model_choice: bool = True
    parley_on_uninstall: Literal["delete", "keep"] = "delete"  # people expect that
    parley_operators: str = ""
    parley_permissions: str = ""
    parley_guest_limits: Literal["own", "host"] = "own"

    # --- limits on people, channels and tenants
    parley_limits: str = limits.DEFAULT
    parley_price_ceiling: Annotated[float | None, Field(ge=0, le=100_000)] = None

    # --- logging
    parley_log: Literal["text", "json"] = "text"
    parley_log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def limits(self) -> limits.Limits:
        return replace(limits.read(self.parley_limits), guests_apart=self.parley_guest_limits == "own")

    @property
    def permissions(self) -> permissions.Permissions:
        """Who may do what where."""
        return permissions.read(self.parley_permissions, self.operators)

    @property
    def price_ceiling_usd(self) -> float | None:
        """What stands in for unknown prices per million tokens, where any limit is in dollars."""
        return self.parley_price_ceiling if self.limits.dollars else None

    @property
    def default_mode(self) -> ParticipationMode:
        """The participation mode of channels for which none is chosen."""
        return mode_named(self.parley_follow) or DEFAULT_MODE

    @property
    def operators(self) -> frozenset[str]:
        """The user ids of the operators."""
        return _listed(self.parley_operators)

    @property
    def slack_tenants(self) -> frozenset[str]:
        """The ids and domains of the workspaces and organisations that are served; empty: all."""
        return _listed(self.parley_slack_tenants)

    @property
    def teams_tenants(self) -> frozenset[str]:
        """The ids of the Microsoft tenants that are served; empty: all."""
        return _listed(self.parley_teams_tenants)

    @property
    def readers(self) -> tuple[int, dict[str, str]]:
        """Memory limit of a file reader process, in MB, and its environment, which has no secrets."""
        return self.parley_document_memory_mb, {
            name: value for name in _FOR_READERS if (value := os.environ.get(name))
        }

    @property
    def trusted_proxies(self) -> frozenset[str]:
        """The addresses and networks of reverse proxies whose X-Forwarded-For is trusted."""
        return _listed(self.parley_trusted_proxies)

    @property
    def studio_is_open(self) -> bool:
        """Whether the studio runs: people sign in, or only local requests are accepted."""
        signs_in = self.parley_studio_token is not None or self.parley_studio_entra_client_id is not None
        return signs_in or is_loopback(self.host)

    @property
    def studio_roles(self) -> dict[Literal["viewer", "editor", "operator"], frozenset[str]]:
        """The app roles or groups of Microsoft Entra for each role in the studio."""
        return {
            "viewer": _listed(self.parley_studio_entra_viewers),
            "editor": _listed(self.parley_studio_entra_editors),
            "operator": _listed(self.parley_studio_entra_operators),
        }

    @property
    def slack(self) -> bool:
        """Whether Slack is configured."""
        return self.slack_bot_token is not None or self.slack_client_id is not None

    @property
    def slack_is_limited(self) -> bool:
        """Whether the API is that of Slack, which has rate limits; emulators have none."""
        return (urlsplit(self.slack_api_url).hostname or "").endswith("slack.com")

    @property
    def teams(self) -> bool:
        """Whether Teams is configured."""
        return self.microsoft_app_id is not None or self.parley_teams_auth == "off"

    @model_validator(mode="after")
    def _whole_platforms(self) -> Self:
        problems = [*self._studio_problems(), *self._entra_problems(), *self._slack_problems()]
        problems += [*self._teams_problems(), *self._model_problems(), *self._limit_problems()]
        problems += self._key_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _studio_problems(self) -> Iterator[str]:
        other = self.parley_studio_editor_token or self.parley_studio_viewer_token
        if other and self.parley_studio_token is None and not self.parley_studio_entra_client_id:
            yield "PARLEY_STUDIO_TOKEN (for operators) is missing, but a token for editors or viewers is set."

    def _entra_problems(self) -> Iterator[str]:
        """Problems of an incomplete registration, or of one that would admit other organisations."""
        named = {
            "PARLEY_STUDIO_ENTRA_TENANT": self.parley_studio_entra_tenant,
            "PARLEY_STUDIO_ENTRA_CLIENT_ID": self.parley_studio_entra_client_id,
            "PARLEY_STUDIO_ENTRA_CLIENT_SECRET": self.parley_studio_entra_client_secret,
        }
        missing = [name for name, value in named.items() if value is None]
        if len(missing) == len(named):
            return
        if missing:
            yield f"{missing[0]} is missing: sign-in with Microsoft Entra needs tenant, client id and client secret."
        if (self.parley_studio_entra_tenant or "").lower() in ("common", "organizations", "consumers"):
            yield (
                "PARLEY_STUDIO_ENTRA_TENANT must be the id or a domain of your organisation: "
                f"{self.parley_studio_entra_tenant} would admit other organisations."
            )
        authority = urlsplit(self.parley_studio_entra_authority)
        if authority.scheme != "https" and not is_loopback(authority.hostname or ""):
            yield "PARLEY_STUDIO_ENTRA_AUTHORITY must begin with https://"
        if self.parley_public_url is None and not is_loopback(self.host):
            yield "PARLEY_PUBLIC_URL is missing: Microsoft Entra redirects people there after sign-in."

    def _slack_problems(self) -> Iterator[str]:
        if (self.slack_client_id is None) != (self.slack_client_secret is None):
            yield (
                "SLACK_CLIENT_ID and SLACK_CLIENT_SECRET must be set together. "
                "Copy both from your Slack app's Basic Information page."
            )
        elif self.slack_client_id is not None and self.slack_bot_token is not None:
            yield (
                "SLACK_BOT_TOKEN is for one workspace, SLACK_CLIENT_ID for all that install the app. "
                "Set only one of them."
            )
        elif not self.slack:
            if self.slack_signing_secret or self.slack_app_token:
                yield (
                    "SLACK_BOT_TOKEN is missing, but other Slack settings are set. "
                    "Copy it from your Slack app's OAuth & Permissions page."
                )
        elif self.slack_signing_secret is None and self.slack_app_token is None:
            yield (
                "SLACK_SIGNING_SECRET (for HTTP) or SLACK_APP_TOKEN (for Socket Mode) is missing. "
                "Copy it from your Slack app's Basic Information page."
            )

    def _teams_problems(self) -> Iterator[str]:
        if self.parley_teams_auth == "off" and not is_loopback(self.host):
            yield (
                f"PARLEY_TEAMS_AUTH=off skips token validation, but HOST={self.host} accepts requests from "
                "other machines. Use HOST=127.0.0.1, or unset PARLEY_TEAMS_AUTH."
            )
        for name in ("website", "privacy", "terms"):
            url = str(getattr(self, f"parley_teams_{name}_url"))
            if url and not (url.startswith("https://") and len(url) <= 2048):
                yield f"PARLEY_TEAMS_{name.upper()}_URL is {url!r}. Teams needs an https address."
        if self.microsoft_app_id is None:
            if self.microsoft_app_password is not None:
                yield "MicrosoftAppId is missing, but MicrosoftAppPassword is set. Set it to the bot's application id."
            return
        if self.parley_teams_auth == "off":
            return
        credentials = (self.microsoft_app_password, self.microsoft_app_certificate_path)
        if self.microsoft_app_type != "UserAssignedMSI" and credentials == (None, None):
            yield (
                "MicrosoftAppPassword is missing. Set it to the client secret of MicrosoftAppId, "
                "or set MicrosoftAppCertificatePath."
            )
        if self.microsoft_app_type != "MultiTenant" and self.microsoft_app_tenant_id is None:
            yield f"MicrosoftAppTenantId is missing, which MicrosoftAppType={self.microsoft_app_type} requires."

    def _model_problems(self) -> Iterator[str]:
        named = {
            "AZURE_OPENAI_CHAT_DEPLOYMENT": self.azure_openai_chat_deployment,
            "AZURE_OPENAI_IMAGE_DEPLOYMENT": self.azure_openai_image_deployment,
            "AZURE_OPENAI_EMBEDDING_DEPLOYMENT": self.azure_openai_embedding_deployment,
        }
        orphans = [name for name, value in named.items() if value]
        if self.azure_openai_endpoint is not None:
            if not orphans and self.parley_deployments is None:
                yield (
                    "AZURE_OPENAI_ENDPOINT is set, but no deployment is named. "
                    "Set AZURE_OPENAI_CHAT_DEPLOYMENT to the name of a chat deployment in that resource."
                )
            return
        if self.azure_openai_api_key is not None and self.parley_deployments is None:
            orphans.append("AZURE_OPENAI_API_KEY")
        if orphans:
            yield (
                f"AZURE_OPENAI_ENDPOINT is missing, but {orphans[0]} is set. "
                "It looks like https://NAME.openai.azure.com."
            )

    def _key_problems(self) -> Iterator[str]:
        if self.parley_secret_keys is not None:
            from bot.storage.redis.secrets import (
                ciphers,
            )  # needs cryptography, which starting is better off without

            try:
                ciphers(self.parley_secret_keys, self.parley_data_dir)
            except ConfigError as error:
                yield str(error)

    def _limit_problems(self) -> Iterator[str]:
        if (self.parley_tenant_concurrency or 0) > self.parley_concurrency:
            yield (
                f"PARLEY_TENANT_CONCURRENCY={self.parley_tenant_concurrency} is more than "
                f"PARLEY_CONCURRENCY={self.parley_concurrency}, of which it is a part. Lower it, or unset it."
            )
        try:
            found = limits.read(self.parley_limits)
            if self.slack_bot_token is None:
                limits.refuse_names(found, _NO_NAMES)
        except ConfigError as error:
            yield f"PARLEY_LIMITS: {error}."
        try:
            permissions.read(self.parley_permissions)
        except ConfigError as error:
            yield f"PARLEY_PERMISSIONS: {error}."


def load() -> Settings:
    """The settings of this process. Raises ConfigError; its text never contains values."""
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError("\n".join(_words(detail) for detail in error.errors(include_input=False))) from None


def secrets(names: Iterable[str]) -> dict[str, SecretStr]:
    """The secrets with these names from the environment, then from `.env`."""
    found = {**dotenv_values(".env"), **os.environ}
    return {name: SecretStr(value) for name in names if (value := found.get(name))}


def outdated() -> list[CheckResult]:
    """A warning for each removed setting that is still set."""
    return [
        CheckResult(
            level="warning",
            subject="settings",
            words=f"{name} was removed and has no effect. Use {now} instead, with your values",
        )
        for name, now in _REPLACED.items()
        if secrets([name])
    ]


def _words(detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ")
    name = ".".join(str(step) for step in detail["loc"])
    return f"{name.upper()}: {text}" if name else text
