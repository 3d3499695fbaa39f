"""Lets in only what Microsoft signed: botbuilder's token checks, with keys fetched without blocking."""

from typing import Any, cast

import aiohttp
from botbuilder.schema import Activity as SdkActivity
from botframework.connector.auth import (
    AuthenticateRequestResult,
    AuthenticationConstants,
    BotFrameworkAuthentication,
    ChannelValidation,
    ClaimsIdentity,
    ConnectorFactory,
    GovernmentChannelValidation,
    GovernmentConstants,
    JwtTokenExtractor,
    SimpleCredentialProvider,
)
from botframework.connector.auth.jwt_token_extractor import (
    _OpenIdConfig as SigningKey,  # pyright: ignore[reportPrivateUsage]
)
from jwt.algorithms import RSAAlgorithm

from adapters.shared.entra import Keys
from adapters.teams.cloud import Cloud
from bot.domain.errors import PlatformUnavailable, Unauthentic


class SigningKeys:
    """Stands in for `JwtTokenExtractor.open_id_metadata`, which blocks the loop and fails on new keys."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._keys = Keys(session, url)

    async def get(self, key_id: str | None) -> SigningKey:
        """The key with this id. Raises Unauthentic, PlatformUnavailable (the keys can't be read)."""
        key = await self._keys.get(key_id)
        return SigningKey(RSAAlgorithm.from_jwk(key), key.get("endorsements", []))


class JwtAuthentication(BotFrameworkAuthentication):
    """Checks signature, time, issuer, audience, key endorsement and service URL of an inbound token."""

    def __init__(self, session: aiohttp.ClientSession, app_id: str, cloud: Cloud, authenticate: bool) -> None:
        self._cloud = cloud
        self._authenticate = authenticate
        self._app = SimpleCredentialProvider(app_id, "")
        government = cloud.issuer == GovernmentConstants.TO_BOT_FROM_CHANNEL_TOKEN_ISSUER
        self._validation = GovernmentChannelValidation if government else ChannelValidation
        self._channel = self._extractor(
            GovernmentChannelValidation.TO_BOT_FROM_GOVERNMENT_CHANNEL_TOKEN_VALIDATION_PARAMETERS
            if government
            else ChannelValidation.TO_BOT_FROM_CHANNEL_TOKEN_VALIDATION_PARAMETERS,
            SigningKeys(session, cloud.keys_url),
        )

    @staticmethod
    def _extractor(parameters: Any, keys: SigningKeys) -> JwtTokenExtractor:
        extractor = JwtTokenExtractor(
            parameters, "unused", AuthenticationConstants.ALLOWED_SIGNING_ALGORITHMS
        )
        extractor.open_id_metadata = keys  # pyright: ignore[reportAttributeAccessIssue]
        return extractor

    async def authenticate_request(
        self, activity: SdkActivity, auth_header: str
    ) -> AuthenticateRequestResult:
        """Raises Unauthentic, PlatformUnavailable (the signing keys can't be read)."""
        result = AuthenticateRequestResult()
        result.connector_factory = _NoConnectors()
        if not self._authenticate:
            anonymous = AuthenticationConstants.ANONYMOUS_AUTH_TYPE
            result.claims_identity = ClaimsIdentity({}, True, anonymous)
            return result
        try:
            result.claims_identity = await self._identify(activity, auth_header)
        except (Unauthentic, PlatformUnavailable):
            raise
        except Exception as error:
            # PermissionError, a dozen of PyJWT's errors, ValueError: in each case the token is not good.
            raise Unauthentic(f"the token is not good: {type(error).__name__}") from error
        return result

    async def _identify(self, activity: SdkActivity, auth_header: str) -> ClaimsIdentity:
        identity = await self._channel.get_identity_from_auth_header(auth_header, str(activity.channel_id))
        await self._validation.validate_identity(identity, self._app)
        claims = cast("dict[str, object]", vars(identity)["claims"])
        if claims.get(ChannelValidation.SERVICE_URL_CLAIM) != activity.service_url:
            raise Unauthentic("the token is for another service URL")
        return identity

    async def authenticate_streaming_request(
        self, auth_header: str, channel_id_header: str
    ) -> AuthenticateRequestResult:
        """Named pipes and web sockets are not served."""
        raise Unauthentic("web sockets are not served")

    def create_connector_factory(self, claims_identity: ClaimsIdentity) -> ConnectorFactory:
        """Answers go out by `Connector`."""
        return _NoConnectors()

    async def create_user_token_client(self, claims_identity: ClaimsIdentity) -> Any:
        """Nobody signs in through the bot."""
        return None


class _NoConnectors(ConnectorFactory):
    """Building msrest's client costs more than the rest of a turn, and answers are sent later, elsewhere."""

    async def create(self, service_url: str, audience: str) -> Any:
        return self
