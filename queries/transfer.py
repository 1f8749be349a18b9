"""All tasks of a person: read from the oldest on, and imported in one transaction of several round trips."""

import zlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select
from sqlmodel import bindparam, select, tuple_

from database import Caller, DatabaseUnavailable, DuplicateId, Rows, StepsRun
from paging import Position
from queries.bulk import GIVEN_TIME, insertion
from queries.changes import advance_clock
from queries.idempotency import CLAIM_KEY, KEEP_COUNT, IdempotencyKey, answered, find_answer, values_of
from store import COUNTER_BEHIND
from tables import TASK_COLUMNS, TASKS, now

_task = TASKS.c
_FIRST: Select[Any] = (
    select(*TASK_COLUMNS)
    .where(_task.user_id == bindparam("owner"))
    .order_by(_task.created_at, _task.id)
    .limit(bindparam("row_limit"))
)
_KEY, _AFTER_ID = bindparam("key", type_=_task.created_at.type), bindparam("after_id", type_=_task.id.type)
# The rest of a list waits for its turn, however short each part of it is.
_REST = _FIRST.where(tuple_(_task.created_at, _task.id) > tuple_(_KEY, _AFTER_ID)).execution_options(in_turn=True)


async def list_oldest(database: Caller, user_id: str, limit: int, after: Position | None = None) -> Rows:
    """At most `limit` tasks of the user, the oldest first, from the start or from after a position."""
    values = {"owner": user_id, "row_limit": limit}
    if after is None:
        return await database.execute(_FIRST, values)
    return await database.execute(_REST, {**values, "key": after.key, "after_id": after.id})


_ADVANCE_CLOCK = advance_clock()
_IMPORT = insertion(created_at=GIVEN_TIME)


async def import_tasks(
    database: Caller, user_id: str, chunks: Sequence[bytes], count: int, key: IdempotencyKey | None = None
) -> int:
    """How many tasks were made, which is `count`, unless the request was sent before.

    Each chunk is compressed, so that many can be kept: a JSON array of objects with all of `GIVEN_COLUMNS` and
    `created_at`. It takes one round trip, and all are one transaction.
    Raises what `store.create_task` does.
    """

    def steps() -> StepsRun:
        moment, owner = now(), {"owner": user_id}
        if key:
            rows = yield CLAIM_KEY, {**owner, **values_of(key, moment)}
            if found := answered(rows, key, moment):
                return found
        yield _ADVANCE_CLOCK, {**owner, "now": moment}
        for chunk in chunks:
            yield _IMPORT, {**owner, "tasks": zlib.decompress(chunk).decode()}
        if not key:
            return ()
        return (yield KEEP_COUNT, {**owner, "key": key.value, "fingerprint": key.fingerprint, "count": count})

    try:
        kept = await database.run_steps(steps)
    except DuplicateId as error:
        raise DatabaseUnavailable(f"{error}; {COUNTER_BEHIND}") from None
    return int(kept[0].answered) if kept else count


async def find_imported(database: Caller, user_id: str, key: IdempotencyKey) -> int | None:
    """How many tasks an earlier request with this key made; None without one. Raises `KeyReused`."""
    kept = await find_answer(database, user_id, key)
    return int(kept[0].answered) if kept else None


# For `Database`, which refuses at start what it could not run.
STATEMENTS = (_FIRST, _REST, _ADVANCE_CLOCK, _IMPORT, CLAIM_KEY, KEEP_COUNT)
