"""How a revision adds tables of which every row is one person's."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from migrations.comparison import RIGHTS
from migrations.creation import on_citus
from migrations.distribution import HAS_CITUS, IS_DISTRIBUTED
from migrations.locks import with_table_lock

# Somebody's view of the users cannot be referred to.
IS_VIEW = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('users') AND relkind = 'v')"
# Whoever may use the tasks may use in the same way what belongs to them: an app whose role does not own the tables goes
# on without a gap. Not where policies decide about rows, which these tables would not have.
GRANTS = (
    "SELECT DISTINCT format('GRANT %s ON {table} TO %s', privilege_type,"
    " CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)"
    " FROM pg_class, aclexplode(COALESCE(relacl, acldefault('r', relowner)))"
    " WHERE oid = to_regclass('tasks') AND NOT relrowsecurity"
    f" AND privilege_type IN {RIGHTS} ORDER BY 1"
)


def create_own_tables(create: Callable[[Callable[[], sa.Column[str]]], None], *names: str) -> None:
    """Create the tables of these names, each of which begins with the column that is passed; on Citus beside the tasks.

    Those of later revisions are not there yet.
    """
    connection = op.get_bind()
    on_sqlite = connection.dialect.name == "sqlite"
    refers = on_sqlite or not connection.scalar(sa.text(IS_VIEW))

    def owner() -> sa.Column[str]:
        key = [sa.ForeignKey("users.id", ondelete="CASCADE")] if refers else []
        return sa.Column("user_id", sa.Text, *key, primary_key=True)

    with_table_lock(connection, lambda: create(owner))
    if on_sqlite:
        return
    for name in names:
        for grant in connection.scalars(sa.text(GRANTS.format(table=name))).all():
            op.execute(grant)
    if connection.scalar(sa.text(HAS_CITUS)) and connection.scalar(sa.text(IS_DISTRIBUTED.format(table="tasks"))):
        for statement in on_citus(*names):
            op.execute(statement)
