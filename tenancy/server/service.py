"""What staff do about servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from app.core.command import Command, Done
from app.core.db import Database, Tx, TxAnswer
from app.core.db_admin import ServerAccess, ServerAdmin
from app.core.db_engine import make_tls_context
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from tenancy.database import repository as databases
from tenancy.database.sealing import PasswordSeal, make_password
from tenancy.record import check_limit
from tenancy.server import repository
from tenancy.server.errors import (
    ServerDescriptionUnfit,
    ServerInUse,
    ServerNameTaken,
    ServerTaken,
    ServerVersionConflict,
)
from tenancy.server.record import (
    SERVER_STATES,
    Server,
    ServerCreate,
    ServerId,
    ServerState,
    address_key,
    check_capacity,
    check_server,
    split_address,
)
from tenancy.transaction import carry_out

_FIRST_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChange:
    """What changes; None leaves it as it is."""

    capacity: int | None = None
    state: ServerState | None = None
    admin_user: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    tls_ca: str | None = field(default=None, repr=False)

    @property
    def changes_access(self) -> bool:
        """Whether wops will get in another way."""
        return (self.admin_user, self.admin_password, self.tls_ca) != (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the administrator of a server gets in; his password in the clear."""

    user: str
    password: str = field(repr=False)
    tls_ca: str | None = field(repr=False)


class _FirstTime(Exception):
    """Nobody has carried the command out before."""


class ServerService:
    """Servers in the platform database. Thread-safe, blocking.

    Args:
        db: the platform database.
        seal: for administrators' passwords.
        on_renewed: told of a server that proves itself by another authority from now on; quick.
    """

    def __init__(
        self,
        db: Database,
        *,
        seal: PasswordSeal,
        on_renewed: Callable[[ServerId, str | None], None] = lambda _server_id, _tls_ca: None,
    ) -> None:
        self._db = db
        self._seal = seal
        self._on_renewed = on_renewed

    def register_server(self, asked: ServerCreate, *, command: Command | None = None) -> Done[Server]:
        """Register a server; a database server must prove first that it can hold instances.

        Raises:
            NameUnfit, ServerDescriptionUnfit, ServerAddressUnfit, ServerNameTaken, ServerTaken: what was said of it.
            ServerUnreachable, ServerRejected, ServerUnfit: what it says itself.
        """
        fit = check_server(asked)
        answer = self._find_answer(command)
        if answer is None:
            server_id = ServerId(new_id("srv"))
            sealed = None
            if fit.kind == "mariadb":
                way = _Way(user=fit.admin_user or "", password=fit.admin_password or "", tls_ca=fit.tls_ca)
                _try_out(fit.address, way)
                sealed = self._seal.seal(way.password, owner=server_id)

            def body(tx: Tx) -> JsonObject:
                add_server(tx, fit, server_id=server_id, sealed_password=sealed)
                return {"server_id": server_id}

            answer = carry_out(self._db, command, body)
        server = self.get_server(ServerId(str(answer.value["server_id"])))
        return Done(value=server, replayed=answer.replayed, created=not answer.replayed)

    def get_server(self, server_id: ServerId) -> Server:
        """Read one server.

        Raises:
            ServerNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_server(reader, server_id))

    def list_servers(self, *, after: str = "", limit: int = 25) -> list[Server]:
        """Servers with an id above `after`, oldest first.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(lambda reader: repository.list_servers(reader, after=after, limit=limit))

    def list_placed_on(self, instance_id: InstanceId) -> list[Server]:
        """The servers of an instance; the first one holds its database."""
        return self._db.read(lambda reader: repository.list_placed_on(reader, instance_id))

    def list_places(self, *, first: str, last: str) -> dict[str, list[str]]:
        """Names of the servers of every instance whose id lies between two ids, these included."""
        return self._db.read(lambda reader: repository.list_places(reader, first=first, last=last))

    def change_server(
        self, server_id: ServerId, change: ServerChange, *, version: int, command: Command | None = None
    ) -> Done[Server]:
        """Change capacity, state, or how wops gets in: that is tried out first.

        Args:
            server_id: which one.
            change: what is to be otherwise.
            version: which the caller has seen.
            command: who asked; its fingerprint keyed if there is a password in it.

        Raises:
            ServerNotFound: there is none of that id.
            ServerVersionConflict: it has been changed since.
            ServerInUse: it holds more than the new capacity, or anything at all if it shall retire.
            ServerDescriptionUnfit: no server is like that.
            ServerUnreachable, ServerRejected, ServerUnfit: it does not let wops in that way.
        """
        answer = self._find_answer(command)
        if answer is None:
            answer = self._carry_out_change(server_id, change, version, command)
        server = self.get_server(server_id)
        if change.changes_access:
            self._on_renewed(server_id, server.tls_ca)
        return Done(value=server, replayed=answer.replayed)

    def _carry_out_change(
        self, server_id: ServerId, change: ServerChange, version: int, command: Command | None
    ) -> TxAnswer:
        way = self._try_way(server_id, change, version) if change.changes_access else None
        sealed = "" if way is None else self._seal.seal(way.password, owner=server_id)

        def body(tx: Tx) -> JsonObject:
            old = _same_version(repository.get_server(tx, server_id), version)
            data, before = _change(tx, old, change)
            if way is not None:
                repository.change_access(
                    tx, server_id, admin_user=way.user, admin_password=sealed, tls_ca=way.tls_ca
                )
                data |= {"admin_user": way.user, "admin_password_changed": change.admin_password is not None}
                data |= {"tls_ca_changed": way.tls_ca != old.tls_ca}
                before |= {"admin_user": old.admin_user}
            tx.emit("server.changed", subject=server_id, data=data, before=before)
            return {}

        return carry_out(self._db, command, body)

    def _try_way(self, server_id: ServerId, change: ServerChange, version: int) -> _Way:
        """How wops will get in, tried out; what is not named stays as it is."""
        old = _same_version(self.get_server(server_id), version)
        known = self._db.read(lambda reader: databases.find_admin(reader, server_id))
        if known is None:
            raise ServerDescriptionUnfit(
                "A directory has no administrator and no certificate.", field="admin_user"
            )
        password = change.admin_password
        if password is None:
            password = self._seal.open(known.password, owner=server_id)
        way = _Way(
            user=known.user if change.admin_user is None else change.admin_user,
            password=password,
            tls_ca=known.tls_ca if change.tls_ca is None else change.tls_ca,
        )
        if not way.user or not way.password:
            raise ServerDescriptionUnfit(
                "A database server needs an administrator and a password.", field="admin_user"
            )
        _try_out(old.address, way)
        return way

    def _find_answer(self, command: Command | None) -> TxAnswer | None:
        """What a command answered the first time; nothing is tried out twice for it."""

        def body(_tx: Tx) -> JsonObject:
            raise _FirstTime

        if command is None:
            return None
        try:
            return self._db.run_command(command, body)
        except _FirstTime:
            return None

    def remove_server(
        self, server_id: ServerId, *, version: int, command: Command | None = None
    ) -> Done[None]:
        """Forget a server that holds nothing.

        Raises:
            ServerNotFound, ServerVersionConflict: see `change_server`.
            ServerInUse: instances are placed on it.
        """

        def body(tx: Tx) -> JsonObject:
            old = _same_version(repository.get_server(tx, server_id), version)
            if not repository.remove_server(tx, server_id):
                raise ServerInUse("Instances are placed on the server.", used=old.used)
            tx.emit("server.removed", subject=server_id, data={}, before=_describe(old))
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=None, replayed=answer.replayed)


def add_server(tx: Tx, asked: ServerCreate, *, server_id: ServerId, sealed_password: str | None) -> None:
    """Store a server that was checked. Emits `server.registered`.

    Raises:
        ServerNameTaken: a server has that name.
        ServerTaken: a server has that address, and this one is not said to share it.
    """
    server = Server(
        server_id=server_id,
        name=asked.name,
        kind=asked.kind,
        purpose=asked.purpose,
        site=asked.site,
        country=asked.country,
        capacity=asked.capacity,
        used=0,
        state="active",
        address=asked.address,
        admin_user=asked.admin_user,
        tls_ca=asked.tls_ca,
        version=_FIRST_VERSION,
        created_at=tx.now,
    )
    if not repository.add_server(tx, server, admin_password=sealed_password):
        raise ServerNameTaken("A server has that name already.", name=asked.name)
    if not asked.shares_address:
        _check_address(tx, server)
    tx.emit("server.registered", subject=server_id, data=_describe(server))


def _describe(server: Server) -> JsonObject:
    return {
        "name": server.name,
        "kind": server.kind,
        "purpose": server.purpose,
        "site": server.site,
        "country": server.country,
        "capacity": server.capacity,
        "state": server.state,
        "address": server.address,
    }


def _same_version(server: Server, version: int) -> Server:
    if server.version != version:
        raise ServerVersionConflict(
            "The server has been changed meanwhile; read it again.", version=server.version
        )
    return server


def _check_state(state: str) -> None:
    if state not in SERVER_STATES:
        raise ServerDescriptionUnfit("A server is active, draining or retired.", field="state")


def _check_address(tx: Tx, server: Server) -> None:
    """Two at once conflict at the newest event of the chain: the later one runs again and sees the other."""
    key = address_key(server.kind, server.address)
    for other in repository.list_all_servers(tx):
        if other.server_id != server.server_id and address_key(other.kind, other.address) == key:
            raise ServerTaken(
                "A server is registered at that address already.",
                name=other.name,
                server_id=other.server_id,
            )


def _change(tx: Tx, old: Server, change: ServerChange) -> tuple[JsonObject, JsonObject]:
    """Change capacity and state; returns how they are now and how they were."""
    capacity = old.capacity if change.capacity is None else change.capacity
    state = old.state if change.state is None else change.state
    check_capacity(capacity, purpose=old.purpose)
    _check_state(state)
    if not repository.change_server(tx, old, capacity=capacity, state=state):
        raise ServerInUse("Instances are placed on the server.", used=old.used)
    return (
        {"capacity": capacity, "state": state},
        {"capacity": old.capacity, "state": old.state},
    )


def _try_out(address: str, way: _Way) -> None:
    if way.tls_ca is not None:
        try:
            make_tls_context(way.tls_ca)
        except ValueError:
            raise ServerDescriptionUnfit("That is no certificate in PEM.", field="tls_ca") from None
    host, port = split_address(address)
    access = ServerAccess(host=host, port=port, user=way.user, password=way.password, tls_ca=way.tls_ca)
    ServerAdmin(access).check_fitness(make_password())
