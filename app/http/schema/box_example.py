"""Examples of boxes, pools and firm keys for the OpenAPI description."""

from __future__ import annotations

from typing import Any, Final

from app.http.schema.example import QUEUE as OWN_QUEUE

_TIME: Final = "2026-11-21T10:15:00Z"
_INSTANCE: Final = "ins_019b0a3c3a1b7c2d8e9f0a1b2c3d4e5f"
_OPERATION: Final = "opn_019b0a3c7f8e9d0c1b2a394857667584"
_FINGERPRINT: Final = "5d1f" * 16
_HASH: Final = "9c0e" * 16

BOX: Final[dict[str, Any]] = {
    "name": "shared-box-1",
    "pool": "shared",
    "works_for": "shared",
    "owner": None,
    "driver": "software",
    "state": "active",
    "drained": False,
    "drained_by": None,
    "lent_to": None,
    "lent_until": None,
    "operation_time_ms": 20,
    "jitter": 0.1,
    "faults": {"busy": 0.0, "timeout": 0.0, "wrong_answer": 0.0, "lost_power": 0.0},
    "token": None,
    "transactions": "standard",
    "transactions_loaded": 5000,
    "transactions_left": 4269,
    "transactions_low": False,
    "condition": "ready",
    "condition_since": None,
    "temperature": "warm",
    "utilisation": 0.62,
    "running": 1,
    "jobs_done": 731,
    "operations_done": 1204,
    "busy_seconds": 24.1,
    "failures": {"box_timed_out": 1},
    "consecutive_failures": 0,
    "error": None,
    "retry_at": None,
    "firm_codes": [6000100],
    "version": 1,
    "created_at": _TIME,
}
BOX_CREATE: Final[dict[str, Any]] = {
    "name": "shared-box-2",
    "pool": "shared",
    "driver": "software",
    "operation_time_ms": 20,
    "jitter": 0.1,
    "transactions": "standard",
    "transactions_loaded": 5000,
    "reason": "Ticket 4711: December needs a second box.",
}
BOX_CREATE_PKCS11: Final[dict[str, Any]] = {
    "name": "acme-box-2",
    "pool": "acme",
    "driver": "pkcs11",
    "token": {
        "module": "/usr/lib/softhsm/libsofthsm2.so",
        "label": "acme-box-2",
        "pin_file": "/etc/wops/acme-box-2.pin",
    },
    "reason": "Ticket 4712: a box of their own hardware.",
}
BOX_CHANGE: Final[dict[str, Any]] = {"operation_time_ms": 25, "jitter": 0.05}
BOX_LOAN: Final[dict[str, Any]] = {
    "to": "acme",
    "hours": 48,
    "force": False,
    "reason": "Ticket 4713: their own box is in repair.",
}
DRAINED: Final[dict[str, Any]] = {
    **BOX,
    "drained": True,
    "drained_by": "staff",
    "condition": "drained",
    "version": 2,
}
POOL: Final[dict[str, Any]] = {
    "name": "shared",
    "owner": None,
    "boxes": ["shared-box-1"],
    "ready_boxes": 1,
    "without_key": [],
    "reason": None,
    "without_box_since": None,
    "waiting": 3,
    "waiting_operations": 5,
    "running": 1,
    "unknown": 0,
    "oldest_seconds": 0.08,
    "expected_wait_seconds": 0.12,
    "expected_wait_p95_seconds": 0.15,
    "utilisation": 0.62,
    "jobs_done": 731,
    "jobs_failed": 1,
    "operations_done": 1204,
    "operation_seconds": {"p50": 0.02, "p95": 0.022, "p99": 0.023},
}
POOL_WITHOUT_BOX: Final[dict[str, Any]] = {
    **POOL,
    "name": "acme",
    "owner": _INSTANCE,
    "boxes": ["acme-box-1"],
    "ready_boxes": 0,
    "reason": "pool_without_box",
    "without_box_since": _TIME,
    "running": 0,
    "unknown": 1,
}
POOL_DETAIL: Final[dict[str, Any]] = {
    **POOL,
    "instances": [
        {
            "instance_id": _INSTANCE,
            "waiting": 2,
            "running": 1,
            "unknown": 0,
            "jobs_done": 431,
            "operations_done": 804,
            "share": 0.67,
            "waited_seconds": 31.5,
            "caused_by_others_seconds": 9.8,
        }
    ],
}
QUEUE: Final[dict[str, Any]] = {**OWN_QUEUE, "instance_id": _INSTANCE, "pool": "shared"}
FIRM_KEY: Final[dict[str, Any]] = {
    "firm_code": 6000100,
    "instance_id": _INSTANCE,
    "algorithm": "ES256",
    "state": "active",
    "key_id": f"key_{_OPERATION}",
    "fingerprint": _FINGERPRINT,
    "made_at": _TIME,
    "expires_at": "2036-11-18T10:15:00Z",
    "boxes": ["shared-box-1", "shared-box-2"],
    "owed": ["shared-box-3"],
    "former": [
        {"key_id": "key_019b0a3c2b2c7d3e", "fingerprint": "77aa" * 16, "retired_at": _TIME},
    ],
}
FIRM_KEY_DETAIL: Final[dict[str, Any]] = {
    **FIRM_KEY,
    "certificate": "-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n",
}
_CERTIFICATE: Final[dict[str, Any]] = {
    "serial_number": "4f3a9b",
    "not_before": _TIME,
    "not_after": "2036-11-18T10:15:00Z",
    "sha256": _HASH,
}
CEREMONY: Final[dict[str, Any]] = {
    "document": {
        "format": "wops-key-ceremony-1",
        "operation": {
            "operation_id": _OPERATION,
            "kind": "rotate_firm_key",
            "object_id": _INSTANCE,
            "state": "succeeded",
            "started_by": "per_019b0a3c4d5e6f708192a3b4c5d6e7f9",
            "created_at": _TIME,
            "finished_at": "2026-11-21T10:15:02Z",
        },
        "approval": {
            "approval_id": "apr_019b0a3c5a6b7c8d9e0f1a2b3c4d5e6f",
            "action": "rotateFirmKey",
            "parameters": {"firm_code": 6000100},
            "reason": "Yearly rotation.",
            "requested_by": "per_019b0a3c4d5e6f708192a3b4c5d6e7f8",
            "requested_at": _TIME,
            "decided_by": "per_019b0a3c4d5e6f708192a3b4c5d6e7f9",
            "decided_at": _TIME,
        },
        "keys": [
            {
                "event": "firm_key.rotated",
                "at": _TIME,
                "firm_code": 6000100,
                "instance_id": _INSTANCE,
                "key_id": f"key_{_OPERATION}",
                "algorithm": "ES256",
                "fingerprint": _FINGERPRINT,
                "state": "active",
                "boxes": ["shared-box-1"],
                "certificate": _CERTIFICATE,
                "ca_certificate": _CERTIFICATE,
                "before": {"key_id": "key_019b0a3c2b2c7d3e", "fingerprint": "77aa" * 16},
            }
        ],
        "steps": [{"name": "rotate", "state": "succeeded", "attempts": 1, "finished_at": _TIME}],
        "log": [{"number": 1, "at": _TIME, "event": "queued", "step": "", "message": ""}],
        "audit": [
            {
                "chain": "platform",
                "sequence": 815,
                "type": "firm_key.rotated",
                "at": _TIME,
                "actor": "stk_019b0a3c3e5f70618a9b0c1d2e3f4a5b",
                "action": "rotateFirmKey.rotate",
                "reason": "Yearly rotation.",
                "hash": _HASH,
            }
        ],
    },
    "sha256": _HASH,
    "people": {"per_019b0a3c4d5e6f708192a3b4c5d6e7f8": "mona@wibu.example"},
}
