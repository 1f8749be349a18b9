"""What the OpenAPI document says that neither routes nor schemas can: texts, examples, statuses of each operation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import to_json

from openapi.answers import TASK, Object, answer, ref
from schemas import TaskComplete, TaskCreate, TaskImport, TasksComplete, TaskUpdate
from web.query import ChangesQuery, ClearQuery, StatusQuery, TaskQuery


@dataclass(frozen=True)
class Operation:
    """What is particular to a route. Most errors follow from what it takes."""

    summary: str
    success: Mapping[int, Object]
    description: str = ""
    # One of `TAGS`.
    tag: str = "tasks"
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_required: bool = True
    # Whether an array of bodies is taken too.
    many: bool = False
    example: Object | None = None
    # A body of many such lines that is not JSON, by its media type.
    file: Mapping[str, Object] | None = None
    errors: tuple[int, ...] = ()
    # Whether the answer has an ETag, and is left out where If-None-Match names it.
    conditional: bool = False


TAGS = {
    "tasks": "One task, a list of them, and many at once.",
    "sync": "What other devices have changed.",
    "transfer": "All tasks as a file, and back.",
    "account": "What is kept of you.",
    "service": "Health and documentation; without a token.",
}


def task(description: str, headers: Iterable[str] = ()) -> Object:
    return answer(description, {"schema": ref("schemas", "Task")}, ["ETag", *headers])


def yes(status: str) -> Object:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": status}}}
    return answer("Yes.", {"schema": schema, "example": {"status": status}})


def file(json_lines: str, csv: str) -> Object:
    """Examples of a file in either form."""
    examples = {"application/jsonl": json_lines, "text/csv": csv}
    return {media_type: {"schema": {"type": "string"}, "example": text} for media_type, text in examples.items()}


# What can be done with a new task.
LINKS = {
    name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
    for name in ("get_task", "update_task", "patch_task", "toggle_task", "delete_task")
}
KNOWN = "You have it: `If-None-Match` names its ETag."
REPLAYED = ["Idempotency-Replayed"]
COUNT = {
    "schema": {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer", "minimum": 0}}},
    "example": {"count": 3},
}
ME: Object = {
    "schema": ref("schemas", "Me"),
    "example": {"id": "ada", "email": "ada@example.com", "name": "Ada", "tasks": 12, "task_limit": None},
}
CHANGES: Object = {
    "schema": ref("schemas", "Changes"),
    "example": {"tasks": [TASK], "deleted": [2], "token": "WyJjaGFuZ2VzIiwi", "more": False},
}
EXPORT = file(
    to_json(TASK).decode() + "\n",
    "id,title,description,completed,due_date,created_at,updated_at\r\n"
    "1,Buy milk,,true,,2026-11-21T06:00:00.123456Z,2026-11-21T06:00:01.123456Z\r\n",
)
IMPORT = file('{"title": "Buy milk", "completed": true}\n', "title,completed\r\nBuy milk,true\r\n")
TASK_LIST = {"schema": {"type": "array", "items": ref("schemas", "Task")}}

CREATED = answer(
    "The new task, or the new tasks.",
    {"schema": {"oneOf": [ref("schemas", "Task"), TASK_LIST["schema"]]}},
    ["ETag", "Location", *REPLAYED],
) | {"links": LINKS}

# By the name of the route, which is that of its endpoint.
OPERATIONS = {
    "list_tasks": Operation(
        "List your tasks",
        {200: answer("The tasks.", TASK_LIST, ["ETag", "Link"]), 304: answer(KNOWN, None, ["ETag", "Link"])},
        "The whole list, or one page of it when `limit` is given. A list over 128 KiB is streamed, and has no ETag.",
        query=TaskQuery,
        conditional=True,
    ),
    "create_task": Operation(
        "Add a task, or up to 500 of them",
        {201: CREATED},
        "An array is answered with an array in the same order, without `Location` and `ETag`: all are made, or none.",
        body=TaskCreate,
        many=True,
        example={"title": "Buy milk", "description": "Two litres", "due_date": "2026-12-24"},
    ),
    "complete_tasks": Operation(
        "Complete all tasks, or take that back",
        {200: answer("How many were changed.", COUNT, REPLAYED)},
        "Of all tasks, or of those that have the status.",
        query=StatusQuery,
        body=TasksComplete,
        example={"completed": True},
    ),
    "delete_tasks": Operation(
        "Delete all completed tasks, or all pending ones",
        {200: answer("How many there were.", COUNT)},
        query=ClearQuery,
    ),
    "get_task": Operation("Get a task", {200: task("The task."), 304: answer(KNOWN, None, ["ETag"])}, conditional=True),
    "update_task": Operation(
        "Change a task",
        {200: task("The task as it is now.", REPLAYED)},
        "What is left out stays as it is; `null` clears `description` and `due_date`.",
        body=TaskUpdate,
        example={"description": "Three litres", "due_date": None},
    ),
    "patch_task": Operation(
        "Change a task, as PUT does",
        {200: task("The task as it is now.", REPLAYED)},
        "The same as PUT: what is left out stays as it is.",
        body=TaskUpdate,
        example={"title": "Buy milk and bread"},
    ),
    "delete_task": Operation("Delete a task", {204: answer("It is gone.")}),
    "toggle_task": Operation(
        "Complete a task, or take that back",
        {200: task("The task as it is now.", REPLAYED)},
        "`completed` is flipped without a body, or when the body leaves it out; else it is set, so that the request "
        "can be repeated.",
        body=TaskComplete,
        body_required=False,
        example={"completed": True},
    ),
    "list_changes": Operation(
        "What changed since",
        {200: answer("The changes, in their order.", CHANGES)},
        "Everything without `since`. Ask again with the `token` of the answer: at once where it says `more`, later for "
        "what changes next. A task may come again; ids are `deleted` for 30 days.",
        tag="sync",
        query=ChangesQuery,
        errors=(410,),
    ),
    "export_tasks": Operation(
        "Get all of your tasks as a file",
        {200: answer("The file, the oldest task first.", None, ["Content-Disposition"]) | {"content": EXPORT}},
        "JSON Lines, each of them a `Task`, or CSV where `Accept` asks for it. What changes while it is sent may be in "
        "it or not.",
        tag="transfer",
    ),
    "import_tasks": Operation(
        "Add the tasks of a file",
        {200: answer("How many were added.", COUNT, REPLAYED)},
        "All or none. Each line of JSON, or of CSV below the names of its columns, is a `TaskImport`; ids are new. At "
        "most 64 MiB and 100,000 tasks.",
        tag="transfer",
        body=TaskImport,
        file=IMPORT,
        errors=(408,),
    ),
    "get_me": Operation(
        "What is kept of you", {200: answer("The account, and how many tasks it has.", ME)}, tag="account"
    ),
    "delete_me": Operation(
        "Delete all that is kept of you",
        {204: answer("It is gone.")},
        "Every task, and the account where it is this API's. The same token may begin anew.",
        tag="account",
    ),
    "health": Operation("Does the process answer?", {200: yes("ok")}, tag="service"),
    "ready": Operation("Does the database answer too?", {200: yes("ready")}, tag="service", errors=(503,)),
    "openapi": Operation("This document", {200: answer("OpenAPI 3.1.", {"schema": {"type": "object"}})}, tag="service"),
    "docs": Operation(
        "This document, to read and to try",
        {
            200: answer(
                "A page.",
                {"schema": {"type": "string"}},
                ["Content-Security-Policy"],
                media_type="text/html",
            )
        },
        tag="service",
    ),
}
