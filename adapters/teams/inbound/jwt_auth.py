"""Validates Microsoft's tokens with botbuilder; signing keys are fetched without blocking the event loop."""

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
    """Replaces `JwtTokenExtractor.open_id_metadata`, which blocks the loop and fails on new keys."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._keys = Keys(session, url)

    async def get(self, key_id: str | None) -> SigningKey:
        """The key with this id. Raises Unauthentic, or PlatformUnavailable if the keys can't be read."""
        key = await self._keys.get(key_id)
        return SigningKey(RSAAlgorithm.from_jwk(key), key.get("endorsements", []))


class JwtAuthentication(BotFrameworkAuthentication):
    """Checks signature, time, issuer, audience, key endorsement and service URL of a token."""

    def __init__(self, session: aiohttp.ClientSession, cloud: Cloud, app_id: str | None) -> None:
        """Without `app_id`, every request is accepted."""
        self.required = app_id is not None
        self._app = SimpleCredentialProvider(app_id or "", "")
        government = cloud.issuer == GovernmentConstants.TO_BOT_FROM_CHANNEL_TOKEN_ISSUER
        self._validation = GovernmentChannelValidation if government else ChannelValidation
        parameters: Any = (
            GovernmentChannelValidation.TO_BOT_FROM_GOVERNMENT_CHANNEL_TOKEN_VALIDATION_PARAMETERS
            if government
            else ChannelValidation.TO_BOT_FROM_CHANNEL_TOKEN_VALIDATION_PARAMETERS
        )
        algorithms = AuthenticationConstants.ALLOWED_SIGNING_ALGORITHMS
        self._channel = JwtTokenExtractor(parameters, "unused", algorithms)
        keys: Any = SigningKeys(session, cloud.keys_url)
        self._channel.open_id_metadata = keys

    async def authenticate_request(
        self, activity: SdkActivity, auth_header: str
    ) -> AuthenticateRequestResult:
        """Raises Unauthentic, or PlatformUnavailable if the signing keys can't be read."""
        result = AuthenticateRequestResult()
        result.connector_factory = _NoConnectors()
        try:
            result.claims_identity = await self._identify(activity, auth_header)
        except (Unauthentic, PlatformUnavailable):
            raise
        except Exception as error:
            # PermissionError, ValueError and a dozen errors of PyJWT all mean an invalid token.
            raise Unauthentic(f"the token is invalid: {type(error).__name__}") from error
        return result

    async def _identify(self, activity: SdkActivity, auth_header: str) -> ClaimsIdentity:
        if not self.required:
            return ClaimsIdentity({}, True, AuthenticationConstants.ANONYMOUS_AUTH_TYPE)
        identity = await self._channel.get_identity_from_auth_header(auth_header, str(activity.channel_id))
        await self._validation.validate_identity(identity, self._app)
        claims = cast("dict[str, object]", vars(identity)["claims"])
        if "exp" not in claims:  # botbuilder checks the time only if there is one
            raise Unauthentic("the token never expires")
        if claims.get(ChannelValidation.SERVICE_URL_CLAIM) != activity.service_url:
            raise Unauthentic("the token is for another service URL")
        return identity

    async def authenticate_streaming_request(
        self, auth_header: str, channel_id_header: str
    ) -> AuthenticateRequestResult:
        """Always raises Unauthentic: streaming connections are not supported."""
        raise Unauthentic("streaming connections are not supported")

    def create_connector_factory(self, claims_identity: ClaimsIdentity) -> ConnectorFactory:
        """Unused: answers are sent by `Connector`."""
        return _NoConnectors()

    async def create_user_token_client(self, claims_identity: ClaimsIdentity) -> Any:
        """Unused: people don't sign in through the bot."""
        return None


class _NoConnectors(ConnectorFactory):
    """A stub, because building msrest's client is slow and `Connector` sends the answers."""

    async def create(self, service_url: str, audience: str) -> Any:
        return self
