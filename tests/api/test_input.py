"""The fields of a body: types, bounds, Unicode, dates, and whose task it claims to be."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import Rows

FULL = {"title": "Write", "description": "At length", "completed": False, "due_date": "2026-01-31"}
EVERYTHING = "SELECT * FROM tasks ORDER BY id"

TEXT = "must be a string"
BOOLEAN = "must be true or false"
BLANK = "must not be blank"
NUL = "must not contain the NUL character"
DATE = 'must be a calendar date such as "2026-01-31", or null'

APPLE = "\N{RED APPLE}"

JSON_VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "one": 1,
    "fraction": 1.5,
    "text": "yes",
    "array": ["2026-01-31"],
    "object": {"title": "Write"},
}
ACCEPTED = {
    "title": {"text"},
    "description": {"text", "null"},
    "completed": {"true"},
    "due_date": {"null"},
}
MESSAGES = {"title": TEXT, "description": TEXT, "completed": BOOLEAN, "due_date": DATE}
WRONG_TYPES = [
    pytest.param(field, value, MESSAGES[field], id=f"{field}-{kind}")
    for field, accepted in ACCEPTED.items()
    for kind, value in JSON_VALUES.items()
    if kind not in accepted
]
OUT_OF_BOUNDS = [
    pytest.param("title", "", BLANK, id="title-empty"),
    pytest.param("title", " \t\r\n\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\x85", BLANK, id="title-blank"),
    *[
        pytest.param("title", text, BLANK, id=f"title-{'-'.join(f'{ord(c):x}' for c in text)}")
        for text in [
            *(
                "\u200b",
                "\u200c",
                "\u200d",
                "\u2060",
                "\ufeff",
                "\u00ad",
                "\u180e",
                "\u115f",
                "\u1160",
                "\u3164",
                "\uffa0",
            ),
            *("\u2800", "\ufe0f", "\u202e", "\u034f", "\x01", "\x7f", "\x9f", "\U000e0041", "\U000e0100", "\U0001d173"),
            " \u200b\n\u2800 \ufeff",
        ]
    ],
    pytest.param("title", "x" * 201, "must have at most 200 characters", id="title-201"),
    pytest.param("title", APPLE * 201, "must have at most 200 characters", id="title-201-astral"),
    pytest.param("title", "a\0b", NUL, id="title-nul"),
    pytest.param("title", "\0", NUL, id="title-nul-alone"),
    pytest.param("description", "x" * 1001, "must have at most 1000 characters", id="description-1001"),
    pytest.param("description", APPLE * 1001, "must have at most 1000 characters", id="description-1001-astral"),
    pytest.param("description", "a\0b", NUL, id="description-nul"),
]
WRONG_DATES = [
    pytest.param("due_date", value, DATE, id=f"due_date-{name}")
    for name, value in {
        "empty": "",
        "word": "tomorrow",
        "time": "2026-01-31T12:00:00Z",
        "second": "2026-01-31T00:00:01Z",
        "millisecond": "2026-01-31T00:00:00.001Z",
        "24-hours": "2026-01-31T24:00:00Z",
        "no-such-day": "2026-02-30",
        "no-such-month": "2026-13-01",
        "no-leap-year": "2025-02-29",
        "no-such-day-midnight": "2026-02-30T00:00:00Z",
        "year-0": "0000-01-01",
        "year-10000": "10000-01-01",
        "negative": "-2026-01-31",
        "week-date": "2026-W05-6",
        "ordinal-date": "2026-031",
        "basic": "20260131",
        "short": "2026-1-31",
        "american": "01/31/2026",
        "epoch": "1769817600",
        "space-after": "2026-01-31 ",
        "newline-after": "2026-01-31\n",
        "t-alone": "2026-01-31T",
        "hour-alone": "2026-01-31T00",
        "zone-without-time": "2026-01-31Z",
        "short-offset": "2026-01-31T00:00:00+02",
        "no-such-offset": "2026-01-31T00:00:00+99:99",
        "zone-name": "2026-01-31T00:00:00 UTC",
        "comma": "2026-01-31T00:00:00,0Z",
        "arabic": "2026-01-3\N{ARABIC-INDIC DIGIT ONE}",
        "nul": "2026-01-31\0",
    }.items()
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG_TYPES + OUT_OF_BOUNDS + WRONG_DATES)
def test_a_bad_value_is_refused_by_name_and_changes_nothing(
    ada: TestClient, rows: Rows, field: str, value: Any, message: str
) -> None:
    path = ada.post("/api/tasks", json=FULL).headers["location"]
    before = rows(EVERYTHING)

    created = ada.post("/api/tasks", json={**FULL, field: value})
    updated = ada.put(path, json={field: value})
    patched = ada.patch(path, json={field: value})

    refusal = {"detail": f"{field} {message}.", "errors": [{"field": field, "message": message}]}
    for answer in (created, updated, patched):
        assert (answer.status_code, answer.json()) == (400, refusal)
    assert rows(EVERYTHING) == before


def test_a_task_needs_a_title(ada: TestClient, rows: Rows) -> None:
    response = ada.post("/api/tasks", json={"description": "At length"})

    assert response.status_code == 400
    assert response.json() == {
        "detail": "title is required.",
        "errors": [{"field": "title", "message": "is required"}],
    }
    assert rows(EVERYTHING) == []


def test_everything_that_is_wrong_is_said_at_once(ada: TestClient) -> None:
    response = ada.post("/api/tasks", json={"title": " ", "description": 5, "completed": "yes", "due_date": "soon"})

    errors = [
        {"field": "title", "message": BLANK},
        {"field": "description", "message": TEXT},
        {"field": "completed", "message": BOOLEAN},
        {"field": "due_date", "message": DATE},
    ]
    detail = "; ".join(f"{error['field']} {error['message']}" for error in errors)
    assert (response.status_code, response.json()) == (400, {"detail": f"{detail}.", "errors": errors})


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        pytest.param("title", "x", "x", id="title-1"),
        pytest.param("title", "x" * 200, "x" * 200, id="title-200"),
        pytest.param("title", APPLE * 200, APPLE * 200, id="title-200-astral"),
        pytest.param("title", f" \n{'x' * 200}\t ", "x" * 200, id="title-200-after-trimming"),
        pytest.param("title", "\N{NO-BREAK SPACE}a  b\N{IDEOGRAPHIC SPACE}", "a  b", id="title-trimmed-outside-only"),
        pytest.param(
            "title",
            "\N{FAMILY}\u200d\N{BOY} é e\u0301 עברית",
            "\N{FAMILY}\u200d\N{BOY} é e\u0301 עברית",
            id="title-scripts",
        ),
        pytest.param("title", "👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧", id="title-family-joined"),
        pytest.param("title", "می\u200cروم", "می\u200cروم", id="title-persian"),
        pytest.param("title", "❤\ufe0f", "❤\ufe0f", id="title-variation-selector"),
        pytest.param("title", "\u200bx\ufeff", "\u200bx\ufeff", id="title-invisible-at-its-ends"),
        pytest.param("title", "\uf8ff", "\uf8ff", id="title-private-use"),
        pytest.param("title", "\U0001faff", "\U0001faff", id="title-newer-than-python"),
        pytest.param("title", "'; DROP TABLE tasks; --", "'; DROP TABLE tasks; --", id="title-sql"),
        pytest.param("title", "100% {0} %s %(x)s :x \\", "100% {0} %s %(x)s :x \\", id="title-placeholders"),
        pytest.param("description", "", "", id="description-empty"),
        pytest.param("description", " a\r\n\tb ", " a\r\n\tb ", id="description-untrimmed"),
        pytest.param("description", "x" * 1000, "x" * 1000, id="description-1000"),
        pytest.param("description", APPLE * 1000, APPLE * 1000, id="description-1000-astral"),
        pytest.param(
            "description", "\x01\x7f\ufffe\uffff\U0010ffff", "\x01\x7f\ufffe\uffff\U0010ffff", id="description-odd"
        ),
        pytest.param("due_date", "2024-02-29", "2024-02-29", id="leap-day"),
        pytest.param("due_date", "0001-01-01", "0001-01-01", id="first-date"),
        pytest.param("due_date", "9999-12-31", "9999-12-31", id="last-date"),
        pytest.param("due_date", "2026-01-31T00:00:00Z", "2026-01-31", id="midnight-utc"),
        pytest.param("due_date", "2026-01-31T00:00:00.000Z", "2026-01-31", id="midnight-javascript"),
        pytest.param("due_date", "2026-01-31T00:00:00.000000000Z", "2026-01-31", id="midnight-nanoseconds"),
        pytest.param("due_date", "2026-01-31T00:00:00+14:00", "2026-01-31", id="midnight-east"),
        pytest.param("due_date", "2026-01-31T00:00:00-09:30", "2026-01-31", id="midnight-west"),
        pytest.param("due_date", "2026-01-31T00:00:00", "2026-01-31", id="midnight-somewhere"),
        pytest.param("due_date", "2026-01-31T00:00", "2026-01-31", id="midnight-datetime-local"),
        pytest.param("due_date", "2026-01-31 00:00:00z", "2026-01-31", id="midnight-rfc-3339-spelling"),
    ],
)
def test_a_good_value_is_answered_and_kept(ada: TestClient, rows: Rows, field: str, value: str, kept: str) -> None:
    created = ada.post("/api/tasks", json={"title": "Write", field: value})
    changed = ada.post("/api/tasks", json={"title": "Rewrite"}).headers["location"]
    updated = ada.put(changed, json={field: value})

    assert (created.status_code, created.json()[field]) == (201, kept)
    assert (updated.status_code, updated.json()[field]) == (200, kept)
    assert rows(f"SELECT CAST({field} AS text) FROM tasks") == [(kept,), (kept,)]


def test_fields_that_are_not_the_callers_to_set_are_ignored(ada: TestClient) -> None:
    response = ada.post("/api/tasks", json={**FULL, "id": "abc", "created_at": 5, "updated_at": [], "priority": None})

    task = response.json()
    assert response.status_code == 201
    assert task == {**FULL, **{name: task[name] for name in ("id", "created_at", "updated_at")}}
    assert task["created_at"] == task["updated_at"]


@pytest.mark.parametrize("owner", ["bob", "Ada", "", " ada", 5, False, 0, [], ["ada"], {}], ids=repr)
def test_naming_another_owner_is_forbidden_and_changes_nothing(ada: TestClient, rows: Rows, owner: Any) -> None:
    path = ada.post("/api/tasks", json=FULL).headers["location"]
    before = rows(EVERYTHING)

    created = ada.post("/api/tasks", json={"title": "Theirs", "user_id": owner})
    updated = ada.put(path, json={"title": "Theirs", "user_id": owner})
    patched = ada.patch(path, json={"title": "Theirs", "user_id": owner})
    completed = ada.patch(f"{path}/complete", json={"completed": True, "user_id": owner})

    refusal = {"detail": "The body names another owner (user_id); a task is always its creator's."}
    for answer in (created, updated, patched, completed):
        assert (answer.status_code, answer.json()) == (403, refusal)
    assert rows(EVERYTHING) == before


@pytest.mark.parametrize("owner", ["ada", None], ids=["oneself", "nobody"])
def test_naming_oneself_or_nobody_as_the_owner_is_fine(ada: TestClient, rows: Rows, owner: str | None) -> None:
    created = ada.post("/api/tasks", json={"title": "Mine", "user_id": owner})
    updated = ada.put(created.headers["location"], json={"title": "Still mine", "user_id": owner})

    assert (created.status_code, updated.status_code) == (201, 200)
    assert rows("SELECT user_id, title FROM tasks") == [("ada", "Still mine")]
