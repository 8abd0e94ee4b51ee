"""Customers, instances, contracts, access, and the operations that change them."""

from tenancy.access.cache import AccessCache
from tenancy.access.decision import Admitted, BasicCredentials, Denied, Principal, decide
from tenancy.access.policy import (
    METHODS,
    SCOPES,
    AccessPolicy,
    Address,
    ApiClient,
    InstanceProfile,
    Method,
    Mode,
    Scope,
    VersionedPolicy,
    check_scopes,
    make_policy,
)
from tenancy.access.service import AccessService, ClientCredentials, ClientService
from tenancy.contract import ContractCreate, ContractService
from tenancy.credential import CredentialKey, credential_key
from tenancy.customer import CustomerService
from tenancy.errors import TenancyError
from tenancy.instance import InstanceOpener, InstanceService
from tenancy.instance_database import InstanceDatabases, SqliteInstanceDatabases
from tenancy.name import NAME_PATTERN, RESERVED_NAMES, check_name, is_name
from tenancy.operation.plan import Operation, Step
from tenancy.operation.provision import FirmKeyInstaller, InstanceProvisioner
from tenancy.operation.runner import OperationKind, OperationRunner, Patience
from tenancy.operation.service import OperationService
from tenancy.placement import SHARED_LINE, SHARED_POOL, BoxKind, line_names, place_instance
from tenancy.record import ContractRecord, Customer, Instance, InstanceCreate
from tenancy.staff.record import STAFF_ROLES, StaffCredentials, StaffPrincipal, StaffRole, StaffToken
from tenancy.staff.service import StaffTokenService

__all__ = [
    "METHODS",
    "NAME_PATTERN",
    "RESERVED_NAMES",
    "SCOPES",
    "SHARED_LINE",
    "SHARED_POOL",
    "STAFF_ROLES",
    "AccessCache",
    "AccessPolicy",
    "AccessService",
    "Address",
    "Admitted",
    "ApiClient",
    "BasicCredentials",
    "BoxKind",
    "ClientCredentials",
    "ClientService",
    "ContractCreate",
    "ContractRecord",
    "ContractService",
    "CredentialKey",
    "Customer",
    "CustomerService",
    "Denied",
    "FirmKeyInstaller",
    "Instance",
    "InstanceCreate",
    "InstanceDatabases",
    "InstanceOpener",
    "InstanceProfile",
    "InstanceProvisioner",
    "InstanceService",
    "Method",
    "Mode",
    "Operation",
    "OperationKind",
    "OperationRunner",
    "OperationService",
    "Patience",
    "Principal",
    "Scope",
    "SqliteInstanceDatabases",
    "StaffCredentials",
    "StaffPrincipal",
    "StaffRole",
    "StaffToken",
    "StaffTokenService",
    "Step",
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
]
