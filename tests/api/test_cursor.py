"""The cursor of a list: opaque, and valid only for the list that it was given for."""

import base64
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from tests.support.tasks import create_many, pages, whole


def test_somebody_elses_cursor_shows_none_of_their_tasks(ada: TestClient, bob: TestClient) -> None:
    create_many(ada, 3)
    hers = ada.get("/api/tasks?sort=title&limit=1").links["next"]["url"]
    his = create_many(bob, 5)

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
@pytest.mark.database("any")
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
    create_many(ada, 2)
    tasks = whole(ada, f"sort={sort}")

    assert whole(ada, f"sort={sort}&cursor={value}") in ([], tasks)
