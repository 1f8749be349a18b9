"""What a database has of the tables, and what is wrong with it."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Dialect
from sqlalchemy.sql.selectable import TextualSelect
from sqlmodel import Table, column, text

from migrations import HEAD, VERSION_TABLE, is_behind, is_too_new
from tables import TABLES, TASKS, USERS, indexes

# Columns that the app needs only where it inserts the users itself.
ONLY_INSERTED = {"users.created_at"}
# Columns of Better Auth's core schema by which its table is recognised, in both spellings and lower case.
# https://www.better-auth.com/docs/concepts/database#core-schema
OF_BETTER_AUTH = {"emailverified", "email_verified"}

# By the type of a column of ours: the types that can store the same values.
TYPES = {
    "postgresql": {
        "Text": r"text|citext|character( varying)?",
        "BigInteger": r"bigint|integer|smallint",
        "Boolean": r"boolean",
        "Date": r"date",
        "UTCDateTime": r"timestamp with time zone",
    },
    # SQLite derives the affinity from parts of the name. https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    "sqlite": {
        "Text": r".*(char|clob|text).*",
        "BigInteger": r".*int.*",
        "Boolean": r"bool.*|.*int.*|numeric.*",
        "Date": r"date|text",
        "UTCDateTime": r"(datetime|timestamp|text).*",
    },
}

# Columns of the first version, by which tables without a version are recognised.
COLUMNS_OF_REVISION_1 = {f"users.{name}" for name in ("id", "email", "name", "created_at")} | {
    f"tasks.{name}"
    for name in ("id", "user_id", "title", "description", "completed", "due_date", "created_at", "updated_at")
}

DEPLOY_NEWER = "deploy the newer code"
NOT_OURS = "if the table belongs to another program, give this app a database or a schema of its own"
CHANGED = "a revision in migrations/ is missing, or another program changed the table"


class Row(NamedTuple):
    """A column of a table; or something else about the tables, of which only the name is set.

    `type` is the base type of a domain, or "read-only". `filled`: the database fills it when an INSERT does not.
    """

    # The table of a column; else "index", "version", "extension", "forbidden" for a table that the role may not use as
    # the app does, or "kind", which is PostgreSQL's of tasks.
    of: str
    name: str
    type: str = ""
    required: bool = False
    filled: bool = False


def _statement(sql: str) -> TextualSelect:
    return text(sql).columns(*(column(name) for name in Row._fields))


_FOUND = ", ".join(f"to_regclass('{name}')" for name in TABLES)
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_MAY_USE = " AND ".join(f"has_table_privilege(oid, '{right}')" for right in RIGHTS)
# One round trip, for the tables that the search path finds. 28: UPDATE, INSERT and DELETE are possible, as on some
# views. 7: a trigger FOR EACH ROW BEFORE INSERT, which may fill any column.
_POSTGRESQL = (
    "SELECT c.relname, a.attname, CASE WHEN pg_relation_is_updatable(c.oid, true) & 28 = 28 AND a.attgenerated = ''"
    " THEN format_type(COALESCE(NULLIF(t.typbasetype, 0), t.oid), NULL) ELSE 'read-only' END, a.attnotnull,"
    " a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL OR c.relkind = 'v'"
    " OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 7 = 7)"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid"
    f" WHERE c.oid IN ({_FOUND}) AND a.attnum > 0"
    " UNION ALL SELECT 'index', c.relname, '', false, false FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE i.indisvalid AND i.indrelid = to_regclass('tasks')"
    " UNION ALL SELECT 'kind', relkind::text, '', false, false FROM pg_class WHERE oid = to_regclass('tasks')"
    f" UNION ALL SELECT 'forbidden', relname, '', false, false FROM pg_class WHERE oid IN ({_FOUND})"
    f" AND relname <> 'users' AND NOT ({_MAY_USE})"
    " UNION ALL SELECT 'extension', extname, '', false, false FROM pg_extension"
)
# Only an INTEGER PRIMARY KEY is filled by SQLite. https://www.sqlite.org/lang_createtable.html#rowid
_SQLITE = (
    "SELECT lower(t.name), lower(c.name), CASE t.type WHEN 'table' THEN lower(c.type) ELSE 'read-only' END,"
    """ c."notnull", c.dflt_value IS NOT NULL OR c.pk AND lower(c.type) = 'integer'"""
    f" FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE lower(t.name) IN {tuple(TABLES)}"
    " UNION ALL SELECT 'index', name, '', 0, 0 FROM sqlite_master WHERE type = 'index' AND lower(tbl_name) = 'tasks'"
)
_VERSION = f" UNION ALL SELECT 'version', version_num, '', false, false FROM {VERSION_TABLE}"
# By dialect, with the version and without it.
INSPECT = {
    "postgresql": (_statement(_POSTGRESQL + _VERSION), _statement(_POSTGRESQL)),
    "sqlite": (_statement(_SQLITE + _VERSION), _statement(_SQLITE)),
}
ON_CITUS = text(
    "SELECT partmethod::text FROM pg_dist_partition WHERE logicalrelid = to_regclass('tasks') AND partmethod = 'h'"
).columns(column("partmethod"))


class Tables:
    """The tables of a database, as `INSPECT` found them."""

    def __init__(self, rows: Iterable[Iterable[Any]], dialect: Dialect) -> None:
        self._rows = [Row(*row) for row in rows]
        self._dialect = dialect
        # None for tables from before they had versions.
        self.version = next(iter(self._names("version")), None)
        self.is_new = not self._of("tasks")
        # To older ones revisions add the others.
        needed = ("users", "tasks") if is_behind(self.version) and not self.is_new else TABLES
        self.missing = [TABLES[name] for name in needed if not self._of(name)]
        self.exist = not self.missing
        self.are_partitioned = "p" in self._names("kind")
        self.on_citus = "citus" in self._names("extension")

    def _of(self, of: str) -> dict[str, Row]:
        return {row.name: row for row in self._rows if row.of == of}

    def _names(self, of: str) -> set[str]:
        return set(self._of(of))

    @property
    def missing_indexes(self) -> list[str]:
        return [str(index.name) for index in indexes(self._dialect.name) if index.name not in self._names("index")]

    @property
    def forbidden(self) -> list[str]:
        """The tables, but for `users`, on which the role lacks some of `RIGHTS`."""
        return [name for name in TABLES if name in self._names("forbidden")]

    @property
    def owns_users(self) -> bool:
        """Whether this app inserts the users, and not another program."""
        users = self._of("users").values()
        return not any(_refuses_ours(USERS, row) or row.name.lower() in OF_BETTER_AUTH for row in users)

    def faults(self) -> Iterator[str]:
        """The reasons, as sentences, why the app cannot use these tables."""
        if self.version is not None and is_too_new(self.version):
            yield f"the tables are of version {self.version}, and this code knows version {HEAD}; {DEPLOY_NEWER}"
        # Tables that are known to be older lack what they are about to get.
        if self.version is None or not is_behind(self.version):
            hint = {None: NOT_OURS, HEAD: CHANGED}.get(self.version, DEPLOY_NEWER)
            yield from (f"{fault}; {hint}" for table in TABLES.values() for fault in self._differences(table))

    def _differences(self, table: Table) -> Iterator[str]:
        """The reasons why our statements would fail on this table; none when the table does not exist."""
        rows = self._of(table.name)
        inserts = table is not USERS or self.owns_users
        for wanted in table.columns if rows else ():
            name, row = f"{table.name}.{wanted.name}", rows.get(wanted.name)
            if row is None:
                if (inserts or name not in ONLY_INSERTED) and (self.version or name in COLUMNS_OF_REVISION_1):
                    yield f"the table {table.name} has no column {wanted.name}"
            elif not re.fullmatch(TYPES[self._dialect.name][type(wanted.type).__name__], row.type):
                needed = wanted.type.compile(dialect=self._dialect).lower().removesuffix(" primary key autoincrement")
                yield f"the column {name} is {row.type}, where {needed} is needed"
        for row in rows.values():
            if inserts and _refuses_ours(table, row):
                yield f"the column {table.name}.{row.name} has to be filled, which this app does not do"


def _refuses_ours(table: Table, row: Row) -> bool:
    """Whether the database refuses a new row of ours because of this column."""
    wanted = table.columns.get(row.name)
    if wanted is None:
        return row.required and not row.filled
    if table is USERS:
        # NOT NULL on one of our columns is no reason by itself: a token may have the value.
        return False
    return not row.filled if wanted is TASKS.c.id else row.required and bool(wanted.nullable)
