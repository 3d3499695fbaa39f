"""The endpoints of a Microsoft cloud: token service, signing keys, allowed hosts."""

from typing import Self
from urllib.parse import urlsplit

import msgspec

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoints of one cloud, and the hosts that service URLs and files may have.

    A service URL arrives in a request and receives the bot's token, so it is checked against a list
    although the request is signed. A host that starts with a dot matches its subdomains.
    `tenant` issues the token of a multi-tenant app.
    """

    login_url: str = "https://login.microsoftonline.com"
    tenant: str = "botframework.com"
    keys_url: str = "https://login.botframework.com/v1/.well-known/openidconfiguration"
    issuer: str = "https://api.botframework.com"
    scope: str = "https://api.botframework.com/.default"
    graph_url: str = "https://graph.microsoft.com"
    service_hosts: tuple[str, ...] = ("smba.trafficmanager.net", ".botframework.com", ".teams.microsoft.com")
    file_hosts: tuple[str, ...] = (".sharepoint.com", ".svc.ms", ".onedrive.com", ".1drv.com")
    insecure: bool = False

    @classmethod
    def us_government(cls) -> Self:
        """GCC High and DoD (Bot Framework, "Deploy to a government cloud"); GCC is in the public cloud."""
        return cls(
            login_url="https://login.microsoftonline.us",
            tenant="MicrosoftServices.onmicrosoft.us",
            keys_url="https://login.botframework.azure.us/v1/.well-known/openidconfiguration",
            issuer="https://api.botframework.us",
            scope="https://api.botframework.us/.default",
            graph_url="https://graph.microsoft.us",
            service_hosts=(
                "smba.infra.gov.teams.microsoft.us",
                "smba.infra.dod.teams.microsoft.us",
                ".botframework.azure.us",
            ),
            file_hosts=(".sharepoint.us", ".svc.ms", ".onedrive.us"),
        )

    def local(self) -> Self:
        """The same, but limited to hosts on this machine, for use without authentication."""
        return msgspec.structs.replace(self, service_hosts=LOOPBACK, file_hosts=LOOPBACK, insecure=True)

    def serves(self, url: str) -> bool:
        """Whether the bot may call this URL with its token."""
        return self._among(url, self.service_hosts)

    def holds_files(self, url: str) -> bool:
        """Whether a person's file may be fetched from this URL (without a token)."""
        return self._among(url, self.file_hosts)

    def _among(self, url: str, hosts: tuple[str, ...]) -> bool:
        try:
            parts = urlsplit(url)
            host, secret = (parts.hostname or "").lower(), parts.username or parts.password
            port = parts.port
        except ValueError:
            return False
        if secret or parts.scheme not in (("http", "https") if self.insecure else ("https",)):
            return False
        if not self.insecure and port not in (None, 443):
            return False
        return any(host.endswith(known) if known.startswith(".") else host == known for known in hosts)
