"""Bearer token → user: the `AuthenticationBackend` of the API, and the verifier of Better Auth's JSON Web Tokens."""

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt
from jwt.utils import base64url_decode
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.requests import HTTPConnection

from keys import ALGORITHMS, KeySet
from settings import Settings

# Seconds by which the clocks of the issuer and of this machine may differ.
LEEWAY = 30

# Characters. Better Auth puts the profile's image into the token, which may be long; a web server's limit is 16 KiB.
MAXIMUM_TOKEN = 16 * 1024
MAXIMUM_SUBJECT = 255
# RFC 5321, section 4.5.3.1: 64 for the local part, 255 for the domain, and the @.
MAXIMUM_EMAIL = 320
MAXIMUM_NAME = 1000

# RFC 7515, sections 2 and 3.1: base64url without padding, which PyJWT would take too.
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", re.ASCII)

# Verified tokens that a process remembers.
REMEMBERED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class User(BaseUser):
    """Who calls. Only `id` identifies anybody."""

    id: str
    email: str | None = None
    name: str | None = None
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
    """Why a request is nobody's: a sentence for the caller, and the error code of RFC 6750, section 3.1."""

    def __init__(self, reason: str, code: Literal["invalid_request", "invalid_token"] = "invalid_token") -> None:
        super().__init__(reason)
        self.code = code


class JWTBackend(AuthenticationBackend):
    """Authenticates every request by `Authorization: Bearer <token>` (RFC 6750, section 2.1), and by nothing else."""

    def __init__(self, verifier: "TokenVerifier") -> None:
        self.verifier = verifier

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, User]:
        """Raises `Refused`, or `KeyServerUnavailable` when the token's key cannot be had."""
        headers = conn.headers.getlist("authorization")
        if not headers:
            raise Refused("Send the header Authorization: Bearer <token>.", "invalid_request")
        scheme, _, token = headers[0].partition(" ")
        token = token.strip(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not token or " " in token:
            raise Refused("The Authorization header must be, once: Bearer <token>.", "invalid_request")
        return AuthCredentials(["authenticated"]), await self.verifier.verify(token)


@dataclass(frozen=True, slots=True)
class _Verified:
    user: User
    expires: float
    # The version of the keys that the token was verified with; None for the shared secret.
    keys: int | None


class TokenVerifier:
    """Verifies Better Auth's tokens: HS256 with the shared secret, everything else with the keys of its JWKS.

    The algorithm decides which, and the two never meet (RFC 8725, section 2.1). Tokens that were good are remembered
    until they expire or the keys change.
    """

    def __init__(self, settings: Settings, keys: KeySet) -> None:
        self._secret = settings.secret.encode()
        self._issuer, self._audience = settings.issuer, settings.audience
        self._keys = keys
        self._verified: dict[str, _Verified] = {}

    async def verify(self, token: str) -> User:
        """Raises `Refused` with the reason, or `KeyServerUnavailable`."""
        verified = self._verified.get(token)
        if verified is not None and self._still_good(verified):
            return verified.user
        self._verified.pop(token, None)
        verified = await self._verify(token)
        if len(self._verified) >= REMEMBERED_TOKENS:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = verified
        return verified.user

    def _still_good(self, verified: _Verified) -> bool:
        if verified.keys is not None:
            self._keys.keep_fresh()
        return verified.expires + LEEWAY > time.time() and verified.keys in (None, self._keys.version)

    async def _verify(self, token: str) -> _Verified:
        header = _read_header(token)
        algorithm = header.get("alg")
        if algorithm == "HS256":
            claims = _decode(token, self._secret, "HS256")
            self._check_addressee(claims, must_name=False)
            return _Verified(_user(claims, ("sub", "user_id", "id")), claims["exp"], None)
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise Refused(f"The token's algorithm must be HS256 or one of {', '.join(sorted(ALGORITHMS))}.")
        claims, version = await self._decode_with_key(token, algorithm, header.get("kid"))
        self._check_addressee(claims, must_name=True)
        return _Verified(_user(claims, ("sub",)), claims["exp"], version)

    async def _decode_with_key(self, token: str, algorithm: str, kid: Any) -> tuple[dict[str, Any], int]:
        # Before the key is looked up: should it be withdrawn in between, the token is not remembered for long.
        version = self._keys.version
        key = await self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise Refused("The token names no key (kid) that the issuer publishes; sign in again.")
        if key.algorithm_name != algorithm:
            raise Refused("The token's algorithm is not that of its key.")
        return _decode(token, key, algorithm), version

    def _check_addressee(self, claims: dict[str, Any], *, must_name: bool) -> None:
        """The same keys may sign tokens that are meant for others, so that a token which names anybody must name us."""
        if ("iss" in claims or must_name) and claims.get("iss") != self._issuer:
            raise Refused(f"The token was issued by {_shown(claims.get('iss'))}, but {self._issuer} is expected.")
        audience = claims.get("aud")
        if ("aud" in claims or must_name) and self._audience not in (
            audience if isinstance(audience, list) else [audience]
        ):
            raise Refused(f"The token is for {_shown(audience)}, but {self._audience} is expected.")


def _read_header(token: str) -> dict[str, Any]:
    if len(token) > MAXIMUM_TOKEN:
        raise Refused(f"The token is longer than {MAXIMUM_TOKEN} characters.")
    try:
        if not COMPACT.fullmatch(token):
            raise ValueError("another serialisation")
        header = jwt.get_unverified_header(token)
        _check_names(token, 0)
        # RFC 7515, section 4.1.11. PyJWT understands b64 (RFC 7797), and takes any value of it.
        if "crit" in header or "b64" in header:
            raise ValueError("an extension")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Refused("The token is no JSON Web Token.") from None
    return header


def _check_names(token: str, part: int) -> None:
    """Raises `ValueError` when a name comes twice in an object: of its values, others may believe the first."""

    def check(members: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in members}) < len(members):
            raise ValueError("a name comes twice")

    json.loads(base64url_decode(token.split(".")[part]), object_pairs_hook=check)


def _decode(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    """The claims of a token with a good signature, in force now. `iss`, `aud` and the subject are not looked at."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            leeway=LEEWAY,
            options={"require": ["exp"], "verify_aud": False, "verify_iss": False, "verify_sub": False},
        )
        _check_names(token, 1)
    except jwt.ExpiredSignatureError:
        raise Refused("The token has expired; get a new one.") from None
    except jwt.ImmatureSignatureError:
        raise Refused("The token is not valid yet; compare the clocks of the issuer and of this server.") from None
    except jwt.MissingRequiredClaimError:
        raise Refused("The token has no expiry (exp).") from None
    except jwt.InvalidSignatureError:
        raise Refused("The token's signature does not match; it was signed with another secret or key.") from None
    # A claim of an unexpected type makes PyJWT raise what is none of its own errors.
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise Refused("The token is malformed.") from None
    for name in ("exp", "iat", "nbf"):
        # RFC 7519, section 2: a NumericDate is a JSON number. PyJWT reads text and booleans too.
        if name in claims and type(claims[name]) not in (int, float):
            raise Refused(f"The token's {name} must be a number.")
    return claims


def _user(claims: dict[str, Any], subjects: tuple[str, ...]) -> User:
    """The person whom the first of these claims that is there names."""
    subject = next((claims[name] for name in subjects if name in claims), None)
    if not isinstance(subject, str) or not subject.strip() or len(subject) > MAXIMUM_SUBJECT or not _storable(subject):
        raise Refused(f"The token names no user: its subject (sub) must be 1 to {MAXIMUM_SUBJECT} characters.")
    return User(subject, _profile(claims, "email", MAXIMUM_EMAIL), _profile(claims, "name", MAXIMUM_NAME))


def _profile(claims: dict[str, Any], name: str, maximum: int) -> str | None:
    """A text about the user, who is not shut out for one that cannot be kept."""
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(f"The token's {name} must be text.")
    return value if value and value.strip() and len(value) <= maximum and _storable(value) else None


def _storable(text: str) -> bool:
    """Whether PostgreSQL can hold it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: Any) -> str:
    """A claim in an error message; only harmless text is repeated (RFC 6750, section 3: no quotes, no backslash)."""
    if value is None:
        return "nobody"
    harmless = isinstance(value, str) and len(value) <= 200 and all(c.isalnum() or c in ":/.-_[]" for c in value)
    return value if harmless and value.isascii() and value else "somebody else"
