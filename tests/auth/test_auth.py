"""Who gets in: the Authorization header, what is remembered of a token, and what a refusal looks like."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from starlette.testclient import TestClient

import auth
from auth import Refused, User
from tests.auth.conftest import make_verifier
from tests.conftest import RowsOf
from tests.support.tokens import ADA, FRONTEND, SECRET, bearer, claims, forge, outcome, refusal, token_of

SEND_IT = "There is no token; write `Authorization: Bearer <token>`."
ONCE = "The header cannot be read; write `Authorization: Bearer <token>`, once."


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
def test_every_path_below_api_is_401_without_a_token(api: TestClient, method: str, path: str, rest: str) -> None:
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


def test_the_user_of_the_token_gets_a_row(api: TestClient, rows_of: RowsOf, tmp_path: Path) -> None:
    assert api.get("/api/tasks", headers=bearer(token_of("ada"))).json() == []

    stored = rows_of(f"sqlite:///{tmp_path}/todo.db", "SELECT id, email, name FROM users")
    assert stored == [("ada", "ada@example.com", "Ada")]


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


@pytest.mark.parametrize("size", [0, 11000], ids=["short", "long"])
def test_nothing_but_the_header_is_read_of_a_token_without_a_good_signature(
    verify: Callable[[str], User], decoded: list[str], size: int
) -> None:
    """Whoever has no key could have us decode and parse 16 KiB for each request."""
    with pytest.raises(Refused, match="signature does not match"):
        verify(forge(claims(image="x" * size), secret=SECRET[::-1]))

    assert decoded == []


def test_a_long_token_is_remembered_in_little_memory(verify: Callable[[str], User]) -> None:
    """What is kept of it is a hash and whom it names."""
    tokens = [forge(claims(f"user-{n}", image="x" * 11000)) for n in range(101)]
    verify(tokens.pop())
    tracemalloc.start()
    try:
        for token in tokens:
            verify(token)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 100 * 2000


BEFORE_1970 = -(10**400)


@pytest.mark.parametrize(
    ("iat", "issued_at"), [(5, 5.0), (0.5, 0.5), (None, None), (-1, 0.0), (BEFORE_1970, 0.0)], ids=lambda n: f"{n}"[:6]
)
def test_a_user_knows_when_the_token_was_issued(
    verify: Callable[[str], User], iat: float | None, issued_at: float | None
) -> None:
    user = verify(forge(claims(iat=iat)))

    assert (user.issued_at, type(user.issued_at)) == (issued_at, type(issued_at))


def test_users_are_the_same_whenever_their_tokens_were_issued() -> None:
    early, late = User("ada", issued_at=1.0), User("ada", issued_at=2.0)

    assert (early == late, hash(early) == hash(late)) == (True, True)


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
