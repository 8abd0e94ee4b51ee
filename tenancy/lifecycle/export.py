"""Exports of instances: the steps of `export_instance`, and the files that come of them."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from anyio import to_thread

from app.core.db import Database, Reader, Tx
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import Origin, system_origin
from tenancy import repository as platform
from tenancy.database.port import InstanceDatabases
from tenancy.lifecycle import repository
from tenancy.lifecycle.certificate import Export
from tenancy.lifecycle.errors import ExportDamaged, ExportNotFound
from tenancy.lifecycle.export_file import write_export
from tenancy.lifecycle.file_store import FileStore
from tenancy.lifecycle.plan import EXPORT_INSTANCE
from tenancy.operation.kind import NotYet, OperationKind, StepContext

_log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_KEPT: Final = 3
"""Exports on request kept for one instance: customers can ask for as many as they like. Our own decision."""
LONGEST_KEPT: Final = timedelta(days=30)
"""And no longer than this. Our own decision: as long as the data of an ended instance, if nobody says otherwise."""
_DELETED_AT_ONCE: Final = 100


class InstanceExporter:
    """Makes exports, keeps them for a while and finds them. Thread-safe.

    Args:
        db: the platform database.
        databases: opens the instances' own.
        files: where exports lie.
    """

    def __init__(self, db: Database, databases: InstanceDatabases, files: FileStore) -> None:
        self._db = db
        self._databases = databases
        self._files = files

    def operation_kind(self) -> OperationKind:
        """What the runner needs."""
        return OperationKind(
            plan=EXPORT_INSTANCE, actions={"export": self.export_on_request}, undo={"export": self.undo}
        )

    async def export_on_request(self, context: StepContext) -> NotYet | None:
        """Step: write the export that was asked for."""
        await self.make(context, final=False)
        return None

    async def make(self, context: StepContext, *, final: bool) -> None:
        """Write the operation's export, unless an earlier attempt has."""
        instance_id, export_id = InstanceId(context.object_id), str(context.operation.operation_id)
        found = await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.find_export(reader, instance_id, export_id))
        )
        if found is not None:
            return
        token = context.operation.version
        export = await to_thread.run_sync(
            lambda: self._write(instance_id, export_id, final=final, token=token)
        )
        await context.check_owner()
        await to_thread.run_sync(lambda: self._publish(export, token, context.origin))
        await to_thread.run_sync(lambda: self._remove_surplus(instance_id))

    async def undo(self, context: StepContext) -> NotYet | None:
        """Step back: leave no file, whole or half."""
        instance_id, export_id = InstanceId(context.object_id), str(context.operation.operation_id)
        await context.check_owner()

        def work() -> None:
            found = self._db.read(lambda reader: repository.find_export(reader, instance_id, export_id))
            if found is None:
                self._files.remove_export(export_id)
            else:
                self.delete(found, origin=context.origin)

        await to_thread.run_sync(work)
        return None

    def list_exports(self, instance_id: InstanceId) -> list[Export]:
        """All exports of an instance, newest first; those that are deleted say so.

        Raises:
            InstanceNotFound: there is none of that id.
        """

        def body(reader: Reader) -> list[Export]:
            platform.get_instance(reader, instance_id)
            return repository.list_exports(reader, instance_id)

        return self._db.read(body)

    def find_file(self, instance_id: InstanceId, export_id: str) -> tuple[Export, Path]:
        """An export and its file.

        Raises:
            ExportNotFound: there is none of that id, or not any more.
            ExportDamaged: its file has another size than was written.
        """
        found = self._db.read(lambda reader: repository.find_export(reader, instance_id, export_id))
        if found is None or found.deleted_at is not None:
            raise ExportNotFound("There is no such export, or it has been deleted.")
        path = self._files.export(export_id)
        if not path.is_file() or path.stat().st_size != found.size_bytes:
            raise ExportDamaged("The file of this export is not the one that was written.")
        return found, path

    def delete_old(self) -> int:
        """Delete exports that are older than `LONGEST_KEPT`, but for final ones of what has ended; returns how many.

        A loop calls it. One that cannot be deleted now is tried again the next time.
        """
        before = self._db.clock.now() - LONGEST_KEPT
        old = self._db.read(
            lambda reader: repository.list_old_exports(reader, before=before, limit=_DELETED_AT_ONCE)
        )
        return sum(self._try_to_delete(each) for each in old)

    def _try_to_delete(self, export: Export) -> bool:
        try:
            return self.delete(export, origin=system_origin("deleteExports.old"))
        except DatabaseUnavailable:
            raise
        except Exception:
            _log.exception("export_not_deleted", extra={"export": export.export_id})
            return False

    def delete(self, export: Export, *, origin: Origin) -> bool:
        """Remove an export's file; the row stays and says that it was there. Safe to repeat and to kill."""
        self._files.remove_export(export.export_id)

        def body(tx: Tx) -> JsonObject:
            noted = repository.note_deleted(tx, export)
            if noted:
                tx.emit("export.deleted", subject=export.instance_id, data={"export_id": export.export_id})
            return {"noted": noted}

        return bool(self._db.run_tx(new_id("op"), body, origin=origin).value["noted"])

    def _write(self, instance_id: InstanceId, export_id: str, *, final: bool, token: int) -> Export:
        instance = self._db.read(lambda reader: platform.get_instance(reader, instance_id))
        at = self._db.clock.now()
        database = self._databases.open(instance_id)
        draft = self._files.draft(export_id, token=token)
        written = write_export(database, draft, instance=instance, at=at)
        return Export(
            instance_id=instance_id,
            export_id=export_id,
            final=final,
            file_name=self._files.export(export_id).name,
            sha256=written.sha256,
            size_bytes=written.size_bytes,
            manifest=written.manifest,
            created_at=at,
        )

    def _publish(self, export: Export, token: int, origin: Origin) -> None:
        """The file first: an export that can be listed can be fetched."""
        self._files.publish(export.export_id, token=token)

        def body(tx: Tx) -> JsonObject:
            if repository.add_export(tx, export):
                tx.emit(
                    "export.made",
                    subject=export.instance_id,
                    data={"export_id": export.export_id, "final": export.final, "sha256": export.sha256},
                )
            return {}

        self._db.run_tx(new_id("op"), body, origin=origin)

    def _remove_surplus(self, instance_id: InstanceId) -> None:
        there = [
            each for each in self.list_exports(instance_id) if not each.final and each.deleted_at is None
        ]
        for surplus in there[MOST_KEPT:]:
            self.delete(surplus, origin=system_origin("deleteExports.surplus"))
