"""Examples about the life of an instance for the OpenAPI description."""

from __future__ import annotations

from typing import Any, Final

_OPERATION_ID: Final = "opn_019b0a3c3b2c7d3e8f9a0b1c2d3e4f5a"

EXPORT: Final[dict[str, Any]] = {
    "export_id": _OPERATION_ID,
    "final": False,
    "file_name": f"{_OPERATION_ID}.zip",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 48213,
    "manifest": {"format": "wops-export-1", "files": [{"table": "item", "rows": 12}]},
    "created_at": "2026-11-21T10:15:00Z",
    "deleted_at": None,
}
CERTIFICATE: Final[dict[str, Any]] = {
    "instance_id": "ins_019b0a3c3a1b7c2d8e9f0a1b2c3d4e5f",
    "algorithm": "Ed25519",
    "key_id": "aud_5f2b6c0d9e8f7a6b5c4d3e2f1a0b9c8d",
    "document": '{"format":"wops-erasure-certificate-1"}',
    "signature": "00" * 64,
}
EXPORT_REQUEST: Final[dict[str, Any]] = {"export_id": _OPERATION_ID, "state": "queued"}
