"""A list in pages, and the whole list in the chunks that it goes out in."""

from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from app import create_app
from paging import Sort, Status
from settings import Settings
from tests.conftest import Rows, RowsOf, database_name
from tests.support.tasks import create_many, pages, whole
from tests.support.tokens import SECRET, bearer, token_of

SORTS: list[Sort] = ["created", "title", "due_date"]
STATUSES: list[Status] = ["all", "pending", "completed"]
ORDER = {
    "created": "created_at DESC, id DESC",
    "title": "lower(title), id",
    "due_date": "due_date IS NULL, due_date, id",
}
WHERE = {"all": "TRUE", "pending": "NOT completed", "completed": "completed"}
CHUNK = 3


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many tasks to a chunk."""
    for name in ("endpoints.tasks.FIRST_ROWS", "web.pieces.LEAST", "web.pieces.MOST"):
        monkeypatch.setattr(name, CHUNK)


every_sort = pytest.mark.parametrize("sort", SORTS)


@pytest.mark.parametrize("status", STATUSES)
@every_sort
def test_the_pages_of_any_size_are_the_whole_list(ada: TestClient, sort: Sort, status: Status) -> None:
    create_many(ada, 8)
    query = f"sort={sort}&status={status}"
    tasks = whole(ada, query)

    for size in range(1, len(tasks) + 1):
        cut = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        assert pages(ada, f"{query}&limit={size}") == cut


def test_pages_go_through_tasks_of_the_same_moment(ada: TestClient, rows: Rows) -> None:
    tasks = create_many(ada, 4)
    rows("UPDATE tasks SET created_at = (SELECT min(created_at) FROM tasks)")

    found = [task["id"] for page in pages(ada, "limit=1") for task in page]

    assert found == [task["id"] for task in reversed(tasks)]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("limit=2", {"limit": ["2"]}),
        ("sort=title&status=all&limit=2", {"sort": ["title"], "status": ["all"], "limit": ["2"]}),
        ("limit=2&note=a%26b%0Ac&LIMIT=1&=x&sort=title&x=" + "x" * 50_000, {"limit": ["2"], "sort": ["title"]}),
        ("limit=" + "0" * 50_000 + "2", {"limit": ["2"]}),
        ("limit=1&limit=2", {"limit": ["2"]}),
    ],
    ids=["limit", "all-of-them", "foreign", "zeros", "twice"],
)
@pytest.mark.database("any")
def test_a_page_links_to_the_next_with_the_parameters_of_a_list_alone(
    ada: TestClient, query: str, kept: dict[str, list[str]]
) -> None:
    """So that the header is short, whatever else the query holds."""
    create_many(ada, 3)

    link = ada.get(f"/api/tasks?{query}").headers["link"]

    url = link.removeprefix("<").removesuffix('>; rel="next"')
    parameters = parse_qs(urlsplit(url).query)
    assert link == f'<{url}>; rel="next"'
    assert urlsplit(url).path == "/api/tasks"
    assert parameters.pop("cursor")[0].replace("-", "").replace("_", "").isalnum()
    assert parameters == kept


@pytest.mark.parametrize("limit", [2, 3, 500])
@pytest.mark.database("any")
def test_the_last_page_links_to_nothing(ada: TestClient, limit: int) -> None:
    create_many(ada, 2)

    response = ada.get(f"/api/tasks?limit={limit}")

    assert len(response.json()) == 2
    assert "link" not in response.headers


def test_a_limit_may_change_on_the_way(ada: TestClient) -> None:
    create_many(ada, 6)
    tasks = whole(ada, "sort=title")
    url = ada.get("/api/tasks?sort=title&limit=2").links["next"]["url"]

    assert ada.get(url.replace("limit=2", "limit=3")).json() == tasks[2:5]
    assert ada.get(url.replace("limit=2&", "")).json() == tasks[2:]


@every_sort
def test_no_task_that_stands_is_missed_or_doubled_while_others_come_and_go(ada: TestClient, sort: Sort) -> None:
    """Among those that go are the one that the cursor names and the one after it."""
    create_many(ada, 9)
    tasks = whole(ada, f"sort={sort}")
    first = ada.get(f"/api/tasks?sort={sort}&limit=3")

    create_many(ada, 5)
    gone = [tasks[0], tasks[2], tasks[3]]
    for task in gone:
        ada.delete(f"/api/tasks/{task['id']}")
    query = urlsplit(first.links["next"]["url"]).query
    found = first.json() + [task for page in pages(ada, query) for task in page]

    standing = [task for task in tasks if task not in gone]
    assert [task for task in found if task in standing] == standing


@pytest.mark.parametrize("status", STATUSES)
@every_sort
def test_a_whole_list_in_chunks_is_what_the_table_holds(
    ada: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch, sort: Sort, status: Status
) -> None:
    cut_small(monkeypatch)
    create_many(ada, 11)

    response = ada.get(f"/api/tasks?sort={sort}&status={status}")

    expected = rows(f"SELECT id FROM tasks WHERE {WHERE[status]} ORDER BY {ORDER[sort]}")
    assert response.headers["content-type"] == "application/json"
    assert "link" not in response.headers
    assert [(task["id"],) for task in response.json()] == expected


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK])
@pytest.mark.database("any")
def test_a_whole_list_ends_well_wherever_a_chunk_ends(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    cut_small(monkeypatch)
    tasks = create_many(ada, count)

    assert whole(ada) == tasks[::-1]


def test_a_whole_list_goes_on_from_a_cursor(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)
    tasks = create_many(ada, 10)[::-1]
    rest = ada.get("/api/tasks?limit=2").links["next"]["url"].replace("limit=2&", "")

    assert ada.get(rest).json() == tasks[2:]


def test_pages_go_on_whatever_time_zone_the_database_has(
    postgres_url: str, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a whole list from one chunk to the next."""
    cut_small(monkeypatch)
    rows_of(postgres_url, f"ALTER DATABASE {database_name(postgres_url)} SET timezone = 'Asia/Kolkata'")
    app = create_app(Settings(secret=SECRET, database_url=postgres_url))

    with TestClient(app, headers=bearer(token_of("ada"))) as ada:
        tasks = create_many(ada, 2 * CHUNK + 1)[::-1]

        assert [task for page in pages(ada, "limit=2") for task in page] == tasks
        assert whole(ada) == tasks
    assert str(rows_of(postgres_url, "SELECT max(created_at) FROM tasks")[0][0]).endswith("+05:30")
