"""ETag, If-Match and If-None-Match: no edit is lost, and nothing is sent twice (RFC 9110, section 13)."""

from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from tests.conftest import Rows
from tests.support.tasks import create

pytestmark = pytest.mark.database("two")

EVERYTHING = "SELECT * FROM tasks ORDER BY id"
CHANGES: dict[str, tuple[str, str, Any]] = {
    "put": ("PUT", "", {"title": "Mine"}),
    "put-of-nothing": ("PUT", "", {}),
    "patch": ("PATCH", "", {"completed": True}),
    "toggle": ("PATCH", "/complete", None),
    "complete": ("PATCH", "/complete", {"completed": True}),
    "delete": ("DELETE", "", None),
}
each_change = pytest.mark.parametrize(("method", "suffix", "body"), CHANGES.values(), ids=CHANGES)
KEY = {"Idempotency-Key": "one"}


def etag(task: dict[str, Any]) -> str:
    return f'"{task["updated_at"]}"'


def test_the_etag_of_a_task_is_its_time_in_quotes(ada: TestClient) -> None:
    answers = [ada.post("/api/tasks", json={"title": "Write"})]
    path = answers[0].headers["location"]
    answers += [ada.get(path), ada.put(path, json={"title": "Read"}), ada.patch(path, json={"title": "Rest"})]
    answers += [ada.patch(f"{path}/complete"), ada.get(path)]

    assert [answer.headers["etag"] for answer in answers] == [etag(answer.json()) for answer in answers]
    assert len({answer.headers["etag"] for answer in answers}) == 4


@each_change
def test_a_change_of_what_was_seen_is_made(ada: TestClient, method: str, suffix: str, body: Any) -> None:
    task = create(ada)
    answer = ada.request(method, f"/api/tasks/{task['id']}{suffix}", json=body, headers={"If-Match": etag(task)})

    assert answer.status_code == (204 if method == "DELETE" else 200)


@each_change
@pytest.mark.parametrize("tag", ["{old}", '"another"', '""', '"2026-99-99T00:00:00.000000Z"', "W/{old}"])
def test_a_change_of_what_has_changed_is_refused_with_the_task(
    ada: TestClient, rows: Rows, method: str, suffix: str, body: Any, tag: str
) -> None:
    task = create(ada)
    now = ada.put(f"/api/tasks/{task['id']}", json={"title": "Theirs"}).json()
    before = rows(EVERYTHING)
    headers = {"If-Match": tag.format(old=etag(task))}
    answer = ada.request(method, f"/api/tasks/{task['id']}{suffix}", json=body, headers=headers)

    assert answer.status_code == 412
    assert answer.json() == {
        "detail": "The task has changed since you got it; look at `task`, and send your change again with its ETag.",
        "task": now,
    }
    assert answer.headers["etag"] == etag(now)
    assert rows(EVERYTHING) == before


@each_change
@pytest.mark.parametrize("tag", ["*", "W/{tag}"])
def test_any_tag_and_a_weak_one_are_taken(ada: TestClient, method: str, suffix: str, body: Any, tag: str) -> None:
    """A proxy that compresses answers makes their tags weak."""
    task = create(ada)
    headers = {"If-Match": tag.format(tag=etag(task))}
    answer = ada.request(method, f"/api/tasks/{task['id']}{suffix}", json=body, headers=headers)

    assert answer.status_code == (204 if method == "DELETE" else 200)


@pytest.mark.database("any")
@each_change
@pytest.mark.parametrize("tag", ["2026-11-21T06:00:00.123456Z", "", '"a", "b"', '"a', "W/*"])
def test_what_is_no_tag_is_a_400_that_says_what_to_send(
    ada: TestClient, rows: Rows, method: str, suffix: str, body: Any, tag: str
) -> None:
    path = f"/api/tasks/{create(ada)['id']}{suffix}"
    before = rows(EVERYTHING)
    answer = ada.request(method, path, json=body, headers={"If-Match": tag})

    assert answer.status_code == 400
    assert answer.json() == {
        "detail": 'If-Match must be one ETag, which is the `updated_at` of the task in double quotes, or "*" alone.'
    }
    assert rows(EVERYTHING) == before


@each_change
@pytest.mark.parametrize("tag", ["*", '"2026-11-21T06:00:00.123456Z"'])
def test_a_task_that_is_not_there_is_a_404(
    ada: TestClient, bob: TestClient, method: str, suffix: str, body: Any, tag: str
) -> None:
    of_bob = create(bob)
    answers = [
        ada.request(method, f"/api/tasks/{id_}{suffix}", json=body, headers={"If-Match": each})
        for id_ in (of_bob["id"], 404)
        for each in (tag, etag(of_bob))
    ]

    assert [answer.status_code for answer in answers] == [404] * 4


def test_a_change_that_is_sent_again_gets_its_answer_although_the_task_is_no_longer_what_was_seen(
    ada: TestClient,
) -> None:
    task = create(ada)
    path = f"/api/tasks/{task['id']}"

    def send() -> Response:
        return ada.patch(path, json={"title": "Mine"}, headers={"If-Match": etag(task), **KEY})

    first = send()
    ada.patch(path, json={"title": "Theirs"})
    again = send()

    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert again.headers["etag"] == etag(first.json())
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


def test_a_refused_change_with_a_key_is_refused_again(ada: TestClient) -> None:
    """Also where the change of others was this person's latest."""
    task = create(ada)
    path = f"/api/tasks/{task['id']}"
    now = ada.patch(path, json={"title": "Theirs"}).json()
    answers = [ada.patch(path, json={"title": "Mine"}, headers={"If-Match": etag(task), **KEY}) for _ in range(2)]

    assert [(answer.status_code, answer.json()["task"]) for answer in answers] == [(412, now)] * 2
    assert ada.patch(path, json={"title": "Mine"}, headers={"If-Match": etag(now), **KEY}).json()["title"] == "Mine"


def test_a_change_of_nothing_with_a_key_and_a_tag_is_answered(ada: TestClient) -> None:
    task = create(ada)
    headers = {"If-Match": etag(task), **KEY}
    answers = [ada.patch(f"/api/tasks/{task['id']}", json={}, headers=headers) for _ in range(2)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, task)] * 2


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/{id}", "/api/tasks?limit=1", "/api/tasks?status=completed"])
def test_what_is_known_is_not_sent_again(ada: TestClient, path: str) -> None:
    task = create(ada)
    create(ada)
    path = path.format(**task)
    first = ada.get(path)
    tag = first.headers["etag"]
    known = [ada.get(path, headers={"If-None-Match": each}) for each in (tag, f"W/{tag}", f'"a", {tag}', "*")]
    unknown = [ada.get(path, headers={"If-None-Match": each}) for each in ('"a"', tag.strip('"'), "")]

    assert [(answer.status_code, answer.content) for answer in known] == [(304, b"")] * 4
    assert [(answer.status_code, answer.content) for answer in unknown] == [(200, first.content)] * 3
    for answer in (first, *known):
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "Authorization" in answer.headers.get_list("vary")
        assert answer.headers.get("link") == first.headers.get("link")
    assert ada.head(path, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/{id}", "/api/tasks?limit=1"])
def test_what_has_changed_is_sent(ada: TestClient, path: str) -> None:
    task = create(ada)
    path = path.format(**task)
    tag = ada.get(path).headers["etag"]
    ada.patch(f"/api/tasks/{task['id']}/complete")
    answer = ada.get(path, headers={"If-None-Match": tag})

    assert answer.status_code == 200
    assert answer.headers["etag"] != tag


def test_a_page_with_a_new_next_page_is_sent(ada: TestClient) -> None:
    """Its tasks are the same; only its header `Link` is new."""
    first = create(ada)
    before = ada.get("/api/tasks?limit=1&sort=title")
    create(ada, title="Zzz")
    after = ada.get("/api/tasks?limit=1&sort=title", headers={"If-None-Match": before.headers["etag"]})

    assert (before.json(), after.json()) == ([first], [first])
    assert "link" in after.headers


def test_two_people_with_equal_times_have_lists_of_their_own(ada: TestClient, bob: TestClient, rows: Rows) -> None:
    """A browser may send the tag of one person's list with the token of another."""
    create(ada, title="Ada's")
    create(bob, title="Bob's")
    rows("UPDATE tasks SET updated_at = '2026-01-01 00:00:00.000001+00:00', created_at = updated_at")
    tag = ada.get("/api/tasks").headers["etag"]

    assert [task["title"] for task in bob.get("/api/tasks", headers={"If-None-Match": tag}).json()] == ["Bob's"]


def test_a_streamed_list_has_no_tag_and_is_not_kept(ada: TestClient) -> None:
    for _ in range(120):
        create(ada, title="t" * 200, description="d" * 1000)
    answer = ada.get("/api/tasks", headers={"If-None-Match": "*"})

    assert len(answer.json()) == 120
    assert "etag" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


def test_answers_to_changes_are_not_kept(ada: TestClient) -> None:
    created = ada.post("/api/tasks", json={"title": "Write"})
    answers = [created, ada.put(created.headers["location"], json={}), ada.delete(created.headers["location"])]

    assert [answer.headers["cache-control"] for answer in answers] == ["no-store"] * 3
