"""SQL of servers and of who is placed on them: platform schema."""

from __future__ import annotations

from typing import cast

from sqlalchemy import bindparam, delete, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import InstanceId
from tenancy import tables
from tenancy.server.errors import ServerNotFound, ServerVersionConflict
from tenancy.server.record import Server, ServerId, ServerKind, ServerPurpose, ServerState

_server = tables.server
_placement = tables.placement

_ADD_SERVER = insert(_server)
_SERVER = select(_server).where(_server.c.server_id == bindparam("b_server"))
_SERVERS = (
    select(_server)
    .where(_server.c.server_id > bindparam("b_after"))
    .order_by(_server.c.server_id)
    .limit(bindparam("b_limit"))
)
_ANY_SERVER = select(_server.c.server_id).limit(1)
_ALL = select(_server).order_by(_server.c.name)
_TAKE = (
    update(_server)
    .where(
        _server.c.server_id == bindparam("b_server"),
        _server.c.state == "active",
        _server.c.used + 1 <= _server.c.capacity,
    )
    .values(used=_server.c.used + 1)
)
_GIVE_BACK = (
    update(_server)
    .where(_server.c.server_id == bindparam("b_server"), _server.c.used > 0)
    .values(used=_server.c.used - 1)
)
_CHANGE = (
    update(_server)
    .where(
        _server.c.server_id == bindparam("b_server"),
        _server.c.version == bindparam("b_version"),
        _server.c.used <= bindparam("b_most"),
    )
    .values(capacity=bindparam("b_capacity"), state=bindparam("b_state"), version=_server.c.version + 1)
)
_CHANGE_ACCESS = (
    update(_server)
    .where(_server.c.server_id == bindparam("b_server"))
    .values(
        admin_user=bindparam("b_admin_user"),
        admin_password=bindparam("b_admin_password"),
        tls_ca=bindparam("b_tls_ca"),
    )
)
_REMOVE = delete(_server).where(_server.c.server_id == bindparam("b_server"), _server.c.used == 0)
_PLACE = insert(_placement)
_UNPLACE = delete(_placement).where(
    _placement.c.instance_id == bindparam("b_instance"), _placement.c.server_id == bindparam("b_server")
)
_PLACED_ON = (
    select(_server)
    .select_from(_placement.join(_server, _server.c.server_id == _placement.c.server_id))
    .where(_placement.c.instance_id == bindparam("b_instance"))
    .order_by(_placement.c.ordinal)
)
_PLACES = (
    select(_placement.c.instance_id, _server.c.name)
    .select_from(_placement.join(_server, _server.c.server_id == _placement.c.server_id))
    .where(_placement.c.instance_id >= bindparam("b_first"), _placement.c.instance_id <= bindparam("b_last"))
    .order_by(_placement.c.instance_id, _placement.c.ordinal)
)


def add_server(tx: Tx, server: Server, *, admin_password: str | None) -> bool:
    """Store a server. False if its name is taken.

    Args:
        admin_password: sealed.
    """
    return tx.insert_if_absent(
        _ADD_SERVER,
        {
            "server_id": server.server_id,
            "name": server.name,
            "kind": server.kind,
            "purpose": server.purpose,
            "site": server.site,
            "country": server.country,
            "capacity": server.capacity,
            "used": server.used,
            "state": server.state,
            "address": server.address,
            "admin_user": server.admin_user,
            "admin_password": admin_password,
            "tls_ca": server.tls_ca,
            "version": server.version,
            "created_at_us": to_us(server.created_at),
        },
    )


def has_servers(reader: Reader) -> bool:
    """Whether any server was ever registered and not removed."""
    return reader.first(_ANY_SERVER) is not None


def find_server(reader: Reader, server_id: ServerId) -> Server | None:
    """The server of that id."""
    row = reader.first(_SERVER, {"b_server": server_id})
    return None if row is None else to_server(row)


def get_server(reader: Reader, server_id: ServerId) -> Server:
    """Read one server.

    Raises:
        ServerNotFound: there is none of that id.
    """
    found = find_server(reader, server_id)
    if found is None:
        raise ServerNotFound("There is no such server.")
    return found


def list_servers(reader: Reader, *, after: str, limit: int) -> list[Server]:
    """Servers with an id above `after`, oldest first."""
    return [to_server(row) for row in reader.all(_SERVERS, {"b_after": after, "b_limit": limit})]


def list_all_servers(reader: Reader) -> list[Server]:
    """Every server, by name; a platform has some dozens."""
    return [to_server(row) for row in reader.all(_ALL)]


def take_place(tx: Tx, server_id: ServerId) -> bool:
    """Count one instance more on a server. False if it has no room, or takes nothing any more."""
    return tx.write(_TAKE, {"b_server": server_id}) == 1


def give_back(tx: Tx, server_id: ServerId) -> None:
    """Count one instance less on a server."""
    tx.write(_GIVE_BACK, {"b_server": server_id})


def change_server(tx: Tx, old: Server, *, capacity: int, state: ServerState) -> bool:
    """Change a server as it was read. False if it holds more than that allows: a retired one holds nothing.

    Raises:
        ServerVersionConflict: somebody else was faster.
    """
    most = 0 if state == "retired" else capacity
    parameters: Parameters = {
        "b_server": old.server_id,
        "b_version": old.version,
        "b_most": most,
        "b_capacity": capacity,
        "b_state": state,
    }
    if tx.write(_CHANGE, parameters) == 1:
        return True
    if get_server(tx, old.server_id).version != old.version:
        raise ServerVersionConflict("The server has been changed meanwhile; read it again.")
    return False


def change_access(
    tx: Tx, server_id: ServerId, *, admin_user: str, admin_password: str, tls_ca: str | None
) -> None:
    """Change how the administrator gets in, of a server that this transaction has changed before.

    Args:
        tx: of the platform database.
        server_id: a database server.
        admin_user: its administrator.
        admin_password: sealed.
        tls_ca: PEM, or None where nobody listens in between.
    """
    parameters: Parameters = {
        "b_server": server_id,
        "b_admin_user": admin_user,
        "b_admin_password": admin_password,
        "b_tls_ca": tls_ca,
    }
    tx.write(_CHANGE_ACCESS, parameters)


def remove_server(tx: Tx, server_id: ServerId) -> bool:
    """Forget a server. False if instances are placed on it."""
    return tx.write(_REMOVE, {"b_server": server_id}) == 1


def add_placement(tx: Tx, instance_id: InstanceId, server_id: ServerId, *, ordinal: int) -> bool:
    """Store that an instance is placed on a server. False if it has that place already."""
    return tx.insert_if_absent(
        _PLACE,
        {
            "instance_id": instance_id,
            "ordinal": ordinal,
            "server_id": server_id,
            "created_at_us": to_us(tx.now),
        },
    )


def remove_placement(tx: Tx, instance_id: InstanceId, server_id: ServerId) -> bool:
    """Give a place back. False if the instance did not have it."""
    if tx.write(_UNPLACE, {"b_instance": instance_id, "b_server": server_id}) != 1:
        return False
    give_back(tx, server_id)
    return True


def list_placed_on(reader: Reader, instance_id: InstanceId) -> list[Server]:
    """The servers of an instance; the first one holds its database."""
    return [to_server(row) for row in reader.all(_PLACED_ON, {"b_instance": instance_id})]


def list_places(reader: Reader, *, first: str, last: str) -> dict[str, list[str]]:
    """Names of the servers of every instance whose id lies between two ids, these included."""
    places: dict[str, list[str]] = {}
    for row in reader.all(_PLACES, {"b_first": first, "b_last": last}):
        places.setdefault(row.instance_id, []).append(row.name)
    return places


def to_server(row: Row) -> Server:
    """A row with the columns of `server`."""
    return Server(
        server_id=ServerId(row.server_id),
        name=row.name,
        kind=cast(ServerKind, row.kind),
        purpose=cast(ServerPurpose, row.purpose),
        site=row.site,
        country=row.country,
        capacity=row.capacity,
        used=row.used,
        state=cast(ServerState, row.state),
        address=row.address,
        admin_user=row.admin_user,
        tls_ca=row.tls_ca,
        version=row.version,
        created_at=from_us(row.created_at_us),
    )
