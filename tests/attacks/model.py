"""The contract as plain Python: what a body means, and what two people have after any sequence of requests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from hypothesis import strategies as st

JSON = dict[str, Any]

# Unicode's White_Space, which is what a title is trimmed of.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITE_SPACE += "\u2028\u2029\u202f\u205f\u3000"
# Those of the letters below that show nothing by themselves.
INVISIBLE = "\u200d\u200b\u202e\ufeff\x01\x1f\x7f"

# Letters of one, two, three and four bytes in both cases, some that join others, and what SQL, LIKE and JSON escape.
LETTERS = "aAbBzZ09 _%'\"\\;{}/<>äÄßẞéÉøØжЖλΛ漢字😀🍎𐐀𐐨\u0301\u200d\u200b\u202e\ufeff\ufffd\uffff\x01\x1f\x7f"
SHORT = st.text(LETTERS + WHITE_SPACE, max_size=8)
LONG = st.builds(lambda letter, size: letter * size, st.sampled_from("xÄ🍎"), st.sampled_from([199, 200, 201, 230]))
TITLES = st.one_of(
    SHORT, SHORT, st.builds(lambda text, around: f"{around}{text}{around}", LONG, st.sampled_from(" \n\u3000"))
)
DESCRIPTIONS = st.one_of(SHORT, st.sampled_from(["x" * 1000, "🍎" * 1000, "x" * 1001]))
DATES = st.dates().map(date.isoformat)
DUE_DATES = st.one_of(DATES, DATES.map("{}T00:00:00Z".format), DATES.map("{}T00:00:00.000+02:00".format))
NO_DATES = st.sampled_from(["", "soon", "2026-02-30", "2026-1-1", "2026-01-31T12:00:00Z", "0000-01-01", "20260131"])
# Of another type than text or null.
OTHERS = st.sampled_from([0, 1, -1.5, [], {}, [None], {"title": "x"}])

FIELDS: JSON = {
    "title": st.one_of(TITLES, TITLES, TITLES, TITLES, OTHERS, st.sampled_from([None, True, "\0", "a\0b"])),
    "description": st.one_of(DESCRIPTIONS, DESCRIPTIONS, st.none(), OTHERS, st.just("a\0b")),
    "completed": st.one_of(st.booleans(), st.booleans(), st.booleans(), OTHERS, st.sampled_from([None, "true", "yes"])),
    "due_date": st.one_of(DUE_DATES, DUE_DATES, st.none(), NO_DATES, OTHERS),
    # Not the caller's to set, and ignored.
    "id": st.integers(),
    "updated_at": st.none(),
    "priority": OTHERS,
}
BODIES = st.fixed_dictionaries({}, optional=FIELDS)
# Nothing but lengths may be wrong with these.
RICH = st.fixed_dictionaries(
    {"title": TITLES},
    optional={"description": DESCRIPTIONS, "completed": st.booleans(), "due_date": st.one_of(DUE_DATES, st.none())},
)
# Nothing is wrong with these, and their order is another when the case of letters counts.
PLAIN = st.fixed_dictionaries(
    {"title": st.text("aAÄä_", min_size=1, max_size=2)},
    optional={"completed": st.booleans(), "due_date": st.sampled_from(["2026-01-31", "2026-02-01"])},
)


class Invalid(Exception):
    """A 400."""


def check(condition: object) -> None:
    if not condition:
        raise Invalid


def title(value: Any) -> str:
    check(isinstance(value, str) and "\0" not in value)
    trimmed: str = value.strip(WHITE_SPACE)
    check(trimmed.strip(WHITE_SPACE + INVISIBLE) and len(trimmed) <= 200)
    return trimmed


def description(value: Any) -> str | None:
    check(value is None or (isinstance(value, str) and "\0" not in value and len(value) <= 1000))
    return value  # type: ignore[no-any-return]


def completed(value: Any) -> bool:
    check(isinstance(value, bool))
    return bool(value)


def due_date(value: Any) -> str | None:
    if value is None:
        return None
    check(isinstance(value, str))
    day, _, midnight = value.partition("T")
    check(midnight in ("", "00:00:00Z", "00:00:00.000+02:00"))
    try:
        check(date.fromisoformat(day).isoformat() == day)
    except ValueError:
        raise Invalid from None
    return str(day)


RULES: dict[str, Callable[[Any], Any]] = {
    "title": title,
    "description": description,
    "completed": completed,
    "due_date": due_date,
}


def values(body: JSON) -> JSON:
    """What the body says of the fields that are the caller's; raises `Invalid`."""
    return {name: rule(body[name]) for name, rule in RULES.items() if name in body}


def tag_of(task: JSON) -> str:
    return f'"{task["updated_at"]}"'


@dataclass
class Copy:
    """What a client has that follows the changes."""

    token: str | None = None
    tasks: dict[int, JSON] = field(default_factory=dict)

    def restart(self) -> None:
        self.token, self.tasks = None, {}

    def apply(self, changes: JSON) -> None:
        self.tasks |= {task["id"]: task for task in changes["tasks"]}
        for task_id in changes["deleted"]:
            self.tasks.pop(task_id, None)
        self.token = changes["token"]


@dataclass
class Person:
    """Somebody, and their tasks as the API has to answer them, by id; and what two clients of theirs have."""

    name: str
    tasks: dict[int, JSON] = field(default_factory=dict)
    # All ETags that a task has had, the first one first.
    tags: dict[int, list[str]] = field(default_factory=dict)
    # The time of the latest change.
    latest: str = ""
    copies: tuple[Copy, Copy] = field(default_factory=lambda: (Copy(), Copy()))

    def changed(self, task: JSON) -> None:
        """Keep the task as it is now. Each change of a person's has a later time than all before it."""
        assert task["updated_at"] > self.latest
        self.latest = task["updated_at"]
        self.tasks[task["id"]] = task
        self.tags.setdefault(task["id"], []).append(tag_of(task))

    def listed(self, status: str, sort: str) -> list[JSON]:
        chosen = [
            task for task in self.tasks.values() if status in ("all", "completed" if task["completed"] else "pending")
        ]
        if sort == "created":
            return sorted(chosen, key=lambda task: (task["created_at"], task["id"]), reverse=True)
        if sort == "title":
            return sorted(chosen, key=lambda task: (task["title"].lower(), task["id"]))
        return sorted(chosen, key=lambda task: (task["due_date"] is None, task["due_date"] or "", task["id"]))
