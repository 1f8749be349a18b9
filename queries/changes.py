"""What changed since: each person's clock, which every change of their tasks moves first, and the ids that are deleted.

Without it changes would be missed: of two changes that are made at once, the one with the earlier time may be committed
last, and whoever reads in between asks next for what is later than both.

The clock is a row for each person. Whoever moves it keeps it locked until the change is committed, so that the changes
of one person are made one after the other, and committed in the order of their times, whatever the clocks of the
machines say. What somebody has read up to a time is therefore complete.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Executable, Insert
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlmodel import bindparam, case, delete, func, insert, null, select, true, tuple_, update

from database import Caller, Rows
from paging import MAXIMUM_ID, Since
from tables import CHANGE_CLOCKS, DELETED_TASKS, TASK_COLUMNS, TASKS, now

# How long it is known which ids were deleted.
DELETED_KEPT = timedelta(days=30)

_clock, _gone, _task = CHANGE_CLOCKS.c, DELETED_TASKS.c, TASKS.c
_OWN = _clock.user_id == bindparam("owner")
NOW = bindparam("now", type_=_clock.latest.type)


class a_microsecond_after(GenericFunction[datetime]):
    """The next moment that the database can store. `database.sqlite` adds it to SQLite."""

    type = _clock.latest.type
    inherit_cache = True


@compiles(a_microsecond_after, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"{compiler.process(element.clauses, **options)} + interval '1 microsecond'"


def advance_clock(*only_if: ColumnElement[bool]) -> Insert:
    """Move the clock of the person: to now, or by a microsecond where it is there already or beyond."""
    # A new clock knows nothing of what was before: the person may have been deleted with all their tasks, and be back.
    start = {"user_id": bindparam("owner"), "latest": NOW, "forgotten": NOW}
    first = insert_or(CHANGE_CLOCKS)
    if only_if:
        first = first.from_select(list(start), select(*start.values()).where(*only_if), include_defaults=False)
    else:
        first = first.values(start)
    later = case((_clock.latest < NOW, NOW), else_=a_microsecond_after(_clock.latest))
    return first.on_conflict_do_update(index_elements=[_clock.user_id], set_={"latest": later})


# The time of the change that is being made.
LATEST = select(_clock.latest).where(_OWN).scalar_subquery()

_EXPIRED = (_gone.user_id == bindparam("owner"), _gone.deleted_at < bindparam("expired"))


def deletion(which: tuple[ColumnElement[bool], ...]) -> tuple[Executable, ...]:
    """The batch that deletes these tasks, keeps their ids, and counts them. It forgets ids that were kept for long."""
    keep = insert(DELETED_TASKS).from_select(
        ["user_id", "deleted_at", "id"], select(_task.user_id, LATEST, _task.id).where(*which)
    )
    forgotten = select(func.max(_gone.deleted_at)).where(*_EXPIRED).scalar_subquery()
    return (
        advance_clock(),
        update(CHANGE_CLOCKS).where(_OWN, _clock.forgotten < forgotten).values(forgotten=forgotten),
        delete(DELETED_TASKS).where(*_EXPIRED),
        keep,
        delete(TASKS).where(*which),
        select(func.count()).where(_gone.user_id == bindparam("owner"), _gone.deleted_at == LATEST),
    )


class TokenTooOld(Exception):
    """Deletions since then are forgotten, or the database was restored from an earlier state."""


class Changes(NamedTuple):
    """Tasks made or changed, and tasks deleted, in the order of the changes.

    Of deleted ones only `id` is set, and `updated_at`, which is when.
    """

    rows: Rows
    floor: datetime
    latest: datetime

    def after(self, row: Any) -> Since:
        return Since(self.floor, row.updated_at, row.id)

    def after_all(self) -> Since:
        return Since(self.latest, self.latest, MAXIMUM_ID)


_KEY, _ID = bindparam("key", type_=NOW.type), bindparam("id", type_=_task.id.type)
_LIMIT: ColumnElement[int] = bindparam("row_limit")
_CHANGED = (
    select(*TASK_COLUMNS)
    .where(_task.user_id == bindparam("owner"), tuple_(_task.updated_at, _task.id) > tuple_(_KEY, _ID))
    .order_by(_task.updated_at, _task.id)
    .limit(_LIMIT)
    .subquery()
)
_DELETED = (
    select(_gone.id, _gone.deleted_at.label("updated_at"))
    .where(
        _gone.user_id == bindparam("owner"),
        tuple_(_gone.deleted_at, _gone.id) > tuple_(_KEY, _ID),
        _gone.deleted_at > bindparam("floor", type_=NOW.type),
    )
    .order_by(_gone.deleted_at, _gone.id)
    .limit(_LIMIT)
    .subquery()
)
_AS_TASKS = select(*(_DELETED.c.get(each.name, null().label(each.name)) for each in TASK_COLUMNS))
# Each has its own limit, so that PostgreSQL reads no more of it, in the order of its index.
_BOTH = select(_CHANGED).union_all(_AS_TASKS).order_by("updated_at", "id").limit(_LIMIT).subquery()
# The clock alone where nothing has changed.
_LIST = (
    select(_clock.latest, _clock.forgotten, *_BOTH.c)
    .select_from(CHANGE_CLOCKS.outerjoin(_BOTH, true()))
    .where(_OWN)
    .order_by(_BOTH.c.updated_at, _BOTH.c.id)
)
_NEWEST = select(func.max(_task.updated_at)).where(_task.user_id == bindparam("owner")).scalar_subquery()
CATCH_UP = (advance_clock(), update(CHANGE_CLOCKS).where(_OWN, _clock.latest < _NEWEST).values(latest=_NEWEST), _LIST)
_EVERYTHING = Since(datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), 0)


async def list_changes(database: Caller, user_id: str, since: Since | None, limit: int) -> Changes:
    """At most `limit` changes since then, or of everything. Raises `TokenTooOld`.

    One round trip; a second one where the person has no clock yet, or a task that is newer than it, because another
    program or an older version of this one wrote it: the clock then catches up. Raises `ParentMissing` without a row
    of the user.
    """
    values = {"owner": user_id, "row_limit": limit, **(since or _EVERYTHING)._asdict()}
    rows = await database.execute(_LIST, values)
    if since and not rows:
        # Whoever was given a token had a clock.
        raise TokenTooOld
    if not rows or (rows[-1].id is not None and rows[-1].updated_at > rows[-1].latest):
        rows = await database.execute(CATCH_UP, {**values, "now": now()})
    latest, forgotten = rows[0].latest, rows[0].forgotten
    if since:
        restored = since.floor > latest or (since.id == MAXIMUM_ID and since.key > latest)
        if restored or max(since.floor, since.key) < forgotten:
            raise TokenTooOld
    return Changes([row for row in rows if row.id is not None], since.floor if since else latest, latest)


# For `Database`, which refuses at start what it could not run.
STATEMENTS = (_LIST, CATCH_UP)
