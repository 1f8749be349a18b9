"""Streams a long list in pieces of about 64 KiB, one at a time, so that a slow client costs little memory."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from database import Rows
from paging import Position, Sort, position
from schemas import tasks_json

# Bytes in a piece: about this, and at most twice as many.
PIECE = 64 * 1024
# Tasks that the first query of a list without a limit asks for.
FIRST_ROWS = 250
# Tasks fetched for a piece. 8 of the largest, with every character escaped, are 58 KB.
LEAST, MOST = 8, 500

# Fetches at most this many tasks that come after a position.
Fetch = Callable[[int, Position], Awaitable[Rows]]


class Form(NamedTuple):
    """How rows are written, and what stands before, between and after the pieces of a list."""

    write: Callable[[Rows], bytes]
    opening: bytes = b""
    between: bytes = b""
    closing: bytes = b""


JSON_ARRAY = Form(lambda rows: tasks_json(rows)[1:-1], b"[", b",", b"]")


def is_one_piece(body: bytes) -> bool:
    return len(body) <= 2 * PIECE


async def pieces(
    fetch: Fetch, sort: Sort, rows: Rows, end: int | None = None, form: Form = JSON_ARRAY
) -> AsyncIterator[bytes]:
    """The list that begins with these rows, in that form. A page ends with the task whose id is `end`.

    The next page then begins right after this one, whatever has changed meanwhile. If the task `end` was deleted, the
    page ends after 1,000 tasks and one piece at most.
    """
    opening = form.opening
    left = math.inf if end is None else 2 * MOST
    while rows and left > 0:
        rows, body = _piece(rows, end, form)
        after = position(sort, rows[-1])
        left = 0 if rows[-1].id == end else left - len(rows)
        count = min(max(PIECE * len(rows) // len(body), LEAST), MOST)
        piece, rows, body = opening + body, (), b""
        yield piece
        opening = form.between
        rows = await fetch(count, after) if left > 0 else []
    yield form.closing


def _piece(rows: Rows, end: int | None, form: Form) -> tuple[Rows, bytes]:
    """The rows of one piece, which are the first of these and none after `end`, as they are written."""
    ids = [row.id for row in rows]
    if end in ids:
        rows = rows[: ids.index(end) + 1]
    body = form.write(rows)
    while not is_one_piece(body) and len(rows) > 1:
        # The other half is fetched again.
        rows = rows[: len(rows) // 2]
        body = form.write(rows)
    return rows, body
