"""Builds the services of control: what staff, customers and the front door ask, over the platform database.

customers, servers, instances, contracts    whose instance, where it lies, what it may
clients, certificates, access, revocations  who may call it
staff_tokens, people, support, approvals    who works here
lifecycle, exports, files                   how it ends
lines, rules, directory, hosts, denied      where a request goes, and from where none is answered
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anyio import to_thread

from app.core.clock import Clock
from app.core.ids import InstanceId
from app.guarded_part import guarded_actions
from app.operations.denied_book import DeniedBook, PlatformDenials
from app.operations.directory import InstanceDirectory
from app.operations.guard import carry_on
from app.operations.reconcile.service import ReconcileService
from app.operations.routed_line import RoutedLines
from app.settings import Settings
from app.storage_part import Storage
from tenancy import (
    AccessService,
    CertificateService,
    ClientService,
    ContractService,
    CustomerService,
    InstanceDatabases,
    InstanceOpener,
    InstanceService,
    ServerService,
    StaffTokenService,
)
from tenancy.access.revocation.service import RevocationService
from tenancy.front.denied_service import DeniedNetworkService
from tenancy.front.host_proof import HostProof
from tenancy.front.host_service import HostService
from tenancy.lifecycle.export import InstanceExporter
from tenancy.lifecycle.file_store import FileStore
from tenancy.lifecycle.service import LifecycleService
from tenancy.line.service import LineService
from tenancy.line_file import LINES_DIRECTORY
from tenancy.rule.service import RuleService
from tenancy.staff.approval import ApprovalService
from tenancy.staff.person import PersonService
from tenancy.staff.support.service import SupportService


class PlatformServices:
    """The part of the platform that is there as soon as its databases are. Each service is thread-safe and blocks."""

    def build_services(
        self,
        settings: Settings,
        storage: Storage,
        databases: InstanceDatabases,
        *,
        on_access: Callable[[InstanceId], None],
    ) -> None:
        """Build all of them.

        Args:
            on_access: told whose access has been changed.
        """
        db = storage.platform_db
        self.customers = CustomerService(db)
        self.servers = ServerService(db, seal=storage.seal, on_renewed=databases.renew_server)
        self.instances = InstanceService(db)
        self.contracts = ContractService(db, databases)
        self.opener = InstanceOpener(db, databases, on_access=on_access)
        self.reconcile = ReconcileService(db)
        self._build_access(storage)
        self._build_staff(storage, databases)
        self._build_lifecycle(storage, databases, settings.data_dir.resolve())
        self._build_routing(settings, storage, clock=db.clock)

    async def delete_exports(self) -> None:
        """Delete exports that nobody has fetched for a long time."""
        with carry_on("exports_not_deleted"):
            await to_thread.run_sync(self.exports.delete_old)

    async def end_lines(self) -> None:
        """Begin the end of temporary lines whose time is over."""
        await to_thread.run_sync(self.lines.end_due)

    async def expire_requests(self) -> None:
        """Close what staff have asked for and nobody has decided in time."""
        for expire in (self.approvals.expire_overdue, self.support.expire_overdue):
            with carry_on("requests_not_expired"):
                await to_thread.run_sync(expire)

    async def push_config(self) -> None:
        """Tell instance databases what has changed for them."""
        await to_thread.run_sync(self.contracts.push_due)

    async def follow_denied(self) -> None:
        """Know from which networks nobody is answered, and tell lines in processes of their own."""
        await to_thread.run_sync(self.denied_book.look)

    def _build_access(self, storage: Storage) -> None:
        self.clients = ClientService(self.opener, key=storage.key)
        self.certificates = CertificateService(self.clients)
        self.access = AccessService(self.opener, key=storage.key)
        self.revocations = RevocationService(self.opener)

    def _build_staff(self, storage: Storage, databases: InstanceDatabases) -> None:
        db = storage.platform_db
        self.staff_tokens = StaffTokenService(db, key=storage.key, clock=db.clock)
        self.people = PersonService(db, key=storage.key)
        self.support = SupportService(db, databases)
        self.guarded = guarded_actions()
        self.approvals = ApprovalService(db, self.guarded)

    def _build_lifecycle(self, storage: Storage, databases: InstanceDatabases, data_dir: Path) -> None:
        db = storage.platform_db
        self.files = FileStore(data_dir)
        self.lifecycle = LifecycleService(db, contracts=self.contracts)
        self.exports = InstanceExporter(db, databases, self.files)

    def _build_routing(self, settings: Settings, storage: Storage, *, clock: Clock) -> None:
        db = storage.platform_db
        self.hosts = HostService(db, key=storage.seal_key, proof=HostProof(settings.front_authorities))
        self.denied = DeniedNetworkService(db)
        told = settings.data_dir.resolve() / LINES_DIRECTORY if settings.lines == "processes" else None
        denials = PlatformDenials(self.instances.last_change, self.denied.list_denials, clock=clock)
        self.denied_book = DeniedBook(denials, clock=clock, lines=told)
        self.lines = LineService(db)
        routed = RoutedLines(self.lines)
        self.rules = RuleService(db, clients=self.clients.list_clients, lines=routed.of_instance)
        self.directory = InstanceDirectory(self.instances, clock=clock, rules=self.rules, lines=routed)
