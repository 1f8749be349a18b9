"""How a long list goes out: as JSON in pieces of some 64 KiB, of which nothing is kept while a client reads slowly."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable

from database import Rows
from paging import Position, Sort, position
from schemas import tasks_json

# Bytes of JSON that a piece should have; it may have up to twice as many.
PIECE = 64 * 1024
# Tasks that are fetched for a piece. 8 of the largest, escaped throughout, are 58 KB.
LEAST, MOST = 8, 500

# Gives at most so many tasks of the list, from after a position.
Fetch = Callable[[int, Position], Awaitable[Rows]]


def is_one_piece(body: bytes) -> bool:
    return len(body) <= 2 * PIECE


async def pieces(fetch: Fetch, sort: Sort, rows: Rows, end: int | None) -> AsyncIterator[bytes]:
    """The array of a list that begins with these rows; of a page, up to the task `end`.

    So the next page begins right behind this one, whatever has changed meanwhile. Should `end` itself have gone, this
    one ends after 1,000 tasks and a piece at most.
    """
    opening, last = b"[", 0
    left = 2 * MOST if end else math.inf
    while rows and last != end and left > 0:
        rows, body = _piece(rows, end)
        last, after = rows[-1].id, position(sort, rows[-1])
        left -= len(rows)
        count = min(max(PIECE * len(rows) // len(body), LEAST), MOST)
        piece, rows, body = opening + body[1:-1], (), b""
        yield piece
        opening = b","
        rows = await fetch(count, after)
    yield b"]"


def _piece(rows: Rows, end: int | None) -> tuple[Rows, bytes]:
    """The first of these rows, `end` at most, and their JSON."""
    ids = [row.id for row in rows]
    if end in ids:
        rows = rows[: ids.index(end) + 1]
    body = tasks_json(rows)
    while not is_one_piece(body) and len(rows) > 1:
        # What is left out is fetched again.
        rows = rows[: len(rows) // 2]
        body = tasks_json(rows)
    return rows, body
