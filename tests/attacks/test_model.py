"""Any sequence of requests by two people does what the contract says, on every database; anything else is a 400."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from starlette.testclient import TestClient

from tests.attacks.two_people import TwoPeople, names
from tests.support.tokens import bearer, token_of

# The same examples in each run, however slow the machine. A fresh database serves a whole test, so that each example
# has people of its own. To make the least of a failure would take minutes: add Phase.shrink to have it done.
BOUNDED = settings(
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


def test_two_people_and_any_sequence_of_requests(client: TestClient) -> None:
    run_state_machine_as_test(
        lambda: TwoPeople(client),  # type: ignore[arg-type]
        settings=settings(BOUNDED, max_examples=25, stateful_step_count=30),
    )


@pytest.fixture
def somebody_new(client: TestClient) -> Callable[..., httpx2.Response]:
    """Call as somebody who has one task, of the id `{mine}`."""

    def call(method: str, path: str, **options: Any) -> httpx2.Response:
        headers = bearer(token_of(f"new-{next(names)}"))
        task = client.post("/api/tasks", json={"title": "Mine"}, headers=headers).json()
        answer = client.request(method, path.replace("{mine}", str(task["id"])), headers=headers, **options)
        if answer.status_code >= 300:
            assert answer.json().keys() - {"errors"} == {"detail"}
            assert client.get("/api/tasks", headers=headers).json() == [task]
        return answer

    return call


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELD = st.sampled_from(["title", "description", "completed", "due_date", "user_id", "x"])
OBJECTS = st.dictionaries(FIELD, VALUES, max_size=4)
TEXTS = st.one_of(VALUES, OBJECTS, OBJECTS).map(json.dumps)
# A text of which one place is something else.
BROKEN = st.builds(
    lambda text, at, junk: text.encode()[: at % (len(text) + 1)] + junk + text.encode()[at % (len(text) + 1) :],
    TEXTS,
    st.integers(0, 10_000),
    st.binary(max_size=4),
)


@settings(BOUNDED, max_examples=60)
@given(body=st.one_of(st.binary(max_size=40), TEXTS.map(str.encode), BROKEN), method=st.sampled_from(["POST", "PUT"]))
def test_any_body_is_taken_or_refused(somebody_new: Callable[..., httpx2.Response], body: bytes, method: str) -> None:
    """A refusal changes nothing."""
    answer = somebody_new(method, "/api/tasks" if method == "POST" else "/api/tasks/{mine}", content=body)

    assert answer.status_code in ({201, 400, 403} if method == "POST" else {200, 400, 403})


QUERY = st.tuples(
    st.sampled_from(["status", "sort", "limit", "cursor", "x"]),
    st.one_of(st.text(max_size=12), st.sampled_from(["all", "title", "1", "-1", "9" * 30, "WzFd", "W10"])),
)


@settings(BOUNDED, max_examples=60)
@given(query=st.lists(QUERY, max_size=4))
def test_any_query_is_taken_or_refused(somebody_new: Callable[..., httpx2.Response], query: Any) -> None:
    params = [(name, value.encode("utf-8", "surrogatepass")) for name, value in query]

    assert somebody_new("GET", "/api/tasks", params=params).status_code in {200, 400}


@settings(BOUNDED, max_examples=60)
@given(
    segment=st.one_of(st.text(min_size=1, max_size=12), st.integers().map(str)),
    method=st.sampled_from(["GET", "PUT", "PATCH", "DELETE"]),
)
def test_any_id_but_ones_own_is_not_found(
    somebody_new: Callable[..., httpx2.Response], segment: str, method: str
) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in segment.encode("utf-8", "surrogatepass"))
    path = f"/api/tasks/{encoded}" + ("/complete" if method == "PATCH" else "")

    assert somebody_new(method, path, json={} if method == "PUT" else None).status_code in {404, 405}
