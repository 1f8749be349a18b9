"""All tasks of a person as a file, and a file of tasks as new ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from database import Rows
from database.loops import PerLoop
from database.queue import FairQueue
from endpoints.exchange import caller, fresh_caller, json_response, replayed, within_limit
from paging import Position
from queries import transfer
from queries.idempotency import IdempotencyKey
from web.files import CSV, FORMS, JSON_LINES
from web.idempotency import fingerprint_of, key_of
from web.pieces import FIRST_ROWS, is_one_piece, pieces
from web.upload import Upload

# Files that may arrive at once, and those that may be stored at once, in a process. One person has one of each.
ARRIVING, STORING = 4, 1
# Seconds to wait until a file may arrive.
WAITING = 30.0
BUSY = "Too many files arrive at once; try again shortly."
# So that nobody keeps a place for ever: seconds for a file to arrive, and bytes a second after the first of them.
PATIENCE, FIRST_SECONDS, SLOWEST = 600.0, 30.0, 8 * 1024
TOO_SLOW = "The file arrives too slowly; import it in parts, or over a better connection."


class Imports:
    """The places for imports of a process, in which people take turns: a file costs memory, and storing it time."""

    def __init__(self) -> None:
        self._arriving = PerLoop(lambda: FairQueue(ARRIVING), lambda _: None)
        self._stored = PerLoop(lambda: FairQueue(STORING), lambda _: None)

    def arriving(self, person: str) -> Any:
        return _place(self._arriving.get(), person, WAITING)

    def stored(self, person: str) -> Any:
        return _place(self._stored.get(), person, None)


@asynccontextmanager
async def _place(queue: FairQueue, person: str, patience: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(patience):
            await queue.enter(person)
    except TimeoutError:
        raise HTTPException(503, BUSY, {"Retry-After": "10"}) from None
    try:
        yield
    finally:
        queue.leave(person)


def media_type(accept: str) -> str:
    """CSV if `Accept` names it and prefers nothing else; otherwise JSON Lines (RFC 9110, section 12.5.1)."""
    wanted: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        wanted[name] = float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0
    most = max(wanted.values())
    return CSV if most and wanted.get(CSV) == most else JSON_LINES


async def export_tasks(request: Request) -> Response:
    """Each piece is read by itself: of what changes meanwhile, some may be in the file and some not."""
    user_id, media = request.user.id, media_type(request.headers.get("accept", ""))
    name = "tasks.csv" if media == CSV else "tasks.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept"}
    form = FORMS[media]
    rows = await transfer.list_oldest(caller(request), user_id, FIRST_ROWS + 1)
    if len(rows) <= FIRST_ROWS and is_one_piece(body := form.opening + form.write(rows)):
        return Response(body, headers=headers, media_type=media)

    async def fetch(count: int, after: Position) -> Rows:
        return await transfer.list_oldest(fresh_caller(request), user_id, count, after)

    return StreamingResponse(pieces(fetch, "created", rows[:FIRST_ROWS], form=form), headers=headers, media_type=media)


async def import_tasks(request: Request) -> Response:
    imports: Imports = request.app.state.imports
    async with imports.arriving(request.user.id):
        upload, key = await _read(request)
        if refusal := upload.end():
            return refusal
        database, user_id, count = caller(request), request.user.id, upload.count
        if count:

            def store() -> Awaitable[int]:
                return transfer.import_tasks(database, user_id, upload.chunks, upload.count, key)

            async with imports.stored(user_id):
                count = await within_limit(request, count, store, key, transfer.find_imported)
    return json_response(to_json({"count": count}), headers=replayed(key))


async def _read(request: Request) -> tuple[Upload, IdempotencyKey | None]:
    key, seen = key_of(request), fingerprint_of(request)
    upload = Upload(request.user.id, request.headers.get("content-type", "").partition(";")[0].strip().lower() == CSV)
    clock = asyncio.get_running_loop().time
    started, received = clock(), 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for data in request.stream():
                received += len(data)
                seconds = clock() - started
                if seconds > FIRST_SECONDS and received < SLOWEST * seconds:
                    raise TimeoutError
                if key:
                    seen.update(data)
                for _ in upload.take(data):
                    await asyncio.sleep(0)
    except TimeoutError:
        raise HTTPException(408, TOO_SLOW) from None
    return upload, IdempotencyKey(key, seen.hexdigest()) if key else None
