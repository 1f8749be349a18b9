"""Requests that have their effect once, however often they are sent: their answers are kept beside the tasks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Executable, Insert, Select, Update

# SQLite has the same clause ON CONFLICT.
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlmodel import and_, bindparam, delete, literal_column, or_, select, update

from database import Caller, DatabaseUnavailable, Rows
from queries.changes import advance_clock
from tables import IDEMPOTENCY_KEYS, TASK_COLUMNS

# How long, and how many of one person's, the answers are kept.
KEPT = timedelta(hours=24)
KEPT_KEYS = 1000


@dataclass
class IdempotencyKey:
    """A request that has its effect once: its key, and what tells it from other requests."""

    value: str
    fingerprint: str
    # Set by the store: whether the answer is that to an earlier request.
    replayed: bool = False


class KeyReused(Exception):
    """The key belongs to another request of the same person."""


_kept = IDEMPOTENCY_KEYS.c
_OWN = _kept.user_id == bindparam("owner")
THIS_KEY = (_OWN, _kept.key == bindparam("key"))
_OPEN = and_(_kept.fingerprint == bindparam("fingerprint"), _kept.id.is_(None))
# Of a change that depends on it: whether the request has had no effect yet.
UNANSWERED = select(_kept.key).where(*THIS_KEY, _OPEN).exists()

_NEWEST = select(_kept.kept_at).where(_OWN).order_by(_kept.kept_at.desc())
_ONE_TOO_MANY = _NEWEST.offset(bindparam("kept_keys")).limit(literal_column("1")).scalar_subquery()
# Those without an answer are of requests that found no task.
_OLD = or_(_kept.id.is_(None), _kept.kept_at < bindparam("expired_key"), _kept.kept_at <= _ONE_TOO_MANY)
_FORGET = delete(IDEMPOTENCY_KEYS).where(_OWN, _OLD)
_VALUES: dict[str, Any] = {
    "key": bindparam("key"),
    "fingerprint": bindparam("fingerprint"),
    "kept_at": bindparam("now"),
}
# Waits while another request with the same key is under way, and keeps the key of an unanswered one from others.
_CLAIM = insert_or(IDEMPOTENCY_KEYS).values(user_id=bindparam("owner"), **_VALUES)
_CLAIM = _CLAIM.on_conflict_do_update(
    index_elements=[_kept.user_id, _kept.key],
    set_={"kept_at": bindparam("now")},
    where=_OPEN,
)
# Of every request: whether it has an answer, and to which request that was.
ABOUT_ANSWER = (_kept.fingerprint, _kept.kept_at, _kept.id.label("answered"))
THE_TASK = {column.name: column for column in TASK_COLUMNS}
_KEPT_TASK = select(*ABOUT_ANSWER, *(_kept[name] for name in THE_TASK)).where(*THIS_KEY)


def idempotent(
    change: Insert | Update,
    found: Iterable[ColumnElement[bool]] = (),
    answer: Mapping[str, Any] = THE_TASK,
    kept: Select[Any] = _KEPT_TASK,
) -> tuple[Executable, ...]:
    """The batch that makes this change, which must have the condition `UNANSWERED`, and keeps the answer.

    That is the task with the conditions `found`, unless `answer` says what to keep, and `kept` how to read it back.
    """
    keep = update(IDEMPOTENCY_KEYS).where(*found, *THIS_KEY, _OPEN).values(answer)
    return _FORGET, _CLAIM, advance_clock(UNANSWERED), change, keep, kept


# Of a transaction of several round trips: what begins it, with the answer that there may be already, and what ends it.
CLAIM_KEY = (_FORGET, _CLAIM, _KEPT_TASK)
KEEP_COUNT = (update(IDEMPOTENCY_KEYS).where(*THIS_KEY, _OPEN).values(id=bindparam("count")), _KEPT_TASK)


def values_of(key: IdempotencyKey, moment: datetime) -> dict[str, Any]:
    """What the batch needs beside the values of its change."""
    of_the_key = {"key": key.value, "fingerprint": key.fingerprint}
    return {**of_the_key, "expired_key": moment - KEPT, "kept_keys": KEPT_KEYS, "now": moment}


async def find_answer(database: Caller, user_id: str, key: IdempotencyKey, kept: Select[Any] = _KEPT_TASK) -> Rows:
    """What `answered` gives, of an earlier request; nothing without one. Raises `KeyReused`."""
    rows = await database.execute(kept, {"owner": user_id, "key": key.value})
    return answered(rows, key) if rows else ()


def answered(rows: Rows, key: IdempotencyKey, moment: datetime | None = None) -> Rows:
    """The rows of the first answer from those that the batch gave; none where the change found no task.

    `kept_at` is the moment of this request only if no earlier one was answered. Raises `KeyReused`.
    """
    if not rows:
        raise DatabaseUnavailable("the answer of the key was forgotten while it was looked for")
    if rows[0].fingerprint != key.fingerprint:
        raise KeyReused
    key.replayed = rows[0].kept_at != moment
    return () if rows[0].answered is None else rows


# For `Database`, which refuses at start what it could not run.
STATEMENTS = (_KEPT_TASK,)
