"""A long list in pieces of some 64 KiB, and what becomes of it when tasks come and go between two of them."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from paging import Position
from tests.conftest import Rows
from tests.support.asgi import Exchange
from tests.support.tasks import pages, whole
from tests.support.tokens import bearer, token_of
from web.pieces import pieces

pytestmark = pytest.mark.database("any")

# As JSON, some of the largest that there are.
LARGE = {"title": "x" * 200, "description": "\x01" * 1000}
KIB = 1024


class Row(NamedTuple):
    id: int
    title: str
    description: str
    completed: bool
    due_date: None
    created_at: datetime
    updated_at: datetime


def row(number: int, size: int = 1000, place: int | None = None) -> Row:
    """The higher the number, or the place, the earlier in the list."""
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=place or number)
    return Row(number, "Write", "x" * size, False, None, moment, moment)


class Table:
    """Rows in order, of which each piece is fetched."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.fetched: list[int] = []

    async def fetch(self, count: int, after: Position) -> list[Row]:
        self.fetched.append(count)
        return [row for row in self.rows if (row.created_at, row.id) < after][:count]

    def written(self, first: int, end: int | None, meanwhile: Callable[[int], object]) -> list[bytes]:
        """All pieces of the list or page that begins with the first rows; `meanwhile` is called after each."""

        async def write() -> list[bytes]:
            found: list[bytes] = []
            async for piece in pieces(self.fetch, "created", self.rows[:first], end):
                found.append(piece)
                meanwhile(len(found))
            return found

        return asyncio.run(write())


def nothing(_: int) -> None:
    pass


def test_a_page_may_end_with_the_task_of_id_0() -> None:
    table = Table([row(number, place=9 - number) for number in (1, 2, 0, 3)])

    found = json.loads(b"".join(table.written(4, 0, nothing)))

    assert [task["id"] for task in found] == [1, 2, 0]


def ids(found: list[bytes]) -> list[int]:
    return [task["id"] for task in json.loads(b"".join(found))]


@pytest.mark.parametrize("size", [0, 100, 1000, 7000, 50_000, 500_000])
def test_a_piece_has_some_64_kib_whatever_the_tasks_have(size: int) -> None:
    table = Table([row(number, size) for number in range(600, 0, -1)][: 40 if size > 7000 else None])

    found = table.written(250, None, nothing)

    assert ids(found) == [row.id for row in table.rows]
    assert max(map(len, found)) <= max(2 * 64 * KIB, size + KIB) + 2
    assert len(found) <= 3 + sum(map(len, found)) / (48 * KIB)


def test_a_piece_grows_and_shrinks_with_the_tasks() -> None:
    sizes = [100] * 600 + [7000] * 40 + [100] * 2000
    table = Table([row(10_000 - number, size) for number, size in enumerate(sizes)])

    found = table.written(250, None, nothing)

    assert ids(found) == [row.id for row in table.rows]
    assert max(map(len, found)) <= 2 * 64 * KIB + 2
    assert min(table.fetched) <= 10
    assert max(table.fetched) >= 200


@pytest.mark.parametrize("count", range(1, 4))
def test_a_page_ends_where_it_did_whatever_comes_and_goes(count: int) -> None:
    """Else the next page, whose Link is out already, would leave out tasks or repeat them."""
    table = Table([row(number) for number in range(1000, 0, -1)])
    page, new = table.rows[:300], [row(2000 + number, place=850) for number in range(count)]

    def meanwhile(written: int) -> None:
        if written == 1:
            table.rows = [row for row in table.rows if row.id not in range(800, 800 + count)] + new
            table.rows.sort(key=lambda row: (row.created_at, row.id), reverse=True)

    found = ids(table.written(300, page[-1].id, meanwhile))

    assert found == [row.id for row in table.rows if row.created_at >= page[-1].created_at]
    assert found[-1] == page[-1].id


def test_a_page_of_which_the_end_has_gone_does_not_go_on_for_ever() -> None:
    table = Table([row(number) for number in range(5000, 0, -1)])
    end = table.rows[299]

    def meanwhile(written: int) -> None:
        if written == 1:
            table.rows.remove(end)

    found = ids(table.written(300, end.id, meanwhile))

    assert found == [row.id for row in table.rows][: len(found)]
    assert 300 <= len(found) <= 1500


def test_a_long_list_of_small_tasks_is_one_answer_with_its_length(ada: TestClient, rows: Rows) -> None:
    ada.get("/api/tasks")
    fill(rows, 250)

    response = ada.get("/api/tasks")

    assert len(response.json()) == 250
    assert response.headers["content-length"] == str(len(response.content))


def fill(rows: Rows, count: int) -> None:
    for number in range(1, count + 1):
        moment = f"2026-01-01 00:00:00.{number:06}"
        rows(
            "INSERT INTO tasks (id, user_id, title, completed, created_at, updated_at) "
            f"VALUES ({number}, 'ada', 'Write', {'TRUE' if number % 2 else 'FALSE'}, '{moment}', '{moment}')"
        )


@pytest.mark.parametrize("query", ["", "sort=title", "limit=40", "limit=500", "sort=due_date&limit=41"])
@pytest.mark.database("every")
def test_large_tasks_go_out_in_pieces_and_pages_too(app: Starlette, ada: TestClient, query: str) -> None:
    tasks = [ada.post("/api/tasks", json=LARGE).json() for _ in range(41)]
    ordered = tasks if "sort" in query else tasks[::-1]

    start, *bodies = Exchange("GET", "/api/tasks", bearer(token_of("ada")), query.encode()).run(app)

    assert start["status"] == 200
    assert 3 <= len([message for message in bodies if message["body"]]) <= 8
    assert max(len(message["body"]) for message in bodies) <= 2 * 64 * KIB + 2
    assert [task for page in pages(ada, query) for task in page] == ordered
    assert [len(page) for page in pages(ada, query)] == ([40, 1] if query == "limit=40" else [41])
    assert whole(ada, query.partition("limit")[0]) == ordered
