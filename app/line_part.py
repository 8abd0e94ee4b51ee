"""One line, built from the two files in its directory: what it serves with, without sockets.

line.json ──────► keys, gateway, limits ─┐
instances.json ─► LineTable ─────────────┼─► Line ─► InstanceRuntime ─► instance database, gateway
                      │                  │
                      └─► ListedDatabases┘     no control, no platform database

denied.json ────► DeniedBook: asked before anything else; one file for all lines, beside their directories
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from anyio import CapacityLimiter, to_thread

from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import InstanceId, LineId
from app.gateway_file import NamedFile, opened
from app.licensing import Deadlines, InstanceIdentity, TransferService
from app.operations.denied_book import DeniedBook, ToldDenials
from app.operations.fleet_sweep import FleetSweep, SweepParts
from app.operations.guard import carry_on
from app.operations.instance_lines import ServedLines
from app.operations.line import InstanceRuntime, Line, LineParts
from app.operations.line_table import LineTable
from app.operations.upkeep import KEEP_OPERATIONS, close_meters, forget_operations
from fsb_gateway.client import FsbClient
from tenancy.credential import CredentialKey
from tenancy.database.listed import ListedDatabases
from tenancy.errors import InstanceNotFound
from tenancy.line_file import LineFile, LineFileDamaged

_UNIX: Final = "unix:"
_OPENERS: Final = 4
"""That part of a line's threads may open instances, beside those for requests to such as are open. Our own decision."""


class LinePart:
    """What a line serves with. For one event loop.

    Args:
        directory: the line's, locked for this process.
        line: what it is.
        wake: told that a call meter has something to write; from any thread.
    """

    def __init__(
        self, directory: Path, line: LineFile, *, clock: Clock, wake: Callable[[InstanceRuntime], None]
    ) -> None:
        self._file = line
        self._clock = clock
        self.started_at = clock.now()
        self.stopping = asyncio.Event()
        self.gateway = connect_gateway(line)
        self._databases = ListedDatabases(clock=clock)
        self.table = LineTable(directory, self._databases)
        self.denied = DeniedBook(ToldDenials(directory.parent), clock=clock)
        self.line = Line(line.line_id, self._line_parts(wake))
        self._own = ServedLines(lambda: [self.line], open_runtime=self._open, follow=lambda: None)
        self._sweep = FleetSweep(
            SweepParts(
                directory=self.table,
                databases=self._databases,
                runtimes=lambda: self.line,
                open_runtime=self._open,
                shared=self.table.ids,
            ),
            clock=clock,
            stop=self.stopping,
            started_at=self.started_at,
        )
        self._openers = CapacityLimiter(max(2, line.limits.threads // _OPENERS))
        self._opening: dict[InstanceId, asyncio.Task[InstanceRuntime]] = {}
        self._letting_go: set[asyncio.Task[None]] = set()

    @property
    def line_id(self) -> LineId:
        """Its name."""
        return self.line.line_id

    async def follow(self) -> None:
        """Take over what control has changed about whom this line serves.

        Raises:
            LineFileError: the file cannot be used; what was served goes on being served.
        """
        is_first = self.table.applied == 0
        for instance_id in await to_thread.run_sync(self.table.look):
            # Beside the others: a database that is gone may take its time to say so.
            task = asyncio.create_task(self._let_go_of_gone(instance_id))
            self._letting_go.add(task)
            task.add_done_callback(self._letting_go.discard)
        if is_first and self.table.applied:
            self._sweep.take_up(self.table.ids())

    async def follow_denied(self) -> None:
        """Take over from which networks nobody is answered.

        Raises:
            LineFileError: the file cannot be used; what was denied stays so.
        """
        await to_thread.run_sync(self.denied.look)

    async def find(self, name: str) -> InstanceRuntime:
        """The instance of that name, ready to be served.

        Raises:
            InstanceNotFound: it is not served here.
            NoLineReady: nobody has said yet whom to serve.
            InstanceDatabaseMissing, DatabaseUnavailable: it cannot be served now.
        """
        instance_id = self.table.find(name)
        known = self.line.find(instance_id)
        return known if known is not None else await self._open_once(instance_id)

    async def settle(self, instance_id: InstanceId) -> bool:
        """Write down what is in memory for an instance, drive its open transfers; whether none is under way there."""
        return not self.table.knows(instance_id) or await self._own.settle(instance_id)

    async def forget(self, instance_id: InstanceId) -> None:
        """Serve an instance no longer, until it has been out of the file."""
        self.table.hide(instance_id)
        await self._let_go(instance_id)

    async def sweep(self) -> None:
        """Take up transfers that nobody drives any more."""
        await self._sweep.sweep()

    async def forget_operations(self) -> None:
        """Clear operation ids out of instance databases that are older than any repeat."""
        before = self._clock.now() - KEEP_OPERATIONS
        await forget_operations(self.line, databases=self._databases, before=before)

    def open_instances(self) -> tuple[int, int]:
        """How many instances are open, and at how many of them a transfer may be in the making."""
        runtimes = list(self.line)
        return len(runtimes), sum(each.may_have_open_transfers for each in runtimes)

    async def close(self) -> None:
        """Write down what is in memory, give rights back and close everything."""
        await self._sweep.close()
        await asyncio.gather(*self._letting_go)
        await close_meters(self.line)
        with carry_on("part_not_closed", part="gateway"):
            await self.gateway.close()
        with carry_on("part_not_closed", part="databases"):
            await to_thread.run_sync(self._databases.close)

    def _line_parts(self, wake: Callable[[InstanceRuntime], None]) -> LineParts:
        return LineParts(
            databases=self._databases,
            key=CredentialKey(self._file.check_key),
            clock=self._clock,
            make_transfers=self._make_transfers,
            name_of=self.table.name_of,
            wake=wake,
        )

    def _make_transfers(
        self, db: Database, identity: Callable[[], InstanceIdentity], note_open: Callable[[], None]
    ) -> TransferService:
        return TransferService(
            db,
            identity=identity,
            programmer=self.gateway,
            deadlines=Deadlines(
                program=timedelta(seconds=self._file.program_deadline_seconds),
                lease=timedelta(seconds=self._file.drive_lease_seconds),
            ),
            wait=timedelta(seconds=self._file.program_wait_seconds),
            on_open=note_open,
        )

    async def _open_once(self, instance_id: InstanceId) -> InstanceRuntime:
        """Open an instance in one thread, however many callers wait for it: its database may hang."""
        opening = self._opening.get(instance_id)
        if opening is None:
            work = to_thread.run_sync(self._open, instance_id, limiter=self._openers, abandon_on_cancel=True)
            opening = self._opening[instance_id] = asyncio.create_task(work)
            opening.add_done_callback(partial(self._note_opened, instance_id))
        return await asyncio.shield(opening)

    def _note_opened(self, instance_id: InstanceId, opening: asyncio.Task[InstanceRuntime]) -> None:
        del self._opening[instance_id]
        # Whoever wanted it may not be there any more to hear of it.
        _ = opening.cancelled() or opening.exception()

    def _open(self, instance_id: InstanceId) -> InstanceRuntime:
        runtime = self.line.open(instance_id)
        if not self.table.knows(instance_id):
            # It has gone while its database was opened: whoever lets go of it may have been here before.
            self.line.forget(instance_id)
            raise InstanceNotFound("There is no such instance.")
        return runtime

    async def _let_go(self, instance_id: InstanceId) -> None:
        runtime = self.line.find(instance_id)
        await self._own.forget(instance_id)
        if runtime is not None:
            # It may not be listed any more: whoever lists databases has let go of it already.
            await to_thread.run_sync(runtime.db.close)
        await to_thread.run_sync(partial(self._databases.forget, instance_id))

    async def _let_go_of_gone(self, instance_id: InstanceId) -> None:
        with carry_on("instance_not_let_go", instance=instance_id):
            await self._let_go(instance_id)


def connect_gateway(line: LineFile) -> FsbClient:
    """The gateway's surface for lines. Nobody is asked yet: it may be away.

    Raises:
        LineFileDamaged: that is no address, or the files of mutual TLS are missing.
        InputInvalid: they cannot be used.
    """
    if line.gateway.startswith(_UNIX):
        return FsbClient.unix_socket(Path(line.gateway.removeprefix(_UNIX)))
    tls = line.gateway_tls
    if tls is None or not line.gateway.startswith("https://"):
        raise LineFileDamaged("The gateway's address is unix:/path, or https://host:port with gateway_tls.")
    certificate, key, ca = Path(tls.certificate), Path(tls.key), Path(tls.ca)
    return opened(
        lambda: FsbClient.mutual_tls(line.gateway, certificate=certificate, key=key, ca=ca),
        certificate=NamedFile(name="gateway_tls.certificate", path=certificate),
        key=NamedFile(name="gateway_tls.key", path=key),
        ca=NamedFile(name="gateway_tls.ca", path=ca),
    )
