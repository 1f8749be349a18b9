"""What the fixtures `rows` and `rows_of` are, which look into a database past the app."""

from collections.abc import Callable
from typing import Any

# By a statement; by the URL of a database and a statement.
Rows = Callable[[str], list[tuple[Any, ...]]]
RowsOf = Callable[[str, str], list[tuple[Any, ...]]]


def database_name(url: str) -> str:
    return url.rpartition("/")[2]
