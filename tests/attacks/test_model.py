"""Any sequence of requests by two people does what the contract says, on every database; anything else is a 400."""

import json
import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)
from starlette.testclient import TestClient

from tests.attacks.model import BODIES, JSON, PLAIN, RICH, Invalid, Person, values
from tests.support.tokens import bearer, token_of

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NEXT = re.compile(r'<(/api/tasks\?[^>]+)>; rel="next"')

# The same examples in each run, however slow the machine. A fresh database serves a whole test, so that each example
# has people of its own. To make the least of a failure would take minutes: add Phase.shrink to have it done.
BOUNDED = settings(
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

people = st.integers(0, 1)
names = count()


class TwoPeople(RuleBasedStateMachine):
    """Makes each request of the API and of the model."""

    # An owner, and an id; the task may be deleted since.
    made = Bundle("made")

    def __init__(self, client: TestClient) -> None:
        super().__init__()
        self.client = client
        self.people = [Person(f"{who}-{next(names)}", {}) for who in ("ada", "bob")]

    def call(self, who: int, method: str, path: str, body: Any = None) -> httpx2.Response:
        """Every second request that may have a key has one, is sent twice, and is answered as if it were sent once."""
        headers = bearer(token_of(self.people[who].name))
        number = next(names)
        if method in ("GET", "DELETE") or number % 2:
            return self.client.request(method, path, json=body, headers=headers)
        headers["Idempotency-Key"] = f"key-{number}"
        first, again = (self.client.request(method, path, json=body, headers=headers) for _ in range(2))
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers.get("idempotency-replayed") == ("true" if first.status_code < 300 else None)
        return first

    def refused(self, answer: httpx2.Response, status: int) -> None:
        assert (answer.status_code, answer.json().keys() - {"errors"}) == (status, {"detail"})

    def task(self, who: int, task_id: int, answer: httpx2.Response) -> JSON | None:
        """The task, when there is one to answer."""
        task = self.people[who].tasks.get(task_id)
        if task is None:
            self.refused(answer, 404)
        else:
            assert answer.status_code == 200
        return task

    @initialize(target=made, hers=st.lists(PLAIN, min_size=2, max_size=7), his=st.lists(PLAIN, max_size=3))
    def begin(self, hers: Sequence[JSON], his: Sequence[JSON]) -> Any:
        return multiple(*(self.create(0, body) for body in hers), *(self.create(1, body) for body in his))

    @rule(target=made, who=people, body=st.one_of(PLAIN, PLAIN, RICH, BODIES))
    def create(self, who: int, body: JSON) -> Any:
        answer = self.call(who, "POST", "/api/tasks", body)
        try:
            defaults = {"description": None, "completed": False, "due_date": None}
            expected = {**defaults, **values({"title": None, **body})}
        except Invalid:
            self.refused(answer, 400)
            return multiple()
        task = answer.json()
        assert answer.status_code == 201
        assert task == {**expected, **{name: task[name] for name in ("id", "created_at", "updated_at")}}
        assert TIMESTAMP.fullmatch(task["created_at"])
        assert task["created_at"] == task["updated_at"]
        assert answer.headers["location"] == f"/api/tasks/{task['id']}"
        assert not any(task["id"] in person.tasks for person in self.people)
        self.people[who].tasks[task["id"]] = task
        return task["id"]

    @rule(who=people, task_id=made)
    def get(self, who: int, task_id: int) -> None:
        answer = self.call(who, "GET", f"/api/tasks/{task_id}")
        task = self.task(who, task_id, answer)
        assert task in (None, answer.json())

    @rule(who=people, task_id=made, body=st.one_of(RICH, BODIES), method=st.sampled_from(["PUT", "PATCH"]))
    def update(self, who: int, task_id: int, body: JSON, method: str = "PUT") -> None:
        answer = self.call(who, method, f"/api/tasks/{task_id}", body)
        try:
            changes = values(body)
        except Invalid:
            self.refused(answer, 400)
            return
        task = self.task(who, task_id, answer)
        if task is not None:
            self.changed(task, changes, answer.json())

    @rule(who=people, task_id=made, names=st.sets(st.sampled_from(["title", "description", "completed", "due_date"])))
    def update_with_what_is_there(self, who: int, task_id: int, names: set[str]) -> None:
        """As a form does that sends all of its fields; `updated_at` stays."""
        task = self.people[who].tasks.get(task_id, {"title": "x"})
        self.update(who, task_id, {name: task[name] for name in names if name in task})

    @rule(who=people, task_id=made, completed=st.sampled_from([None, True, False]))
    def complete(self, who: int, task_id: int, completed: bool | None) -> None:
        """Flipped without a body, else set."""
        body = None if completed is None else {"completed": completed}
        answer = self.call(who, "PATCH", f"/api/tasks/{task_id}/complete", body)
        task = self.task(who, task_id, answer)
        if task is not None:
            self.changed(task, body or {"completed": not task["completed"]}, answer.json())

    def changed(self, task: JSON, changes: JSON, answer: JSON) -> None:
        before = dict(task)
        task.update(changes)
        if task != before:
            assert TIMESTAMP.fullmatch(answer["updated_at"])
            assert answer["updated_at"] >= before["updated_at"]
            task["updated_at"] = answer["updated_at"]
        assert answer == task

    @rule(who=people, task_id=made)
    def delete(self, who: int, task_id: int) -> None:
        answer = self.call(who, "DELETE", f"/api/tasks/{task_id}")
        if task_id in self.people[who].tasks:
            del self.people[who].tasks[task_id]
            assert (answer.status_code, answer.content) == (204, b"")
        else:
            self.refused(answer, 404)

    @rule(who=people, task_id=st.one_of(st.none(), made), method=st.sampled_from(["POST", "PUT", "PATCH"]))
    def claim(self, who: int, task_id: int | None, method: str) -> None:
        """In the name of the other one."""
        path = "/api/tasks" if method == "POST" else f"/api/tasks/{task_id or 0}"
        owner = self.people[1 - who].name
        self.refused(self.call(who, method, path, {"title": "Theirs", "user_id": owner}), 403)

    @rule(
        who=people,
        status=st.sampled_from(["all", "pending", "completed"]),
        sort=st.sampled_from(["created", "title", "due_date"]),
        limit=st.sampled_from([None, 1, 2, 3, 500]),
    )
    def list(self, who: int, status: str, sort: str, limit: int | None) -> None:
        path: str | None = f"/api/tasks?status={status}&sort={sort}" + (f"&limit={limit}" if limit else "")
        found: list[JSON] = []
        while path is not None:
            answer = self.call(who, "GET", path)
            assert answer.status_code == 200
            assert limit is None or len(answer.json()) <= limit
            found += answer.json()
            link = NEXT.fullmatch(answer.headers.get("link", ""))
            path = link[1] if link else None
        assert found == self.people[who].listed(status, sort)

    def teardown(self) -> None:
        for who in (0, 1):
            for sort in ("created", "title", "due_date"):
                self.list(who, "all", sort, 2)


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
