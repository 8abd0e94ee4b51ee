"""Erasure: the steps of `erase_instance`, up to a signed certificate of what was erased.

inventory ──► drop_database ──► remove_firm_key ──► delete_exports ──► certify
   │ counts rows, keeps   │ state erased first, chain        place given back, certificate signed: one transaction
   │ the chain's digests  │ closed, inventory taken anew
   └ nothing is lost yet  └ no way back

Context: an erased instance's audit chain must still be provable, and its contents must be gone. Decision: for each
entry the file that is kept has its digest, its hash, when it was, by whom and by which action, not what; the chain
verifies by digests alone, and whoever has an export can prove each of its entries. Alternative: keeping the entries,
which hold the customer's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from anyio import to_thread

from app.core.db import Database, Reader, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject, dump_json, load_object
from app.core.outbox import close_outbox
from tenancy import repository as platform
from tenancy.box.port import FirmKeyInstaller
from tenancy.database.port import InstanceDatabases
from tenancy.errors import InstanceDatabaseMissing
from tenancy.front import repository as front
from tenancy.lifecycle import repository
from tenancy.lifecycle.certificate import (
    ErasureCertificate,
    Inventory,
    Signer,
    describe_erasure,
    describe_inventory,
    says_closed,
    sign,
)
from tenancy.lifecycle.ending import InstanceLines, change_instance
from tenancy.lifecycle.errors import ErasureCertificateNotFound
from tenancy.lifecycle.export import InstanceExporter
from tenancy.lifecycle.file_store import FileStore
from tenancy.lifecycle.plan import ERASE_INSTANCE
from tenancy.lifecycle.state import move
from tenancy.operation import repository as operations
from tenancy.operation.firm_key import FirmKeys
from tenancy.operation.kind import NotYet, OperationKind, StepContext
from tenancy.record import Instance
from tenancy.rule.erasure import forget_rules
from tenancy.server.placing import release


@dataclass(frozen=True, slots=True, kw_only=True)
class EraserParts:
    """Whom erasure needs outside the platform database.

    Attributes:
        databases: drops the instance's own.
        files: keeps the digests of its audit chain.
        exporter: deletes its exports.
        boxes: destroy its firm key.
        lines: stop serving it.
        signer: signs the certificate.
    """

    databases: InstanceDatabases
    files: FileStore
    exporter: InstanceExporter
    boxes: FirmKeyInstaller
    lines: InstanceLines
    signer: Signer


class InstanceEraser:
    """The steps of `erase_instance`. Each may be repeated, by itself or after being killed half-way.

    Args:
        db: the platform database.
        parts: see `EraserParts`.
    """

    def __init__(self, db: Database, parts: EraserParts) -> None:
        self._db = db
        self._parts = parts
        self._keys = FirmKeys(db, parts.boxes)

    def operation_kind(self) -> OperationKind:
        """What the runner needs."""
        return OperationKind(
            plan=ERASE_INSTANCE,
            actions={
                "inventory": self._take_inventory,
                "drop_database": self._drop_database,
                "remove_firm_key": self._remove_firm_key,
                "delete_exports": self._delete_exports,
                "certify": self._certify,
            },
            undo={"inventory": self._drop_inventory},
        )

    def get_certificate(self, instance_id: InstanceId) -> ErasureCertificate:
        """The certificate of an instance's erasure.

        Raises:
            InstanceNotFound: there is none of that id.
            ErasureCertificateNotFound: it has not been erased, or that is still under way.
        """
        self._get(instance_id)
        found = self._db.read(lambda reader: repository.find_certificate(reader, instance_id))
        if found is None or not found.is_signed:
            raise ErasureCertificateNotFound("The instance has not been erased.")
        return found

    async def _take_inventory(self, context: StepContext) -> NotYet | None:
        await context.check_owner()
        await to_thread.run_sync(lambda: self._write_inventory(context))
        return None

    async def _drop_inventory(self, context: StepContext) -> NotYet | None:
        instance_id = InstanceId(context.object_id)

        def body(tx: Tx) -> JsonObject:
            repository.drop_draft(tx, instance_id)
            return {}

        def work() -> None:
            self._parts.files.drop_chain(instance_id)
            self._db.run_tx(new_id("op"), body, origin=context.origin)

        await context.check_owner()
        await to_thread.run_sync(work)
        return None

    async def _drop_database(self, context: StepContext) -> NotYet | None:
        instance_id = InstanceId(context.object_id)
        await context.check_owner()
        await to_thread.run_sync(lambda: self._mark_erased(context))
        await self._parts.lines.forget(instance_id)
        await to_thread.run_sync(lambda: self._close_chain(context))
        await to_thread.run_sync(lambda: self._parts.databases.drop(instance_id))
        return None

    async def _remove_firm_key(self, context: StepContext) -> NotYet | None:
        instance = await to_thread.run_sync(lambda: self._get(InstanceId(context.object_id)))
        await self._keys.remove(context, instance)
        return None

    async def _delete_exports(self, context: StepContext) -> NotYet | None:
        instance_id = InstanceId(context.object_id)
        await context.check_owner()

        def work() -> None:
            for export in self._parts.exporter.list_exports(instance_id):
                # Whatever the row says: the file of a deletion that was killed half-way may still be there.
                self._parts.exporter.delete(export, origin=context.origin)
            forget_rules(self._db, instance_id, origin=context.origin)

        await to_thread.run_sync(work)
        return None

    async def _certify(self, context: StepContext) -> NotYet | None:
        await to_thread.run_sync(lambda: self._close(context))
        return None

    def _mark_erased(self, context: StepContext) -> None:
        """Before the database goes: from here on nobody looks for it, and callers get the 404 of what is not there."""

        def change(instance: Instance) -> Instance:
            return instance if instance.state == "erased" else move(instance, "erase", to="erased")

        change_instance(
            self._db,
            InstanceId(context.object_id),
            change,
            event="instance.erased",
            origin=context.origin,
        )

    def _close_chain(self, context: StepContext) -> None:
        """Whoever was about to write to the database has done so, and stands in the inventory, or fails."""
        instance_id = InstanceId(context.object_id)
        draft = self._db.read(lambda reader: repository.find_certificate(reader, instance_id))
        if draft is not None and says_closed(draft):
            # It may be half gone already.
            return
        try:
            database = self._parts.databases.open(instance_id)
        except InstanceDatabaseMissing:
            return

        def body(tx: Tx) -> JsonObject:
            close_outbox(tx)
            return {}

        database.run_tx(new_id("op"), body, origin=context.origin)
        self._write_inventory(context, closed=True)

    def _write_inventory(self, context: StepContext, *, closed: bool = False) -> None:
        instance_id = InstanceId(context.object_id)
        inventory = self._look(instance_id, closed=closed)

        def body(tx: Tx) -> JsonObject:
            repository.put_draft(tx, instance_id, dump_json(inventory))
            return {}

        self._db.run_tx(new_id("op"), body, origin=context.origin)

    def _get(self, instance_id: InstanceId) -> Instance:
        return self._db.read(lambda reader: platform.get_instance(reader, instance_id))

    def _look(self, instance_id: InstanceId, *, closed: bool) -> JsonObject:
        """What there is, and the audit chain's digests put where they stay."""
        try:
            database = self._parts.databases.open(instance_id)
        except InstanceDatabaseMissing:
            if closed:
                # It was there a moment ago: somebody else erases it.
                raise
            # Lost before; there is nothing to count, and the rest is erased all the same.
            return self._describe(instance_id, tables={}, head=None, kept=None, closed=closed)
        stored = repository.list_stored_tables(database)

        def look(reader: Reader) -> tuple[Mapping[str, int], JsonObject | None, JsonObject]:
            rows = {table.name: repository.count_rows(reader, table) for table in stored}
            kept = self._parts.files.keep_chain(instance_id, repository.read_chain(reader))
            return rows, repository.find_chain_head(reader), kept

        tables, head, kept = database.read(look)
        return self._describe(instance_id, tables=tables, head=head, kept=kept, closed=closed)

    def _describe(
        self,
        instance_id: InstanceId,
        *,
        tables: Mapping[str, int],
        head: JsonObject | None,
        kept: JsonObject | None,
        closed: bool,
    ) -> JsonObject:
        return self._db.read(
            lambda reader: describe_inventory(
                Inventory(
                    instance=platform.get_instance(reader, instance_id),
                    tables=tables,
                    database_name=repository.find_database_name(reader, instance_id),
                    servers=repository.list_server_names(reader, instance_id),
                    exports=repository.list_exports(reader, instance_id),
                    chain_head=head,
                    kept_chain=kept,
                    chain_closed=closed,
                )
            )
        )

    def _close(self, context: StepContext) -> None:
        """Give the place back and sign that nothing is left, in one transaction."""
        operation, instance_id = context.operation, InstanceId(context.object_id)

        def body(tx: Tx) -> JsonObject:
            draft = repository.find_certificate(tx, instance_id)
            if draft is None:
                raise RuntimeError("an erasure has no inventory to certify")
            if draft.is_signed:
                return {}
            document = describe_erasure(
                load_object(draft.document),
                operation=operation,
                people=repository.find_people(tx, operation.operation_id),
                skipped=operations.list_skipped(tx, operation.operation_id),
                erased_at=tx.now,
            )
            release(tx, instance_id)
            repository.forget_database(tx, instance_id)
            front.remove_hosts_of(tx, instance_id)
            certificate = sign(instance_id, document, self._parts.signer)
            repository.sign_certificate(tx, certificate)
            tx.emit(
                "instance.erasure_certified",
                subject=instance_id,
                data={"key_id": certificate.key_id, "sha256": sha256(document.encode()).hexdigest()},
            )
            return {}

        self._db.run_tx(new_id("op"), body, origin=context.origin)
