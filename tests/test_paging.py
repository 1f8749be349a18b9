"""A list in pages, and the whole list in the chunks that it goes out in."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from app import create_app
from paging import Sort, Status
from settings import Settings
from tests.conftest import Rows, RowsOf, database_name
from tests.tokens import SECRET, bearer, token_of

SORTS: list[Sort] = ["created", "title", "due_date"]
STATUSES: list[Status] = ["all", "pending", "completed"]
ORDER = {
    "created": "created_at DESC, id DESC",
    "title": "lower(title), id",
    "due_date": "due_date IS NULL, due_date, id",
}
WHERE = {"all": "TRUE", "pending": "NOT completed", "completed": "completed"}
CHUNK = 3

Task = dict[str, Any]
every_sort = pytest.mark.parametrize("sort", SORTS)


def create(client: TestClient, count: int) -> list[Task]:
    """Tasks with ties in every sort, half of them completed."""
    return [
        client.post(
            "/api/tasks",
            json={
                "title": ["b", "A", "c", "a", "B"][number % 5],
                "completed": number // 2 % 2 == 1,
                "due_date": [None, "2026-02-01", "2026-01-31"][number % 3],
            },
        ).json()
        for number in range(count)
    ]


def pages(client: TestClient, query: str) -> list[list[Task]]:
    """All pages from this one on, as the Link headers lead to them."""
    found = []
    url: str | None = f"/api/tasks?{query}"
    while url:
        response = client.get(url)
        assert response.status_code == 200
        found.append(response.json())
        url = response.links.get("next", {}).get("url")
    return found


def whole(client: TestClient, query: str = "") -> list[Task]:
    tasks: list[Task] = client.get(f"/api/tasks?{query}").json()
    return tasks


@pytest.mark.parametrize("status", STATUSES)
@every_sort
def test_the_pages_of_any_size_are_the_whole_list(ada: TestClient, sort: Sort, status: Status) -> None:
    create(ada, 8)
    query = f"sort={sort}&status={status}"
    tasks = whole(ada, query)

    for size in range(1, len(tasks) + 1):
        cut = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        assert pages(ada, f"{query}&limit={size}") == cut


def test_pages_go_through_tasks_of_the_same_moment(ada: TestClient, rows: Rows) -> None:
    tasks = create(ada, 4)
    rows("UPDATE tasks SET created_at = (SELECT min(created_at) FROM tasks)")

    found = [task["id"] for page in pages(ada, "limit=1") for task in page]

    assert found == [task["id"] for task in reversed(tasks)]


def test_a_page_links_to_the_next_with_all_its_parameters(ada: TestClient) -> None:
    create(ada, 3)

    link = ada.get("/api/tasks?sort=title&status=all&limit=2&note=a%26b%0Ac").headers["link"]

    url = link.removeprefix("<").removesuffix('>; rel="next"')
    parameters = parse_qs(urlsplit(url).query)
    assert link == f'<{url}>; rel="next"'
    assert urlsplit(url).path == "/api/tasks"
    assert parameters.pop("cursor")[0].replace("-", "").replace("_", "").isalnum()
    assert parameters == {"sort": ["title"], "status": ["all"], "limit": ["2"], "note": ["a&b\nc"]}


@pytest.mark.parametrize("limit", [2, 3, 500])
def test_the_last_page_links_to_nothing(ada: TestClient, limit: int) -> None:
    create(ada, 2)

    response = ada.get(f"/api/tasks?limit={limit}")

    assert len(response.json()) == 2
    assert "link" not in response.headers


def test_a_limit_may_change_on_the_way(ada: TestClient) -> None:
    create(ada, 6)
    tasks = whole(ada, "sort=title")
    url = ada.get("/api/tasks?sort=title&limit=2").links["next"]["url"]

    assert ada.get(url.replace("limit=2", "limit=3")).json() == tasks[2:5]
    assert ada.get(url.replace("limit=2&", "")).json() == tasks[2:]


@every_sort
def test_no_task_that_stands_is_missed_or_doubled_while_others_come_and_go(ada: TestClient, sort: Sort) -> None:
    """Among those that go are the one that the cursor names and the one after it."""
    create(ada, 9)
    tasks = whole(ada, f"sort={sort}")
    first = ada.get(f"/api/tasks?sort={sort}&limit=3")

    create(ada, 5)
    gone = [tasks[0], tasks[2], tasks[3]]
    for task in gone:
        ada.delete(f"/api/tasks/{task['id']}")
    query = urlsplit(first.links["next"]["url"]).query
    found = first.json() + [task for page in pages(ada, query) for task in page]

    standing = [task for task in tasks if task not in gone]
    assert [task for task in found if task in standing] == standing


def test_somebody_elses_cursor_shows_none_of_their_tasks(ada: TestClient, bob: TestClient) -> None:
    create(ada, 3)
    hers = ada.get("/api/tasks?sort=title&limit=1").links["next"]["url"]
    his = create(bob, 5)

    assert {task["id"] for page in pages(bob, urlsplit(hers).query) for task in page} <= {task["id"] for task in his}


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


NOW = "2026-01-31T00:00:00.000000Z"
GOOD_TITLE = cursor("title", "Write", 1)
BAD_CURSORS = {
    "word": ("created", "next"),
    "number": ("created", "2"),
    "no-base64": ("created", "%F0%9F%8D%8E"),
    "nul": ("created", "%00"),
    "padded": ("title", f"{GOOD_TITLE}===="),
    "cut-off": ("title", GOOD_TITLE[:-4]),
    "no-json": ("title", base64.urlsafe_b64encode(b"[title").decode()),
    "no-utf-8": ("title", base64.urlsafe_b64encode(b'["title","\xff",1]').decode()),
    "lone-surrogate": ("title", base64.urlsafe_b64encode(rb'["title","\ud800",1]').decode()),
    "deep": ("title", base64.urlsafe_b64encode(b"[" * 6000).decode()),
    "no-list": ("title", base64.urlsafe_b64encode(b'"title"').decode()),
    "too-short": ("title", cursor("title", "Write")),
    "too-long": ("title", cursor("title", "Write", 1, 2)),
    "of-another-sort": ("created", GOOD_TITLE),
    "of-the-default-sort": ("title", cursor("created", NOW, 1)),
    "id-negative": ("title", cursor("title", "Write", -1)),
    "id-2^63": ("title", cursor("title", "Write", 2**63)),
    "id-huge": ("title", cursor("title", "Write", 10**100)),
    "id-text": ("title", cursor("title", "Write", "1")),
    "id-fraction": ("title", cursor("title", "Write", 1.5)),
    "id-boolean": ("title", cursor("title", "Write", True)),
    "id-null": ("title", cursor("title", "Write", None)),
    "title-nul": ("title", cursor("title", "Wr\0ite", 1)),
    "title-too-long": ("title", cursor("title", "x" * 201, 1)),
    "title-huge": ("title", cursor("title", "x" * 40_000, 1)),
    "title-null": ("title", cursor("title", None, 1)),
    "title-number": ("title", cursor("title", 5, 1)),
    "time-without-zone": ("created", cursor("created", NOW[:-1], 1)),
    "time-elsewhere": ("created", cursor("created", "2026-01-31T00:00:00+02:00", 1)),
    "time-impossible": ("created", cursor("created", "2026-02-30T00:00:00Z", 1)),
    "time-number": ("created", cursor("created", 1769817600, 1)),
    "time-null": ("created", cursor("created", None, 1)),
    "date-impossible": ("due_date", cursor("due_date", "2026-02-30", 1)),
    "date-number": ("due_date", cursor("due_date", 5, 1)),
    "date-time": ("due_date", cursor("due_date", NOW[:-1] + "1Z", 1)),
}


@pytest.mark.parametrize(("sort", "value"), BAD_CURSORS.values(), ids=BAD_CURSORS)
def test_a_cursor_that_was_not_given_is_refused(ada: TestClient, sort: str, value: str) -> None:
    response = ada.get(f"/api/tasks?sort={sort}&limit=1&cursor={value}")

    message = f"was not given by this API for sort={sort}; take it from a Link header"
    assert response.status_code == 400
    assert response.json() == {"detail": f"cursor {message}.", "errors": [{"field": "cursor", "message": message}]}


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        pytest.param("created", cursor("created", "0001-01-01T00:00:00Z", 0), id="first-moment"),
        pytest.param("created", cursor("created", "9999-12-31T23:59:59.999999Z", 2**63 - 1), id="last-moment"),
        pytest.param("title", cursor("title", "", 0), id="empty-title"),
        pytest.param("title", cursor("title", "\U0010ffff" * 200, 2**63 - 1), id="last-title"),
        pytest.param("due_date", cursor("due_date", "0001-01-01", 0), id="first-date"),
        pytest.param("due_date", cursor("due_date", None, 2**63 - 1), id="undated"),
    ],
)
def test_a_cursor_may_point_beyond_either_end(ada: TestClient, sort: str, value: str) -> None:
    create(ada, 2)
    tasks = whole(ada, f"sort={sort}")

    assert whole(ada, f"sort={sort}&cursor={value}") in ([], tasks)


@pytest.mark.parametrize("status", STATUSES)
@every_sort
def test_a_whole_list_in_chunks_is_what_the_table_holds(
    ada: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch, sort: Sort, status: Status
) -> None:
    monkeypatch.setattr("app.CHUNK", CHUNK)
    create(ada, 11)

    response = ada.get(f"/api/tasks?sort={sort}&status={status}")

    expected = rows(f"SELECT id FROM tasks WHERE {WHERE[status]} ORDER BY {ORDER[sort]}")
    assert response.headers["content-type"] == "application/json"
    assert "link" not in response.headers
    assert [(task["id"],) for task in response.json()] == expected


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK])
def test_a_whole_list_ends_well_wherever_a_chunk_ends(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("app.CHUNK", CHUNK)
    tasks = create(ada, count)

    assert whole(ada) == tasks[::-1]


def test_a_whole_list_goes_on_from_a_cursor(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.CHUNK", CHUNK)
    tasks = create(ada, 10)[::-1]
    rest = ada.get("/api/tasks?limit=2").links["next"]["url"].replace("limit=2&", "")

    assert ada.get(rest).json() == tasks[2:]


def test_pages_go_on_whatever_time_zone_the_database_has(
    postgres_url: str, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a whole list from one chunk to the next."""
    monkeypatch.setattr("app.CHUNK", CHUNK)
    rows_of(postgres_url, f"ALTER DATABASE {database_name(postgres_url)} SET timezone = 'Asia/Kolkata'")
    app = create_app(Settings(secret=SECRET, database_url=postgres_url))

    with TestClient(app, headers=bearer(token_of("ada"))) as ada:
        tasks = create(ada, 2 * CHUNK + 1)[::-1]

        assert [task for page in pages(ada, "limit=2") for task in page] == tasks
        assert whole(ada) == tasks
    assert str(rows_of(postgres_url, "SELECT max(created_at) FROM tasks")[0][0]).endswith("+05:30")
