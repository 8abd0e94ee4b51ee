"""The one table from the code of an error to the problem that callers see. Pure.

It is keyed by code and not by class, because errors travel by their code: from the gateway, in the records
of operations, to the pages. A test walks all modules and fails if a subclass of `DomainError` has no row.

**Source:** statuses by STYLE §3 and the peers reference §3: 422 malformed or out of range · 404 absent or not
yours · 409 state and conflicts · 412 stale version · 403 not allowed · 401 not known · 429 quota or queue ·
503 come back later.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.core.errors import DomainError
from app.http.problem_catalog_access import ACCESS_PROBLEMS
from app.http.problem_catalog_balancer import BALANCER_PROBLEMS
from app.http.problem_catalog_box import BOX_PROBLEMS
from app.http.problem_catalog_box_failure import BOX_FAILURE_PROBLEMS
from app.http.problem_catalog_container import CONTAINER_PROBLEMS
from app.http.problem_catalog_edition import EDITION_PROBLEMS
from app.http.problem_catalog_entrance import ENTRANCE_PROBLEMS
from app.http.problem_catalog_fleet_box import FLEET_BOX_PROBLEMS
from app.http.problem_catalog_front import FRONT_PROBLEMS
from app.http.problem_catalog_kernel import KERNEL_PROBLEMS
from app.http.problem_catalog_kind import ProblemKind
from app.http.problem_catalog_license import LICENSE_PROBLEMS
from app.http.problem_catalog_lifecycle import LIFECYCLE_PROBLEMS
from app.http.problem_catalog_line import LINE_PROBLEMS
from app.http.problem_catalog_line_process import LINE_PROCESS_PROBLEMS
from app.http.problem_catalog_migration import MIGRATION_PROBLEMS
from app.http.problem_catalog_operation import OPERATION_PROBLEMS
from app.http.problem_catalog_platform import PLATFORM_PROBLEMS
from app.http.problem_catalog_reconcile import RECONCILE_PROBLEMS
from app.http.problem_catalog_rule import RULE_PROBLEMS
from app.http.problem_catalog_rule_version import RULE_VERSION_PROBLEMS
from app.http.problem_catalog_server import SERVER_PROBLEMS
from app.http.problem_catalog_staff import STAFF_PROBLEMS
from app.http.problem_catalog_transfer import TRANSFER_PROBLEMS

PROBLEM_KINDS: Final[tuple[ProblemKind, ...]] = (
    *KERNEL_PROBLEMS,
    *LICENSE_PROBLEMS,
    *TRANSFER_PROBLEMS,
    *EDITION_PROBLEMS,
    *BOX_PROBLEMS,
    *FLEET_BOX_PROBLEMS,
    *BOX_FAILURE_PROBLEMS,
    *PLATFORM_PROBLEMS,
    *LIFECYCLE_PROBLEMS,
    *LINE_PROBLEMS,
    *ACCESS_PROBLEMS,
    *ENTRANCE_PROBLEMS,
    *FRONT_PROBLEMS,
    *CONTAINER_PROBLEMS,
    *SERVER_PROBLEMS,
    *STAFF_PROBLEMS,
    *OPERATION_PROBLEMS,
    *MIGRATION_PROBLEMS,
    *RULE_PROBLEMS,
    *RULE_VERSION_PROBLEMS,
    *LINE_PROCESS_PROBLEMS,
    *BALANCER_PROBLEMS,
    *RECONCILE_PROBLEMS,
)
"""Every kind once; each has a page."""

_BY_CODE: Final[dict[str, ProblemKind]] = {kind.code: kind for kind in PROBLEM_KINDS}

INTERNAL_ERROR: Final = _BY_CODE["internal_error"]

WITHHELD: Final = frozenset(
    {
        # Whether a key lies open or is lost is nobody's business but the operators', who read it in the log.
        "audit_key_unfit",
        "credential_key_damaged",
        "credential_key_exposed",
        "credential_key_missing",
        "database_password_damaged",
        "host_key_damaged",
        "key_damaged",
        "key_encryption_key_exposed",
        "key_encryption_key_missing",
        "keystore_error",
        # What a line says before it serves anybody.
        "line_file_damaged",
        "line_file_error",
        "line_file_exposed",
        "line_file_outdated",
        "line_running",
        # Defects of ours that say nothing to a caller.
        "contract_altered",
        "effect_already_recorded",
        "effect_not_reserved",
        "haproxy_argument_invalid",
        "haproxy_too_large",
        # The command line's own: what it says to the person before it, never an answer.
        "address_not_free",
        "cluster_damaged",
        "cluster_missing",
        "cluster_running",
        "data_dir_unfit",
        "database_not_made",
        "demo_step_failed",
        "net_error",
        "net_protocol_error",
        "net_rejected",
        "net_unavailable",
        "operation_failed",
        "pair_node_unknown",
        "pair_settings_unfit",
        "part_not_ended",
        "part_not_started",
        "program_missing",
        "system_call_failed",
        # What a healer says that may not act; nobody calls it.
        "reconcile_lease_lost",
        # What an operator has set up wrongly; only he is told.
        "front_settings_unfit",
        # Roots: raised by nobody as such.
        "front_error",
        "reconcile_error",
        "editions_error",
        "fsb_error",
        "haproxy_error",
        "migration_error",
        "pair_error",
        "routing_error",
        "tenancy_error",
    }
)
"""Codes of errors that callers see as `internal_error`."""

PROBLEM_BY_CODE: Final[Mapping[str, ProblemKind]] = MappingProxyType(
    _BY_CODE | dict.fromkeys(WITHHELD, INTERNAL_ERROR)
)
"""The problem for every code that an error may carry."""


def problem_kind_of(error: DomainError) -> ProblemKind:
    """The kind of an error: its own or that of its nearest ancestor."""
    codes = (getattr(ancestor, "code", "") for ancestor in type(error).__mro__)
    return next((PROBLEM_BY_CODE[code] for code in codes if code in PROBLEM_BY_CODE), INTERNAL_ERROR)
