"""Composition root: builds the embedded platform out of its parts and holds their lifetimes.

    Platform.start()  lock → migrate → keys → gateway and boxes → lines → directory → left-over transfers
    Platform.stop()   loops → call meters (written, rights given back) → gateway → databases → lock

    storage_part     lock, keys, platform database       gateway_part      boxes
    audit_part       signs and checks the chains         operation_part    kinds of long changes, who runs them
    service_part     what staff and customers ask        line_keeper_part  lines in processes of their own
    guarded_part     what needs two people               front_part        load balancers
    embedded_lines   the lines of this process           healer_part       what heals lines, fronts and boxes
                                                         probe_part        whether customers are kept apart

Tests replace a part by overriding the `make_…` method that builds it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from anyio import to_thread

from app.audit_part import start_audit
from app.core.clock import Clock, SystemClock
from app.core.ids import InstanceId, LineId
from app.embedded_lines import EmbeddedLines, transfer_maker
from app.front_part import FrontServices, make_front_keeper
from app.gateway_part import start_gateway
from app.healer_part import HealerServices, make_healer
from app.licensing import Programmer
from app.line_keeper_part import LineKeeperServices, make_line_keeper
from app.line_setup import check_lines, clear_lines, line_file
from app.operation_part import OperationServices, make_operations
from app.operations.ceremony.reader import CeremonyReader
from app.operations.fleet_sweep import FleetSweep, SweepParts
from app.operations.front.keeper import FrontKeeper
from app.operations.guard import carry_on
from app.operations.instance_lines import ServedLines
from app.operations.line import InstanceRuntime, Line, LineParts
from app.operations.line_keeper import LineKeeper
from app.operations.reconcile.healer import Healer
from app.operations.reconcile.past import Rails
from app.operations.upkeep import KEEP_OPERATIONS, close_meters, forget_in, forget_operations, write_use
from app.probe_part import make_isolation_probe
from app.service_part import PlatformServices
from app.settings import Settings
from app.storage_part import lock_data_directory, open_storage
from editions import edition
from fsb_gateway.error import FsbError, FsbUnavailable
from tenancy import BoxCare, InstanceDatabases, OperationRunner, PlacedDatabases, line_names
from tenancy.database.placed import Bounds
from tenancy.line_file import LINES_DIRECTORY, LineFile
from tenancy.runner.local import LocalRunner
from tenancy.runner.port import LineLimits, LineSeen, Runner


class Platform(PlatformServices):
    """The whole platform in one process: SQLite files, software boxes, lines and control."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.data_dir: Path = settings.data_dir.resolve()
        self.on_work: Callable[[InstanceRuntime], None] = lambda _runtime: None
        self.stopping = asyncio.Event()
        self.line_keeper: LineKeeper | None = None
        """Looks after lines in processes of their own."""
        self.gateway_trouble: str | None = None
        """Why the gateway did not answer when the platform started."""
        self._lock_file: int | None = None
        self._lines = EmbeddedLines(settings, self._line_parts)

    async def start(self) -> None:
        """Make everything ready to serve.

        Raises:
            DataDirectoryInUse: another process does so already.
            GatewayRunning: a gateway in a process of its own has the boxes that would be embedded.
            LinesRunning: lines in processes of their own serve what would be served here.
            DomainError: a key file is exposed or damaged, or a journal is.
        """
        started_at = self.clock.now()
        check_lines(self.settings)
        await to_thread.run_sync(self._open_storage)
        self.build_services(self.settings, self._storage, self.databases, on_access=self._note_access)
        self.line_keeper, self.fronts = self._make_line_keeper(), self._make_front_keeper()
        await self._start_gateway()
        instance_ids = await to_thread.run_sync(self.directory.load)
        with carry_on("denied_not_followed"):
            await self.follow_denied()
        for line_id in self.directory.lines():
            self.line(line_id)
        await self.runner.take_over()
        if not self.has_line_processes:
            self._sweep = self._make_sweep(started_at)
            self._sweep.take_up(instance_ids)

    async def stop(self) -> None:
        """Write down what is still in memory and close everything. Safe after a start that failed half-way."""
        if hasattr(self, "_sweep"):
            await self._sweep.close()
        await self._close_keepers()
        await close_meters(self.runtimes())
        if hasattr(self, "gateway"):
            with carry_on("part_not_closed", part="gateway"):
                await self.gateway.close()
        if hasattr(self, "audit"):
            with carry_on("audit_not_signed"):
                # A process too short-lived for its first turn has looked at nobody's chain yet.
                looks = hasattr(self, "instances") and not self.has_line_processes
                sign = self.audit.sign if looks else self.audit.notary.sign_grown
                await to_thread.run_sync(sign)
        for part in ("databases", "platform_db"):
            if hasattr(self, part):
                with carry_on("part_not_closed", part=part):
                    getattr(self, part).close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    async def _close_keepers(self) -> None:
        """Lines and load balancers go on; nobody looks after them from here."""
        if hasattr(self, "healer"):
            with carry_on("part_not_closed", part="healer"):
                await self.healer.close()
        if self.line_keeper is not None:
            with carry_on("part_not_closed", part="line_keeper"):
                await self.line_keeper.close()
        if hasattr(self, "fronts"):
            with carry_on("part_not_closed", part="fronts"):
                await self.fronts.close()

    @property
    def has_line_processes(self) -> bool:
        """Whether lines serve instances in processes of their own; this one then neither meters nor sweeps."""
        return self.settings.lines == "processes"

    def line_file(self, line_id: LineId, *, limits: LineLimits | None = None) -> LineFile:
        """What a line in a process of its own is told of itself."""
        return line_file(self.settings, self.key, line_id, limits=limits)

    def line(self, line_id: LineId) -> Line:
        """The line of that name; in one process a line is made when it is first needed.

        With lines in processes of their own it is always the one by which control looks at instances.
        """
        return self._lines.get(line_id)

    def _line_parts(self) -> LineParts:
        return LineParts(
            databases=self.databases,
            key=self.key,
            clock=self.clock,
            make_transfers=transfer_maker(self.settings, self.make_programmer),
            name_of=self.directory.name_of,
            wake=self._note_work,
        )

    def _note_access(self, instance_id: InstanceId) -> None:
        self.fronts.note_access(instance_id)

    def _note_work(self, runtime: InstanceRuntime) -> None:
        self.on_work(runtime)

    def runtime(self, instance_id: InstanceId) -> InstanceRuntime:
        """An instance as one of its lines serves it, for staff acting on a customer's behalf. Blocks.

        Raises:
            InstanceNotFound, InstanceNotReady: there is nothing to act on.
        """
        instance, _ = self.opener.open_ready(instance_id)
        self.directory.note(instance)
        lines = line_names(instance.placement_name, edition(instance.edition), lines=instance.lines)
        return self.line(lines[0]).open(instance_id)

    async def sweep(self) -> None:
        """Take up transfers that nobody drives any more, where there may be any; now and then at every instance.

        With lines in processes of their own they do that.
        """
        if self.has_line_processes:
            await write_use(self.runtimes())
        else:
            await self._sweep.sweep()

    async def sweep_operations(self) -> None:
        """Move on what no runner moves: operations past their deadline, instances that no operation looks after."""
        await to_thread.run_sync(self._operation_sweeper.sweep)

    async def forget_operations(self) -> None:
        """Clear operation ids out of every database that is older than any repeat."""
        before = self.clock.now() - KEEP_OPERATIONS
        with carry_on("operations_not_forgotten"):
            await forget_in(self.platform_db, before)
        await forget_operations(self.runtimes(), databases=self.databases, before=before)

    async def follow_instances(self) -> None:
        """Know what other processes have done about instances: new names, frozen, erased."""
        for instance in await to_thread.run_sync(self.directory.follow):
            if instance.state == "erased":
                # Another process has removed its database; what is open here leads nowhere.
                self._lines.forget(instance.instance_id)
                self.databases.forget(instance.instance_id)

    async def lines_seen(self) -> Mapping[LineId, LineSeen] | None:
        """How lines are; None while they work in this process."""
        return None if self.line_keeper is None else await self.line_keeper.seen()

    async def keep_lines(self) -> None:
        """Have the processes of lines that are wanted, and no others."""
        if self.line_keeper is not None:
            await self.line_keeper.look()

    async def sign_checkpoints(self) -> None:
        """Sign how far the audit chains have come that have grown."""
        await to_thread.run_sync(self.audit.sign)

    async def tell_customers(self) -> None:
        """Write what was done to firm keys where their customers read it."""
        await to_thread.run_sync(self.boxes.notes.deliver_due)

    def runtimes(self) -> Iterator[InstanceRuntime]:
        """Everything that any line is serving."""
        return self._lines.runtimes()

    def make_databases(self) -> InstanceDatabases:
        """Where instance databases are."""
        databases = PlacedDatabases(
            self.platform_db,
            data_dir=self.data_dir,
            seal=self.seal,
            clock=self.clock,
            bounds=Bounds(connections=self.settings.server_connections),
            on_open=lambda instance_id, db: self.audit.watch(instance_id, db.chain_end),
        )
        databases.load()
        return databases

    def make_programmer(self) -> Programmer:
        """What lines send their jobs to."""
        return self.gateway.jobs

    def _open_storage(self) -> None:
        self._lock_file = lock_data_directory(self.data_dir)
        clear_lines(self.settings)
        self._storage = storage = open_storage(self.settings, self.data_dir, clock=self.clock)
        self.key, self.seal, self.platform_db = storage.key, storage.seal, storage.platform_db
        self.audit = start_audit(self.settings, self.platform_db, self)
        self.databases: InstanceDatabases = self.make_databases()

    def _make_front_keeper(self) -> FrontKeeper:
        services = FrontServices(
            instances=self.instances,
            lines=self.lines,
            rules=self.rules,
            hosts=self.hosts,
            denied=self.denied,
            databases=self.databases,
        )
        return make_front_keeper(self.settings, services, clock=self.clock)

    def _make_line_keeper(self) -> LineKeeper | None:
        services = LineKeeperServices(
            make_runner=self.make_line_runner,
            instances=self.instances,
            lines=self.lines,
            databases=self.databases,
            line_file=self.line_file,
        )
        return make_line_keeper(self.settings, services, clock=self.clock)

    def _make_healer(self) -> Healer:
        services = HealerServices(
            db=self.platform_db,
            reconcile=self.reconcile,
            instances=self.instances,
            lines=self.lines,
            lines_seen=self.lines_seen,
            line_keeper=self.line_keeper,
            fronts=self.fronts,
            boxes=self.boxes,
        )
        return make_healer(self.settings, services, rails=self.make_rails())

    def make_rails(self) -> Rails:
        """Within which bounds the fleet is healed."""
        return Rails()

    def make_line_runner(self) -> Runner:
        """What runs lines in processes of their own."""
        return LocalRunner(self.data_dir / LINES_DIRECTORY, clock=self.clock)

    async def _start_gateway(self) -> None:
        self.gateway = await start_gateway(self.settings, clock=self.clock)
        self.fsb = self.gateway.control
        self.boxes = BoxCare(self.platform_db, self.databases, self.fsb)
        self.healer = self._make_healer()
        # A gateway in another process may be away; whoever keeps the boxes tells it when it is there.
        with carry_on("boxes_not_restored"):
            await self._restore_boxes()
        self.ceremonies = CeremonyReader(self.platform_db, self.audit.reader)
        self.isolation_probe = make_isolation_probe(
            self, self._storage, databases=self.databases, programmer=self.make_programmer()
        )
        work = make_operations(self.settings, self._operation_services())
        self.staff_operations, self.eraser, self.migrations = work.staff, work.eraser, work.migrations
        self.runner: OperationRunner = work.runner
        self.operations, self._operation_sweeper = work.service, work.sweeper

    async def _restore_boxes(self) -> None:
        try:
            await self.boxes.keeper.reconcile()
        except FsbError as error:
            self.gateway_trouble = error.message
            if not isinstance(error, FsbUnavailable):
                where = self.settings.boxes
                self.gateway_trouble = (
                    f"What answers at {where} does not take what control asks. Is it for lines?"
                )
            raise

    def _operation_services(self) -> OperationServices:
        return OperationServices(
            db=self.platform_db,
            databases=self.databases,
            contracts=self.contracts,
            fsb=self.fsb,
            key=self.key,
            signer=self.audit.key,
            boxes=self.boxes,
            files=self.files,
            exporter=self.exports,
            own_lines=ServedLines(self._lines.all, open_runtime=self.runtime, follow=self.directory.follow),
            lines_seen=self.lines_seen,
        )

    def _make_sweep(self, started_at: datetime) -> FleetSweep:
        parts = SweepParts(
            directory=self.directory,
            databases=self.databases,
            runtimes=self.runtimes,
            open_runtime=self._open_known,
        )
        return FleetSweep(parts, clock=self.clock, stop=self.stopping, started_at=started_at)

    def _open_known(self, instance_id: InstanceId) -> InstanceRuntime:
        return self.line(self.directory.lines_of(instance_id)[0]).open(instance_id)
