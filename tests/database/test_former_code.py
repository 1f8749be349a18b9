"""A process of the former version goes on writing while this one serves: it moves nobody's clock, and keeps no ids.

The statements are those of version 3 of the tables.
"""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from tests.conftest import Rows
from tests.database.following import Follower
from tests.support.tasks import create


class Former:
    """That process, which takes the time from its own clock."""

    def __init__(self, rows: Rows, url: str) -> None:
        self._rows = rows
        self._offset = "" if "sqlite" in url else "+00"

    def create(self, title: str, moment: datetime) -> int:
        names = "user_id, title, completed, created_at, updated_at"
        at = self._stored(moment)
        self._rows(f"INSERT INTO tasks ({names}) VALUES ('ada', '{title}', false, {at}, {at})")
        [(id_,)] = self._rows(f"SELECT id FROM tasks WHERE title = '{title}'")
        return int(id_)

    def toggle(self, id_: int, moment: datetime) -> None:
        change = f"completed = NOT completed, updated_at = {self._stored(moment)}"
        self._rows(f"UPDATE tasks SET {change} WHERE user_id = 'ada' AND id = {id_}")

    def delete(self, id_: int) -> None:
        self._rows(f"DELETE FROM tasks WHERE user_id = 'ada' AND id = {id_}")

    def _stored(self, moment: datetime) -> str:
        return f"'{moment:%Y-%m-%d %H:%M:%S.%f}{self._offset}'"


@pytest.fixture
def former(ada: TestClient, rows: Rows, database_url: str) -> Former:
    """While the newer one has served that person, too."""
    create(ada, title="First")
    return Former(rows, database_url)


def test_what_the_former_code_writes_is_seen(ada: TestClient, former: Former) -> None:
    """By a client whose token is from before."""
    follower = Follower(ada)
    ([first], _) = follower.news()
    made = former.create("Made by the former code", datetime.now(UTC))
    former.toggle(first, datetime.now(UTC))
    meanwhile = follower.news()

    last = create(ada, title="Last")["id"]

    assert meanwhile == ([made, first], [])
    assert follower.news() == ([last], [])


def test_the_former_code_changes_what_this_one_has_made_and_the_other_way_round(
    ada: TestClient, former: Former
) -> None:
    follower = Follower(ada)
    ([first], _) = follower.news()
    made = former.create("Made by the former code", datetime.now(UTC))

    assert ada.patch(f"/api/tasks/{made}", json={"title": "Changed"}).status_code == 200
    changed = follower.news()
    assert ada.delete(f"/api/tasks/{made}").status_code == 204
    deleted = follower.news()

    assert changed == ([made], [])
    assert deleted == ([], [made])
    assert [*follower.tasks] == [first]


def test_who_starts_has_all_that_the_former_code_wrote(ada: TestClient, former: Former) -> None:
    """Whatever the time of it. A client whose token is of a later time misses it until it is changed again."""
    follower = Follower(ada)
    ([first], _) = follower.news()
    late = former.create("Committed late", datetime.now(UTC) - timedelta(minutes=1))
    ahead = former.create("By a clock that is ahead", datetime.now(UTC) + timedelta(minutes=1))
    last = create(ada, title="Last")["id"]

    assert sorted(follower.news()[0]) == [ahead, last]
    assert sorted(Follower(ada).news()[0]) == [first, late, ahead, last]
    assert ada.patch(f"/api/tasks/{late}", json={"completed": True}).status_code == 200
    assert late in follower.news()[0]


def test_what_the_former_code_deletes_is_told_to_nobody(ada: TestClient, former: Former) -> None:
    """But whoever starts does not get it, and to change or delete it is a 404."""
    follower = Follower(ada)
    ([first], _) = follower.news()
    former.delete(first)
    last = create(ada, title="Last")["id"]

    assert follower.news() == ([last], [])
    assert Follower(ada).news() == ([last], [])
    assert ada.patch(f"/api/tasks/{first}", json={"completed": True}).status_code == 404
    assert ada.delete(f"/api/tasks/{first}").status_code == 404
