"""Composition root: builds the embedded platform out of its parts and holds their lifetimes.

    Platform.start()  lock → migrate → keys → gateway and boxes → lines → directory → left-over transfers
    Platform.stop()   loops → call meters (written, rights given back) → gateway → databases → lock

Tests replace a part by overriding the `make_…` method that builds it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from anyio import to_thread

from app.core.clock import Clock, SystemClock
from app.core.db import Database
from app.core.errors import DomainError
from app.core.ids import InstanceId, LineId
from app.core.lock import make_private, take_lock
from app.core.migrate import current, upgrade
from app.front_part import FrontServices, make_front_keeper
from app.gateway_part import start_gateway
from app.healer_part import HealerServices, make_healer
from app.licensing import Deadlines, InstanceIdentity, Programmer, TransferService
from app.line_setup import check_lines, line_file
from app.operations.audit.audit import Audit
from app.operations.ceremony.reader import CeremonyReader
from app.operations.directory import InstanceDirectory
from app.operations.fleet_sweep import FleetSweep, SweepParts
from app.operations.front.keeper import FrontKeeper
from app.operations.guard import carry_on
from app.operations.instance_lines import ServedLines
from app.operations.line import InstanceRuntime, Line, LineParts
from app.operations.line_keeper import LineKeeper, LineKeeperParts
from app.operations.migration.service import MigrationService
from app.operations.probe.isolation_probe import IsolationProbe, ProbeParts
from app.operations.reconcile.healer import Healer
from app.operations.reconcile.past import Rails
from app.operations.reconcile.service import ReconcileService
from app.operations.remote_line import RemoteLines
from app.operations.routed_line import RoutedLines
from app.operations.upkeep import KEEP_OPERATIONS, close_meters, forget_in, forget_operations, write_use
from app.settings import Settings
from editions import edition
from fsb_gateway.error import FsbError, FsbUnavailable
from tenancy import (
    AccessCache,
    AccessService,
    BoxCare,
    BoxKind,
    CertificateService,
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
    OperationSweeper,
    PasswordSeal,
    PlacedDatabases,
    ServerService,
    StaffTokenService,
    credential_key,
    line_names,
    register_box_actions,
    register_embedded_servers,
)
from tenancy.access.revocation.service import RevocationService
from tenancy.database.placed import Bounds
from tenancy.database.reseal import has_own_seals, reseal
from tenancy.database.sealing import SEAL_KEY, seal_key
from tenancy.front.denied_service import DeniedNetworkService
from tenancy.front.host_proof import HostProof
from tenancy.front.host_service import HostService
from tenancy.lifecycle.ending import InstanceEnder, InstanceLines
from tenancy.lifecycle.erasing import EraserParts, InstanceEraser
from tenancy.lifecycle.export import InstanceExporter
from tenancy.lifecycle.file_store import FileStore
from tenancy.lifecycle.service import LifecycleService, check_end, check_erase, start_end, start_erase
from tenancy.line.operation import LineOperations
from tenancy.line.order import register_line_actions
from tenancy.line.service import LineService
from tenancy.line_file import LINES_DIRECTORY, LineFile
from tenancy.operation.kind import OperationKind
from tenancy.operation.plan import PROVISION_INSTANCE
from tenancy.rule.service import RuleService
from tenancy.runner.local import LocalRunner
from tenancy.runner.port import LineLimits, LineSeen, Runner
from tenancy.staff.approval import ApprovalService, GuardedActions
from tenancy.staff.operation import StaffOperations, register_actions
from tenancy.staff.person import PersonService
from tenancy.staff.support.service import SupportService

CONTROL_LINE: Final = LineId("control")
"""Under which control opens instances for staff and the portal while lines serve them in processes of their own: no
rights, leases or transfers are in that name."""
_OWNER: Final = "embedded"
"""Name of the embedded operations runner. The lock on the data directory keeps it the only one of that name."""


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
        self.stopping = asyncio.Event()
        self.line_keeper: LineKeeper | None = None
        """Looks after lines in processes of their own."""
        self.gateway_trouble: str | None = None
        """Why the gateway did not answer when the platform started."""
        self._lock_file: int | None = None
        self._lines: dict[LineId, Line] = {}
        self._making_lines = threading.Lock()

    async def start(self) -> None:
        """Make everything ready to serve.

        Raises:
            DataDirectoryInUse: another process does so already.
            GatewayRunning: a gateway in a process of its own has the boxes that would be embedded.
            DomainError: a key file is exposed or damaged, or a journal is.
        """
        started_at = self.clock.now()
        check_lines(self.settings)
        await to_thread.run_sync(self._open_storage)
        self._build_services()
        await self._start_gateway()
        instance_ids = await to_thread.run_sync(self.directory.load)
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
        line_id = CONTROL_LINE if self.has_line_processes else line_id
        with self._making_lines:
            line = self._lines.get(line_id)
            if line is None:
                line = self._lines[line_id] = Line(line_id, self._line_parts())
            return line

    def _line_parts(self) -> LineParts:
        return LineParts(
            databases=self.databases,
            key=self.key,
            clock=self.clock,
            make_transfers=self._make_transfers,
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

    async def delete_exports(self) -> None:
        """Delete exports that nobody has fetched for a long time."""
        with carry_on("exports_not_deleted"):
            await to_thread.run_sync(self.exports.delete_old)

    async def follow_instances(self) -> None:
        """Know what other processes have done about instances: new names, frozen, erased."""
        for instance in await to_thread.run_sync(self.directory.follow):
            if instance.state == "erased":
                # Another process has removed its database; what is open here leads nowhere.
                for line in list(self._lines.values()):
                    line.forget(instance.instance_id)
                self.databases.forget(instance.instance_id)

    async def lines_seen(self) -> Mapping[LineId, LineSeen] | None:
        """How lines are; None while they work in this process."""
        return None if self.line_keeper is None else await self.line_keeper.seen()

    async def keep_lines(self) -> None:
        """Have the processes of lines that are wanted, and no others."""
        if self.line_keeper is not None:
            await self.line_keeper.look()

    async def end_lines(self) -> None:
        """Begin the end of temporary lines whose time is over."""
        await to_thread.run_sync(self.lines.end_due)

    async def expire_requests(self) -> None:
        """Close what staff have asked for and nobody has decided in time."""
        for expire in (self.approvals.expire_overdue, self.support.expire_overdue):
            with carry_on("requests_not_expired"):
                await to_thread.run_sync(expire)

    def _with_database(self) -> list[InstanceId]:
        """All instances whose database is there."""
        found: list[InstanceId] = []
        after = ""
        while page := self.instances.list_instances(after=after, limit=100):
            found += [each.instance_id for each in page if each.is_kept]
            after = page[-1].instance_id
        return found

    def _open_instance(self, instance_id: InstanceId) -> Database:
        return self.databases.open(instance_id)

    def _is_current(self, instance_id: InstanceId) -> bool:
        return self.databases.is_current(instance_id)

    def _name_of(self, person_id: str, sealed_name: str) -> str:
        return self.people.read_name(person_id, sealed_name)

    async def sign_checkpoints(self) -> None:
        """Sign how far the audit chains have come that have grown."""
        await to_thread.run_sync(self.audit.sign)

    async def push_config(self) -> None:
        """Tell instance databases what has changed for them."""
        await to_thread.run_sync(self.contracts.push_due)

    async def tell_customers(self) -> None:
        """Write what was done to firm keys where their customers read it."""
        await to_thread.run_sync(self.boxes.notes.deliver_due)

    def runtimes(self) -> Iterator[InstanceRuntime]:
        """Everything that any line is serving."""
        for line in list(self._lines.values()):
            yield from line

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
        make_private(self.data_dir)
        self._take_lock()
        # Before the database: a start killed between the two must not look as if the key had been lost.
        self.key: CredentialKey = credential_key(
            self.data_dir / "credential.key", may_create=not self._has_platform()
        )
        upgrade(self.settings.platform_url, "platform")
        self.platform_db = Database(self.settings.platform_url, clock=self.clock)
        self._open_seal()
        register_embedded_servers(self.platform_db, dedicated=self.settings.dedicated_servers)
        self.audit = Audit(
            self.data_dir / "audit",
            self.platform_db,
            open_instance=self._open_instance,
            is_current=self._is_current,
            name_of=self._name_of,
        )
        self.audit.start(self._with_database, grows_elsewhere=self.has_line_processes)
        self.databases = self.make_databases()

    def _open_seal(self) -> None:
        """What lines must not open has a key of its own: theirs is the credential key."""
        may_create = not has_own_seals(self.platform_db)
        self.seal_key: CredentialKey = seal_key(self.data_dir / SEAL_KEY, may_create=may_create)
        self.seal = PasswordSeal(self.seal_key, former=self.key)
        reseal(self.platform_db, self.seal)

    def _has_platform(self) -> bool:
        """Whether there is a platform database already, with secrets in it that only the old key can check."""
        if self.settings.platform_database is None:
            return self.settings.platform_file.exists()
        return current(self.settings.platform_url) is not None

    def _take_lock(self) -> None:
        try:
            self._lock_file = take_lock(self.data_dir)
        except BlockingIOError:
            raise DataDirectoryInUse(
                f"Another wops serves {self.data_dir}. Stop it, or choose another directory with --data-dir."
            ) from None

    def _build_services(self) -> None:
        db = self.platform_db
        opener = InstanceOpener(db, self.databases, on_access=self._note_access)
        self.customers = CustomerService(db)
        self.servers = ServerService(db, seal=self.seal, on_renewed=self.databases.renew_server)
        self.instances = InstanceService(db)
        self.contracts = ContractService(db, self.databases)
        self.lines = LineService(db)
        self.clients = ClientService(opener, key=self.key)
        self.certificates = CertificateService(self.clients)
        self.access = AccessService(opener, key=self.key)
        self.staff_tokens = StaffTokenService(db, key=self.key, clock=self.clock)
        self.people = PersonService(db, key=self.key)
        self.support = SupportService(db, self.databases)
        # Whatever needs two people is registered here before anybody can ask for it.
        self.guarded = GuardedActions()
        register_actions(self.guarded)
        register_box_actions(self.guarded)
        register_line_actions(self.guarded)
        self.guarded.register("endInstance", start_end, check=check_end, asked=("retention_days",))
        self.guarded.register(
            "eraseInstance", start_erase, check=check_erase, asked=("early", "legal_reason")
        )
        self.approvals = ApprovalService(db, self.guarded)
        self.files = FileStore(self.data_dir)
        self.lifecycle = LifecycleService(db, contracts=self.contracts)
        self.exports = InstanceExporter(db, self.databases, self.files)
        self.opener = opener
        proof = HostProof(self.settings.front_authorities)
        self.hosts = HostService(db, key=self.seal_key, proof=proof)
        self.denied = DeniedNetworkService(db)
        self.revocations = RevocationService(opener)
        routed = RoutedLines(self.lines)
        self.rules = RuleService(db, clients=self.clients.list_clients, lines=routed.of_instance)
        self.directory = InstanceDirectory(self.instances, clock=self.clock, rules=self.rules, lines=routed)
        if self.has_line_processes:
            self.line_keeper = self._make_line_keeper()
        self.fronts = self._make_front_keeper()
        self.reconcile = ReconcileService(db)

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

    def _make_line_keeper(self) -> LineKeeper:
        parts = LineKeeperParts(
            runner=self.make_line_runner(),
            list_served=self.lines.list_served,
            last_change=self.instances.last_change,
            line_file=self.line_file,
            home_of=self.databases.line_home,
            connections=self.settings.server_connections,
        )
        return LineKeeper(self.data_dir, parts, clock=self.clock)

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
        kind = BoxKind(operation_time=self.settings.operation_time)
        provisioner = InstanceProvisioner(
            self.platform_db,
            self.databases,
            boxes=self.fsb,
            contracts=self.contracts,
            key=self.key,
            kind=kind,
        )
        self.boxes = BoxCare(self.platform_db, self.databases, self.fsb)
        self.healer = self._make_healer()
        # A gateway in another process may be away; whoever keeps the boxes tells it when it is there.
        with carry_on("boxes_not_restored"):
            await self._restore_boxes()
        self.ceremonies = CeremonyReader(self.platform_db, self.audit.reader)
        self.isolation_probe = self._make_isolation_probe()
        self.migrations = MigrationService(
            self.platform_db, self.settings.platform_url, databases=self.databases, clock=self.clock
        )
        self.staff_operations = StaffOperations(self.platform_db, self.databases, boxes=self.fsb)
        kinds = [
            provisioner.operation_kind(),
            *self.staff_operations.kinds(),
            *self.boxes.kinds(),
            *LineOperations(self.platform_db, self.lines_seen).kinds(),
            *self._lifecycle_kinds(),
            self.migrations.operation_kind(),
        ]
        self.runner = OperationRunner(self.platform_db, kinds, owner=_OWNER)
        self.operations = OperationService(self.platform_db, kinds)
        stranded = dict.fromkeys(("provisioning", "failed"), PROVISION_INSTANCE)
        self._operation_sweeper = OperationSweeper(self.platform_db, kinds, stranded=stranded)

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

    def _lifecycle_kinds(self) -> list[OperationKind]:
        lines: InstanceLines = ServedLines(
            lambda: list(self._lines.values()), open_runtime=self.runtime, follow=self.directory.follow
        )
        if self.has_line_processes:
            lines = RemoteLines(self.data_dir, databases=self.databases, own=lines)
        parts = EraserParts(
            databases=self.databases,
            files=self.files,
            exporter=self.exports,
            boxes=self.fsb,
            lines=lines,
            signer=self.audit.key,
        )
        self.eraser = InstanceEraser(self.platform_db, parts)
        ender = InstanceEnder(self.platform_db, contracts=self.contracts, exporter=self.exports, lines=lines)
        return [self.exports.operation_kind(), ender.operation_kind(), self.eraser.operation_kind()]

    def _make_isolation_probe(self) -> IsolationProbe:
        parts = ProbeParts(
            platform_db=self.platform_db,
            databases=self.databases,
            instances=self.instances,
            programmer=self.make_programmer(),
            list_clients=self.clients.list_clients,
            profile_of=lambda db: AccessCache(db, clock=self.clock, key=self.key).profile(),
        )
        return IsolationProbe(parts)

    def _make_transfers(
        self, db: Database, identity: Callable[[], InstanceIdentity], note_open: Callable[[], None]
    ) -> TransferService:
        return TransferService(
            db,
            identity=identity,
            programmer=self.make_programmer(),
            deadlines=Deadlines(program=self.settings.program_deadline, lease=self.settings.drive_lease),
            wait=self.settings.program_wait,
            on_open=note_open,
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
