"""Examples and refusals for the OpenAPI description."""

from __future__ import annotations

from typing import Any, Final, Protocol

Answers = dict[int | str, dict[str, Any]]


class Documenter(Protocol):
    """Describes the answers of a route; see `documenter`."""

    def __call__(self, status: int, value: object, *refused: int) -> Answers:
        """A successful answer with an example of it, None: it has no content; and what the route may refuse with."""
        ...


_TIME: Final = "2026-11-21T10:15:00Z"
_TICKET: Final = "NFGSX-VWNYJ-T74CD-48H5B-7NEEJ"
_LICENSE_ID: Final = "lic_019b0a3c5d7e7f018293a4b5c6d7e8f9"
_TRANSFER_ID: Final = "trf_019b0a3c6a1b7c2d8e9f0a1b2c3d4e5f"
_SERIAL: Final = "130-1029384756"

OPTIONS: Final[dict[str, Any]] = {
    "product_code": 201,
    "feature_map": 5,
    "license_quantity": 1,
    "unit_counter": None,
    "activation_time": None,
    "expiration_time": "2027-12-31T23:00:00Z",
    "usage_period_seconds": None,
    "maintenance_start": None,
    "maintenance_end": None,
    "text": None,
}
ITEM: Final[dict[str, Any]] = {
    "item_id": "itm_019b0a3c4f6d7e8f9a0b1c2d3e4f5a6b",
    "sku": "DRAW-PRO",
    "name": "Drawing Pro",
    "options": OPTIONS,
    "container_types": [],
    "returnable": True,
    "version": 1,
    "created_at": _TIME,
    "changed_at": _TIME,
}
ORDER: Final[dict[str, Any]] = {
    "order_id": "ord_019b0a3c517a7b8c9d0e1f2a3b4c5d6e",
    "order_number": "SO-2026-0815",
    "ticket": _TICKET,
    "customer_reference": "D-40017",
    "positions": [{"position": 10, "sku": "DRAW-PRO", "quantity": 1, "options": {}}],
    "license_count": 1,
    "created_at": _TIME,
    "changed_at": _TIME,
}
LICENSE: Final[dict[str, Any]] = {
    "license_id": _LICENSE_ID,
    "ticket": _TICKET,
    "order_number": "SO-2026-0815",
    "position": 10,
    "sku": "DRAW-PRO",
    "item_name": "Drawing Pro",
    "options": OPTIONS,
    "returnable": True,
    "container_types": [],
    "state": "confirmed_collected",
    "generation": 1,
    "container": _SERIAL,
    "pending_transfer": None,
    "created_at": _TIME,
    "changed_at": _TIME,
}
TICKET: Final[dict[str, Any]] = {
    "ticket": _TICKET,
    "order_number": "SO-2026-0815",
    "created_at": _TIME,
    "licenses": [LICENSE],
}
HOLDER_TICKET: Final[dict[str, Any]] = {
    "ticket": _TICKET,
    "licenses": [
        {
            "license_id": _LICENSE_ID,
            "sku": "DRAW-PRO",
            "item_name": "Drawing Pro",
            "state": "not_collected",
            "container": None,
            "returnable": True,
            "expiration_time": "2027-12-31T23:00:00Z",
        }
    ],
}
CONTAINER: Final[dict[str, Any]] = {
    "serial": _SERIAL,
    "container_type": "cm_act_license",
    "state": "ok",
    "reason": None,
    "fuc_confirmed": 1,
    "fuc_issued": 1,
    "key_thumbprint": "J4pBd3VwV0mXhAbpGQaXlWm7i5n3R0a0bX3zZ5nW8pE",
    "reported_fuc": None,
    "open_transfer": None,
    "licenses": [LICENSE],
    "last_context_at": _TIME,
    "created_at": _TIME,
    "changed_at": _TIME,
}
TRANSFER: Final[dict[str, Any]] = {
    "transfer_id": _TRANSFER_ID,
    "container": _SERIAL,
    "ticket": _TICKET,
    "action": "activate",
    "state": "issued",
    "base_fuc": 0,
    "fuc": 1,
    "licenses": [{"license_id": _LICENSE_ID, "action": "activate"}],
    "update": "-----BEGIN WOPS UPDATE-----\neyJhbGciOiJFQ0RILUVTIi…\n-----END WOPS UPDATE-----\n",
    "reason": None,
    "queue": None,
    "deadline_at": "2026-11-21T10:25:00Z",
    "created_at": _TIME,
    "issued_at": _TIME,
    "confirmed_at": None,
}
_PLACE: Final[dict[str, Any]] = {
    "state": "waiting",
    "position": 3,
    "expected_wait_seconds": 4.2,
    "expected_wait_p95_seconds": 6.1,
    "others_share": 0.5,
    "reason": None,
    "waited_seconds": 2.5,
    "caused_by_others_seconds": 1.2,
}
RESERVED: Final[dict[str, Any]] = {
    **TRANSFER,
    "state": "reserved",
    "update": None,
    "issued_at": None,
    "queue": _PLACE,
}
CANCELLED: Final[dict[str, Any]] = {
    **RESERVED,
    "state": "rolled_back",
    "reason": "cancelled",
    "queue": None,
}
QUEUE: Final[dict[str, Any]] = {
    "reason": None,
    "waiting": 1,
    "running": 0,
    "unknown": 0,
    "position": 4,
    "expected_wait_seconds": 4.9,
    "expected_wait_p95_seconds": 7.0,
    "others_share": 0.4,
    "finished": {
        "jobs": 120,
        "operations": 131,
        "waited_seconds": 48.0,
        "caused_by_others_seconds": 12.0,
        "caused_by_others_share": 0.25,
    },
    "jobs": [{"transfer_id": _TRANSFER_ID, "operations": 1, **_PLACE}],
}
EVENTS: Final[dict[str, Any]] = {
    "data": [
        {
            "sequence": 42,
            "event_id": "evt_019b0a3c6f2a7b8c9d0e1f2a3b4c5d6e",
            "type": "license.collected",
            "subject": _LICENSE_ID,
            "data": {"license_id": _LICENSE_ID, "container": _SERIAL, "transfer_id": _TRANSFER_ID},
            "occurred_at": _TIME,
        }
    ],
    "last_sequence": 42,
    "has_more": False,
}
USAGE: Final[dict[str, Any]] = {
    "period": "2026-11",
    "resets_at": "2026-11-30T23:00:00Z",
    "meters": [
        {
            "meter": "activations",
            "included": True,
            "used": 1234,
            "voided": 0,
            "open": 0,
            "limit": 25000,
            "refusal_limit": 30000,
            "overage": "grace",
            "edition": "high_performance",
            "thresholds_reached": [],
        }
    ],
}
_MEANING: Final = {
    400: "An idempotency key is missing or unfit.",
    401: "Credentials are missing or wrong.",
    403: "Not from this network, not with these rights, or not in this edition.",
    404: "Not there, or not yours.",
    409: "The state of things forbids it; `code` says why.",
    410: "The instance has been erased; its certificate of erasure says what it was.",
    412: "Changed since you read it.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Malformed or out of range; `errors` says where.",
    428: "If-Match is missing.",
    429: "The month's quota is used up, or the box has too much to do; Retry-After says when to come back.",
    503: "Not possible at the moment and nothing was changed; send the same request again.",
}


def example(status: int, value: object) -> Answers:
    """A successful answer with an example of it; None: it has no content."""
    if value is None:
        return {status: {"description": "Done."}}
    return {status: {"description": "Done.", "content": {"application/json": {"example": value}}}}


def problem(status: int) -> Answers:
    """A refusal as RFC 9457 problem."""
    shown = {
        "type": "/problems/…",
        "title": _MEANING[status],
        "status": status,
        "detail": "What happened, and what to do next.",
        "instance": "urn:wops:request:req_019b0a3c…",
        "code": "stable_snake_case",
        "retryable": status in (429, 503),
        "hotline_text": {"en": "…", "de": "…"},
    }
    return {
        status: {"description": _MEANING[status], "content": {"application/problem+json": {"example": shown}}}
    }


def refusals(*statuses: int) -> Answers:
    """Refusals of a web service: its own, and those that every one has."""
    return _problems(*statuses, 401, 403, 404, 413, 415, 429, 503)


def open_refusals(*statuses: int) -> Answers:
    """Refusals of a route that needs no credentials."""
    return _problems(*statuses, 413, 415, 503)


def documenter(*always: int) -> Documenter:
    """What describes the answers of an API: a successful one, a route's own refusals, and those every route has."""

    def document(status: int, value: object, *refused: int) -> Answers:
        return {**example(status, value), **_problems(*refused, *always)}

    return document


def _problems(*statuses: int) -> Answers:
    found: Answers = {}
    for status in sorted(set(statuses)):
        found.update(problem(status))
    return found
