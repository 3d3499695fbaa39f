"""Removes what may be a secret from the fields that an import keeps: by name, by value, at any depth."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_LAST = frozenset(
    ("key", "keys", "token", "tokens", "pat", "pin", "sas", "sig", "pwd", "pass", "pem", "jwt")
)
"""Words that make a name secret if they are its last: `apiKey`, but not `keyField`."""
_SECRET_ANYWHERE = re.compile(
    r"secret|passw|passphrase|credential|authoriz|authent|^auth|auth$|connectionstr|signature|cookie|bearer|certificate"
    r"|privatekey|apikey|accesskey|accountkey|sharedkey|subscriptionkey|querykey|adminkey|masterkey|primarykey"
    r"|authkey|encodedkey|(access|bearer|refresh|id|sas|api|auth|session|security)token|connstr|sasur[il]|sastoken"
    r"|^headers?$|headers$|^dsn$|webhook|passcode|(?<!by)(?<!com)pass$|(function|access)code|^otp$|^hmac"
    r"|sessionid|[cx]srf|tokenvalue"
)
"""Parts of names, in lower case and without separators, that make the whole value secret."""
_SECRET_TEXT = re.compile(
    r"[?&;#](sig|code|auth|sas|pass|pw)="  # addresses; other names end as those below
    # A password or key in an address. Bounded, as many colons would take minutes.
    r"|://[^/\s:@]{0,200}:[^/\s@]{1,200}@|://[^/\s@]{8,200}@|://\S{0,200}/(web)?hooks?(b2)?/\S"
    r"|\b(bearer|basic|sharedaccesssignature)\W\s*\S|\b(token|digest)\s+(?=\S*\d)\S{6}"
    r"|\bapi[-_ ]?keys?\b\W{1,4}\w|\bcookie\s*:|access_?key_?id\W"  # headers
    r"|(key|secret|password|passwd|pwd|token|signature|sig|authorization|credential)s?\W{0,3}[=:]\W{0,3}\w"
    r"|-----BEGIN|\beyJ[\w-]{6}"  # certificates and keys; JSON Web Tokens
    # Tokens with a known beginning.
    r"|\b([spr]k|gh[oprsu]|github_pat|glpat|xox[a-z]|xapp|hf|pat|npm|gsk|r8|shp[a-z]{2}|dop_v1|pypi|nvapi|pplx"
    r"|tvly|xai|lin_api|secret)[-_][\w-]{8}|\bA[KS]IA[0-9A-Z]{12}|\bAIza[\w-]{20}|\b(SG|hvs|ya29)\.[\w-]{8}",
    re.IGNORECASE,
)
_RUN = re.compile(r"[A-Za-z0-9+/=_]{24,}")
"""As long as the shortest generated key; the parts of a GUID and the words of a model's name are shorter."""
_NAMES_OF_PAIRS = frozenset(("name", "key", "header", "id", "field", "label", "type", "kind"))
_VALUES_OF_PAIRS = frozenset(("value", "val", "content", "text", "data", "default"))
_MOST_DEPTH = 40


def without_secrets(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without values that may be secret, and without what only held those."""
    return cast("dict[str, Any]", _cleaned(dict(fields), "", []))


def secret_paths(fields: object) -> tuple[str, ...]:
    """Where values are that may be secret: `dataSources[0].parameters.key`."""
    found: list[str] = []
    _cleaned(fields, "", found)
    return tuple(found)


class _Absent:
    """In place of a value that was removed."""


_ABSENT = _Absent()


def _cleaned(value: object, path: str, found: list[str]) -> object:
    """A copy without secrets, or _ABSENT; their paths are added to `found`."""
    if path.count(".") + path.count("[") > _MOST_DEPTH or (isinstance(value, str) and _is_secret(value)):
        found.append(path)
        return _ABSENT
    if isinstance(value, list):
        items = cast("list[object]", value)
        cleaned = [_cleaned(item, f"{path}[{number}]", found) for number, item in enumerate(items)]
        return [item for item in cleaned if item is not _ABSENT]
    if isinstance(value, dict):
        return dict(_fields(cast("dict[str, object]", value), path, found))
    return value


def _fields(fields: dict[str, object], path: str, found: list[str]) -> Iterator[tuple[str, object]]:
    named = _names_a_secret(fields)
    for key, value in fields.items():
        secret = _is_secret(key)
        where = f"{path}.{'…' if secret else key}" if path else ("…" if secret else key)
        hidden = secret or (named and key.lower() in _VALUES_OF_PAIRS) or _hides(key, value)
        if hidden:
            if value not in (None, "", [], {}):
                found.append(where)
            continue
        cleaned = _cleaned(value, where, found)
        if cleaned is not _ABSENT:
            yield key, cleaned


def _hides(key: str, value: object) -> bool:
    """Whether a field is secret by its name. Numbers are, except counts such as `max_tokens`; flags are not."""
    if value is None or isinstance(value, bool):
        return False
    words = [word.lower() for word in _WORD.findall(key.rstrip("0123456789"))]
    joined = "".join(words)
    last = bool(words) and words[-1] in _SECRET_LAST
    if isinstance(value, int | float) and (joined.endswith("tokens") or joined.startswith("max")):
        return False
    # Spelt in one word: apikey, searchkey, keyvalue.
    runs_on = joined.endswith(("key", "keys", "token", "pwd", "keyvalue"))
    return last or runs_on or _SECRET_ANYWHERE.search(joined) is not None


def _names_a_secret(fields: Mapping[str, object]) -> bool:
    """Whether this is a pair of name and value, such as a header, whose name is that of a secret."""
    names = (value for key, value in fields.items() if key.lower() in _NAMES_OF_PAIRS)
    return any(isinstance(name, str) and _hides(name, "") for name in names)


def _is_secret(text: str) -> bool:
    """Whether a text looks like a secret, or contains one."""
    text = unquote(text)
    if _SECRET_TEXT.search(text):
        return True
    return any(re.search(r"\d", run) and re.search(r"[A-Za-z]", run) for run in _RUN.findall(text))
