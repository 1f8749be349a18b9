"""TASK_LIMIT: a person has that many tasks at most, and their tasks are not counted at each create."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import web.task_limit
from app import create_app
from settings import Settings
from tests.conftest import Rows
from tests.support.asgi import call_at_once
from tests.support.clock import Clock
from tests.support.tokens import bearer, token_of
from web.task_limit import TaskLimit

TASK = {"title": "Write"}
ADA = bearer(token_of("ada"))
CREATE = {"method": "POST", "url": "/api/tasks", "json": TASK, "headers": ADA}
COUNT = "SELECT count(*) FROM tasks WHERE user_id = 'ada'"


def refusal(limit: int) -> dict[str, str]:
    return {"detail": f"You have as many tasks as you may have ({limit}); delete one to add another."}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, task_limit=3)


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Starlette:
    app = create_app(settings)
    app.state.task_limit = TaskLimit(settings.task_limit or 0, clock)
    return app


@pytest.fixture
def counts(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], int]]:
    """How many counts there were since the last question."""

    def number() -> int:
        found = sum("count(" in record.getMessage().lower() for record in caplog.records)
        caplog.clear()
        return found

    with caplog.at_level(logging.DEBUG, "todo.sql"):
        yield number


def create(client: TestClient) -> int:
    return int(client.post("/api/tasks", json=TASK).status_code)


def test_a_create_beyond_the_limit_is_refused(ada: TestClient, bob: TestClient, rows: Rows) -> None:
    assert [create(ada) for _ in range(3)] == [201, 201, 201]

    answer = ada.post("/api/tasks", json=TASK)

    assert (answer.status_code, answer.json()) == (403, refusal(3))
    assert rows(COUNT) == [(3,)]
    assert create(bob) == 201


@pytest.mark.database("any")
def test_the_setting_alone_makes_the_limit(settings: Settings) -> None:
    with TestClient(create_app(settings), headers=ADA) as ada:
        assert [create(ada) for _ in range(4)] == [201, 201, 201, 403]
        first = ada.get("/api/tasks").json()[0]["id"]
        assert ada.delete(f"/api/tasks/{first}").status_code == 204
        assert create(ada) == 201


@pytest.mark.database("any")
def test_a_refused_person_is_counted_once_a_second(
    ada: TestClient, clock: Clock, rows: Rows, counts: Callable[[], int]
) -> None:
    assert [create(ada) for _ in range(6)] == [201, 201, 201, 403, 403, 403]
    assert counts() == 4
    rows("DELETE FROM tasks")

    assert (create(ada), counts()) == (403, 0)
    clock.now += 1
    assert (create(ada), counts()) == (201, 1)


@pytest.mark.database("any")
def test_a_delete_lets_a_refused_person_create_at_once(ada: TestClient, counts: Callable[[], int]) -> None:
    assert [create(ada) for _ in range(4)] == [201, 201, 201, 403]
    task = ada.get("/api/tasks").json()[0]["id"]
    assert ada.delete(f"/api/tasks/{task}").status_code == 204
    counts()

    assert (create(ada), counts()) == (201, 1)
    assert create(ada) == 403


@pytest.mark.database("any")
@pytest.mark.parametrize(("limit", "creates", "expected"), [(320, 20, 1), (320, 21, 2), (32, 2, 1), (31, 2, 2)])
def test_one_count_is_good_for_a_sixteenth_of_the_room_and_a_second(
    app: Starlette, ada: TestClient, clock: Clock, counts: Callable[[], int], limit: int, creates: int, expected: int
) -> None:
    app.state.task_limit = TaskLimit(limit, clock)

    assert [create(ada) for _ in range(creates)] == [201] * creates
    assert counts() == expected

    clock.now += 1
    assert (create(ada), counts()) == (201, 1)


@pytest.mark.parametrize("limit", [5, 40])
def test_many_creates_at_once_in_a_process_do_not_exceed_it(settings: Settings, rows: Rows, limit: int) -> None:
    app = create_app(replace(settings, task_limit=limit))

    answers = call_at_once(app, [CREATE] * (limit + 10))

    assert sorted(answer.status_code for answer in answers) == [201] * limit + [403] * 10
    assert rows(COUNT) == [(limit,)]


@pytest.mark.parametrize("limit", [1, 31])
def test_two_processes_exceed_a_small_limit_by_one_at_most(settings: Settings, rows: Rows, limit: int) -> None:
    apps = [create_app(replace(settings, task_limit=limit)) for _ in range(2)]

    with ThreadPoolExecutor() as threads:
        list(threads.map(call_at_once, apps, [[CREATE] * (limit + 3)] * 2))

    assert limit <= rows(COUNT)[0][0] <= limit + 1


def test_what_is_left_of_an_older_count_may_exceed_a_large_limit(settings: Settings, clock: Clock, rows: Rows) -> None:
    """Here by three: of the four creates that the first process was given, three are left when the limit is reached."""
    apps = [create_app(replace(settings, task_limit=64)) for _ in range(2)]
    for app in apps:
        app.state.task_limit = TaskLimit(64, clock)
    with TestClient(apps[0], headers=ADA) as first, TestClient(apps[1], headers=ADA) as second:
        assert create(first) == 201
        assert [create(second) for _ in range(64)] == [201] * 63 + [403]
        assert [create(first) for _ in range(4)] == [201, 201, 201, 403]
        assert rows(COUNT) == [(67,)]


@pytest.mark.database("any")
def test_the_people_who_are_remembered_are_bounded(
    ada: TestClient,
    bob: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    app: Starlette,
    clock: Clock,
    counts: Callable[[], int],
) -> None:
    monkeypatch.setattr(web.task_limit, "REMEMBERED_PEOPLE", 1)
    app.state.task_limit = TaskLimit(320, clock)
    assert (create(ada), create(ada), counts()) == (201, 201, 1)
    assert (create(bob), counts()) == (201, 1)

    assert (create(ada), counts()) == (201, 1)
