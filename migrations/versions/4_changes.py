"""What changed since: the clock of each person's changes, and the ids that are deleted."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from migrations.own_tables import create_own_tables

revision = "4"
down_revision = "3"


def upgrade() -> None:
    create_own_tables(create, "change_clocks", "deleted_tasks")


def create(owner: Callable[[], sa.Column[str]]) -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "change_clocks",
        owner(),
        sa.Column("latest", moment, nullable=False),
        sa.Column("forgotten", moment, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "deleted_tasks",
        owner(),
        sa.Column("deleted_at", moment, primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        if_not_exists=True,
    )
