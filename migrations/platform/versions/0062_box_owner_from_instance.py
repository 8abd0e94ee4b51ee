"""Owners of boxes from before a box said whose it is: the instance whose own its pool is."""

import sqlalchemy as sa
from sqlalchemy import Connection

from migrations.backfill import CHUNK, backfill

revision = "0062"
down_revision = "0061"

_box = sa.table(
    "box", sa.column("name", sa.String), sa.column("pool", sa.String), sa.column("owner", sa.String)
)
_instance = sa.table("instance", sa.column("instance_id", sa.String), sa.column("pool", sa.String))
_SHARED_POOL = "shared"
_UNOWNED = (
    sa.select(_box.c.name, _instance.c.instance_id)
    .select_from(_box.join(_instance, _instance.c.pool == _box.c.pool))
    .where(_box.c.owner.is_(None), _box.c.pool != _SHARED_POOL)
    .order_by(_box.c.name)
    .limit(CHUNK)
)
_SET_OWNER = (
    sa.update(_box)
    .where(_box.c.name == sa.bindparam("b_name"), _box.c.owner.is_(None))
    .values(owner=sa.bindparam("b_owner"))
)


def _step(connection: Connection) -> int:
    # The pool of an instance never changes, and a pool of its own has one instance.
    found = connection.execute(_UNOWNED).all()
    for name, owner in found:
        connection.execute(_SET_OWNER, {"b_name": name, "b_owner": owner})
    return len(found)


def upgrade() -> None:
    backfill(_step)
