"""What PostgreSQL's planner makes of the indexes."""

from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel import Session

import store
from database import Database
from paging import Position, Status
from settings import Settings
from tables import create_tables


@pytest.mark.parametrize("status", ["all", "pending", "completed"])
@pytest.mark.parametrize("after", [False, True], ids=["first-page", "next-page"])
def test_the_planner_uses_the_indexes(postgres_url: str, status: Status, after: bool) -> None:
    """Filter, default order and keyset together: a page is read from the index in its order, without a sort."""
    database = Database(
        Settings(secret="x" * 32, database_url=postgres_url).database, pool_size=1, prepare=create_tables
    )
    with database.threads.engine.connect() as connection, Session(connection) as session:
        create_tables(connection)
        connection.execute(text("INSERT INTO users (id) SELECT n::text FROM generate_series(1, 100) n"))
        connection.execute(
            text(
                "INSERT INTO tasks (user_id, title, completed, created_at, updated_at)"
                " SELECT (n % 100 + 1)::text, 'Task ' || n, n % 7 = 0, now() - n * interval '1 s', now()"
                " FROM generate_series(1, 20000) n"
            )
        )
        connection.execute(text("ANALYZE"))
        plans: list[str] = []

        def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            cursor.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))

        newest = store.list_tasks(session, "7", status, "created", 1)[0]
        event.listen(connection, "before_cursor_execute", explain)
        position = Position(newest.created_at, newest.id) if after else None
        store.list_tasks(session, "7", status, "created", 20, position)
    database.close()

    index = "ix_tasks_user_id_created_at" if status == "all" else "ix_tasks_user_id_completed"
    assert f"Index Scan using {index}" in plans[0]
    assert "Sort" not in plans[0]
