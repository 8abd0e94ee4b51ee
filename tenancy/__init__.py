"""Customers, instances, contracts, access, and the operations that change them."""

from tenancy.access.cache import AccessCache
from tenancy.access.client.certificate_service import CertificateService, PinDraft
from tenancy.access.client.lockout import Insistence
from tenancy.access.client.record import (
    DEFAULT_RATE,
    HIGHEST_RATE,
    OVERLAP,
    ApiClient,
    CertificatePin,
    ClientSecret,
    Rate,
)
from tenancy.access.client.service import (
    UNCHANGED,
    ClientChange,
    ClientCredentials,
    ClientLimits,
    ClientService,
)
from tenancy.access.decision import (
    Admitted,
    BasicCredentials,
    CallerCredentials,
    Denied,
    Principal,
    decide,
)
from tenancy.access.policy import (
    METHODS,
    SCOPES,
    AccessPolicy,
    Address,
    InstanceProfile,
    Method,
    Mode,
    Scope,
    VersionedPolicy,
    check_scopes,
    make_policy,
)
from tenancy.access.service import AccessService
from tenancy.box.care import BoxCare
from tenancy.box.guard import register_box_actions
from tenancy.box.port import BoxGateway, FirmKeyInstaller
from tenancy.contract.service import ContractCreate, ContractService
from tenancy.credential import CredentialKey, credential_key
from tenancy.customer import CustomerService
from tenancy.database.placed import PlacedDatabases
from tenancy.database.port import InstanceDatabases
from tenancy.database.sealing import PasswordSeal
from tenancy.errors import TenancyError
from tenancy.instance import InstanceOpener, InstanceService
from tenancy.name import NAME_PATTERN, RESERVED_NAMES, check_name, is_name
from tenancy.operation.kind import NotYet, OperationKind, StepContext
from tenancy.operation.plan import Operation, OperationPlan, OperationState, Step, StepPlan
from tenancy.operation.provision import InstanceProvisioner
from tenancy.operation.repository import LogLine
from tenancy.operation.runner import OperationRunner, Patience
from tenancy.operation.service import Decision, OperationService
from tenancy.operation.start import start_operation
from tenancy.operation.sweep import OperationSweeper
from tenancy.placement import SHARED_LINE, SHARED_POOL, BoxKind, line_names, place_instance
from tenancy.record import ContractRecord, Customer, FirstClient, Instance, InstanceCreate
from tenancy.server.embedded import register_embedded_servers
from tenancy.server.record import Server, ServerCreate, ServerId
from tenancy.server.service import ServerChange, ServerService
from tenancy.staff.record import STAFF_ROLES, StaffCredentials, StaffPrincipal, StaffRole, StaffToken
from tenancy.staff.service import StaffTokenService

__all__ = [
    "DEFAULT_RATE",
    "HIGHEST_RATE",
    "METHODS",
    "NAME_PATTERN",
    "OVERLAP",
    "RESERVED_NAMES",
    "SCOPES",
    "SHARED_LINE",
    "SHARED_POOL",
    "STAFF_ROLES",
    "UNCHANGED",
    "AccessCache",
    "AccessPolicy",
    "AccessService",
    "Address",
    "Admitted",
    "ApiClient",
    "BasicCredentials",
    "BoxCare",
    "BoxGateway",
    "BoxKind",
    "CallerCredentials",
    "CertificatePin",
    "CertificateService",
    "ClientChange",
    "ClientCredentials",
    "ClientLimits",
    "ClientSecret",
    "ClientService",
    "ContractCreate",
    "ContractRecord",
    "ContractService",
    "CredentialKey",
    "Customer",
    "CustomerService",
    "Decision",
    "Denied",
    "FirmKeyInstaller",
    "FirstClient",
    "Insistence",
    "Instance",
    "InstanceCreate",
    "InstanceDatabases",
    "InstanceOpener",
    "InstanceProfile",
    "InstanceProvisioner",
    "InstanceService",
    "LogLine",
    "Method",
    "Mode",
    "NotYet",
    "Operation",
    "OperationKind",
    "OperationPlan",
    "OperationRunner",
    "OperationService",
    "OperationState",
    "OperationSweeper",
    "PasswordSeal",
    "Patience",
    "PinDraft",
    "PlacedDatabases",
    "Principal",
    "Rate",
    "Scope",
    "Server",
    "ServerChange",
    "ServerCreate",
    "ServerId",
    "ServerService",
    "StaffCredentials",
    "StaffPrincipal",
    "StaffRole",
    "StaffToken",
    "StaffTokenService",
    "Step",
    "StepContext",
    "StepPlan",
    "TenancyError",
    "VersionedPolicy",
    "check_name",
    "check_scopes",
    "credential_key",
    "decide",
    "is_name",
    "line_names",
    "make_policy",
    "place_instance",
    "register_box_actions",
    "register_embedded_servers",
    "start_operation",
]
