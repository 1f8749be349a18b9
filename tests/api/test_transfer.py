"""GET /api/export and POST /api/import: all tasks as a file, and a file as tasks."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import LARGER, create_app
from schemas import timestamp
from settings import Settings
from tests.conftest import Rows, RowsOf
from tests.support.asgi import Exchange, call_at_once
from tests.support.tasks import Task, create, create_many, whole
from tests.support.tokens import FRONTEND, SECRET, bearer, token_of

pytestmark = pytest.mark.database("two")

HEADER = "id,title,description,completed,due_date,created_at,updated_at"
STORED = "SELECT user_id, title FROM tasks ORDER BY id"
# What is easily lost in a file.
ODD: list[Task] = [
    {"title": "Buy milk", "description": 'Two "large" litres,\nand bread\r\n', "due_date": "2026-12-24"},
    {"title": "=HYPERLINK(1)", "description": "'=1+1"},
    {"title": "+1", "description": "\t-2"},
    {"title": "'tis", "description": "''@cmd"},
    {"title": "\uff1dcmd", "description": ""},
    {"title": '\N{RED APPLE} Äpfel, \'n "so"', "description": " spaced ", "completed": True},
    {"title": "a\\u0041\x01", "description": "\x85\u2028,;\x0b\r"},
    {"title": '"', "description": '""'},
]


def send(client: TestClient, text: str | bytes, **headers: str) -> Any:
    return client.post("/api/import", content=text, headers={name.replace("_", "-"): v for name, v in headers.items()})


def lines(*tasks: dict[str, Any]) -> str:
    return "".join(json.dumps(task) + "\n" for task in tasks)


def kept(tasks: list[Task]) -> list[Task]:
    """What a file brings back of tasks."""
    return [{name: value for name, value in task.items() if name not in ("id", "updated_at")} for task in tasks]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pieces, slices and chunks of few tasks."""
    for name, value in (("endpoints.transfer.FIRST_ROWS", 3), ("web.pieces.LEAST", 2), ("web.pieces.MOST", 2)):
        monkeypatch.setattr(name, value)
    for name, value in (("web.upload.SLICE", 2), ("web.upload.CHUNK", 300)):
        monkeypatch.setattr(name, value)


@pytest.mark.parametrize("accept", ["application/jsonl", "text/csv"])
@pytest.mark.usefixtures("small")
def test_what_was_exported_comes_back_with_its_order(ada: TestClient, bob: TestClient, accept: str) -> None:
    for task in ODD:
        create(ada, **task)
    create_many(ada, 10)
    create(bob, title="His")
    exported = ada.get("/api/export", headers={"Accept": accept})
    tasks = whole(ada)
    since = ada.get("/api/changes").json()["token"]
    ada.request("DELETE", "/api/tasks?status=pending")
    ada.request("DELETE", "/api/tasks?status=completed")

    answer = send(ada, exported.content, Content_Type=exported.headers["content-type"])

    assert (answer.status_code, answer.json()) == (200, {"count": 18})
    assert kept(whole(ada)) == kept(tasks)
    assert {task["id"] for task in whole(ada)}.isdisjoint(task["id"] for task in tasks)
    again = ada.get("/api/export", headers={"Accept": accept})
    assert len(again.text) == pytest.approx(len(exported.text), abs=50)
    assert [task["title"] for task in bob.get("/api/tasks").json()] == ["His"]
    # Whoever follows sees all of it.
    changes = ada.get("/api/changes", params={"since": since}).json()
    assert len(changes["tasks"]) == len({task["id"] for task in changes["tasks"]}) == 18


def test_json_lines_are_the_tasks_of_the_list_oldest_first(ada: TestClient) -> None:
    create_many(ada, 3)
    answer = ada.get("/api/export")
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == 'attachment; filename="tasks.jsonl"'
    assert "Accept" in answer.headers.get_list("vary")
    assert [json.loads(line) for line in answer.text.splitlines()] == whole(ada)[::-1]
    assert answer.text.endswith("}\n")


def test_csv_is_what_csv_readers_read(ada: TestClient) -> None:
    for task in ODD:
        create(ada, **task)
    answer = ada.get("/api/export", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="tasks.csv"'
    assert answer.text.splitlines()[0] == HEADER
    read = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
    first, task = read[0], whole(ada)[-1]
    assert first == {name: str(value) for name, value in task.items()} | {"completed": "false"}
    assert [task["title"] for task in read][:4] == ["Buy milk", "'=HYPERLINK(1)", "'+1", "'tis"]
    assert [task["description"] for task in read][1:4] == ["''=1+1", "'\t-2", "'''@cmd"]


def test_nothing_is_an_empty_file(ada: TestClient) -> None:
    empty = [ada.get("/api/export", headers={"Accept": accept}) for accept in ("*/*", "text/csv")]
    assert [answer.text for answer in empty] == ["", f"{HEADER}\r\n"]
    answers = [send(ada, answer.content, Content_Type=answer.headers["content-type"]) for answer in empty]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"count": 0})] * 2


@pytest.mark.parametrize(
    ("accept", "is_csv"),
    [
        ("", False),
        ("*/*", False),
        ("text/csv", True),
        ("TEXT/CSV; header=present", True),
        ("text/csv, */*", True),
        ("text/csv;q=0.5, application/jsonl", False),
        ("application/jsonl;q=0.5, text/csv;q=0.9", True),
        ("text/csv;q=0", False),
        ("text/csv;q=nonsense", False),
        ("application/json", False),
        ("text/*", False),
    ],
)
@pytest.mark.database("any")
def test_accept_says_which_form(ada: TestClient, accept: str, is_csv: bool) -> None:
    answer = ada.get("/api/export", headers={"Accept": accept})
    assert answer.headers["content-type"] == ("text/csv; charset=utf-8" if is_csv else "application/jsonl")


def test_a_task_needs_a_title_alone_and_later_lines_are_newer(ada: TestClient) -> None:
    answer = send(ada, '{"title": " First "}\r\n\n  \n{"title": "Second", "id": 7, "unknown": [], "user_id": "ada"}')
    assert answer.json() == {"count": 2}
    second, first = whole(ada)
    assert (first["title"], second["title"]) == ("First", "Second")
    assert first == {**first, "description": None, "completed": False, "due_date": None}
    assert first["created_at"] < second["created_at"] <= first["updated_at"] == second["updated_at"]


def test_a_spreadsheet_may_have_written_it(ada: TestClient) -> None:
    """With a mark of UTF-8, fewer columns in another order, others of its own, and TRUE."""
    text = '\ufeffnotes,completed,title,due_date\nx,TRUE,"Buy ""milk""",2026-12-24\n\n"",false,=A1,\n,,\'-2,""\n'
    answer = send(ada, text, Content_Type="text/csv; charset=utf-8")
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"line": 5, "field": "due_date", "message": 'must be a calendar date such as "2026-01-31", or null'}
    ]
    answer = send(ada, text.replace(',""\n', ",\n"), Content_Type="text/csv")
    assert answer.json() == {"count": 3}
    tasks = [(task["title"], task["completed"], task["due_date"]) for task in whole(ada)]
    assert tasks == [("-2", False, None), ("=A1", False, None), ('Buy "milk"', True, "2026-12-24")]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2025-01-02T03:04:05Z", "2025-01-02T03:04:05.000000Z"),
        ("2025-01-02 03:04:05.5+02:00", "2025-01-02T01:04:05.500000Z"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00.000000Z"),
        ("9999-12-31T00:00:00Z", None),
        (None, None),
    ],
)
def test_when_it_was_made_is_kept_but_not_in_the_future(ada: TestClient, given: str | None, stored: str | None) -> None:
    before = timestamp(datetime.now(UTC))
    assert send(ada, lines({"title": "Write", "created_at": given})).json() == {"count": 1}
    (task,) = whole(ada)
    assert task["created_at"] == stored if stored else before <= task["created_at"] <= task["updated_at"]


LONG = "x" * 65_536
BAD_LINES = [
    pytest.param(b"{}", "", "title", "is required", id="no-title"),
    pytest.param(b"[]", "", "", "must be a JSON object", id="array"),
    pytest.param(b'{"title": " "}', "", "title", "must not be blank", id="blank"),
    pytest.param(b'{"title": "x", "completed": 1}', "", "completed", "must be true or false", id="number"),
    pytest.param(b'{"title": "x\\u0000"}', "", "title", "must not contain the NUL character", id="nul"),
    pytest.param(b'{"title": "\xff"}', "", "", "is not in UTF-8", id="encoding"),
    pytest.param(f'{{"title": "{LONG}"}}'.encode(), "", "", "is longer than 64 KiB", id="long"),
    pytest.param(b"title,description", "", "", "is not valid JSON: expected ident at column 2", id="csv"),
    pytest.param(
        *(b'{"title": "x", "created_at": "2025-01-02T03:04:05"}', "", "created_at"),
        'must be a date and time from 1900 on with an offset, such as "2026-01-31T12:00:00Z", or null',
        id="no-offset",
    ),
    pytest.param(
        *(b'{"title": "x", "created_at": "0001-01-01T00:00:00+01:00"}', "", "created_at"),
        'must be a date and time from 1900 on with an offset, such as "2026-01-31T12:00:00Z", or null',
        id="before-the-calendar",
    ),
    pytest.param(
        *(b'{"title": "x", "created_at": "1899-12-31T23:59:59Z"}', "", "created_at"),
        'must be a date and time from 1900 on with an offset, such as "2026-01-31T12:00:00Z", or null',
        id="before-1900",
    ),
    pytest.param(
        b"x,true\ry", "title,completed", "", "has a carriage return; end each line with a line feed", id="old-mac"
    ),
    pytest.param(
        *(b'5" x 3,true', "title,completed", ""),
        'is not valid CSV; put a cell with a double quote in quotes, and write "" for it',
        id="inches",
    ),
    pytest.param(b"x", "title,completed", "", "must have 2 cells as the first line has, not 1", id="cells"),
    pytest.param(b"x,yes", "title,completed", "completed", "must be true or false", id="no-boolean"),
    pytest.param(b",true", "title,completed", "title", "is required", id="empty-cell"),
    pytest.param(
        *(b'5" x 3",true', "title,completed", ""),
        'is not valid CSV; put a cell with a double quote in quotes, and write "" for it',
        id="quote",
    ),
    pytest.param(b'"' + LONG.encode() + b'\n",true', "title,completed", "", "is longer than 64 KiB", id="long-cell"),
]


@pytest.mark.parametrize(("line", "names", "field", "message"), BAD_LINES)
@pytest.mark.database("any")
def test_a_bad_line_is_named_and_nothing_is_imported(
    ada: TestClient, rows: Rows, line: bytes, names: str, field: str, message: str
) -> None:
    good = b"Good,\n" if names else b'{"title": "Good"}\n'
    text = (names.encode() + b"\n" if names else b"\n") + good + line + b"\n" + good
    where = f"Line 3: {field}" if field else "Line 3"

    answer = send(ada, text, Content_Type="text/csv" if names else "application/jsonl")

    assert (answer.status_code, answer.json()) == (
        400,
        {
            "detail": f"1 line is not valid, and nothing was imported. {where} {message}.",
            "errors": [{"line": 3, "field": field or "body", "message": message}],
        },
    )
    assert rows(STORED) == []


def test_all_bad_lines_are_counted_and_a_hundred_are_told(ada: TestClient, rows: Rows) -> None:
    answer = send(ada, lines({"title": "Good"}, *[{"title": ""}] * 1500, {"title": "Good"}))
    told = answer.json()
    assert answer.status_code == 400
    assert told["detail"] == "1,500 lines are not valid, and nothing was imported. Line 2: title must not be blank."
    message = "must not be blank"
    assert told["errors"] == [{"line": number, "field": "title", "message": message} for number in range(2, 102)]
    assert rows(STORED) == []


@pytest.mark.database("any")
def test_lines_of_csv_are_those_of_an_editor(ada: TestClient) -> None:
    """Where a cell has several, the number is that of the first."""
    answer = send(ada, 'title,completed\n"a\nb\nc",true\n"d\ne",no\nf,no\n', Content_Type="text/csv")
    assert [(error["line"], error["field"]) for error in answer.json()["errors"]] == [
        (5, "completed"),
        (7, "completed"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Buy milk,true\n", "must have the names of the columns, separated by commas, and title among them"),
        ("title,completed,title\nBuy milk,true,\n", "names the column title twice"),
    ],
)
@pytest.mark.database("any")
def test_csv_without_clear_names_is_told_so_once(ada: TestClient, text: str, message: str) -> None:
    answer = send(ada, f"{text}Buy bread,\n", Content_Type="text/csv")
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"line": 1, "field": "body", "message": message}]


def test_a_task_of_somebody_else_is_refused(ada: TestClient, rows: Rows) -> None:
    answer = send(ada, lines({"title": "Mine"}, {"title": "His", "user_id": "bob"}))
    detail = "Line 2 names another owner (user_id); a task is always its creator's."
    assert (answer.status_code, answer.json(), rows(STORED)) == (403, {"detail": detail}, [])


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.database("any")
def test_a_file_may_be_large_but_not_larger_than_that(
    ada: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    monkeypatch.setitem(LARGER, "/api/import", 2 * 1024 * 1024)
    line = lines({"title": "Write", "x": "x" * 1000}).encode()

    def parts(count: int) -> Iterator[bytes]:
        yield from [line] * count

    def body(count: int) -> Any:
        return line * count if announced else parts(count)

    answers = [send(ada, body(1500)), ada.post("/api/import/", content=body(2500)), send(ada, body(2500))]
    assert [answer.status_code for answer in answers] == [200, 413, 413]
    assert answers[1].json() == {"detail": "The body is larger than 2 MiB."}
    assert rows("SELECT count(*) FROM tasks") == [(1500,)]


@pytest.mark.database("any")
def test_a_file_has_at_most_so_many_tasks(ada: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.upload.MAXIMUM_TASKS", 3)
    answers = [send(ada, lines(*[{"title": "Write"}] * count)) for count in (4, 3)]
    assert [answer.status_code for answer in answers] == [413, 200]
    assert answers[0].json() == {"detail": "The file has more than 100,000 tasks; import it in parts."}
    assert len(rows(STORED)) == 3


@pytest.mark.parametrize("text", ["{}\n", "\n", '{"title": "Write"}\n'], ids=["wrong", "blank", "good"])
@pytest.mark.database("any")
def test_lines_are_not_looked_at_without_end(ada: TestClient, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Looking at each costs some microseconds, whatever it holds."""
    monkeypatch.setattr("web.upload.MAXIMUM_TASKS", 3)
    answers = [send(ada, text * count) for count in (3, 5)]
    assert [answer.status_code for answer in answers] == [400 if text == "{}\n" else 200, 413]
    assert answers[1].json() == {"detail": "The file has more than 100,000 tasks; import it in parts."}


@pytest.mark.parametrize(("limit", "value"), [("PATIENCE", 0.05), ("FIRST_SECONDS", 0.0)])
@pytest.mark.database("any")
def test_a_file_has_to_arrive_in_time(
    app: Starlette, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(f"endpoints.transfer.{limit}", value)
    monkeypatch.setattr("endpoints.transfer.SLOWEST", 1e12)
    exchange = Exchange("POST", "/api/import", bearer(token_of("ada")))
    start, body = exchange.run(app, [{"type": "http.request", "body": b'{"title"', "more_body": True}])
    assert start["status"] == 408
    detail = "The file arrives too slowly; import it in parts, or over a better connection."
    assert json.loads(body["body"]) == {"detail": detail}


@pytest.mark.database("any")
def test_who_waits_for_other_files_too_long_is_told_so(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endpoints.transfer.WAITING", 0.05)
    monkeypatch.setattr("endpoints.transfer.PATIENCE", 1.0)

    async def trickle() -> AsyncIterator[bytes]:
        yield b'{"title"'
        await asyncio.sleep(60)

    call = {"method": "POST", "url": "/api/import", "headers": bearer(token_of("ada"))}
    slow, second = call_at_once(app, [{**call, "content": trickle()}, {**call, "content": b""}])

    assert (slow.status_code, second.status_code, second.headers["retry-after"]) == (408, 503, "10")
    assert second.json() == {"detail": "Too many files arrive at once; try again shortly."}


@pytest.fixture
def limited(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(replace(settings, task_limit=4)), headers=bearer(token_of("ada"))) as client:
        yield client


def test_no_more_than_the_limit_is_imported(limited: TestClient, rows: Rows) -> None:
    create(limited)
    answers = [send(limited, lines(*[{"title": "More"}] * count)) for count in (4, 3, 1)]
    assert [answer.status_code for answer in answers] == [403, 200, 403]
    assert answers[0].json()["detail"].startswith("You may have 4 tasks")
    assert len(rows(STORED)) == 4


def test_a_retry_has_no_effect_also_at_the_limit(limited: TestClient, rows: Rows) -> None:
    key = {"Idempotency_Key": "a-key"}
    text = lines(*[{"title": "Once"}] * 4)
    first, second = (send(limited, text, **key) for _ in range(2))
    assert [(answer.status_code, answer.json()) for answer in (first, second)] == [(200, {"count": 4})] * 2
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert send(limited, lines(*[{"title": "Twice"}] * 4), Idempotency_Key="another").status_code == 403
    assert len(rows(STORED)) == 4


def test_a_retry_has_no_effect(ada: TestClient, rows: Rows) -> None:
    text = lines({"title": "Once"})
    first, second = (send(ada, text, Idempotency_Key="a-key") for _ in range(2))
    other = send(ada, text + text, Idempotency_Key="a-key")
    wrong = send(ada, text, Idempotency_Key="two words")

    assert [(answer.status_code, answer.json()) for answer in (first, second)] == [(200, {"count": 1})] * 2
    assert [answer.headers.get("idempotency-replayed") for answer in (first, second)] == [None, "true"]
    assert [other.status_code, wrong.status_code] == [422, 400]
    assert rows(STORED) == [("ada", "Once")]


def test_a_retry_at_the_same_time_has_no_effect(app: Starlette, rows: Rows, ada: TestClient) -> None:
    ada.get("/api/me")
    headers = bearer(token_of("ada")) | {"Idempotency-Key": "a-key"}
    call = {"method": "POST", "url": "/api/import", "content": lines(*[{"title": "Once"}] * 50), "headers": headers}

    answers = call_at_once(app, [call] * 4)

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"count": 50})] * 4
    assert rows("SELECT count(*) FROM tasks") == [(50,)]


def test_a_person_whose_row_was_deleted_imports_all_the_same(ada: TestClient, rows: Rows) -> None:
    create(ada)
    rows("DELETE FROM users")
    assert send(ada, lines({"title": "Write"})).json() == {"count": 1}
    assert rows(STORED) == [("ada", "Write")]


@pytest.mark.usefixtures("small")
def test_an_import_that_breaks_off_leaves_nothing(ada: TestClient, rows: Rows, database_url: str) -> None:
    """Whatever was stored of it before; and the next one is as if nothing had been."""
    if database_url.startswith("sqlite"):
        rows(
            "CREATE TRIGGER refuse BEFORE INSERT ON tasks WHEN new.title = 'Refused' "
            "BEGIN SELECT raise(ABORT, 'refused'); END"
        )
    else:
        rows("ALTER TABLE tasks ADD CONSTRAINT refuse CHECK (title <> 'Refused')")
    good = [{"title": "Write", "description": "x" * 200}] * 10

    refused = send(ada, lines(*good, {"title": "Refused"}))
    stored = rows(STORED)
    accepted = send(ada, lines(*good))

    assert (refused.status_code, stored) == (400, [])
    assert accepted.json() == {"count": 10}


def test_ids_that_are_taken_are_no_bad_input(
    postgres_url: str, rows_of: RowsOf, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows were put there with their ids."""
    settings = Settings(secret=SECRET, frontend_url=FRONTEND, database_url=postgres_url)
    with TestClient(create_app(settings), headers=bearer(token_of("ada"))) as ada:
        create(ada)
        rows_of(postgres_url, "UPDATE tasks SET id = 3")
        answer = send(ada, lines({"title": "Write"}, {"title": "Write"}))
        assert len(whole(ada)) == 1

    assert answer.status_code == 503
    assert "the counter of ids is behind" in caplog.text


@pytest.mark.database("any")
def test_a_replayed_creation_of_many_answers_no_imported_copies(ada: TestClient) -> None:
    """Which have the same time."""
    many, key = [{"title": "One"}, {"title": "Two"}], {"Idempotency-Key": "a-key"}
    created = ada.post("/api/tasks", json=many, headers=key)
    send(ada, ada.get("/api/export").content)
    assert ada.post("/api/tasks", json=many, headers=key).json() == created.json()
    assert len(whole(ada)) == 4
