"""Examples of everything about rules, for the OpenAPI descriptions."""

from __future__ import annotations

from typing import Any, Final

from app.http.schema.admin_example import page

_VERSION: Final[dict[str, Any]] = {
    "version": 3,
    "created_at": "2026-11-21T10:15:00Z",
    "actor": {"kind": "client", "id": "cli_019b0a3c3d4e7f508a9b0c1d2e3f4a5b"},
    "reason": "night batches",
    "restored": None,
    "rule_names": ["batch"],
}
RULE_SET: Final[dict[str, Any]] = {
    **_VERSION,
    "rules": [
        {
            "name": "batch",
            "match": {
                "path_prefix": "/api/",
                "header": {"name": "x-client-class", "value": "batch"},
                "source": "office",
            },
            "action": {
                "kind": "lines",
                "weights": {"acme-ha-2": 1},
                "sticky": False,
                "otherwise": "any_line",
            },
        }
    ],
    "sources": {"office": ["192.0.2.0/24"]},
}
RULES: Final[dict[str, Any]] = {**RULE_SET, "warnings": []}
VERSIONS: Final[dict[str, Any]] = page(_VERSION)
TRIAL: Final[dict[str, Any]] = {
    "version": 3,
    "outcome": "line",
    "code": None,
    "retry_after_seconds": None,
    "rule": "batch",
    "by": "rule",
    "line": "acme-ha-2",
    "candidates": [{"line_id": "acme-ha-2", "weight": 1, "share": 1.0}],
    "sticky_for": None,
    "verdicts": [{"rule": "batch", "outcome": "decides", "condition": None, "wanted": [], "seen": None}],
    "sentence": {
        "en": "This request would go to line acme-ha-2, because rule “batch” holds (the path begins with /api/, "
        "the address is in office, the header x-client-class: batch).",
        "de": "Diese Anfrage ginge an Linie acme-ha-2, weil die Regel „batch“ zutrifft (der Pfad beginnt mit "
        "/api/, die Adresse liegt in office, die Kopfzeile x-client-class: batch).",
    },
    "warnings": [],
}
