"""Rows of client_secret for API clients from before a client could have two secrets."""

import sqlalchemy as sa

from migrations.backfill import CHUNK, backfill

revision = "0045"
down_revision = "0044"

_client = sa.table(
    "api_client", sa.column("client_id", sa.String), sa.column("secret_hash"), sa.column("created_at_us")
)
_secret = sa.table(
    "client_secret",
    sa.column("secret_id", sa.String),
    sa.column("client_id", sa.String),
    sa.column("secret_hash"),
    sa.column("created_at_us"),
)
# cli_… becomes sec_…: whoever does it again finds the row.
_SECRET_ID = sa.literal("sec_", sa.String).concat(sa.func.substr(_client.c.client_id, 5))
_STEP = sa.insert(_secret).from_select(
    ["secret_id", "client_id", "secret_hash", "created_at_us"],
    sa.select(_SECRET_ID, _client.c.client_id, _client.c.secret_hash, _client.c.created_at_us)
    .where(~sa.exists().where(_secret.c.client_id == _client.c.client_id))
    .order_by(_client.c.client_id)
    .limit(CHUNK),
)


def upgrade() -> None:
    backfill(_STEP)
