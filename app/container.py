"""Composition root: builds the embedded platform out of its parts and holds their lifetimes.

    Platform.start()  lock → migrate → keys → gateway and boxes → lines → directory → left-over transfers
    Platform.stop()   loops → call meters (written, rights given back) → gateway → databases → lock

Tests replace a part by overriding the `make_…` method that builds it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread

from app.core.clock import Clock, SystemClock
from app.core.db import Database
from app.core.errors import DomainError
from app.core.ids import InstanceId, LineId
from app.core.migrate import upgrade
from app.licensing import Deadlines, InstanceIdentity, Programmer, TransferService, find_left_over
from app.operations.directory import InstanceDirectory
from app.operations.line import InstanceRuntime, Line
from app.settings import Settings
from editions import edition
from fsb_gateway import FsbClient, Gateway, Keystore, create_gateway_app
from tenancy import (
    AccessService,
    BoxKind,
    ClientService,
    ContractService,
    CredentialKey,
    CustomerService,
    InstanceDatabases,
    InstanceOpener,
    InstanceProvisioner,
    InstanceService,
    OperationRunner,
    OperationService,
    SqliteInstanceDatabases,
    StaffTokenService,
    credential_key,
    line_names,
)

KEEP_OPERATIONS: Final = timedelta(days=40)
"""How long a repeated request finds its stored answer. **Source:** operations reference §1.3."""
FORGET_AT_ONCE: Final = 500
"""Operation ids forgotten in one transaction. **Source:** high availability reference §1.5."""

_OWNER: Final = "embedded"
"""Name of the embedded operations runner. The lock on the data directory keeps it the only one of that name."""

_log = logging.getLogger(__name__)


class DataDirectoryInUse(DomainError):
    """Another process serves this data directory."""

    code = "data_directory_in_use"


class Platform:
    """The whole platform in one process: SQLite files, software boxes, lines and control."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.data_dir: Path = settings.data_dir.resolve()
        self.on_work: Callable[[InstanceRuntime], None] = lambda _runtime: None
        self._lock_file: int | None = None
        self._lines: dict[LineId, Line] = {}

    async def start(self) -> None:
        """Make everything ready to serve.

        Raises:
            DataDirectoryInUse: another process does so already.
            DomainError: a key file is exposed or damaged, or a journal is.
        """
        self._started_at = self.clock.now()
        await to_thread.run_sync(self._open_storage)
        self._build_services()
        await self._start_gateway()
        instance_ids = await to_thread.run_sync(self.directory.load)
        for line_id in self.directory.lines():
            self.line(line_id)
        await self.runner.take_over()
        self._left_over = asyncio.create_task(self._finish_left_over(instance_ids))

    async def stop(self) -> None:
        """Write down what is still in memory and close everything. Safe after a start that failed half-way."""
        left_over = getattr(self, "_left_over", None)
        if left_over is not None:
            left_over.cancel()
            await asyncio.gather(left_over, return_exceptions=True)
        await to_thread.run_sync(self._close_meters)
        if hasattr(self, "gateway"):
            await self.fsb.close()
            await self.gateway.close()
        if hasattr(self, "databases"):
            self.databases.close()
        if hasattr(self, "platform_db"):
            self.platform_db.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def line(self, line_id: LineId) -> Line:
        """The line of that name; in one process a line is made when it is first needed."""
        line = self._lines.get(line_id)
        if line is None:
            line = self._lines[line_id] = Line(
                line_id,
                databases=self.databases,
                key=self.key,
                clock=self.clock,
                make_transfers=self._make_transfers,
                wake=self._note_work,
            )
        return line

    def _note_work(self, runtime: InstanceRuntime) -> None:
        self.on_work(runtime)

    def runtime(self, instance_id: InstanceId) -> InstanceRuntime:
        """An instance as one of its lines serves it, for staff acting on a customer's behalf. Blocks.

        Raises:
            InstanceNotFound, InstanceNotReady: there is nothing to act on.
        """
        instance, _ = self.opener.open_ready(instance_id)
        lines = line_names(instance.name, edition(instance.edition), lines=instance.lines)
        return self.line(lines[0]).open(instance_id)

    async def sweep(self) -> None:
        """Take up transfers that nobody drives any more, at every instance that is being served."""
        for runtime in list(self.runtimes()):
            try:
                await runtime.transfers.drive_due()
                if runtime.access.flush_due():
                    await to_thread.run_sync(runtime.access.flush_use)
            except DomainError as error:
                _log.warning("sweep_failed", extra={"instance": runtime.instance_id, "code": error.code})

    async def forget_operations(self) -> None:
        """Clear operation ids out of every database that is older than any repeat."""
        before = self.clock.now() - KEEP_OPERATIONS
        for db in [self.platform_db, *{id(each.db): each.db for each in self.runtimes()}.values()]:
            while (
                await to_thread.run_sync(partial(db.forget_operations, before=before, limit=FORGET_AT_ONCE))
                == FORGET_AT_ONCE
            ):
                continue

    async def push_config(self) -> None:
        """Tell instance databases what has changed for them."""
        await to_thread.run_sync(self.contracts.push_due)

    def runtimes(self) -> Iterator[InstanceRuntime]:
        """Everything that any line is serving."""
        for line in list(self._lines.values()):
            yield from line

    def make_databases(self) -> InstanceDatabases:
        """Where instance databases are."""
        return SqliteInstanceDatabases(self.data_dir / "instances", clock=self.clock)

    def make_programmer(self) -> Programmer:
        """What lines send their jobs to."""
        return self.fsb

    def _open_storage(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        upgrade(self.settings.platform_url, "platform")
        self.platform_db = Database(self.settings.platform_url, clock=self.clock)
        self.key: CredentialKey = credential_key(self.data_dir / "credential.key")
        self.databases = self.make_databases()
        self.keystore = Keystore(self.data_dir / "boxes" / "keys", clock=self.clock)

    def _take_lock(self) -> None:
        descriptor = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DataDirectoryInUse(
                f"Another wops serves {self.data_dir}. Stop it, or choose another directory with --data-dir."
            ) from None
        self._lock_file = descriptor

    def _build_services(self) -> None:
        db = self.platform_db
        opener = InstanceOpener(db, self.databases)
        self.customers = CustomerService(db)
        self.instances = InstanceService(db)
        self.contracts = ContractService(db, self.databases)
        self.clients = ClientService(opener, key=self.key)
        self.access = AccessService(opener)
        self.staff_tokens = StaffTokenService(db, key=self.key, clock=self.clock)
        self.operations = OperationService(db)
        self.opener = opener
        self.directory = InstanceDirectory(self.instances, clock=self.clock)

    async def _start_gateway(self) -> None:
        self.gateway = Gateway(self.keystore, self.data_dir / "boxes" / "journals", clock=self.clock)
        self.fsb = FsbClient.in_process(create_gateway_app(self.gateway))
        kind = BoxKind(operation_time=self.settings.operation_time)
        provisioner = InstanceProvisioner(
            self.platform_db, self.databases, boxes=self.fsb, contracts=self.contracts, kind=kind
        )
        await provisioner.restore_boxes()
        self.runner = OperationRunner(self.platform_db, [provisioner.operation_kind()], owner=_OWNER)

    def _make_transfers(self, db: Database, identity: Callable[[], InstanceIdentity]) -> TransferService:
        return TransferService(
            db,
            identity=identity,
            programmer=self.make_programmer(),
            deadlines=Deadlines(program=self.settings.program_deadline, lease=self.settings.drive_lease),
            wait=self.settings.program_wait,
        )

    async def _finish_left_over(self, instance_ids: list[InstanceId]) -> None:
        """Take up what a killed process left reserved. This process is the only driver: no lease to wait for."""
        for instance_id in instance_ids:
            try:
                db = await to_thread.run_sync(self.databases.open, instance_id)
                if await to_thread.run_sync(find_left_over, db, self._started_at):
                    runtime = await to_thread.run_sync(self._any_line(instance_id).open, instance_id)
                    await runtime.transfers.drive_left_over(
                        before=self._started_at, wait=self.settings.program_wait
                    )
            except DomainError as error:
                _log.warning("left_over_not_finished", extra={"instance": instance_id, "code": error.code})

    def _any_line(self, instance_id: InstanceId) -> Line:
        return self.line(self.directory.lines_of(instance_id)[0])

    def _close_meters(self) -> None:
        for runtime in self.runtimes():
            try:
                runtime.calls.close()
                runtime.access.flush_use()
            except DomainError as error:
                _log.warning("meter_not_closed", extra={"instance": runtime.instance_id, "code": error.code})
