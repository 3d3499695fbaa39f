"""Microsoft's token service for the Teams simulator: real RSA keys, real JSON Web Tokens."""

import base64
import functools
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
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


def certificate(name: str) -> x509.Certificate:
    """A certificate of the key with this name, as an app registration holds it."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key(name).public_key(), x509.random_serial_number())
    begins = datetime.now(UTC) - timedelta(days=1)
    builder = builder.not_valid_before(begins).not_valid_after(begins + timedelta(days=2))
    return builder.sign(key(name), hashes.SHA256())


def pem(name: str, of: x509.Certificate) -> bytes:
    """A key and its certificate in one file, as people export them."""
    secret = key(name).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + of.public_bytes(serialization.Encoding.PEM)


def proves(form: Mapping[str, str], app_id: str, url: str, known: x509.Certificate | None) -> bool:
    """Whether an assertion is signed by a certificate that Entra knows, for this endpoint."""
    if known is None or form["client_assertion_type"] != (
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    ):
        return False
    assertion = form["client_assertion"]
    thumbprint = base64.urlsafe_b64encode(known.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
    public = known.public_key()
    if jwt.get_unverified_header(assertion).get("x5t#S256") != thumbprint:
        return False
    assert isinstance(public, rsa.RSAPublicKey)
    try:
        claims = jwt.decode(
            assertion, public, ["PS256"], audience=url, issuer=app_id, options={"require": ["exp", "jti"]}
        )
    except jwt.PyJWTError:
        return False
    return claims["sub"] == form["client_id"] == app_id
