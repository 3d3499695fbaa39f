"""How the bot proves to Microsoft who it is: a client secret, a certificate, or a managed identity."""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

import aiohttp
import msgspec
from pydantic import SecretStr

from adapters.shared.entra import Certificate, Fetch, by_certificate, by_managed_identity, by_secret
from adapters.teams.cloud import Cloud
from bot.domain.errors import ConfigError
from bot.domain.events import now

_NOTICE = timedelta(days=30)

AppType = Literal["MultiTenant", "SingleTenant", "UserAssignedMSI"]


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The app's id, how it is registered, and its one means of proof; a managed identity needs none."""

    app_id: str
    app_type: str = "MultiTenant"
    tenant: str | None = None
    password: SecretStr | None = None
    certificate: Certificate | None = None

    @classmethod
    def demanded(
        cls,
        app_id: str,
        password: SecretStr | None,
        app_type: str,
        tenant: str | None,
        certificate_path: Path | None,
    ) -> Self:
        """Credentials that are whole.

        An empty app id would let everybody in: botbuilder takes it as "authentication is off".
        Raises ConfigError.
        """
        if not app_id.strip():
            raise ConfigError("MicrosoftAppId is empty. Without it anybody could speak as Teams.")
        if app_type not in ("MultiTenant", "SingleTenant", "UserAssignedMSI"):
            raise ConfigError(
                f"MicrosoftAppType is {app_type!r}; it is MultiTenant, SingleTenant or UserAssignedMSI."
            )
        if app_type != "MultiTenant" and not tenant:
            raise ConfigError(f"MicrosoftAppTenantId is missing: MicrosoftAppType={app_type} needs it.")
        secret = password if password is not None and password.get_secret_value() else None
        _demand_one_proof(app_type, secret, certificate_path)
        certificate = Certificate.read(certificate_path) if certificate_path is not None else None
        return cls(app_id=app_id, app_type=app_type, tenant=tenant, password=secret, certificate=certificate)

    def ending(self) -> str:
        """Words for the operator while the certificate has less than a month left."""
        if self.certificate is None or self.certificate.ends_at - now() > _NOTICE:
            return ""
        day = self.certificate.ends_at.date().isoformat()
        return f"The bot's certificate ends on {day}. Make a new one, and add it to the app's registration."

    def fetch(
        self, session: aiohttp.ClientSession, cloud: Cloud, scope: str = "", elsewhere: str = ""
    ) -> Fetch:
        """What gets a new token: for the Bot Connector, or for another `scope`.

        `elsewhere` is the tenant in which an app for many tenants asks for that.
        """
        scope = scope or cloud.scope
        own = self.tenant if self.app_type != "MultiTenant" else None
        tenant = own or elsewhere or cloud.tenant
        if self.certificate is not None:
            return by_certificate(session, cloud.login_url, tenant, self.app_id, self.certificate, scope)
        if self.password is not None:
            return by_secret(session, cloud.login_url, tenant, self.app_id, self.password, scope)
        return by_managed_identity(self.app_id, scope)


def _demand_one_proof(app_type: str, password: SecretStr | None, certificate: Path | None) -> None:
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
            "MicrosoftAppPassword is missing: the client secret of the app MicrosoftAppId. "
            "MicrosoftAppCertificatePath is the other way."
        )
