"""Users and tasks.

Databases made before the tables had versions begin here with tables that are there already.
"""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    # Along the whole search path, while IF NOT EXISTS looks only where the table would be created.
    found = sa.inspect(op.get_bind())
    now = sa.func.now()
    if not found.has_table("users"):
        op.create_table(
            "users",
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("email", sa.Text, unique=True),
            sa.Column("name", sa.Text),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
        )
    if not found.has_table("tasks"):
        op.create_table(
            "tasks",
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
            sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
            sa.Column("title", sa.Text, nullable=False),
            sa.Column("description", sa.Text),
            sa.Column("completed", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("due_date", sa.Date),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
            sqlite_autoincrement=True,
        )
