"""The job of a transfer: stored as JSON with its reservation, sent to the gateway as a value. Pure.

What is programmed is fixed by the reservation. To which pool it is sent, and with which share of it, follows the
instance as it is then: contract and boxes may have changed since, and for the gateway it stays the same job. The pool
that is stored with it is where it was reserved for, and where an older line sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.clock import from_us
from app.core.ids import InstanceId, TransferId
from app.core.json import JsonObject, JsonValue
from fsb_gateway import ProgrammingJob, ProgrammingOperation, ProgrammingStep


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceIdentity:
    """Whose License Central this is, and which boxes program for it.

    Attributes:
        box_share: its weight where it shares boxes with other instances (1–100).
    """

    instance_id: InstanceId
    firm_code: int
    pool: str
    box_share: int = 1


def job_of(transfer_id: TransferId, stored: JsonObject, identity: InstanceIdentity) -> ProgrammingJob:
    """The job to be sent; what it programs is the same however often and from wherever it is sent."""
    return ProgrammingJob(
        job_id=transfer_id,
        instance_id=str(stored["instance_id"]),
        pool=identity.pool,
        firm_code=_int(stored["firm_code"]),
        container_serial=str(stored["container_serial"]),
        container_key={name: str(value) for name, value in _object(stored["container_key"]).items()},
        base_fuc=_int(stored["base_fuc"]),
        context_digest=str(stored["context_digest"]),
        steps=tuple(
            ProgrammingStep(
                fuc=_int(_object(step)["fuc"]), operations=_operations(_object(step)["operations"])
            )
            for step in _list(stored["steps"])
        ),
        deadline_at=from_us(_int(stored["deadline_at_us"])),
        # Reservations of an older wops have none.
        priority="batch" if stored.get("priority") == "batch" else "interactive",
        weight=identity.box_share,
    )


def _operations(stored: JsonValue) -> tuple[ProgrammingOperation, ...]:
    return tuple(
        ProgrammingOperation(
            op="add_product_item" if each["op"] == "add_product_item" else "delete_product_item",
            license_id=str(each["license_id"]),
            generation=_int(each["generation"]),
            product=dict(_object(each["product"])),
        )
        for each in map(_object, _list(stored))
    )


def _int(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise TypeError("a stored job holds a number here")
    return value


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, Mapping):
        raise TypeError("a stored job holds an object here")
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError("a stored job holds a list here")
    return value
