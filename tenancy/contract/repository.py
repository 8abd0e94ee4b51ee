"""SQL of contracts in the platform schema."""

from __future__ import annotations

from typing import cast

from sqlalchemy import bindparam, delete, insert, select

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import InstanceId
from app.core.json import dump_json, load_json, load_object
from editions.catalog import EditionKey, Meter, Overage
from editions.limit import Contract, ContractKind
from tenancy import tables
from tenancy.record import DEFAULT_COUNTRIES, ContractRecord

_contract = tables.contract

_ADD_CONTRACT = insert(_contract)
_CONTRACTS = (
    select(_contract)
    .where(_contract.c.instance_id == bindparam("b_instance"))
    .order_by(_contract.c.effective_from_us, _contract.c.contract_id)
)
_CONTRACTS_BETWEEN = (
    select(_contract)
    .where(_contract.c.instance_id.between(bindparam("b_first"), bindparam("b_last")))
    .order_by(_contract.c.instance_id, _contract.c.effective_from_us, _contract.c.contract_id)
)
_WITHDRAW_CONTRACT = delete(_contract).where(
    _contract.c.instance_id == bindparam("b_instance"),
    _contract.c.contract_id == bindparam("b_contract"),
    _contract.c.effective_from_us > bindparam("b_now"),
)
_REMOVE_CONTRACT = delete(_contract).where(
    _contract.c.instance_id == bindparam("b_instance"), _contract.c.contract_id == bindparam("b_contract")
)


def add_contract(tx: Tx, record: ContractRecord) -> bool:
    """Store a contract row. False if one of its kind begins at that instant already."""
    contract = record.contract
    return tx.insert_if_absent(
        _ADD_CONTRACT,
        {
            "contract_id": contract.contract_id,
            "instance_id": record.instance_id,
            "kind": contract.kind,
            "edition": contract.edition,
            "lines": contract.lines,
            "overage": contract.overage,
            "effective_from_us": to_us(contract.effective_from),
            "effective_until_us": None
            if contract.effective_until is None
            else to_us(contract.effective_until),
            "limits": None
            if contract.limits is None
            else dump_json({str(meter): amount for meter, amount in contract.limits.items()}),
            "countries": dump_json(sorted(record.countries)),
            "created_at_us": to_us(record.created_at),
        },
    )


def withdraw_contract(tx: Tx, instance_id: InstanceId, contract_id: str) -> bool:
    """Remove a contract row that has not begun. False if there is none."""
    parameters: Parameters = {
        "b_instance": instance_id,
        "b_contract": contract_id,
        "b_now": to_us(tx.now),
    }
    return tx.write(_WITHDRAW_CONTRACT, parameters) == 1


def remove_contract(tx: Tx, instance_id: InstanceId, contract_id: str) -> None:
    """Remove a contract row in whose place another one is put, or that holds for nothing any more."""
    tx.write(_REMOVE_CONTRACT, {"b_instance": instance_id, "b_contract": contract_id})


def list_contracts_between(reader: Reader, *, first: str, last: str) -> dict[str, list[Contract]]:
    """Contract rows of every instance whose id lies between two ids, these included."""
    found: dict[str, list[Contract]] = {}
    for row in reader.all(_CONTRACTS_BETWEEN, {"b_first": first, "b_last": last}):
        found.setdefault(row.instance_id, []).append(_to_contract(row).contract)
    return found


def list_contracts(reader: Reader, instance_id: InstanceId) -> list[ContractRecord]:
    """All contract rows of an instance, by the time from which they hold."""
    return [_to_contract(row) for row in reader.all(_CONTRACTS, {"b_instance": instance_id})]


def _to_contract(row: Row) -> ContractRecord:
    contract = Contract(
        contract_id=row.contract_id,
        kind=cast(ContractKind, row.kind),
        edition=cast(EditionKey, row.edition),
        lines=row.lines,
        overage=cast(Overage, row.overage),
        effective_from=from_us(row.effective_from_us),
        effective_until=None if row.effective_until_us is None else from_us(row.effective_until_us),
        limits=None if row.limits is None else cast(dict[Meter, int], load_object(row.limits)),
    )
    return ContractRecord(
        instance_id=InstanceId(row.instance_id),
        contract=contract,
        created_at=from_us(row.created_at_us),
        countries=DEFAULT_COUNTRIES
        if row.countries is None
        else tuple(cast(list[str], load_json(row.countries))),
    )
