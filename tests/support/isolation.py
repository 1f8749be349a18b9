"""Listens to every statement that the suite sends, and knows which ones could reach somebody else's task."""

import logging
import re
from collections.abc import Iterator

from tables import TABLES

SQL = logging.getLogger("todo.sql")

# Tables of which every row is one person's.
OWNED = "|".join(name for name in TABLES if name != "users")
INSERTED = re.compile(rf"\binto ({OWNED}) \(([^)]*)\)")
TOUCHED = re.compile(rf"\b(?:from|join|update) ({OWNED})\b")
TOUCHES = re.compile(rf"\b(from|join|update|into)\s+({OWNED})\b", re.I)
PARAMETER = re.compile(r"%\(\w+\)s|:\w+")
INNERMOST = re.compile(r"\(([^()]*)\)")


def constrains_owner(statement: str) -> bool:
    """Whether the statement reads and changes only the rows of one user, or inserts some with their user."""
    text = PARAMETER.sub("?", " ".join(statement.lower().split()))
    inserted = INSERTED.findall(text)
    return all("user_id" in columns for _, columns in inserted) and all(map(_is_constrained, _queries(text)))


def _queries(text: str) -> Iterator[str]:
    """The statement and those nested in it, each without what is in parentheses."""
    while found := INNERMOST.search(text):
        if found[1].startswith("select "):
            yield from found[1].split(" union all ")
        text = f"{text[: found.start()]}…{text[found.end() :]}"
    yield from text.split(" union all ")


def _is_constrained(query: str) -> bool:
    condition = re.split(r" (?:on conflict|order by|limit|returning)\b", query.partition(" where ")[2])[0]
    named = condition.split(" and ")
    return " or " not in condition and all(f"{table}.user_id = ?" in named for table in TOUCHED.findall(query))


class StatementLog:
    """The statements on what is one person's that any database of this process was sent, which are logged."""

    def __init__(self) -> None:
        self.statements: set[str] = set()
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self._note(record.getMessage())  # type: ignore[method-assign]
        SQL.addHandler(self._handler)
        SQL.setLevel(logging.DEBUG)

    def close(self) -> None:
        SQL.removeHandler(self._handler)

    def _note(self, message: str) -> None:
        """A statement, or a batch of them."""
        self.statements.update(statement for statement in message.split("; ") if TOUCHES.search(statement))
