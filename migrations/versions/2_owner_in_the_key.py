"""The owner in the key of tasks, on PostgreSQL: (user_id, id) instead of (id).

Partitions and shards need the owner in every key. SQLite keeps its lone counting id.
"""

from alembic import op
from sqlalchemy import text

from migrations.locks import with_table_lock

revision = "2"
down_revision = "1"

# As revision 1 made the key. A table made otherwise is used as it is; and so is one whose key something relies on: a
# foreign key of another table, a view that groups by it, the replica identity, or the columns of a publication, which
# may lack the owner. Before PostgreSQL 15 publications have no prattrs.
HAS_FORMER_KEY = text(
    "SELECT EXISTS (SELECT FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
    " JOIN pg_attribute id ON id.attrelid = c.oid AND k.conkey = ARRAY[id.attnum]"
    " JOIN pg_attribute owner ON owner.attrelid = c.oid"
    " WHERE c.oid = to_regclass('tasks') AND c.relkind = 'r' AND k.conname = 'tasks_pkey'"
    " AND id.attname = 'id' AND id.attidentity <> '' AND owner.attname = 'user_id' AND owner.attnotnull"
    " AND NOT EXISTS (SELECT FROM pg_constraint WHERE confrelid = c.oid)"
    " AND NOT EXISTS (SELECT FROM pg_depend"
    " WHERE refclassid = 'pg_constraint'::regclass AND refobjid = k.oid AND deptype = 'n')"
    " AND NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = k.conindid AND indisreplident)"
    " AND NOT EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid AND to_jsonb(p) ->> 'prattrs' <> ''))"
)


def upgrade() -> None:
    """The index is built beside the writers, and becomes the key in a moment: no row is written anew."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql" or not connection.scalar(HAS_FORMER_KEY):
        return
    with op.get_context().autocommit_block():
        # What an interrupted attempt left.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_id_key")
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY tasks_user_id_id_key ON tasks (user_id, id)")
    change = (
        "ALTER TABLE tasks DROP CONSTRAINT tasks_pkey,"
        " ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_user_id_id_key"
    )
    with_table_lock(connection, lambda: op.execute(change))
