"""The bot's token: renewed ahead of expiry, shared, and explained if it can't be fetched."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from adapters.shared.entra import AHEAD_S, Token
from adapters.teams import Cloud, Credentials, TeamsAdapter
from bot.domain.errors import ConfigError, PlatformUnavailable
from tests.adapters.teams.conftest import Rig, served
from tests.simulators import teams_tokens
from tests.simulators.teams import APP_ID, PASSWORD, TeamsSimulator


class Source:
    """Issues numbered tokens, valid for `lives_s` seconds, while `open` is set."""

    def __init__(self, *lives_s: float) -> None:
        self.lives_s = list(lives_s)
        self.fetched = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> tuple[str, float]:
        await self.open.wait()
        self.fetched += 1
        return f"token-{self.fetched}", self.lives_s.pop(0)


async def test_concurrent_requests_share_one_fetch() -> None:
    source = Source(3600)
    token = Token(source)
    assert set(await asyncio.gather(*(token.bearer() for _ in range(20)))) == {"token-1"}
    assert source.fetched == 1


async def test_a_token_is_renewed_ahead_of_expiry() -> None:
    source = Source(AHEAD_S - 1, 3600)
    token = Token(source)
    assert await token.bearer() == "token-1"
    source.open.clear()
    assert await token.bearer() == "token-1"
    source.open.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await token.bearer() == "token-2"


async def test_an_invalidated_token_is_not_returned_again() -> None:
    source = Source(3600, 3600)
    token = Token(source)
    await token.bearer()
    token.invalidate()
    assert await token.bearer() == "token-2"


async def test_a_failed_fetch_is_raised_and_retried_later() -> None:
    answers = [PlatformUnavailable("away"), None]

    async def fetch() -> tuple[str, float]:
        if error := answers.pop(0):
            raise error
        return "token", 3600

    token = Token(fetch)
    with pytest.raises(PlatformUnavailable):
        await token.bearer()
    assert await token.bearer() == "token"


async def test_closing_ends_a_fetch_that_hangs() -> None:
    source = Source()
    source.open.clear()
    token = Token(source)
    waiting = asyncio.create_task(token.bearer())
    await asyncio.sleep(0)
    await token.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_good_secret_is_ok(rig: Rig) -> None:
    (finding,) = await rig.adapter.check()
    assert finding.level == "ok"
    assert {request["tenant"] for request in rig.teams.token_requests} == {"botframework.com"}
    assert {request["scope"] for request in rig.teams.token_requests} == {
        "https://api.botframework.com/.default"
    }


async def test_a_single_tenant_asks_its_own_tenant() -> None:
    async with TeamsSimulator() as teams:
        adapter = TeamsAdapter(
            Credentials.checked(APP_ID, SecretStr(PASSWORD), "SingleTenant", "contoso"), cloud=teams.cloud
        )
        async with adapter:
            (finding,) = await adapter.check()
        assert finding.level == "ok"
        assert teams.token_requests[0]["tenant"] == "contoso"


async def test_a_wrong_secret_is_explained_without_showing_it() -> None:
    async with TeamsSimulator() as teams:
        wrong = SecretStr("wrong-secret")
        async with TeamsAdapter(Credentials.checked(APP_ID, wrong), cloud=teams.cloud) as adapter:
            (finding,) = await adapter.check()
    assert finding.level == "error"
    assert "AADSTS7000215" in finding.words
    assert "MicrosoftAppPassword" in finding.words
    assert "wrong-secret" not in finding.words


async def test_an_outage_of_entra_names_its_url() -> None:
    async with TeamsSimulator() as teams:
        cloud = teams.cloud
    async with TeamsAdapter(Credentials.checked(APP_ID, SecretStr(PASSWORD)), cloud=cloud) as adapter:
        (finding,) = await adapter.check()
    assert finding.level == "error"
    assert cloud.login_url in finding.words


async def test_a_bot_without_a_token_waits(rig: Rig) -> None:
    async with TeamsAdapter(
        Credentials.checked(APP_ID, SecretStr("wrong")), cloud=rig.teams.cloud, backoff_s=0
    ) as adapter:
        received = await rig.asked("a:alice")
        with pytest.raises(PlatformUnavailable, match="rejected"):
            await adapter.open(received.address, None, retry=False)


@pytest.fixture
def registered() -> x509.Certificate:
    return teams_tokens.certificate("registered")


async def test_a_certificate_replaces_a_secret(tmp_path: Path, registered: x509.Certificate) -> None:
    key, certificate = teams_tokens.pem("registered", registered).split(b"-----BEGIN CERTIFICATE")
    (tmp_path / "bot.pem").write_bytes(b"-----BEGIN CERTIFICATE" + certificate + key)
    async with TeamsSimulator() as teams:
        teams.certificate = registered
        async with TeamsAdapter(
            Credentials.checked(APP_ID, None, "SingleTenant", "contoso", tmp_path / "bot.pem"),
            cloud=teams.cloud,
        ) as adapter:
            good, ends = await adapter.check()
    assert good.level == "ok", good
    assert ends.level == "warning", ends
    assert "expires on" in ends.words
    assert teams.token_requests[0]["tenant"] == "contoso"
    assert "client_secret" not in teams.token_requests[0]


async def test_an_unknown_certificate_is_explained(tmp_path: Path, registered: x509.Certificate) -> None:
    other = teams_tokens.certificate("registered")
    (tmp_path / "bot.pem").write_bytes(teams_tokens.pem("registered", other))
    async with TeamsSimulator() as teams:
        teams.certificate = registered
        path = tmp_path / "bot.pem"
        async with TeamsAdapter(
            Credentials.checked(APP_ID, certificate_path=path), cloud=teams.cloud
        ) as adapter:
            (finding,) = await adapter.check()
    assert finding.level == "error"
    assert "AADSTS700027" in finding.words


def test_an_unusable_certificate_is_a_config_error(tmp_path: Path, registered: x509.Certificate) -> None:
    path = tmp_path / "bot.pem"
    with pytest.raises(ConfigError, match="can't be read"):
        Credentials.checked(APP_ID, certificate_path=path)
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="is not a PEM file"):
        Credentials.checked(APP_ID, certificate_path=path)
    path.write_bytes(registered.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError, match="is not a PEM file"):
        Credentials.checked(APP_ID, certificate_path=path)
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + registered.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError, match="not an RSA key"):
        Credentials.checked(APP_ID, certificate_path=path)


def test_one_secret_is_enough(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Keep one"):
        Credentials.checked(APP_ID, SecretStr("x"), certificate_path=tmp_path / "bot.pem")
    with pytest.raises(ConfigError, match="UserAssignedMSI"):
        Credentials.checked(APP_ID, None, "UserAssignedMSI", "contoso", tmp_path / "bot.pem")


class Identity:
    """The managed identity endpoint of Azure App Service."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        if self.status != 200:
            return web.json_response({"error": "invalid_request"}, status=self.status)
        ends = str(int(time.time()) + 3600)
        token = {"access_token": "managed", "expires_on": ends, "token_type": "Bearer"}
        return web.json_response({**token, "resource": request.query["resource"]})


@pytest.fixture
async def identity(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Identity]:
    identity = Identity()
    app = web.Application()
    app.router.add_get("/token", identity.answer)
    async with served(app) as url:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "secret-header")
        yield identity


async def test_a_managed_identity_needs_no_password(identity: Identity) -> None:
    async with TeamsAdapter(Credentials.checked(APP_ID, None, "UserAssignedMSI", "contoso")) as adapter:
        (finding,) = await adapter.check()
    assert finding.level == "ok", finding
    assert identity.asked[0]["client_id"] == APP_ID
    assert identity.asked[0]["resource"] == "https://api.botframework.com"


async def test_a_missing_managed_identity_is_explained(identity: Identity) -> None:
    identity.status = 400
    async with TeamsAdapter(Credentials.checked(APP_ID, None, "UserAssignedMSI", "contoso")) as adapter:
        (finding,) = await adapter.check()
    assert finding.level == "error"
    assert APP_ID in finding.words


async def test_an_invalid_answer_of_entra_is_temporary() -> None:
    async def strange(request: web.Request) -> web.Response:
        return web.json_response({"no": "token"})

    app = web.Application()
    app.router.add_post("/{tail:.*}", strange)
    async with (
        served(app) as url,
        TeamsAdapter(Credentials.checked(APP_ID, SecretStr("x")), cloud=Cloud(login_url=url)) as adapter,
    ):
        (finding,) = await adapter.check()
    assert finding.level == "error"
    assert "without a token" in finding.words
