"""RATE_LIMIT: a person may make that many requests, and is told how many are left."""

import logging
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import web.counts
from app import create_app
from settings import Settings
from tests.conftest import Rows
from tests.support.backend import ROOT
from tests.support.clock import Clock
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of
from web.counts import PERIODS, Counts, Quota, Rate, quota

pytestmark = pytest.mark.database("any")

POLICY = '"person";q=3;w=60'


def refusal(seconds: int) -> dict[str, str]:
    return {"detail": f"You have made as many requests as you may make (3 per minute); try again in {seconds} s."}


def limits(answer: httpx2.Response) -> tuple[str | None, ...]:
    names = ("RateLimit-Policy", "RateLimit", "Retry-After")
    return tuple(answer.headers.get(name) for name in names)


def statuses(client: TestClient, number: int) -> list[int]:
    return [client.get("/api/tasks").status_code for _ in range(number)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, rate_limit="3/minute")


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Starlette:
    app = create_app(settings)
    app.state.rate_limit.counts = Counts(Rate(3, 60), clock)
    return app


def test_a_request_beyond_the_limit_is_a_429_and_says_when_to_try_again(ada: TestClient, clock: Clock) -> None:
    answers = [ada.get("/api/tasks") for _ in range(3)]
    clock.now += 20.5
    answers += [ada.get("/api/tasks") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [limits(answer) for answer in answers] == [
        (POLICY, '"person";r=2;t=60', None),
        (POLICY, '"person";r=1;t=60', None),
        (POLICY, '"person";r=0;t=60', None),
        (POLICY, '"person";r=0;t=40', "40"),
        (POLICY, '"person";r=0;t=40', "40"),
    ]
    assert answers[3].json() == refusal(40)
    clock.now += 40
    assert statuses(ada, 2) == [200, 429]


def test_each_person_has_a_limit_of_their_own(ada: TestClient, bob: TestClient) -> None:
    assert statuses(ada, 4) == [200, 200, 200, 429]
    assert statuses(bob, 4) == [200, 200, 200, 429]


def test_the_setting_alone_makes_the_limit(settings: Settings) -> None:
    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as ada:
        assert statuses(ada, 4) == [200, 200, 200, 429]


@pytest.mark.database("every")
def test_a_refused_request_does_not_ask_the_database(
    app: Starlette, ada: TestClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even for the row of the user, of whom this is the first request."""
    ada.get("/ready")
    for _ in range(3):
        app.state.rate_limit.counts.hit("ada")

    caplog.clear()
    with caplog.at_level(logging.DEBUG, "todo.sql"):
        assert ada.post("/api/tasks", json={"title": "Write"}).status_code == 429

    assert [record for record in caplog.records if record.name == "todo.sql"] == []
    assert rows("SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/api/tasks", 200),
        ("POST", "/api/tasks", 400),
        ("GET", "/api/tasks/404", 404),
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/tasks", 405),
        ("OPTIONS", "/api/tasks", 405),
    ],
)
def test_every_request_with_a_token_counts_and_says_so(ada: TestClient, method: str, path: str, status: int) -> None:
    answer = ada.request(method, path)

    assert (answer.status_code, limits(answer)) == (status, (POLICY, '"person";r=2;t=60', None))


PREFLIGHT = {"Origin": FRONTEND, "Access-Control-Request-Method": "GET"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("OPTIONS", "/api/tasks", PREFLIGHT, 200),
        ("GET", "/api/tasks", {"Authorization": "Bearer forged"}, 401),
        ("POST", "/api/tasks", {"Content-Length": "65537"}, 413),
        ("GET", "/health", {}, 200),
        ("GET", "/ready", {}, 200),
    ],
)
def test_no_other_request_counts(ada: TestClient, method: str, path: str, headers: dict[str, str], status: int) -> None:
    for _ in range(4):
        answer = ada.request(method, path, headers=headers)
        assert (answer.status_code, limits(answer)) == (status, (None, None, None))

    assert statuses(ada, 4) == [200, 200, 200, 429]


def test_pages_of_the_frontend_can_read_a_429(ada: TestClient) -> None:
    statuses(ada, 3)

    answer = ada.get("/api/tasks", headers={"Origin": FRONTEND})

    assert answer.status_code == 429
    assert answer.headers["Access-Control-Allow-Origin"] == FRONTEND
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed)


@pytest.mark.parametrize("rate", ["", "600/minute"])
def test_limits_and_redis_are_loaded_for_a_storage_alone(tmp_path: Path, rate: str) -> None:
    statement = "import main, sys; print(main.app.state.rate_limit is None, {'limits', 'redis'} & sys.modules.keys())"
    variables = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": f"sqlite:///{tmp_path}/todo.db", "RATE_LIMIT": rate}
    environment = {"PATH": os.environ["PATH"], **variables}

    ended = subprocess.run(
        [sys.executable, "-c", statement], cwd=ROOT, env=environment, capture_output=True, check=True
    )

    assert ended.stdout.decode().split() == [str(not rate), "set()"]


@pytest.mark.parametrize("period", PERIODS)
def test_a_limit_is_for_its_period(period: str, clock: Clock) -> None:
    counts = Counts(Rate.of(f"2/{period}"), clock)

    found = [counts.hit("ada") for _ in range(3)]

    seconds = float({"second": 1, "minute": 60, "hour": 3600, "day": 86400}[period])
    assert found == [Quota(True, 1, seconds), Quota(True, 0, seconds), Quota(False, 0, seconds)]


@pytest.mark.parametrize(("elapsed", "more"), [(60, 0), (61, 2), (75, 25), (90, 50), (119, 99), (120, 100), (500, 100)])
def test_requests_are_forgotten_gradually_in_the_next_window(clock: Clock, elapsed: int, more: int) -> None:
    counts = Counts(Rate(100, 60), clock)
    assert sum(counts.hit("ada").passes for _ in range(101)) == 100

    clock.now += elapsed

    assert sum(counts.hit("ada").passes for _ in range(101)) == more


@pytest.mark.parametrize("rate", [Rate(1, 1), Rate(3, 60), Rate(7, 1), Rate(600, 60), Rate(11, 3600)])
def test_retry_after_is_enough_and_not_a_second_too_long(rate: Rate, clock: Clock) -> None:
    source, counts, refusals = random.Random(429), Counts(rate, clock), 0  # noqa: S311 - the same ones in every run
    while refusals < 200:
        found = counts.hit("ada")
        if found.passes:
            clock.now += source.choice([0, source.random() * 3 * rate.window / rate.limit])
            continue
        refusals += 1
        began = clock.now
        clock.now = began + max(0, found.retry_after - 1.01)
        assert not counts.hit("ada").passes
        clock.now = began + found.retry_after
        assert counts.hit("ada").passes


def test_the_people_who_are_remembered_are_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was away for longest is forgotten first."""
    monkeypatch.setattr(web.counts, "REMEMBERED_PEOPLE", 2)
    counts = Counts(Rate(1, 60), clock)

    found = [(person, counts.hit(person).passes) for person in ("ada", "bob", "ada", "carl", "ada", "bob")]

    assert found == [("ada", True), ("bob", True), ("ada", False), ("carl", True), ("ada", False), ("bob", True)]


def test_a_quota_of_a_storage_that_has_forgotten_all_is_good_at_once() -> None:
    assert quota(Rate(3, 60), False, 0, 0, 0.0).retry_after == 1
