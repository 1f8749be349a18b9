"""What a token under the shared secret says: its header, its claims, its signature, and whom it names."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from auth import User
from tests.support.sentences import EXPIRED, LONG_HEADER, NO_EXPIRY, NO_JWT, NO_SUBJECT, SIGNATURE
from tests.support.tokens import ADA, FRONTEND, SECRET, bearer, claims, forge, outcome, refusal, token_of

ALGORITHM = "The token's algorithm must be HS256 or one of ES256, ES512, EdDSA, PS256, RS256."
MALFORMED = "The token is malformed."
NOT_YET = "The token is not valid yet; compare the clocks of the issuer and of this server."

LEFT_OUT = ...


def payload(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**claims(), **changes}.items() if value is not LEFT_OUT}


def must_be_number(name: str) -> str:
    return f"The token's {name} must be a number."


def issued_by(issuer: str) -> str:
    return f"The token was issued by {issuer}, but {FRONTEND} is expected."


def meant_for(audience: str) -> str:
    return f"The token is for {audience}, but {FRONTEND} is expected."


NOT_OURS = ["http://127.0.0.1:3000", "http://localhost:3000/", "https://localhost:3000", "http://localhost"]
TELLTALE = {"quote": 'a"b', "long": "a" * 201, "accent": "é", "nul": "\0", "empty": "", "number": 5, "object": {}}
NO_NUMBER = {"list": [], "object": {}, "word": "soon", "nan": float("nan"), "infinite": float("inf")}

# The claim, why it is refused, and values that are.
BAD_CLAIMS: list[tuple[str, str, dict[str, Any]]] = [
    ("sub", NO_SUBJECT, {"null": None, "empty": "", "blank": " \t", "256": "a" * 256, "nul": "a\0", "half": "\ud800"}),
    ("sub", NO_SUBJECT, {"number": 5, "true": True, "list": ["ada"], "object": {"id": "ada"}}),
    ("exp", NO_EXPIRY, {"missing": LEFT_OUT, "null": None}),
    ("exp", EXPIRED, {"past": 1, "negative": -1e300, "true": True, "zero": 0, "old-text": "5"}),
    ("exp", must_be_number("exp"), {"text": "99999999999"}),
    ("exp", MALFORMED, NO_NUMBER),
    ("iat", NOT_YET, {"future": 99999999999, "future-text": "99999999999"}),
    ("iat", must_be_number("iat"), {"text": "5", "true": True}),
    ("iat", MALFORMED, NO_NUMBER | {"null": None}),
    ("nbf", NOT_YET, {"future": 99999999999}),
    ("nbf", must_be_number("nbf"), {"text": "5", "true": True}),
    ("nbf", MALFORMED, NO_NUMBER | {"null": None}),
    ("jti", MALFORMED, {"number": 5}),
    ("iss", issued_by("nobody"), {"null": None}),
    ("iss", issued_by("somebody else"), TELLTALE | {"list": [FRONTEND]}),
    ("aud", meant_for("nobody"), {"null": None}),
    (
        "aud",
        meant_for("somebody else"),
        TELLTALE | {"list": ["http://localhost"], "no-list": [], "nested": [[FRONTEND]]},
    ),
    *[("iss", issued_by(other), {other: other}) for other in NOT_OURS],
    *[("aud", meant_for(other), {other: other}) for other in [*NOT_OURS, "better-auth:session-cache"]],
    ("email", "The token's email must be text.", {"number": 5, "false": False, "list": ["ada@example.com"]}),
    ("name", "The token's name must be text.", {"number": 5, "object": {"first": "Ada"}}),
]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        pytest.param({claim: value}, detail, id=f"{claim}-{label}")
        for claim, detail, values in BAD_CLAIMS
        for label, value in values.items()
    ],
)
def test_a_bad_claim_is_refused(api: TestClient, changes: dict[str, Any], detail: str) -> None:
    assert outcome(api.get("/api/tasks", headers=bearer(forge(payload(**changes))))) == refusal(detail)


NOBODY = {"sub": LEFT_OUT, "id": LEFT_OUT}
NO_USER = {
    "email-verification-token": {**NOBODY, "name": LEFT_OUT, "iss": LEFT_OUT, "aud": LEFT_OUT},
    "session-cookie": {**NOBODY, "session": {"userId": "ada"}, "user": {"id": "ada"}, "email": LEFT_OUT},
    "the-first-that-is-there-decides": {"sub": "", "user_id": "ada"},
    "null-is-there": {"sub": LEFT_OUT, "user_id": None},
}


@pytest.mark.parametrize("changes", NO_USER.values(), ids=NO_USER)
def test_a_token_without_a_user_is_refused(api: TestClient, changes: dict[str, Any]) -> None:
    """Nobody is ever identified by email."""
    assert outcome(api.get("/api/tasks", headers=bearer(forge(payload(**changes))))) == refusal(NO_SUBJECT)


NO_ALGORITHM = ["none", "None", "NONE", "nOnE", "", None, 5, True, ["HS256"], {"HS256": 1}]
OTHER_ALGORITHMS = ["hs256", "HS256 ", "HS384", "HS512", "RS384", "RS512", "ES384", "ES256K", "PS512", "Ed25519"]
BAD_HEADERS: list[tuple[Any, str]] = [
    *[({"alg": algorithm}, ALGORITHM) for algorithm in [*NO_ALGORITHM, *OTHER_ALGORITHMS]],
    ({}, ALGORITHM),
    *[({"alg": "HS256", "kid": kid}, NO_JWT) for kid in (5, None, ["key-1"])],
    *[({"alg": "HS256", "crit": crit}, NO_JWT) for crit in (["exp"], [], "b64", [5])],
    ({"alg": "HS256", "b64": False}, NO_JWT),
    *[(text, NO_JWT) for text in ("[]", '"HS256"', "{", "", '{"alg":', "[" * 768, "9" * 768)],
    *[(text, LONG_HEADER) for text in ('{"x":' * 200, '"' * 5000)],
    ({"alg": "HS256", "x": "a" * 1000}, LONG_HEADER),
]


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize(("header", "detail"), BAD_HEADERS, ids=[str(header)[:30] for header, _ in BAD_HEADERS])
def test_a_bad_header_is_refused(api: TestClient, header: Any, detail: str, signed: bool) -> None:
    token = forge(claims(), header)
    token = token if signed else f"{token.rpartition('.')[0]}."

    assert outcome(api.get("/api/tasks", headers=bearer(token))) == refusal(detail)


FUTURE = '"sub": "ada", "exp": 99999999999'
BAD_PAYLOADS = {
    "list": "[]",
    "list-of-claims": f"[{{{FUTURE}}}]",
    "text": '"ada"',
    "null": "null",
    "empty": "",
    "cut-off": f"{{{FUTURE}",
    "deep": "[" * 11000,
    "exp-1e400": '{"sub": "ada", "exp": 1e400}',
    "iat-1e400": f'{{{FUTURE}, "iat": 1e400}}',
    "nbf-minus-1e400": f'{{{FUTURE}, "nbf": -1e400}}',
    "exp-of-5000-digits": f'{{"sub": "ada", "exp": {"9" * 5000}}}',
}


@pytest.mark.parametrize("text", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS)
def test_a_payload_that_is_no_set_of_claims_is_refused(api: TestClient, text: str) -> None:
    assert outcome(api.get("/api/tasks", headers=bearer(forge(text)))) == refusal(MALFORMED)


GOOD = token_of("ada", exp=99999999999)
START, _, END = GOOD.rpartition(".")
BAD_TOKENS = {
    "one-part": ("ada", NO_JWT),
    "two-parts": (START, NO_JWT),
    "four-parts": (f"{GOOD}.{END}", NO_JWT),
    "empty-parts": ("..", NO_JWT),
    "no-base64": ("?.?.?", NO_JWT),
    "not-ascii": ("é.é.é", NO_JWT),
    "quoted": (f'"{GOOD}"', NO_JWT),
    "name-twice": (forge(payload(), header='{"alg": "HS256", "alg": "HS256"}'), NO_JWT),
    "no-signature": (f"{START}.", SIGNATURE),
    "other-payload": (f"{GOOD.split('.')[0]}.{forge(claims('bob')).split('.')[1]}.{END}", SIGNATURE),
    "other-secret": (forge(claims(), secret=SECRET[::-1]), SIGNATURE),
    "empty-secret": (forge(claims(), secret=""), SIGNATURE),
    "too-long": (forge(payload(image="x" * 12288)), "The token is longer than 16384 characters."),
}


@pytest.mark.parametrize(("token", "detail"), BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_token_that_nobody_here_signed_is_refused(api: TestClient, token: str, detail: str) -> None:
    headers = {b"Authorization": f"Bearer {token}".encode()}

    assert outcome(api.get("/api/tasks", headers=headers)) == refusal(detail)


@pytest.mark.parametrize(
    ("claim", "offset", "detail"),
    [("exp", -29, None), ("exp", -30, EXPIRED)]
    + [(claim, offset, detail) for claim in ("iat", "nbf") for offset, detail in ((30, None), (31, NOT_YET))],
)
def test_clocks_may_differ_by_30_seconds(
    api: TestClient, set_clock: Callable[[float], None], claim: str, offset: int, detail: str | None
) -> None:
    now = 2_000_000_000
    set_clock(now)
    token = forge(payload(**{"iat": now, "exp": now + 900, claim: now + offset}))

    assert outcome(api.get("/api/tasks", headers=bearer(token))) == (refusal(detail) if detail else (200, [], None))


NO_TEXT = {"missing": LEFT_OUT, "null": None, "empty": "", "blank": " ", "nul": "a\0", "half": "\udfff"}
SIGNED_IN: dict[str, tuple[dict[str, Any], User]] = {
    "as-better-auth-signs": ({}, ADA),
    "sub-comes-first": ({"user_id": "bob", "id": "carol"}, ADA),
    "user_id-comes-second": ({"sub": LEFT_OUT, "user_id": "ada", "id": "carol"}, ADA),
    "id-comes-third": ({"sub": LEFT_OUT, "id": "ada"}, ADA),
    "for-nobody-in-particular": ({"iss": LEFT_OUT, "aud": LEFT_OUT}, ADA),
    "for-several": ({"aud": ["https://example.com", FRONTEND]}, ADA),
    "iat-absent": ({"iat": LEFT_OUT}, ADA),
    "fractions": ({"iat": 0.5, "nbf": 1.5, "exp": 99999999999.5}, ADA),
    "exp-of-300-digits": ({"exp": 10**300}, ADA),
    "long-image": ({"image": "x" * 11000}, ADA),
    "255-characters": ({"sub": "😀" * 255}, User("😀" * 255, ADA.email, ADA.name)),
    "serial-id": ({"sub": "1"}, User("1", ADA.email, ADA.name)),
    "longest-email": ({"email": "a" * 320}, User("ada", "a" * 320, "Ada")),
    "longest-name": ({"name": "a" * 1000}, User("ada", "ada@example.com", "a" * 1000)),
    **{
        f"{claim}-{label}": (
            {claim: value},
            User("ada", ADA.email, None) if claim == "name" else User("ada", None, "Ada"),
        )
        for claim, length in (("email", 321), ("name", 1001))
        for label, value in {**NO_TEXT, "overlong": "a" * length}.items()
    },
}


@pytest.mark.parametrize(("changes", "user"), SIGNED_IN.values(), ids=SIGNED_IN)
def test_a_good_token_names_its_user(verify: Callable[[str], User], changes: dict[str, Any], user: User) -> None:
    assert verify(forge(payload(**changes))) == user


@pytest.mark.parametrize("header", [{"alg": "HS256", "typ": "JWT"}, {"alg": "HS256", "typ": None, "kid": "any"}])
def test_other_parameters_of_the_header_count_for_nothing(verify: Callable[[str], User], header: Any) -> None:
    assert verify(forge(claims(), header)) == ADA
