"""Listens to every statement that the suite sends, and knows which ones could reach somebody else's task."""

import logging
import re

SQL = logging.getLogger("todo.sql")

# Statements that touch rows of tasks; what creates the table or asks for its existence does not.
TOUCHES_TASKS = re.compile(r"\b(from|join|update|into)\s+tasks\b", re.I)
PARAMETER = re.compile(r"%\(\w+\)s|:\w+")
OWNER = re.compile(r"tasks\.user_id = \?( and |$)")


def constrains_owner(statement: str) -> bool:
    """Whether the statement reads and changes only the tasks of one user, or creates one of a user."""
    text = PARAMETER.sub("?", " ".join(statement.lower().split()))
    if text.startswith("insert into tasks ("):
        return "user_id" in text.partition("(")[2].partition(")")[0]
    condition = re.split(r" (?:order by|limit|returning) ", text.partition(" where ")[2])[0]
    innermost = re.compile(r"\([^()]*\)")
    while innermost.search(condition):
        condition = innermost.sub("…", condition)
    return bool(OWNER.match(condition)) and " or " not in condition


class StatementLog:
    """The statements on tasks that any database of this process was sent, which are logged."""

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
        self.statements.update(statement for statement in message.split("; ") if TOUCHES_TASKS.search(statement))
