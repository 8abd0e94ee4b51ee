"""Everything this package refuses or fails with.

    TenancyError
    ├── NameUnfit · NameTaken · FirmCodeUnfit · FirmCodeTaken
    ├── NotFound
    │   └── CustomerNotFound · InstanceNotFound · ClientNotFound · OperationNotFound · StaffTokenNotFound
    ├── InstanceNotReady · InstanceDatabaseMissing
    ├── EditionUnknown · LinesTooFew · LinesTooMany · OverageUnknown
    ├── ContractConflict · ContractUnfit
    ├── AccessPolicyInvalid · NetworkInvalid · NetworkTooWide · PolicyVersionConflict
    ├── ScopeUnknown · RoleUnknown · ExpiryUnfit · LimitUnfit
    ├── AccessDenied
    │   ├── AccessClosed · NetworkNotAllowed · CertificateMissing · ScopeMissing
    │   └── CredentialsMissing · CredentialsInvalid · StaffTokenInvalid
    ├── CredentialKeyExposed · CredentialKeyDamaged · CredentialKeyMissing
    ├── OperationRunning · OperationStateUnfit · OperationStepNeeded · OperationPastNoReturn
    └── OperationDeadlinePassed · OperationStepLost · OperationOwnerLost     not raised to callers

A user name that an instance does not know raises `InstanceNotFound`, so that another customer's credentials
learn nothing.
"""

from __future__ import annotations

from app.core.errors import DomainError


class TenancyError(DomainError):
    """Root of this package's errors."""

    code = "tenancy_error"


class NameUnfit(TenancyError):
    """The name breaks the rules for names, or is reserved."""

    code = "name_unfit"


class NameTaken(TenancyError):
    """Somebody has this name already."""

    code = "name_taken"


class FirmCodeUnfit(TenancyError):
    """The number is no firm code."""

    code = "firm_code_unfit"


class FirmCodeTaken(TenancyError):
    """The firm code belongs to another instance."""

    code = "firm_code_taken"


class NotFound(TenancyError):
    """There is no such object, or it is not the caller's."""

    code = "not_found"


class CustomerNotFound(NotFound):
    """There is no such customer."""

    code = "customer_not_found"


class InstanceNotFound(NotFound):
    """There is no such instance, or it does not know the caller."""

    code = "instance_not_found"


class ClientNotFound(NotFound):
    """The instance has no such API client."""

    code = "client_not_found"


class OperationNotFound(NotFound):
    """There is no such operation."""

    code = "operation_not_found"


class StaffTokenNotFound(NotFound):
    """There is no such staff token."""

    code = "staff_token_not_found"


class InstanceNotReady(TenancyError):
    """The instance is still being provisioned, or that failed."""

    code = "instance_not_ready"


class InstanceDatabaseMissing(TenancyError):
    """The instance's database is not where it should be. Never created anew by reading it."""

    code = "instance_database_missing"


class EditionUnknown(TenancyError):
    """The catalogue has no such edition."""

    code = "edition_unknown"


class LinesTooFew(TenancyError):
    """The edition needs more lines."""

    code = "lines_too_few"


class LinesTooMany(TenancyError):
    """The edition has fewer lines than asked for."""

    code = "lines_too_many"


class OverageUnknown(TenancyError):
    """There is no such overage policy."""

    code = "overage_unknown"


class ContractConflict(TenancyError):
    """A contract of that kind begins at that instant already."""

    code = "contract_conflict"


class CountryUnknown(TenancyError):
    """There is no country of that code; `detail["field"]` names its place."""

    code = "country_unknown"


class CountryRepeated(TenancyError):
    """A country stands in a list twice."""

    code = "country_repeated"


class ContractNotFound(NotFound):
    """The instance has no such contract row."""

    code = "contract_not_found"


class ContractBegun(TenancyError):
    """The contract row is in force, or has been: it cannot be withdrawn any more."""

    code = "contract_begun"


class ContractUnfit(TenancyError):
    """The contract's dates or limits make no sense."""

    code = "contract_unfit"


class AccessPolicyInvalid(TenancyError):
    """The policy contradicts itself, e.g. lists networks as a method and names none."""

    code = "access_policy_invalid"


class NetworkInvalid(TenancyError):
    """The text is no IP network."""

    code = "network_invalid"


class NetworkTooWide(TenancyError):
    """The network lets a large part of the Internet in, and nobody confirmed that."""

    code = "network_too_wide"


class PolicyVersionConflict(TenancyError):
    """The policy has been changed since the caller read it."""

    code = "policy_version_conflict"


class ScopeUnknown(TenancyError):
    """There is no such scope, or none was named."""

    code = "scope_unknown"


class RoleUnknown(TenancyError):
    """There is no such staff role."""

    code = "role_unknown"


class ExpiryUnfit(TenancyError):
    """A token would expire in the past, or too far in the future."""

    code = "expiry_unfit"


class LimitUnfit(TenancyError):
    """A page size out of range."""

    code = "limit_unfit"


class AccessDenied(TenancyError):
    """Root of the reasons why a caller is not let in."""

    code = "access_denied"


class AccessClosed(AccessDenied):
    """The instance's access policy is empty: nobody is let in until the customer chooses."""

    code = "access_closed"


class NetworkNotAllowed(AccessDenied):
    """The caller's address is in none of the allowed networks."""

    code = "network_not_allowed"


class CertificateMissing(AccessDenied):
    """The policy asks for a client certificate."""

    code = "certificate_missing"


class CredentialsMissing(AccessDenied):
    """The policy asks for Basic credentials and none came."""

    code = "credentials_missing"


class CredentialsInvalid(AccessDenied):
    """The secret is wrong, or the API client is disabled."""

    code = "credentials_invalid"


class ScopeMissing(AccessDenied):
    """The caller is known, and may not do this."""

    code = "scope_missing"


class StaffRoleInsufficient(AccessDenied):
    """The member of staff has a role that may not do this."""

    code = "staff_role_insufficient"


class StaffTokenInvalid(AccessDenied):
    """The bearer token is unknown, expired or revoked."""

    code = "staff_token_invalid"


class CredentialKeyExposed(TenancyError):
    """The credential key can be read by others than its owner; it is not used."""

    code = "credential_key_exposed"


class CredentialKeyDamaged(TenancyError):
    """The credential key file does not hold a key."""

    code = "credential_key_damaged"


class CredentialKeyMissing(TenancyError):
    """Secrets were made under a credential key that is gone; a new one would match none of them."""

    code = "credential_key_missing"


class OperationDeadlinePassed(TenancyError):
    """The operation was not finished in time."""

    code = "operation_deadline_passed"


class OperationStepLost(TenancyError):
    """The step's last attempt ended without a word, e.g. because its process was killed."""

    code = "operation_step_lost"


class OperationRunning(TenancyError):
    """Another operation is changing the object already; the detail names it."""

    code = "operation_running"


class OperationStateUnfit(TenancyError):
    """What was asked of an operation does not fit the state it is in."""

    code = "operation_state_unfit"


class OperationStepNeeded(TenancyError):
    """The step cannot be skipped: what comes after it needs it."""

    code = "operation_step_needed"


class OperationPastNoReturn(TenancyError):
    """The operation has done what cannot be undone; it only goes forward."""

    code = "operation_past_no_return"


class OperationOwnerLost(TenancyError):
    """Whoever was working on an operation has lost it to somebody else and has to stop."""

    code = "operation_owner_lost"
