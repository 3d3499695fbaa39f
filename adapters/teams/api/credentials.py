"""The bot's credentials: a client secret, a certificate, or a managed identity."""

from datetime import timedelta
from pathlib import Path
from typing import Self

import aiohttp
import msgspec
from pydantic import SecretStr

from adapters.shared.entra import Certificate, Fetch, by_client_credentials, by_managed_identity
from adapters.teams.cloud import Cloud
from bot.domain.errors import ConfigError
from bot.domain.events import now

_NOTICE = timedelta(days=30)


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The app's id and type, with a password or a certificate; a managed identity has neither."""

    app_id: str
    app_type: str = "MultiTenant"
    tenant: str | None = None
    password: SecretStr | None = None
    certificate: Certificate | None = None

    @classmethod
    def checked(
        cls,
        app_id: str,
        password: SecretStr | None = None,
        app_type: str = "MultiTenant",
        tenant: str | None = None,
        certificate_path: Path | None = None,
    ) -> Self:
        """Complete credentials; the certificate is a PEM file with its private key. Raises ConfigError.

        An empty app id is refused, because botbuilder would switch authentication off.
        """
        if not app_id.strip():
            raise ConfigError("MicrosoftAppId is empty. Set it to the app id of the bot.")
        if app_type not in ("MultiTenant", "SingleTenant", "UserAssignedMSI"):
            raise ConfigError(
                f"MicrosoftAppType is {app_type!r}. Set it to MultiTenant, SingleTenant or UserAssignedMSI."
            )
        if app_type != "MultiTenant" and not tenant:
            raise ConfigError(f"MicrosoftAppTenantId is missing. MicrosoftAppType={app_type} requires it.")
        secret = password if password is not None and password.get_secret_value() else None
        _require_one_secret(app_type, secret, certificate_path)
        certificate = Certificate.read(certificate_path) if certificate_path is not None else None
        return cls(app_id=app_id, app_type=app_type, tenant=tenant, password=secret, certificate=certificate)

    def expiry_notice(self) -> str:
        """A warning if the certificate expires within a month, else empty."""
        if self.certificate is None or self.certificate.ends_at - now() > _NOTICE:
            return ""
        day = self.certificate.ends_at.date().isoformat()
        return (
            f"The bot's certificate expires on {day}. Create a new one and upload it to the app registration."
        )

    def fetch(
        self, session: aiohttp.ClientSession, cloud: Cloud, scope: str = "", customer_tenant: str = ""
    ) -> Fetch:
        """A function that fetches a token: for the Bot Connector, or for another `scope`.

        A multi-tenant app requests it from `customer_tenant`, if given.
        """
        scope = scope or cloud.scope
        own = self.tenant if self.app_type != "MultiTenant" else None
        tenant = own or customer_tenant or cloud.tenant
        secret = self.certificate or self.password
        if secret is None:
            return by_managed_identity(self.app_id, scope)
        url = f"{cloud.login_url.rstrip('/')}/{tenant}/oauth2/v2.0/token"
        return by_client_credentials(session, url, self.app_id, secret, scope)


def _require_one_secret(app_type: str, password: SecretStr | None, certificate: Path | None) -> None:
    if password is not None and certificate is not None:
        raise ConfigError("MicrosoftAppPassword and MicrosoftAppCertificatePath are both set. Keep one.")
    if app_type == "UserAssignedMSI":
        if password is not None:
            raise ConfigError("MicrosoftAppPassword is set, but a UserAssignedMSI has none. Remove it.")
        if certificate is not None:
            raise ConfigError(
                "MicrosoftAppCertificatePath is set, but a UserAssignedMSI has none. Remove it."
            )
    elif password is None and certificate is None:
        raise ConfigError(
            "The bot has no credentials. Set MicrosoftAppPassword (a client secret) or MicrosoftAppCertificatePath."
        )
