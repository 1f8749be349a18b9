"""Fills the database of DATABASE_URL with data of every kind, by the API of the version whose source is here.

It runs in the folder of that version, which may be an old one, and so imports of it only `app`.
"""

import sys
import time
from datetime import datetime
from typing import Any

import jwt
from starlette.testclient import TestClient

import app as version

FRONTEND = "http://localhost:3000"

# People by id: what their tokens say beside it.
PEOPLE: dict[str, dict[str, str]] = {
    "grace": {"email": "grace@example.com", "name": "Grace"},
    "nobody": {},
    "nameless": {"email": "nameless@example.com"},
    "Ωméga-🦉": {"email": "øwl+1@exämple.com", "name": 'O\'Owl \\ "the" 🦉; DROP TABLE tasks --'},
    "U" * 64: {"name": "Long " * 40},
}
TITLES = [
    "Write",
    "write",
    "Ärger, émigré, Straße, İstanbul, ΣΊΣΥΦΟΣ",
    "日本語 עברית العربية",
    "e\u0301 and é, \u200b, 👩\u200d👩\u200d👧",
    "It's \"quoted\" `here` \\ \\n \\' %s %(x)s :x $1 ?",
    "'); DROP TABLE tasks; --",
    "two\nlines\tand a tab",
    "NULL",
    "\u200b\x01\x7f",
    "x" * 200,
    "🦉" * 200,
]
DESCRIPTIONS = [None, "", "First\nsecond\r\nthird \\\n-- no comment\n\\. \\restrict x", "ß" * 1000]
DUE_DATES = [None, "0001-01-01", "1969-12-31", "2026-01-31", "2028-02-29", "9999-12-31"]


def token(secret: str, person: str) -> dict[str, str]:
    claims = {"sub": person, "iss": FRONTEND, "aud": FRONTEND, "exp": time.time() + 3600, **PEOPLE[person]}
    return {"Authorization": f"Bearer {jwt.encode(claims, secret, 'HS256')}"}


def fill(client: TestClient, secret: str) -> None:
    everybody = [token(secret, person) for person in PEOPLE]
    for headers in everybody:
        assert client.get("/api/tasks", headers=headers).status_code == 200
    ids = [create(client, everybody[number % 4], number) for number in range(48)]
    with stopped_clock():
        for number in range(8):
            create(client, everybody[0], number)
    for number, task in enumerate(ids):
        headers = everybody[number % 4]
        if number % 5 == 0:
            assert client.patch(f"/api/tasks/{task}/complete", headers=headers).status_code == 200
        if number % 7 == 0:
            changes = {"description": None, "title": f"Changed {number}"}
            assert client.put(f"/api/tasks/{task}", json=changes, headers=headers).status_code == 200
    # An email moves to another account, and the counter of ids gets ahead of the last one.
    assert client.get("/api/tasks", headers=token_of_email(secret)).status_code == 200
    for task in (ids[3], ids[-1], *(create(client, everybody[0], 0) for _ in range(3))):
        deleted = [client.delete(f"/api/tasks/{task}", headers=headers).status_code for headers in everybody]
        assert deleted.count(204) == 1


def token_of_email(secret: str) -> dict[str, str]:
    PEOPLE["heir"] = {"email": PEOPLE["nameless"]["email"], "name": "Heir"}
    return token(secret, "heir")


def create(client: TestClient, headers: dict[str, str], number: int) -> int:
    values = {
        "title": TITLES[number % len(TITLES)],
        "description": DESCRIPTIONS[number // 2 % len(DESCRIPTIONS)],
        "due_date": DUE_DATES[number // 3 % len(DUE_DATES)],
        "completed": number % 3 == 1,
    }
    answer = client.post("/api/tasks", json=values, headers=headers)
    if answer.status_code == 400:
        # Only earlier versions take a title that shows nothing.
        answer = client.post("/api/tasks", json={**values, "title": f"x{values['title']}"}, headers=headers)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


class stopped_clock:
    """Tasks get one and the same moment, as many do that are imported."""

    def __enter__(self) -> None:
        self.clocks = [
            (module, name)
            for module in map(sys.modules.get, ("store", "tables"))
            for name in ("now", "_now")
            if callable(getattr(module, name, None))
        ]
        assert self.clocks
        self.former = [getattr(module, name) for module, name in self.clocks]
        moment: datetime = self.former[0]()
        for module, name in self.clocks:
            setattr(module, name, lambda: moment)

    def __exit__(self, *_: Any) -> None:
        for (module, name), clock in zip(self.clocks, self.former, strict=True):
            setattr(module, name, clock)


if __name__ == "__main__":
    with TestClient(version.app) as client:
        fill(client, sys.argv[1])
