"""The answers that are kept for requests that may be sent again."""

import sqlalchemy as sa
from alembic import op

from migrations.creation import ON_CITUS
from migrations.distribution import HAS_CITUS, IS_DISTRIBUTED
from migrations.locks import with_table_lock

revision = "3"
down_revision = "2"

# Somebody's view of the users cannot be referred to.
IS_VIEW = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('users') AND relkind = 'v')"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        return create_table(sa.ForeignKey("users.id", ondelete="CASCADE"))
    owner = [] if connection.scalar(sa.text(IS_VIEW)) else [sa.ForeignKey("users.id", ondelete="CASCADE")]
    with_table_lock(connection, lambda: create_table(*owner))
    if connection.scalar(sa.text(HAS_CITUS)) and connection.scalar(sa.text(IS_DISTRIBUTED.format(table="tasks"))):
        for statement in ON_CITUS:
            op.execute(statement)


def create_table(*owner: sa.ForeignKey) -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Text, *owner, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("kept_at", moment, nullable=False),
        sa.Column("id", sa.BigInteger),
        sa.Column("title", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("completed", sa.Boolean),
        sa.Column("due_date", sa.Date),
        sa.Column("created_at", moment),
        sa.Column("updated_at", moment),
        if_not_exists=True,
    )
