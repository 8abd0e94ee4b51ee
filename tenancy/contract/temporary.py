"""The contract row of a temporary line, in the transaction that orders or ends the line."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from app.core.clock import to_text
from app.core.db import Tx
from app.core.ids import InstanceId
from app.core.json import JsonObject
from editions.limit import Contract, check_contract, contract_in_force
from tenancy import repository as instances
from tenancy.contract import repository
from tenancy.line.errors import LineEditionUnfit
from tenancy.record import ContractRecord, Instance

_LEAST: Final = timedelta(microseconds=1)
"""Of time as it is stored."""


def add_temporary_line(
    tx: Tx, instance: Instance, contract_id: str, *, starts_at: datetime, ends_at: datetime
) -> None:
    """Contract one line more for a time; the month's quota follows from it. Emits `contract.added`.

    Rows of a kind begin at different instants: of two lines that are to start at the same, the second one is contracted
    a microsecond later.

    Raises:
        LineEditionUnfit: another edition is contracted at that time, or none.
        ContractInvalid: the row contradicts the catalogue.
    """
    instances.raise_config_version(tx, instance.instance_id)
    known = repository.list_contracts(tx, instance.instance_id)
    base = contract_in_force([each.contract for each in known], starts_at)
    if base is None or base.edition != instance.edition:
        raise LineEditionUnfit(
            "The contract in force at that time has no temporary lines.",
            edition=None if base is None else base.edition,
        )
    taken = {each.contract.effective_from for each in known if each.contract.kind == "temporary_lines"}
    while starts_at in taken:
        starts_at += _LEAST
    row = Contract(
        contract_id=contract_id,
        kind="temporary_lines",
        edition=base.edition,
        lines=1,
        overage=base.overage,
        effective_from=starts_at,
        effective_until=ends_at,
    )
    check_contract(row)
    countries = next(each.countries for each in known if each.contract is base)
    _add(
        tx,
        ContractRecord(
            instance_id=instance.instance_id, contract=row, created_at=tx.now, countries=countries
        ),
    )
    tx.emit("contract.added", subject=instance.instance_id, data=_describe(row))


def end_temporary_line(tx: Tx, instance_id: InstanceId, contract_id: str, *, new_id: str) -> str | None:
    """End the row of a line now: before it has begun it is withdrawn; afterwards one that ends now takes its place.

    The months that it has touched so far keep their quota. Returns the id of the row that is left. Nothing happens to
    one that has ended already.

    Args:
        new_id: of the row that takes its place.
    """
    instances.raise_config_version(tx, instance_id)
    known = repository.list_contracts(tx, instance_id)
    found = next((each for each in known if each.contract.contract_id == contract_id), None)
    if found is None:
        return None
    row = found.contract
    if row.effective_until is not None and row.effective_until <= tx.now:
        return contract_id
    repository.remove_contract(tx, instance_id, contract_id)
    if row.effective_from >= tx.now:
        tx.emit(
            "contract.withdrawn",
            subject=instance_id,
            data={"contract_id": contract_id},
            before=_describe(row),
        )
        return None
    shorter = replace(row, contract_id=new_id, effective_until=tx.now)
    _add(tx, replace(found, contract=shorter))
    tx.emit("contract.ended", subject=instance_id, data=_describe(shorter), before=_describe(row))
    return new_id


def _add(tx: Tx, record: ContractRecord) -> None:
    if not repository.add_contract(tx, record):
        raise RuntimeError("a contract row was added although the instance's contracts were held")


def _describe(row: Contract) -> JsonObject:
    return {
        "contract_id": row.contract_id,
        "kind": row.kind,
        "edition": row.edition,
        "lines": row.lines,
        "effective_from": to_text(row.effective_from),
        "effective_until": None if row.effective_until is None else to_text(row.effective_until),
    }
