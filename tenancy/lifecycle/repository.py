"""SQL of exports and certificates: the platform schema's rows about them, and reading a whole instance database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    inspect,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Select

from app.core.chain import ChainEntry
from app.core.clock import from_us, to_us
from app.core.db import Database, Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId, OperationId
from app.core.json import JsonObject
from app.core.outbox_chain import entry_of
from app.core.schema import instance_metadata
from tenancy import tables
from tenancy.lifecycle.certificate import Decided, ErasureCertificate, Export
from tenancy.operation.tables import operation
from tenancy.staff.tables import approval

_ROWS_AT_ONCE: Final = 1000
"""Read in one statement, so that memory does not grow with the table. Our own decision."""

_export = tables.instance_export
_certificate = tables.erasure_certificate
_event = instance_metadata.tables["outbox_event"]

_key = and_(_export.c.instance_id == bindparam("b_instance"), _export.c.export_id == bindparam("b_export"))
_ADD_EXPORT = insert(_export)
_DELETED = (
    update(_export).where(_key, _export.c.deleted_at_us.is_(None)).values(deleted_at_us=bindparam("b_now"))
)
_EXPORT = select(_export).where(_key)
_EXPORTS = (
    select(_export)
    .where(_export.c.instance_id == bindparam("b_instance"))
    .order_by(_export.c.created_at_us.desc(), _export.c.export_id.desc())
)
# The final one is kept for as long as the contract has ended; who is back in use is asked for it no longer.
_IS_BACK = and_(
    exists().where(
        tables.instance.c.instance_id == _export.c.instance_id,
        tables.instance.c.state.in_(("ready", "frozen")),
    ),
    ~exists().where(operation.c.active_object_id == _export.c.instance_id),
)
_OLD_EXPORTS = (
    select(_export)
    .where(
        or_(_export.c.final == 0, _IS_BACK),
        _export.c.deleted_at_us.is_(None),
        _export.c.created_at_us < bindparam("b_before"),
    )
    .limit(bindparam("b_limit"))
)
_ADD_CERTIFICATE = insert(_certificate)
_PUT_CERTIFICATE = (
    update(_certificate)
    .where(_certificate.c.instance_id == bindparam("b_instance"), _certificate.c.signature == "")
    .values(document=bindparam("b_document"), key_id=bindparam("b_key"), signature=bindparam("b_signature"))
)
_DROP_DRAFT = delete(_certificate).where(
    _certificate.c.instance_id == bindparam("b_instance"), _certificate.c.signature == ""
)
_CERTIFICATE = select(_certificate).where(_certificate.c.instance_id == bindparam("b_instance"))
_FORGET_DATABASE = (
    update(tables.instance)
    .where(tables.instance.c.instance_id == bindparam("b_instance"))
    .values(database_url=None)
)
_DATABASE_NAME = select(tables.instance_database.c.database_name).where(
    tables.instance_database.c.instance_id == bindparam("b_instance")
)
_SERVERS = (
    select(tables.server.c.name)
    .select_from(
        tables.placement.join(tables.server, tables.placement.c.server_id == tables.server.c.server_id)
    )
    .where(tables.placement.c.instance_id == bindparam("b_instance"))
    .order_by(tables.placement.c.ordinal)
)
_APPROVAL = select(approval.c.requested_by, approval.c.decided_by).where(
    approval.c.operation_id == bindparam("b_operation")
)
_LAST_EVENT = select(_event.c.sequence, _event.c.hash).order_by(_event.c.sequence.desc()).limit(1)
_EVENTS = (
    select(_event)
    .where(_event.c.sequence > bindparam("b_after"))
    .order_by(_event.c.sequence)
    .limit(bindparam("b_limit"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTable:
    """A table as it stands in a database, whoever made it, and how it is read in pages by its primary key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    first: Select[Any]
    following: Select[Any]
    count: Select[Any]


def add_export(tx: Tx, export: Export) -> bool:
    """Store an export. False if the operation has made it before."""
    return tx.insert_if_absent(
        _ADD_EXPORT,
        {
            "instance_id": export.instance_id,
            "export_id": export.export_id,
            "final": int(export.final),
            "file_name": export.file_name,
            "sha256": export.sha256,
            "size_bytes": export.size_bytes,
            "manifest": export.manifest,
            "created_at_us": to_us(export.created_at),
            "deleted_at_us": None,
        },
    )


def note_deleted(tx: Tx, export: Export) -> bool:
    """Store that an export is no longer there. False if that was known, or there never was one."""
    parameters: Parameters = {
        "b_instance": export.instance_id,
        "b_export": export.export_id,
        "b_now": to_us(tx.now),
    }
    return tx.write(_DELETED, parameters) == 1


def find_export(reader: Reader, instance_id: InstanceId, export_id: str) -> Export | None:
    """The export of that id, a deleted one too."""
    row = reader.first(_EXPORT, {"b_instance": instance_id, "b_export": export_id})
    return None if row is None else _to_export(row)


def list_exports(reader: Reader, instance_id: InstanceId) -> list[Export]:
    """All exports of an instance, newest first, deleted ones too."""
    return [_to_export(row) for row in reader.all(_EXPORTS, {"b_instance": instance_id})]


def list_old_exports(reader: Reader, *, before: datetime, limit: int) -> list[Export]:
    """Exports made before an instant and still there: those on request, and final ones of what has been reinstated."""
    rows = reader.all(_OLD_EXPORTS, {"b_before": to_us(before), "b_limit": limit})
    return [_to_export(row) for row in rows]


def put_draft(tx: Tx, instance_id: InstanceId, document: str) -> None:
    """Store what the certificate will have to say, before anything is erased; a signed one is never touched."""
    draft: Parameters = {"instance_id": instance_id, "document": document, "key_id": "", "signature": ""}
    if not tx.insert_if_absent(_ADD_CERTIFICATE, {**draft, "created_at_us": to_us(tx.now)}):
        tx.write(
            _PUT_CERTIFICATE,
            {"b_instance": instance_id, "b_document": document, "b_key": "", "b_signature": ""},
        )


def drop_draft(tx: Tx, instance_id: InstanceId) -> None:
    """Forget what nobody has signed."""
    tx.write(_DROP_DRAFT, {"b_instance": instance_id})


def sign_certificate(tx: Tx, certificate: ErasureCertificate) -> bool:
    """Put the signed certificate in the place of its draft. False if it was signed before."""
    parameters = {
        "b_instance": certificate.instance_id,
        "b_document": certificate.document,
        "b_key": certificate.key_id,
        "b_signature": certificate.signature,
    }
    return tx.write(_PUT_CERTIFICATE, parameters) == 1


def find_certificate(reader: Reader, instance_id: InstanceId) -> ErasureCertificate | None:
    """The certificate of an instance's erasure, unsigned while the erasure is under way."""
    row = reader.first(_CERTIFICATE, {"b_instance": instance_id})
    if row is None:
        return None
    return ErasureCertificate(
        instance_id=instance_id, document=row.document, key_id=row.key_id, signature=row.signature
    )


def forget_database(tx: Tx, instance_id: InstanceId) -> None:
    """Store that the instance has no database any more."""
    tx.write(_FORGET_DATABASE, {"b_instance": instance_id})


def find_database_name(reader: Reader, instance_id: InstanceId) -> str | None:
    """The name of the instance's database on its server."""
    found = reader.scalar(_DATABASE_NAME, {"b_instance": instance_id})
    return None if found is None else str(found)


def list_server_names(reader: Reader, instance_id: InstanceId) -> list[str]:
    """The servers on which the instance is placed."""
    return [row.name for row in reader.all(_SERVERS, {"b_instance": instance_id})]


def find_people(reader: Reader, operation_id: OperationId) -> Decided:
    """Who asked for an operation, and who approved it."""
    row = reader.first(_APPROVAL, {"b_operation": operation_id})
    return Decided() if row is None else Decided(requested_by=row.requested_by, approved_by=row.decided_by)


def find_chain_head(reader: Reader) -> JsonObject | None:
    """The newest entry of a database's audit chain; its hash is None if a wops from before the chain wrote it."""
    row = reader.first(_LAST_EVENT)
    return None if row is None else {"sequence": row.sequence, "hash": row.hash}


def read_chain(reader: Reader) -> Iterator[tuple[ChainEntry, str | None]]:
    """Every entry of a database's audit chain with its hash, oldest first."""
    after = 0
    while rows := reader.all(_EVENTS, {"b_after": after, "b_limit": _ROWS_AT_ONCE}):
        for row in rows:
            yield entry_of(row), row.hash
        after = rows[-1].sequence


def list_stored_tables(db: Database) -> tuple[StoredTable, ...]:
    """Every table of a database, by name, as it is there and not as this wops would make it.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    try:
        inspector = inspect(db.engine)
        return tuple(
            _describe_table(
                name,
                columns=[str(each["name"]) for each in inspector.get_columns(name)],
                key=inspector.get_pk_constraint(name)["constrained_columns"],
            )
            for name in sorted(inspector.get_table_names())
        )
    except DBAPIError as error:
        raise DatabaseUnavailable("The database does not answer. Nothing was changed.") from error


def read_rows(reader: Reader, stored: StoredTable) -> Iterator[Row]:
    """All rows of a table in the order of its primary key, read page by page within the reader's view."""
    rows = reader.all(stored.first, {"b_limit": _ROWS_AT_ONCE})
    while rows:
        yield from rows
        if len(rows) < _ROWS_AT_ONCE:
            return
        last = {f"b_{name}": getattr(rows[-1], name) for name in stored.key}
        rows = reader.all(stored.following, {"b_limit": _ROWS_AT_ONCE, **last})


def count_rows(reader: Reader, stored: StoredTable) -> int:
    """How many rows a table has."""
    return int(str(reader.scalar(stored.count)))


def _describe_table(name: str, *, columns: Sequence[str], key: Sequence[str]) -> StoredTable:
    if not key:
        raise RuntimeError(f"the table {name} has no primary key: it cannot be read in pages")
    source = table(name, *(column(each) for each in columns))
    ordered = select(source).order_by(*(source.c[each] for each in key)).limit(bindparam("b_limit"))
    # (a, b) > (:a, :b) written out, so that both engines see a range of the index.
    behind = or_(
        *(
            and_(
                *(source.c[each] == bindparam(f"b_{each}") for each in key[:index]),
                source.c[at] > bindparam(f"b_{at}"),
            )
            for index, at in enumerate(key)
        )
    )
    return StoredTable(
        name=name,
        columns=tuple(columns),
        key=tuple(key),
        first=ordered,
        following=ordered.where(behind),
        count=select(func.count().label("rows")).select_from(source),
    )


def _to_export(row: Row) -> Export:
    return Export(
        instance_id=InstanceId(row.instance_id),
        export_id=row.export_id,
        final=bool(row.final),
        file_name=row.file_name,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        manifest=row.manifest,
        created_at=from_us(row.created_at_us),
        deleted_at=None if row.deleted_at_us is None else from_us(row.deleted_at_us),
    )
