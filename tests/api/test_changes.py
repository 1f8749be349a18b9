"""GET /api/changes: what was made, changed and deleted since a token."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

import store
from tables import now
from tests.conftest import Rows
from tests.support.tasks import create

TOO_OLD = {"detail": "This `since` is too old; start over without it, and drop the tasks that you have."}


class Follower:
    """A client that keeps up with the tasks of its person."""

    def __init__(self, client: TestClient, limit: int | None = None) -> None:
        self.client, self.limit = client, limit
        self.token: str | None = None
        self.tasks: dict[int, Any] = {}

    def poll(self) -> Any:
        """The last answer, after all that are there."""
        while True:
            parameters = {"since": self.token, "limit": self.limit}
            answer = self.client.get(
                "/api/changes", params={name: value for name, value in parameters.items() if value}
            )
            assert answer.status_code == 200
            found = answer.json()
            assert list(found) == ["tasks", "deleted", "token", "more"]
            assert self.limit is None or len(found["tasks"]) + len(found["deleted"]) <= self.limit
            self.token = found["token"]
            self.tasks |= {task["id"]: task for task in found["tasks"]}
            for id_ in found["deleted"]:
                self.tasks.pop(id_, None)
            if not found["more"]:
                return found


def everything(client: TestClient) -> dict[int, Any]:
    return {task["id"]: task for task in client.get("/api/tasks").json()}


def test_everything_then_what_changed(ada: TestClient) -> None:
    tasks = [create(ada, title=title) for title in ("One", "Two", "Three")]
    first = ada.get("/api/changes").json()
    changed = ada.patch(f"/api/tasks/{tasks[1]['id']}", json={"title": "Second"}).json()
    ada.delete(f"/api/tasks/{tasks[0]['id']}")
    new = create(ada, title="Four")
    second = ada.get("/api/changes", params={"since": first["token"]}).json()
    third = ada.get("/api/changes", params={"since": second["token"]}).json()

    assert first == {"tasks": tasks, "deleted": [], "token": first["token"], "more": False}
    assert second == {"tasks": [changed, new], "deleted": [tasks[0]["id"]], "token": second["token"], "more": False}
    assert third == {"tasks": [], "deleted": [], "token": second["token"], "more": False}


def test_somebody_without_tasks_can_begin(ada: TestClient) -> None:
    follower = Follower(ada)
    assert follower.poll()["tasks"] == []
    task = create(ada)

    assert follower.poll()["tasks"] == [task]
    ada.delete(f"/api/tasks/{task['id']}")
    assert follower.poll()["deleted"] == [task["id"]]
    # A new follower has no need to know.
    assert ada.get("/api/changes").json()["deleted"] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500, None])
def test_parts_of_any_size_give_everything(ada: TestClient, limit: int | None) -> None:
    tasks = [create(ada, title=f"Task {number}") for number in range(7)]
    follower, late = Follower(ada, limit), Follower(ada, limit)
    late.poll()
    for task in tasks[:3]:
        ada.delete(f"/api/tasks/{task['id']}")
    for task in tasks[3:5]:
        ada.patch(f"/api/tasks/{task['id']}/complete")
    for each in (follower, late):
        each.poll()

    assert follower.tasks == late.tasks == everything(ada)


def test_what_changes_while_somebody_reads_part_by_part_is_not_missed(ada: TestClient) -> None:
    tasks = [create(ada, title=f"Task {number}") for number in range(6)]
    token = None
    seen: dict[int, Any] = {}
    for task in tasks:
        parameters: dict[str, Any] = {"limit": 1} if token is None else {"limit": 1, "since": token}
        found = ada.get("/api/changes", params=parameters).json()
        seen |= {each["id"]: each for each in found["tasks"]}
        for id_ in found["deleted"]:
            seen.pop(id_, None)
        token = found["token"]
        # One that was read, and one that was not.
        ada.patch(f"/api/tasks/{task['id']}/complete")
    ada.delete(f"/api/tasks/{tasks[0]['id']}")
    follower = Follower(ada)
    follower.token, follower.tasks = token, seen
    follower.poll()

    assert follower.tasks == everything(ada)


def test_many_tasks_of_one_moment_are_given_in_parts(ada: TestClient, rows: Rows) -> None:
    for _ in range(5):
        create(ada)
    rows("UPDATE tasks SET updated_at = (SELECT latest FROM change_clocks)")
    follower = Follower(ada, 2)
    follower.poll()

    assert follower.tasks == everything(ada)


def test_a_change_of_nothing_is_none(ada: TestClient) -> None:
    task = create(ada)
    follower = Follower(ada)
    follower.poll()
    ada.put(f"/api/tasks/{task['id']}", json={"title": task["title"]})
    ada.delete("/api/tasks/404")

    assert follower.poll()["tasks"] == []


def test_large_tasks_come_in_answers_of_bounded_size(ada: TestClient) -> None:
    for number in range(120):
        create(ada, title=f"{number:0200}", description="\x01" * 1000)
    answer = ada.get("/api/changes")
    follower = Follower(ada)
    follower.poll()

    assert len(answer.content) < 160 * 1024
    assert answer.json()["more"]
    assert follower.tasks == everything(ada)


def test_time_that_goes_back_hides_nothing(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines have clocks of their own."""
    follower = Follower(ada)
    times = []
    for hours in (0, 3, -3, 2, -1, 0):
        monkeypatch.setattr(store, "now", lambda hours=hours: now() + timedelta(hours=hours))
        task = create(ada)
        follower.poll()
        times.append(task["updated_at"])
        times.append(ada.patch(f"/api/tasks/{task['id']}/complete").json()["updated_at"])
        follower.poll()
        assert follower.tasks == everything(ada)

    assert times == sorted(set(times))


def test_the_same_microsecond_is_given_once(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = now().replace(microsecond=999_999)
    monkeypatch.setattr(store, "now", lambda: moment)
    tasks = [create(ada) for _ in range(3)]

    assert [datetime.fromisoformat(task["updated_at"]) - moment for task in tasks] == [
        timedelta(microseconds=number) for number in range(3)
    ]


def test_deletions_are_forgotten_after_a_time_and_tokens_from_before_are_too_old(
    ada: TestClient, bob: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [create(ada) for _ in range(4)]
    before = Follower(ada)
    before.poll()
    ada.delete(f"/api/tasks/{tasks[0]['id']}")
    between, of_bob = Follower(ada), Follower(bob)
    between.poll()
    of_bob.poll()
    assert ada.get("/api/changes", params={"since": before.token}).status_code == 200
    monkeypatch.setattr(store, "DELETED_KEPT", timedelta(0))
    ada.delete(f"/api/tasks/{tasks[1]['id']}")

    assert rows("SELECT id FROM deleted_tasks") == [(tasks[1]["id"],)]
    answer = ada.get("/api/changes", params={"since": before.token})
    assert (answer.status_code, answer.json()) == (410, TOO_OLD)
    between.poll()
    assert between.tasks == everything(ada)
    of_bob.poll()
    # Somebody who starts over goes on.
    again = Follower(ada, 1)
    again.poll()
    again.poll()
    assert again.tasks == everything(ada)


def test_what_an_operator_had_forgotten_stays_forgotten(
    ada: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a backup was restored, when deletions of before expire."""
    tasks = [create(ada) for _ in range(2)]
    ada.delete(f"/api/tasks/{tasks[0]['id']}")
    token = ada.get("/api/changes").json()["token"]
    rows("UPDATE change_clocks SET latest = '2199-01-01 00:00:00.000001', forgotten = '2199-01-01 00:00:00.000001'")
    monkeypatch.setattr(store, "DELETED_KEPT", timedelta(0))
    ada.delete(f"/api/tasks/{tasks[1]['id']}")

    assert ada.get("/api/changes", params={"since": token}).status_code == 410


def test_the_first_part_of_an_old_list_is_too_old_as_well(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [create(ada) for _ in range(3)]
    token = ada.get("/api/changes?limit=2").json()["token"]
    for task in tasks[:2]:
        ada.delete(f"/api/tasks/{task['id']}")
    monkeypatch.setattr(store, "DELETED_KEPT", timedelta(0))
    ada.delete(f"/api/tasks/{tasks[2]['id']}")

    assert ada.get("/api/changes", params={"since": token}).status_code == 410


def test_a_token_of_what_a_restored_database_does_not_know_is_too_old(ada: TestClient, rows: Rows) -> None:
    create(ada)
    before = rows("SELECT CAST(latest AS text) FROM change_clocks")[0][0]
    task = create(ada)
    token = ada.get("/api/changes").json()["token"]
    # As if restored from a backup between the two.
    rows(f"DELETE FROM tasks WHERE id = {task['id']}")
    rows(f"UPDATE change_clocks SET latest = '{before}'")
    answer = ada.get("/api/changes", params={"since": token})

    assert (answer.status_code, answer.json()) == (410, TOO_OLD)


def test_tasks_of_another_program_are_seen(ada: TestClient, rows: Rows) -> None:
    """They did not move the clock, which then catches up."""
    ada.get("/api/tasks")
    insert = (
        "INSERT INTO tasks (user_id, title, completed, created_at, updated_at)"
        " VALUES ('ada', 'Imported', false, '{0}', '{0}')"
    )
    rows(insert.format("2026-01-01 00:00:00.000001"))
    follower = Follower(ada, 1)
    follower.poll()
    assert follower.tasks == everything(ada)
    for second in range(3):
        rows(insert.format(f"2199-01-01 00:00:0{second}.000001"))
    follower.poll()
    assert follower.tasks == everything(ada)
    assert follower.poll()["tasks"] == []
    create(ada)
    follower.poll()
    assert follower.tasks == everything(ada)


def _altered(token: str, position: int, value: Any) -> str:
    values = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    values[position] = value
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.database("any")
@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda _: "abc", id="short"),
        pytest.param(lambda token: token + "=", id="padded"),
        pytest.param(lambda token: token[:-4], id="cut"),
        pytest.param(lambda _: "é" * 40, id="not-ascii"),
        pytest.param(lambda token: _altered(token, 0, "created"), id="a-cursor"),
        pytest.param(lambda token: _altered(token, 1, "0" * 16), id="of-somebody-else"),
        pytest.param(lambda token: _altered(token, 2, "never"), id="no-time"),
        pytest.param(lambda token: _altered(token, 3, "2026-01-01T00:00:00+01:00"), id="not-in-utc"),
        pytest.param(lambda token: _altered(token, 4, -1), id="negative-id"),
        pytest.param(lambda token: _altered(token, 4, 2**63), id="large-id"),
    ],
)
def test_a_token_from_elsewhere_is_a_400(ada: TestClient, alter: Any) -> None:
    token = ada.get("/api/changes").json()["token"]
    answer = ada.get("/api/changes", params={"since": alter(token)})

    message = "was not given to you by this API; start over without it"
    assert answer.status_code == 400
    assert answer.json() == {
        "detail": f"since {message}.",
        "errors": [{"field": "since", "message": message}],
    }


def test_a_token_of_somebody_else_opens_nothing(ada: TestClient, bob: TestClient) -> None:
    create(bob)
    token = bob.get("/api/changes?limit=1").json()["token"]

    assert ada.get("/api/changes", params={"since": token}).status_code == 400


@pytest.mark.database("any")
@pytest.mark.parametrize("limit", ["0", "501", "-1", "x", ""])
def test_a_bad_limit_is_a_400(ada: TestClient, limit: str) -> None:
    answer = ada.get("/api/changes", params={"limit": limit})

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["limit"]


def test_a_person_whose_row_is_gone_gets_it_again(ada: TestClient, rows: Rows) -> None:
    create(ada)
    rows("DELETE FROM users")

    assert ada.get("/api/changes").json()["tasks"] == []
    assert ada.delete("/api/tasks/1").status_code == 404
