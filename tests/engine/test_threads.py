"""The threads that create the tables and serve SQLite: no server and no caller holds one for ever."""

import threading
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import event

import store
from database import DatabaseUnavailable, _postgresql
from settings import Settings
from tests.conftest import database_name
from tests.engine.conftest import Connect, Run, recover
from tests.proxy import Proxy
from tests.servers import Postgres
from tests.tokens import SECRET
from threads import _Call


def test_a_frozen_server_does_not_hold_the_creation_of_tables(
    connect: Connect, postgres_url: str, proxy: Proxy, run: Run
) -> None:
    """It freezes when the connection stands and the first statement is on its way."""
    database = connect(proxy.url(database_name(postgres_url)), deadline=1)
    create = database._prepare

    def freeze(connection: Any) -> None:
        proxy.freeze()
        create(connection)

    database._prepare = freeze
    with pytest.raises(DatabaseUnavailable, match="no answer"):
        run(database.run(store.ping))
    database._prepare = create
    proxy.thaw()
    recover(run, database)


def test_a_server_that_freezes_after_the_log_in_does_not_hold_the_creation_of_tables(
    connect: Connect, postgres_url: str, proxy: Proxy, run: Run
) -> None:
    """SQLAlchemy has questions then, before it hands the connection out."""
    database = connect(proxy.url(database_name(postgres_url)), deadline=1)
    faults = [proxy.freeze]
    event.listen(database.threads.engine, "first_connect", lambda *_: faults and faults.pop()(), insert=True)

    with pytest.raises(DatabaseUnavailable, match="no answer"):
        run(database.run(store.ping))
    closer = threading.Thread(target=database.threads.close, daemon=True)
    closer.start()
    closer.join(10)
    freed = not closer.is_alive()
    proxy.thaw()
    recover(run, database)
    assert freed


def test_a_connection_made_for_nobody_is_closed(postgres_url: str) -> None:
    """Whoever asked gave up while the server was asked for it."""
    engine = _postgresql(Settings(secret=SECRET, database_url=postgres_url).database, 5)
    engine._current.call.expire()

    with pytest.raises(CancelledError) as raised:
        engine.engine.connect()
    assert raised.traceback[-2].locals["connection"].closed
    engine.close()


def test_who_gives_up_on_a_connection_that_is_closed_already(postgres: Postgres) -> None:
    call = _Call()
    with closing(psycopg2.connect(postgres.url("postgres"))) as connection:
        call.hold(connection)

    call.expire()


def test_a_thread_that_comes_too_late_does_not_begin(connect: Connect, tmp_path: Path) -> None:
    call = _Call()
    call.expire()
    database = connect(f"sqlite:///{tmp_path}/todo.db")

    with database.threads.engine.connect() as connection, pytest.raises(CancelledError), call.holding(connection):
        pytest.fail("it has begun")
