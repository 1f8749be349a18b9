"""Who gets in: the Authorization header, tokens under the shared secret, and what a refusal looks like."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from starlette.testclient import TestClient

import auth
from app import create_app
from auth import Refused, TokenVerifier, User
from keys import KeySet
from settings import Settings
from tests.conftest import RowsOf
from tests.tokens import FRONTEND, SECRET, bearer, claims, forge, outcome, refusal, token_of

SEND_IT = "Send the header Authorization: Bearer <token>."
ONCE = "The Authorization header must be, once: Bearer <token>."
NO_JWT = "The token is no JSON Web Token."
ALGORITHM = "The token's algorithm must be HS256 or one of ES256, ES512, EdDSA, PS256, RS256."
SIGNATURE = "The token's signature does not match; it was signed with another secret or key."
MALFORMED = "The token is malformed."
NO_EXPIRY = "The token has no expiry (exp)."
EXPIRED = "The token has expired; get a new one."
NOT_YET = "The token is not valid yet; compare the clocks of the issuer and of this server."
NO_SUBJECT = "The token names no user: its subject (sub) must be 1 to 255 characters."

LEFT_OUT = ...


def payload(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**claims(), **changes}.items() if value is not LEFT_OUT}


def must_be_number(name: str) -> str:
    return f"The token's {name} must be a number."


def issued_by(issuer: str) -> str:
    return f"The token was issued by {issuer}, but {FRONTEND} is expected."


def meant_for(audience: str) -> str:
    return f"The token is for {audience}, but {FRONTEND} is expected."


@pytest.fixture(autouse=True)
def no_token_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A token begins with `{"` in base64url; only the test client, which logs what it asks for, may tell."""
    caplog.set_level(logging.DEBUG)
    yield
    ours = [record.getMessage() for record in caplog.get_records("call") if record.name != "httpx2"]
    assert [message for message in ours if "eyJ" in message] == []


@pytest.fixture
def api(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(secret=SECRET, frontend_url=FRONTEND, database_url=f"sqlite:///{tmp_path}/todo.db", pool_size=1)
    app = create_app(settings)
    yield TestClient(app)
    app.state.database.close()


def make_verifier(**changes: Any) -> TokenVerifier:
    settings = Settings(**{"secret": SECRET, "frontend_url": FRONTEND, **changes})
    return TokenVerifier(settings, KeySet(settings.keys_url))


@pytest.fixture
def verify() -> Callable[[str], User]:
    verifier = make_verifier()
    return lambda token: asyncio.run(verifier.verify(token))


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock, for PyJWT and for us."""

    def stop_at(now: float) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Stopped":
                return cls.fromtimestamp(now, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", Stopped)
        monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: now))

    return stop_at


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that were really verified, and not remembered."""
    tokens: list[str] = []
    decode = jwt.decode

    def note_and_decode(token: str, *args: Any, **kwargs: Any) -> Any:
        tokens.append(token)
        return decode(token, *args, **kwargs)

    monkeypatch.setattr(jwt, "decode", note_and_decode)
    return tokens


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["", "tasks", "tasks/", "tasks?sort=x", "tasks/1", "tasks/x", "users", "/tasks"])
@pytest.mark.parametrize("rest", ["", "/complete", "/complete/more"])
def test_nothing_under_api_is_told_without_a_token(api: TestClient, method: str, path: str, rest: str) -> None:
    """Neither whether the path exists, nor whether it takes the method or the body."""
    answer = api.request(method, f"/api/{path}{rest}", content=b"{")

    assert outcome(answer) == refusal(SEND_IT, "invalid_request")


def test_head_without_a_token_is_refused_with_an_empty_body(api: TestClient) -> None:
    answer = api.head("/api/tasks")

    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["WWW-Authenticate"] == refusal(SEND_IT, "invalid_request")[2]


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("headers", [{}, bearer("nonsense")], ids=["without-token", "bad-token"])
def test_the_probes_ask_for_no_token(api: TestClient, path: str, headers: dict[str, str]) -> None:
    assert api.get(path, headers=headers).status_code == 200


OTHER_FORMS = {
    "empty": [""],
    "no-token": ["Bearer"],
    "blank-token": ["Bearer "],
    "basic": ["Basic {token}"],
    "no-scheme": ["{token}"],
    "no-space": ["Bearer{token}"],
    "tab": ["Bearer\t{token}"],
    "colon": ["Bearer: {token}"],
    "two-tokens": ["Bearer {token} {token}"],
    "two-in-one": ["Bearer {token}, Bearer {token}"],
    "two-headers": ["Bearer {token}", "Bearer {token}"],
}


@pytest.mark.parametrize("values", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_another_form_of_the_header_is_refused(api: TestClient, values: list[str]) -> None:
    headers = [("Authorization", value.format(token=token_of("ada"))) for value in values]

    assert outcome(api.get("/api/tasks", headers=headers)) == refusal(ONCE, "invalid_request")


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {} "])
def test_the_scheme_is_read_in_any_case(api: TestClient, form: str) -> None:
    assert api.get("/api/tasks", headers={"Authorization": form.format(token_of("ada"))}).json() == []


@pytest.mark.parametrize("place", ["query", "cookie", "form"])
def test_a_token_elsewhere_counts_for_nothing(api: TestClient, place: str) -> None:
    token = token_of("ada")
    sent: dict[str, dict[str, Any]] = {
        "query": {"params": {"access_token": token}},
        "cookie": {"headers": {"Cookie": f"better-auth.session_token={token}; Authorization=Bearer {token}"}},
        "form": {"data": {"access_token": token}},
    }

    answer = api.request("POST", "/api/tasks", **sent[place])

    assert outcome(answer) == refusal(SEND_IT, "invalid_request")


def test_the_one_whom_the_token_names_gets_a_row(api: TestClient, rows_of: RowsOf, tmp_path: Path) -> None:
    assert api.get("/api/tasks", headers=bearer(token_of("ada"))).json() == []

    stored = rows_of(f"sqlite:///{tmp_path}/todo.db", "SELECT id, email, name FROM users")
    assert stored == [("ada", "ada@example.com", "Ada")]


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
    *[(text, NO_JWT) for text in ("[]", '"HS256"', "{", "", '{"alg":', "[" * 12000, "9" * 5000)],
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
ADA = User("ada", "ada@example.com", "Ada")
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
        f"{claim}-{label}": ({claim: value}, User("ada", **{"email": ADA.email, "name": ADA.name, claim: None}))
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


def test_the_secret_is_taken_as_utf_8() -> None:
    secret = "päßwörter-" * 4

    assert asyncio.run(make_verifier(secret=secret).verify(forge(claims(), secret=secret))) == ADA


def test_issuer_and_audience_may_be_set() -> None:
    verifier = make_verifier(jwt_issuer="urn:issuer", jwt_audience="urn:tasks")

    assert asyncio.run(verifier.verify(forge(claims(iss="urn:issuer", aud="urn:tasks")))) == ADA
    with pytest.raises(Refused, match=f"^The token was issued by {FRONTEND}, but urn:issuer is expected.$"):
        asyncio.run(verifier.verify(forge(claims(aud="urn:tasks"))))
    with pytest.raises(Refused, match=f"^The token is for {FRONTEND}, but urn:tasks is expected.$"):
        asyncio.run(verifier.verify(forge(claims(iss="urn:issuer"))))


def test_a_good_token_is_verified_once_and_a_bad_one_each_time(
    verify: Callable[[str], User], decoded: list[str]
) -> None:
    good, bad = forge(claims()), forge(claims(sub=5))
    for _ in range(2):
        assert verify(good) == ADA
        with pytest.raises(Refused):
            verify(bad)

    assert decoded == [good, bad, bad]


def test_a_remembered_token_expires(verify: Callable[[str], User], set_clock: Callable[[float], None]) -> None:
    now = int(time.time())
    token = forge(claims(exp=now + 60))
    for passed in (0, 89):
        set_clock(now + passed)
        assert verify(token) == ADA
    set_clock(now + 90)

    with pytest.raises(Refused, match="has expired"):
        verify(token)


def test_only_so_many_tokens_are_remembered(
    verify: Callable[[str], User], decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that came first goes first."""
    monkeypatch.setattr(auth, "REMEMBERED_TOKENS", 2)
    first, second, third = (forge(claims(name)) for name in ("ada", "bob", "eve"))

    users = [verify(token).id for token in (first, second, third, third, second, first, third)]

    assert users == ["ada", "bob", "eve", "eve", "bob", "ada", "eve"]
    assert decoded == [first, second, third, first]


@pytest.mark.parametrize(
    ("user", "name"), [(ADA, "Ada"), (User("ada", "ada@example.com"), "ada@example.com"), (User("ada"), "ada")]
)
def test_a_user_is_one_as_starlette_knows_them(user: User, name: str) -> None:
    assert (user.is_authenticated, user.identity, user.display_name) == (True, "ada", name)
