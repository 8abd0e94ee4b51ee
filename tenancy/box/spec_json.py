"""Specifications of boxes as JSON: in the platform database, in what people approve, in the audit. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from app.core.clock import to_text
from app.core.json import JsonObject
from fsb_gateway.box_driver import BoxSpec, DriverName, Faults, TokenSpec, TransactionModel


def describe_spec(spec: BoxSpec) -> JsonObject:
    """A specification; there is no secret in it."""
    return {
        "pool": spec.pool,
        "owner": spec.owner,
        "driver": spec.driver,
        "operation_time_seconds": spec.operation_time.total_seconds(),
        "jitter": spec.jitter,
        "faults": describe_faults(spec.faults),
        "token": None if spec.token is None else describe_token(spec.token),
        "drained": spec.drained,
        "lent_to": spec.lent_to,
        "lent_until": None if spec.lent_until is None else to_text(spec.lent_until),
        "transactions": spec.transactions,
        "transactions_loaded": spec.transactions_loaded,
    }


def read_spec(name: str, described: JsonObject) -> BoxSpec:
    """A specification that was described before; loans are not read."""
    token = described["token"]
    return BoxSpec(
        name=name,
        pool=str(described["pool"]),
        owner=cast(str | None, described["owner"]),
        driver=cast(DriverName, described["driver"]),
        operation_time=timedelta(seconds=cast(float, described["operation_time_seconds"])),
        jitter=cast(float, described["jitter"]),
        faults=read_faults(cast(JsonObject, described["faults"])),
        token=None if token is None else read_token(cast(JsonObject, token)),
        drained=bool(described["drained"]),
        transactions=cast(TransactionModel, described["transactions"]),
        transactions_loaded=cast(int, described["transactions_loaded"]),
    )


def describe_faults(faults: Faults) -> JsonObject:
    """Shares of all jobs."""
    return {
        "busy": faults.busy,
        "timeout": faults.timeout,
        "wrong_answer": faults.wrong_answer,
        "lost_power": faults.lost_power,
    }


def read_faults(described: JsonObject) -> Faults:
    """Shares of all jobs."""
    shares = {name: float(cast(float, share)) for name, share in described.items()}
    return Faults(**shares)


def describe_token(token: TokenSpec) -> JsonObject:
    """Where a token is; never its PIN."""
    return {"module": token.module, "label": token.label, "pin_file": token.pin_file}


def read_token(described: JsonObject) -> TokenSpec:
    """Where a token is."""
    return TokenSpec(
        module=str(described["module"]),
        label=str(described["label"]),
        pin_file=str(described["pin_file"]),
    )


def changed_fields(before: BoxSpec, after: BoxSpec) -> tuple[JsonObject, JsonObject]:
    """What is otherwise now, and how that was before."""
    old, new = describe_spec(before), describe_spec(after)
    names = [name for name in new if new[name] != old[name]]
    return {name: new[name] for name in names}, {name: old[name] for name in names}
