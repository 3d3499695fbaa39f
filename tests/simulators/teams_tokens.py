"""Microsoft's token service for the Teams simulator: real RSA keys, real JSON Web Tokens."""

import base64
import functools
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://api.botframework.com"
KEY_ID = "simulated-key"


@functools.cache
def key(name: str) -> rsa.RSAPrivateKey:
    """A private key; making one is slow, so each name has one per process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwks(endorsements: list[str], key_id: str = KEY_ID) -> dict[str, Any]:
    """The public key as the metadata's `jwks_uri` shows it."""
    numbers = key(key_id).public_key().public_numbers()
    return {
        "keys": [
            {
                "kty": "RSA",
                "use": "sig",
                "alg": "RS256",
                "kid": key_id,
                "x5t": key_id,
                "n": _number(numbers.n),
                "e": _number(numbers.e),
                "endorsements": endorsements,
            }
        ]
    }


def _number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(claims: dict[str, Any], key_id: str = KEY_ID, signed_by: str | None = None) -> str:
    """A token whose header names `key_id`, signed by that key or by the one called `signed_by`."""
    return jwt.encode(claims, key(signed_by or key_id), "RS256", {"kid": key_id})


def inbound_claims(app_id: str, service_url: str, **changed: Any) -> dict[str, Any]:
    """What the Bot Connector claims when it calls a bot; a change to `None` takes a claim away."""
    seconds = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": app_id,
        "serviceurl": service_url,
        "nbf": seconds - 60,
        "exp": seconds + 3600,
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def outbound_token(app_id: str) -> str:
    """What Entra gives a bot for the connector."""
    seconds = int(time.time())
    return sign({"aud": ISSUER, "appid": app_id, "nbf": seconds, "exp": seconds + 3600})


@functools.lru_cache(maxsize=64)
def is_outbound(token: str) -> bool:
    """Whether `outbound_token` made this one."""
    try:
        jwt.decode(token, key(KEY_ID).public_key(), ["RS256"], audience=ISSUER)
    except jwt.PyJWTError:
        return False
    return True
