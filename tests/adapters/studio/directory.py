"""Microsoft Entra's side of signing in: discovery, authorize, token and keys, on loopback."""

import base64
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from html import escape
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from pydantic import SecretStr

from adapters.studio.auth.entra import Registration
from tests.simulators.teams_tokens import KEY_ID, jwks, sign

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "99999999-8888-7777-6666-555555555555"
GROUP = "0b5ad8e2-aaaa-4bbb-8ccc-1234567890ab"
"""A group of operators, written otherwise in the settings."""
SECRET = "the app's client secret"
ADA: dict[str, Any] = {
    "oid": "aaaaaaaa-0000-0000-0000-000000000001",
    "sub": "pairwise-of-ada",
    "name": "Ada Lovelace",
    "preferred_username": "ada@contoso.example",
    "roles": ["Parley.Editor"],
}
ROLES = {
    "viewer": frozenset({"Parley.Viewer"}),
    "editor": frozenset({"Parley.Editor", "group-of-editors"}),
    "operator": frozenset({"Parley.Operator", GROUP[:8].upper() + GROUP[8:]}),
}


class Directory:
    """One tenant. Whoever comes is `person`; `changed` spoils what is signed, `refusal` is said instead."""

    def __init__(self) -> None:
        self.url = ""
        self.person: dict[str, Any] = dict(ADA)
        self.changed: dict[str, Any] = {}
        self.signed_by: str | None = None
        self.refusal = ""
        self.asked: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def issuer(self) -> str:
        return f"{self.url}/{TENANT}/v2.0"

    def registration(self, secret: str = SECRET, tenant: str = TENANT) -> Registration:
        """The app as Parley's settings name it."""
        roles: Any = ROLES
        return Registration(
            tenant=tenant,
            client_id=CLIENT,
            client_secret=SecretStr(secret),
            authority=self.url,
            roles=roles,
        )

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._metadata)
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/link", _link)
        return app

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }
        )

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response(jwks([]))

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.asked.append(asked)
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        answer = {"state": asked["state"]}
        if self.refusal:
            answer |= {"error": "access_denied", "error_description": self.refusal}
        else:
            answer["code"] = token_hex(8)
            self._codes[answer["code"]] = asked
        location = f"{asked['redirect_uri']}?{urlencode(answer)}"
        return web.Response(status=302, headers={"Location": location})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self._codes.pop(str(form["code"]), None)
        digest = sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if form["client_secret"] != SECRET:
            words = "AADSTS7000215: Invalid client secret provided."
            return web.json_response({"error": "invalid_client", "error_description": words}, status=401)
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            words = "AADSTS54005: The code was used, or is for another."
            return web.json_response({"error": "invalid_grant", "error_description": words}, status=400)
        return web.json_response({"token_type": "Bearer", "id_token": self._id_token(asked["nonce"])})

    def _id_token(self, nonce: str) -> str:
        seconds = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT,
            "tid": TENANT,
            "iat": seconds,
            "nbf": seconds,
            "exp": seconds + 3600,
            "nonce": nonce,
            **self.person,
            **self.changed,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return sign(kept, KEY_ID, self.signed_by)


async def _link(request: web.Request) -> web.Response:
    """A page of another site that links to the studio."""
    to = escape(request.query["to"])
    icon = '<link rel="icon" href="data:,">'
    return web.Response(text=f'{icon}<a href="{to}">go</a>', content_type="text/html")


@asynccontextmanager
async def open_directory() -> AsyncGenerator[Directory]:
    """A tenant at `localhost`: another site than the studio at 127.0.0.1."""
    directory = Directory()
    runner = web.AppRunner(directory.app(), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0).start()
    directory.url = f"http://localhost:{runner.addresses[0][1]}"
    try:
        yield directory
    finally:
        await runner.cleanup()
