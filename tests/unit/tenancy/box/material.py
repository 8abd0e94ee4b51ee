"""Boxes, pools and keys as values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.core.ids import InstanceId
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.report import BoxReport, FirmKeyReport, PoolReport
from tenancy.box.record import BoxRecord, BoxState, KeyHome

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def box(
    name: str = "shared-box-1", pool: str = "shared", *, state: BoxState = "active", **more: Any
) -> BoxRecord:
    spec = BoxSpec(name=name, pool=pool, **more)
    return BoxRecord(spec=spec, state=state, version=1, created_at=NOW)


def lent(record: BoxRecord, to: str, until: datetime) -> BoxRecord:
    return replace(record, spec=replace(record.spec, lent_to=to, lent_until=until))


def home(firm_code: int, pool: str = "shared") -> KeyHome:
    return KeyHome(instance_id=InstanceId(f"ins_{firm_code}"), firm_code=firm_code, pool=pool)


def key(firm_code: int, *boxes: str, **more: Any) -> FirmKeyReport:
    given: dict[str, Any] = {
        "firm_code": firm_code,
        "instance_id": f"ins_{firm_code}",
        "algorithm": "ES256",
        "state": "active",
        "key_id": f"key_{firm_code}",
        "fingerprint": "00" * 32,
        "made_at": NOW,
        "expires_at": NOW + timedelta(days=365),
        "boxes": boxes,
        "certificate": "",
        "former": (),
    }
    return FirmKeyReport(**{**given, **more})


def report(name: str = "shared-box-1", pool: str = "shared", **more: Any) -> BoxReport:
    given: dict[str, Any] = {
        "name": name,
        "pool": pool,
        "works_for": pool,
        "owner": None,
        "driver": "software",
        "condition": "ready",
        "temperature": "cold",
        "utilisation": 0.0,
        "running": 0,
        "jobs_done": 0,
        "operations_done": 0,
        "busy_seconds": 0.0,
        "failures": {},
        "consecutive_failures": 0,
        "error": None,
        "retry_at": None,
        "lent_until": None,
        "transactions": "unlimited",
        "transactions_left": None,
        "transactions_low": False,
        "firm_codes": (),
        "version": 1,
    }
    return BoxReport(**{**given, **more})


def pool(name: str = "shared", **more: Any) -> PoolReport:
    given: dict[str, Any] = {
        "name": name,
        "owner": None,
        "boxes": ("shared-box-1",),
        "ready_boxes": 1,
        "reason": None,
        "waiting": 0,
        "waiting_operations": 0,
        "running": 0,
        "unknown": 0,
        "oldest_seconds": 0.0,
        "expected_wait_seconds": 0.0,
        "expected_wait_p95_seconds": 0.0,
        "utilisation": 0.0,
        "jobs_done": 0,
        "jobs_failed": 0,
        "operations_done": 0,
        "operation_seconds": None,
        "instances": (),
    }
    return PoolReport(**{**given, **more})
