"""Tokens signed with Better Auth's own keys: which key verifies which token."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth import TokenVerifier
from keys import KeySet
from tests.auth.keys.conftest import LISTED, NO_KEY, OTHER_ALGORITHM, Call, key, make_settings
from tests.conftest import RowsOf
from tests.support.sentences import EXPIRED, NO_EXPIRY, NO_JWT, NO_SUBJECT, SIGNATURE
from tests.support.tokens import ADA, FRONTEND, PRIVATE_KEYS, KeyServer, SigningKey, claims, forge, refusal


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_each_algorithm_of_better_auth_is_taken(
    call: Call, server: KeyServer, rows_of: RowsOf, tmp_path: Path, algorithm: str
) -> None:
    server.keys = [key(algorithm, algorithm)]

    assert call(key(algorithm, algorithm).sign(claims())) == LISTED
    stored = rows_of(f"sqlite:///{tmp_path}/todo.db", "SELECT id, email, name FROM users")
    assert stored == [("ada", "ada@example.com", "Ada")]


def test_keys_are_below_the_address_of_better_auth(server: KeyServer) -> None:
    origin = server.url.removesuffix("/api/auth/jwks")
    settings = make_settings(server, frontend_url=origin, jwks_url="")
    verifier = TokenVerifier(settings, KeySet(settings.keys_url))

    assert asyncio.run(verifier.verify(key().sign(claims(iss=origin, aud=origin)))) == ADA


def pem(signing_key: SigningKey) -> bytes:
    public: bytes = signing_key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def somebody_elses(issuer: str = FRONTEND, audience: str = FRONTEND) -> str:
    wrong, verb = (issuer, "was issued by") if issuer != FRONTEND else (audience, "is for")
    return f"The token {verb} {wrong}, but {FRONTEND} is expected."


UNDER_RSA = {"alg": "HS256", "kid": "rsa"}
SESSION_CACHE = "better-auth:session-cache"
BAD_TOKENS: dict[str, tuple[Callable[[], str], str]] = {
    "iss-wrong": (lambda: key().sign(claims(iss="https://example.com")), somebody_elses("https://example.com")),
    "iss-missing": (lambda: key().sign(claims(iss=None)), somebody_elses("nobody")),
    "aud-wrong": (lambda: key().sign(claims(aud="my-oidc-client")), somebody_elses(audience="my-oidc-client")),
    "aud-missing": (lambda: key().sign(claims(aud=None)), somebody_elses(audience="nobody")),
    "aud-list": (lambda: key().sign(claims(aud=["a", "b"])), somebody_elses(audience="somebody else")),
    "session-cache": (
        lambda: key().sign(claims(aud=SESSION_CACHE), typ="better-auth.session-cache+jwt"),
        somebody_elses(audience=SESSION_CACHE),
    ),
    "user_id-for-sub": (lambda: key().sign(claims(sub=None, user_id="ada")), NO_SUBJECT),
    "id-for-sub": (lambda: key().sign(claims(sub=None)), NO_SUBJECT),
    "exp-missing": (lambda: key().sign(claims(exp=None)), NO_EXPIRY),
    "exp-past": (lambda: key().sign(claims(exp=1)), EXPIRED),
    "kid-missing": (lambda: forge(claims(), {"alg": "EdDSA"}), NO_KEY),
    "kid-unknown": (lambda: key().sign(claims(), kid="key-2"), NO_KEY),
    "kid-empty": (lambda: key().sign(claims(), kid=""), NO_KEY),
    "kid-number": (lambda: forge(claims(), {"alg": "EdDSA", "kid": 1}), NO_JWT),
    "kid-null": (lambda: forge(claims(), {"alg": "EdDSA", "kid": None}), NO_JWT),
    "kid-list": (lambda: forge(claims(), {"alg": "EdDSA", "kid": ["key-1"]}), NO_JWT),
    "other-key": (lambda: SigningKey("EdDSA", "key-1").sign(claims()), SIGNATURE),
    "other-family": (lambda: key("ES256").sign(claims()), OTHER_ALGORITHM),
    "same-key-other-algorithm": (lambda: key("RS256", "rsa").sign(claims(), alg="PS256"), OTHER_ALGORITHM),
    "secret-under-EdDSA": (lambda: forge(claims(), {"alg": "EdDSA", "kid": "key-1"}), SIGNATURE),
    "public-key-as-secret": (lambda: forge(claims(), UNDER_RSA, pem(key("RS256", "rsa"))), SIGNATURE),
    "public-x-as-secret": (lambda: forge(claims(), secret=key().public["x"]), SIGNATURE),
}


@pytest.mark.parametrize(("token", "detail"), BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token_is_refused(call: Call, server: KeyServer, token: Callable[[], str], detail: str) -> None:
    server.keys = [key(), key("RS256", "rsa")]

    assert call(token()) == refusal(detail)


def test_an_asymmetric_token_may_be_for_several(call: Call) -> None:
    assert call(key().sign(claims(aud=["https://example.com", FRONTEND]))) == LISTED


def test_a_listed_secret_signs_nothing(call: Call, server: KeyServer) -> None:
    """Its algorithm would be HS256, for which the shared secret alone counts."""
    server.listed = [{"kty": "oct", "k": "YWJj", "alg": "HS256", "kid": "key-1"}]

    assert call(forge(claims(), {"alg": "HS256", "kid": "key-1"}, "abc")) == refusal(SIGNATURE)
    assert call(key().sign(claims())) == refusal(NO_KEY)
