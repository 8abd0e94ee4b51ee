"""SQL of where instance databases lie: platform schema."""

from __future__ import annotations

from typing import NamedTuple, cast

from sqlalchemy import bindparam, delete, insert, select, update

from app.core.clock import to_us
from app.core.db import Database, Reader, Row, Tx
from app.core.ids import InstanceId
from tenancy import tables
from tenancy.database.home import OLD_DIRECTORY, DatabaseHome, ServerPlace
from tenancy.server.record import ServerId, ServerKind

_home = tables.instance_database
_server = tables.server
_instance = tables.instance

_HOMES = (
    select(
        _home.c.instance_id,
        _home.c.database_name,
        _home.c.user_name,
        _home.c.password,
        _server.c.server_id,
        _server.c.kind,
        _server.c.address,
        _server.c.tls_ca,
    )
    .select_from(_home.join(_server, _server.c.server_id == _home.c.server_id))
    .order_by(_home.c.instance_id)
)
_HOME = _HOMES.where(_home.c.instance_id == bindparam("b_instance"))
_OLD_URL = select(_instance.c.database_url).where(_instance.c.instance_id == bindparam("b_instance"))
_ADD_HOME = insert(_home)
_REMOVE_HOME = delete(_home).where(_home.c.instance_id == bindparam("b_instance"))
_ADMIN = select(_server.c.admin_user, _server.c.admin_password, _server.c.tls_ca).where(
    _server.c.server_id == bindparam("b_server")
)


_SEALED_HOMES = (
    select(_home.c.instance_id.label("owner"), _home.c.password.label("sealed"))
    .where(_home.c.password.like(bindparam("b_form")))
    .limit(bindparam("b_limit"))
)
_SEALED_ADMINS = (
    select(_server.c.server_id.label("owner"), _server.c.admin_password.label("sealed"))
    .where(_server.c.admin_password.like(bindparam("b_form")))
    .limit(bindparam("b_limit"))
)
_RESEAL_HOME = (
    update(_home)
    .where(_home.c.instance_id == bindparam("b_owner"), _home.c.password == bindparam("b_old"))
    .values(password=bindparam("b_new"))
)
_RESEAL_ADMIN = (
    update(_server)
    .where(_server.c.server_id == bindparam("b_owner"), _server.c.admin_password == bindparam("b_old"))
    .values(admin_password=bindparam("b_new"))
)


class Sealed(NamedTuple):
    """A password as it is stored, and whose it is."""

    owner: str
    sealed: str


class SealedAdmin(NamedTuple):
    """A server's administrator; the password as it is stored."""

    user: str
    password: str
    tls_ca: str | None


def find_home(reader: Reader, instance_id: InstanceId) -> DatabaseHome | None:
    """Where an instance's database lies; the password as it is stored."""
    row = reader.first(_HOME, {"b_instance": instance_id})
    return None if row is None else _to_home(row)


def find_old_home(reader: Reader, instance_id: InstanceId) -> DatabaseHome | None:
    """The file of an instance from before there were servers."""
    url = reader.scalar(_OLD_URL, {"b_instance": instance_id})
    if not isinstance(url, str) or not url.startswith("sqlite:"):
        return None
    place = ServerPlace(server_id=None, kind="sqlite", address=OLD_DIRECTORY)
    return DatabaseHome(instance_id=instance_id, place=place, database_name=instance_id)


def list_homes(reader: Reader) -> list[DatabaseHome]:
    """Where all databases lie; passwords as they are stored."""
    return [_to_home(row) for row in reader.all(_HOMES)]


def add_home(tx: Tx, home: DatabaseHome) -> bool:
    """Store where an instance's database will be; its password sealed. False if that was known."""
    return tx.insert_if_absent(
        _ADD_HOME,
        {
            "instance_id": home.instance_id,
            "server_id": home.place.server_id,
            "database_name": home.database_name,
            "user_name": home.user_name,
            "password": home.password,
            "created_at_us": to_us(tx.now),
        },
    )


def remove_home(tx: Tx, instance_id: InstanceId) -> bool:
    """Forget where an instance's database was. False if that was not known."""
    return tx.write(_REMOVE_HOME, {"b_instance": instance_id}) == 1


def find_admin(reader: Reader, server_id: ServerId) -> SealedAdmin | None:
    """The administrator of a database server."""
    row = reader.first(_ADMIN, {"b_server": server_id})
    if row is None or row.admin_user is None or row.admin_password is None:
        return None
    return SealedAdmin(row.admin_user, row.admin_password, row.tls_ca)


def list_sealed(reader: Reader, form: str, *, limit: int) -> list[Sealed]:
    """Some passwords of databases and administrators that are stored in this form."""
    asked: dict[str, str | int] = {"b_form": f"{form}%", "b_limit": limit}
    rows = [*reader.all(_SEALED_HOMES, asked), *reader.all(_SEALED_ADMINS, asked)]
    return [Sealed(row.owner, row.sealed) for row in rows]


def replace_sealed(tx: Tx, old: Sealed, new: str) -> bool:
    """Store a password in another form; False if it is another one by now."""
    values = {"b_owner": old.owner, "b_old": old.sealed, "b_new": new}
    return tx.write(_RESEAL_HOME, values) + tx.write(_RESEAL_ADMIN, values) == 1


def _to_home(row: Row) -> DatabaseHome:
    return DatabaseHome(
        instance_id=InstanceId(row.instance_id),
        place=ServerPlace(
            server_id=ServerId(row.server_id),
            kind=cast(ServerKind, row.kind),
            address=row.address,
            tls_ca=row.tls_ca,
        ),
        database_name=row.database_name,
        user_name=row.user_name,
        password=row.password,
    )


def list_visible_databases(db: Database) -> set[str]:
    """The databases that an instance's MariaDB user has any right on: the server shows him no others."""
    with db.engine.connect() as connection:
        # Not a statement of the application, and one that SQLite does not know.
        shown = {str(row[0]) for row in connection.exec_driver_sql("SHOW DATABASES")}
    return shown - {"information_schema"}
