"""The answers that are kept for requests that may be sent again."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from migrations.own_tables import create_own_tables

revision = "3"
down_revision = "2"


def upgrade() -> None:
    create_own_tables(create, "idempotency_keys")


def create(owner: Callable[[], sa.Column[str]]) -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "idempotency_keys",
        owner(),
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
