"""Examples of the admin API for the OpenAPI description."""

from __future__ import annotations

from typing import Any, Final

_TIME: Final = "2026-11-21T10:15:00Z"
_INSTANCE_ID: Final = "ins_019b0a3c3a1b7c2d8e9f0a1b2c3d4e5f"

CUSTOMER: Final[dict[str, Any]] = {
    "customer_id": "cus_019b0a3c2f7d7e8f9a0b1c2d3e4f5a6b",
    "name": "acme",
    "display_name": "ACME Drawing GmbH",
    "created_at": _TIME,
}
INSTANCE: Final[dict[str, Any]] = {
    "instance_id": _INSTANCE_ID,
    "customer_id": CUSTOMER["customer_id"],
    "name": "acme-ha",
    "edition": "high_availability",
    "lines": 2,
    "country": "DE",
    "firm_code": 6000010,
    "pool": "acme-ha",
    "state": "ready",
    "health": "unknown",
    "config_version": 1,
    "applied_version": 1,
    "servers": ["local-dedicated-1", "local-dedicated-2"],
    "contract_edition": "high_availability",
    "contract_lines": 2,
    "created_at": _TIME,
    "retained_until": None,
    "due_for_erasure": False,
}
OPERATION: Final[dict[str, Any]] = {
    "operation_id": "opn_019b0a3c3b2c7d3e8f9a0b1c2d3e4f5a",
    "kind": "provision_instance",
    "object_id": _INSTANCE_ID,
    "state": "running",
    "steps": [
        {
            "name": "create_database",
            "state": "succeeded",
            "attempts": 1,
            "waiting_for": None,
            "finished_at": _TIME,
        },
        {
            "name": "install_firm_key",
            "state": "pending",
            "attempts": 0,
            "waiting_for": None,
            "finished_at": None,
        },
    ],
    "steps_done": 1,
    "attempts": 1,
    "due_at": _TIME,
    "deadline_at": "2026-11-21T11:15:00Z",
    "error_code": None,
    "error_message": None,
    "created_at": _TIME,
    "finished_at": None,
    "decisions": ["cancel"],
}
CONTRACT: Final[dict[str, Any]] = {
    "contract_id": "ctr_019b0a3c3c3d7e4f8a9b0c1d2e3f4a5b",
    "kind": "base",
    "edition": "high_availability",
    "lines": 2,
    "overage": "grace",
    "effective_from": _TIME,
    "effective_until": None,
    "limits": None,
    "countries": ["DE"],
}
EDITIONS: Final[list[dict[str, Any]]] = [
    {
        "edition": "datacenter",
        "name": {"en": "Datacenter", "de": "Datacenter"},
        "activations": 1500,
        "web_service_calls": None,
        "per_line": False,
        "min_lines": 1,
        "server": "shared",
        "box": "shared",
        "availability_per_mille": 995,
        "web_services": False,
    }
]
LEDGER_ENTRY: Final[dict[str, Any]] = {
    "effect_id": "trf_019b0a3c6a1b7c2d8e9f0a1b2c3d4e5f:0",
    "phase": "counted",
    "kind": "activation",
    "subject": "lic_019b0a3c5d7e7f018293a4b5c6d7e8f9",
    "reference": "trf_019b0a3c6a1b7c2d8e9f0a1b2c3d4e5f",
    "principal": "acme-ha.erp",
    "at": _TIME,
    "position": "1763720100000000:1:trf_019b0a3c6a1b7c2d8e9f0a1b2c3d4e5f:0",
}


def page(entry: object) -> dict[str, Any]:
    """A page with one entry."""
    return {"data": [entry], "page": {"next": None, "has_more": False}}
