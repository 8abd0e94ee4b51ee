"""Examples of everything about access, for the OpenAPI descriptions."""

from __future__ import annotations

from typing import Any, Final

_TIME: Final = "2026-11-21T10:15:00Z"
_CLIENT_ID: Final = "cli_019b0a3c3d4e7f508a9b0c1d2e3f4a5b"

ACCESS: Final[dict[str, Any]] = {
    "mode": "all",
    "methods": ["basic", "certificate", "network"],
    "networks": ["192.0.2.0/24"],
    "network_scopes": ["read"],
    "version": 2,
}
CERTIFICATE: Final[dict[str, Any]] = {
    "certificate_id": "crt_019b0a3c4f5a7b608c9d0e1f2a3b4c5d",
    "kind": "issuer_subject",
    "fingerprint": "5f0c2d6b1e0a4c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f5",
    "subject": "CN=erp,O=ACME Drawing GmbH,C=DE",
    "not_after": "2028-11-21T10:15:00Z",
    "created_at": _TIME,
    "last_used_at": _TIME,
}
CLIENT: Final[dict[str, Any]] = {
    "client_id": _CLIENT_ID,
    "name": "erp",
    "username": "acme-ha.erp",
    "scopes": ["orders", "read"],
    "created_at": _TIME,
    "disabled_at": None,
    "expires_at": None,
    "last_used_at": _TIME,
    "rate_per_second": 50,
    "burst": 50,
    "version": 1,
    "secrets": [
        {
            "secret_id": "sec_019b0a3c3d4e7f508a9b0c1d2e3f4a5c",
            "created_at": _TIME,
            "ends_at": None,
            "last_used_at": _TIME,
        }
    ],
    "certificates": [CERTIFICATE],
}
CREDENTIALS: Final[dict[str, Any]] = {"client": CLIENT, "secret": "(shown once)"}
DIAGNOSIS: Final[dict[str, Any]] = {
    "let_in": False,
    "code": "network_not_allowed",
    "decided_by": "network",
    "principal": None,
    "scopes": [],
    "mode": "all",
    "findings": [
        {
            "rule": "network",
            "outcome": "fails",
            "code": "network_not_allowed",
            "saw": "198.51.100.7",
            "compared_with": ["192.0.2.0/24"],
            "advice": "Call from one of these networks, or add this address to them.",
            "hotline_text": {"en": "…", "de": "…"},
        }
    ],
}
FAILURE: Final[dict[str, Any]] = {
    "client": "acme-ha.erp",
    "network": "198.51.100.7/32",
    "code": "credentials_invalid",
    "failures": 7,
    "first_at": _TIME,
    "last_at": _TIME,
}
