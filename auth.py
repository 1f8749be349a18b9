"""Bearer token → user: the `AuthenticationBackend` of the API, and the verifier of Better Auth's JSON Web Tokens."""

import json
import re
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import jwt
from jwt.utils import base64url_decode, base64url_encode
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.requests import HTTPConnection

from keys import ALGORITHMS, KeySet
from settings import Settings

# Seconds by which the clocks of the issuer and of this machine may differ.
LEEWAY = 30

# In characters. A token may hold the profile's image; web servers commonly allow 16 KiB. The header is its first part.
MAXIMUM_TOKEN = 16 * 1024
MAXIMUM_HEADER = 1024
MAXIMUM_SUBJECT, MAXIMUM_NAME = 255, 1000
# RFC 5321, section 4.5.3.1: 64 for the local part, 255 for the domain, and the @.
MAXIMUM_EMAIL = 320

# RFC 7515, sections 2 and 3.1: base64url without padding. PyJWT would accept padding as well.
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", re.ASCII)

# Verified tokens that a process caches.
REMEMBERED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class User(BaseUser):
    """The authenticated user. Only `id` identifies a person."""

    id: str
    email: str | None = None
    name: str | None = None
    # The token's `iat`: seconds since 1970 (UTC). Not compared, so that tokens with the same profile give equal users.
    issued_at: float | None = field(default=None, compare=False)

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.name or self.email or self.id

    @property
    def identity(self) -> str:
        return self.id


class Refused(AuthenticationError):
    """Authentication failed. Carries the message for the caller, and the reason in a word, for the metrics."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class JWTBackend(AuthenticationBackend):
    """Authenticates every request by `Authorization: Bearer <token>` (RFC 6750, section 2.1), and by nothing else."""

    def __init__(self, verifier: "TokenVerifier") -> None:
        self.verifier = verifier

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, User]:
        """Raises `Refused`, or `KeyServerUnavailable` when the token's key cannot be had."""
        headers = conn.headers.getlist("authorization")
        if not headers:
            raise Refused("There is no token; write `Authorization: Bearer <token>`.", "missing")
        scheme, _, token = headers[0].partition(" ")
        token = token.strip(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not token or " " in token:
            raise Refused("The header cannot be read; write `Authorization: Bearer <token>`, once.", "header")
        return AuthCredentials(["authenticated"]), await self.verifier.verify(token)


@dataclass(frozen=True, slots=True)
class _Verified:
    user: User
    expires: float
    # `KeySet.version` when the token was verified; None for a token under the shared secret.
    keys: int | None


class TokenVerifier:
    """Verifies Better Auth's tokens: HS256 with the shared secret, every other algorithm with a key of its JWKS.

    The two sets of algorithms are never mixed (RFC 8725, section 2.1). The hashes of valid tokens are cached until the
    tokens expire or the keys change.
    """

    def __init__(self, settings: Settings, keys: KeySet) -> None:
        secret = base64url_encode(settings.secret.encode()).decode()
        self._secret = jwt.PyJWK({"kty": "oct", "alg": "HS256", "k": secret})
        self._issuer, self._audience = settings.issuer, settings.audience
        self._keys = keys
        self._verified: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> User:
        """Raises `Refused` with the reason, or `KeyServerUnavailable`."""
        if len(token) > MAXIMUM_TOKEN:
            raise Refused(f"The token is longer than {MAXIMUM_TOKEN} characters.", "malformed")
        digest = sha256(token.encode()).digest()
        verified = self._verified.get(digest)
        if verified is not None and self._still_good(verified):
            return verified.user
        self._verified.pop(digest, None)
        verified = self._verified[digest] = await self._verify(token)
        if len(self._verified) > REMEMBERED_TOKENS:
            del self._verified[next(iter(self._verified))]
        return verified.user

    def _still_good(self, verified: _Verified) -> bool:
        if verified.keys is not None:
            self._keys.keep_fresh()
        return verified.expires + LEEWAY > time.time() and verified.keys in (None, self._keys.version)

    async def _verify(self, token: str) -> _Verified:
        header = _read_header(token)
        algorithm = header.get("alg")
        if algorithm == "HS256":
            claims = _decode(token, self._secret)
            self._check_addressee(claims, must_name=False)
            return _Verified(_user(claims, ("sub", "user_id", "id")), claims["exp"], None)
        if algorithm not in ALGORITHMS:
            raise Refused(f"The token's algorithm must be HS256 or one of {', '.join(ALGORITHMS)}.", "algorithm")
        claims, version = await self._decode_with_key(token, algorithm, header.get("kid"))
        self._check_addressee(claims, must_name=True)
        return _Verified(_user(claims, ("sub",)), claims["exp"], version)

    async def _decode_with_key(self, token: str, algorithm: str, kid: Any) -> tuple[dict[str, Any], int]:
        # Read before the key: if the key is withdrawn in between, the versions differ and the cached token is dropped.
        version = self._keys.version
        key = await self._keys.find(kid) if kid else None
        if key is None:
            raise Refused("The token names no key (kid) that the issuer publishes; sign in again.", "key")
        if key.algorithm_name != algorithm:
            raise Refused("The token's algorithm is not that of its key.", "algorithm")
        return _decode(token, key), version

    def _check_addressee(self, claims: dict[str, Any], *, must_name: bool) -> None:
        """Check issuer and audience, since the same keys may sign tokens for other services."""
        if ("iss" in claims or must_name) and (issuer := claims.get("iss")) != self._issuer:
            raise Refused(f"The token was issued by {_shown(issuer)}, but {self._issuer} is expected.", "issuer")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if ("aud" in claims or must_name) and self._audience not in audiences:
            raise Refused(f"The token is for {_shown(audience)}, but {self._audience} is expected.", "audience")


def _read_header(token: str) -> dict[str, Any]:
    try:
        if not COMPACT.fullmatch(token):
            raise ValueError("another serialisation")
        if token.index(".") > MAXIMUM_HEADER:
            raise Refused(f"The token's header is longer than {MAXIMUM_HEADER} characters.", "malformed")
        header = _read_object(token.partition(".")[0])
        # RFC 7515, section 4.1.11. PyJWT understands b64 (RFC 7797), and takes any value of it.
        if "crit" in header or "b64" in header or not isinstance(header.get("kid", ""), str):
            raise ValueError("an extension, or a kid that is not text")
    except (ValueError, RecursionError):
        raise Refused("The token is not a JSON Web Token; send the one from /api/auth/token.", "malformed") from None
    return header


def _read_object(part: str) -> dict[str, Any]:
    """The JSON object in a part of the token. Raises `ValueError`, also for a repeated name: parsers differ on it."""

    def check(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(read := dict(members)) < len(members):
            raise ValueError("a name comes twice")
        return read

    read = json.loads(base64url_decode(part), object_pairs_hook=check)
    if not isinstance(read, dict):
        raise ValueError("not an object")
    return read


def _decode(token: str, key: jwt.PyJWK) -> dict[str, Any]:
    """The claims of a token whose signature and times are valid. Does not check `iss`, `aud` and the subject."""
    signed, _, signature = token.rpartition(".")
    try:
        # PyJWT decodes all parts (35 µs for each KiB) before it verifies the signature, so verify it here first.
        if not key.Algorithm.verify(signed.encode(), key.key, base64url_decode(signature)):
            raise jwt.InvalidSignatureError
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            leeway=LEEWAY,
            options={"require": ["exp"], "verify_aud": False, "verify_iss": False, "verify_sub": False},
        )
        _read_object(token.split(".")[1])
    except jwt.ExpiredSignatureError:
        raise Refused("The token has expired; get a new one.", "expired") from None
    except jwt.ImmatureSignatureError:
        message = "The token is not valid yet; compare the clocks of the issuer and of this server."
        raise Refused(message, "early") from None
    except jwt.MissingRequiredClaimError:
        raise Refused("The token has no expiry (exp).", "claim") from None
    except jwt.InvalidSignatureError:
        message = "The token's signature does not match; it was signed with another secret or key."
        raise Refused(message, "signature") from None
    # A claim of an unexpected type makes PyJWT raise exceptions other than its own.
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise Refused("The token is malformed.", "malformed") from None
    for name in ("exp", "iat", "nbf"):
        # RFC 7519, section 2: a NumericDate is a JSON number. PyJWT reads text and booleans too.
        if name in claims and type(claims[name]) not in (int, float):
            raise Refused(f"The token's {name} must be a number.", "claim")
    return claims


def _user(claims: dict[str, Any], subjects: tuple[str, ...]) -> User:
    """The user that the first claim present among `subjects` names."""
    subject = next((claims[name] for name in subjects if name in claims), None)
    if not isinstance(subject, str) or not subject.strip() or len(subject) > MAXIMUM_SUBJECT or not _storable(subject):
        raise Refused(f"The token names no user: its subject (sub) must be 1 to {MAXIMUM_SUBJECT} characters.", "claim")
    # A negative integer may be too large for a float. An `iat` in the future was refused before.
    issued_at = float(max(claims["iat"], 0)) if "iat" in claims else None
    return User(subject, _profile(claims, "email", MAXIMUM_EMAIL), _profile(claims, "name", MAXIMUM_NAME), issued_at)


def _profile(claims: dict[str, Any], name: str, maximum: int) -> str | None:
    """An optional claim. Text that cannot be stored is dropped; another type than text is refused."""
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(f"The token's {name} must be text.", "claim")
    return value if value and value.strip() and len(value) <= maximum and _storable(value) else None


def _storable(text: str) -> bool:
    """Whether PostgreSQL can store it: no NUL and no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: Any) -> str:
    """A claim as an error message shows it. RFC 6750, section 3, allows neither quotes nor backslashes there."""
    if value is None:
        return "nobody"
    harmless = isinstance(value, str) and len(value) <= 200 and all(c.isalnum() or c in ":/.-_[]" for c in value)
    return value if harmless and value.isascii() and value else "somebody else"
