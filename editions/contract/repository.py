"""SQL of contract rows. Rows never leave this module, but for those that are read with a meter."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import cast

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.json import JsonObject, dump_json, load_object
from editions.catalog import METERS, EditionKey, Meter, Overage
from editions.limit import Contract, ContractKind
from editions.period import Month
from editions.tables import contract

ContractRow = tuple[str, str, str, int, str, int, int | None, str | None]
"""As `CONTRACT_COLUMNS` has it."""

CONTRACT_COLUMNS = (
    contract.c.contract_id,
    contract.c.kind,
    contract.c.edition,
    contract.c.line_count,
    contract.c.overage,
    contract.c.effective_from_us,
    contract.c.effective_until_us,
    contract.c.limits,
)
TOUCHES_MONTH = and_(
    contract.c.effective_from_us < bindparam("b_end"),
    or_(contract.c.effective_until_us.is_(None), contract.c.effective_until_us > bindparam("b_start")),
)
_CONTRACTS_OF_MONTH = select(*CONTRACT_COLUMNS).where(TOUCHES_MONTH)
_ALL_CONTRACTS = select(*CONTRACT_COLUMNS).order_by(contract.c.effective_from_us, contract.c.contract_id)
_CONTRACT = select(*CONTRACT_COLUMNS).where(contract.c.contract_id == bindparam("b_contract"))
_INSERT_CONTRACT = insert(contract)
_REMOVE_CONTRACT = delete(contract).where(contract.c.contract_id == bindparam("b_contract"))
_END_CONTRACT = (
    update(contract)
    .where(contract.c.contract_id == bindparam("b_contract"), contract.c.effective_until_us.is_(None))
    .values(effective_until_us=bindparam("b_until"))
)


def list_contracts(reader: Reader, month: Month | None = None) -> tuple[Contract, ...]:
    """All contract rows, or those that touch a month."""
    if month is None:
        return _to_contracts(reader.all(_ALL_CONTRACTS))
    bounds = {"b_start": to_us(month.start), "b_end": to_us(month.end)}
    return _to_contracts(reader.all(_CONTRACTS_OF_MONTH, bounds))


def find_contract(reader: Reader, contract_id: str) -> Contract | None:
    """One contract row."""
    found = _to_contracts(reader.all(_CONTRACT, {"b_contract": contract_id}))
    return found[0] if found else None


def add_contract(tx: Tx, row: Contract) -> bool:
    """Insert a contract row; False when the id is taken."""
    return tx.insert_if_absent(
        _INSERT_CONTRACT,
        {
            "contract_id": row.contract_id,
            "kind": row.kind,
            "edition": row.edition,
            "line_count": row.lines,
            "overage": row.overage,
            "effective_from_us": to_us(row.effective_from),
            "effective_until_us": None if row.effective_until is None else to_us(row.effective_until),
            "limits": None
            if row.limits is None
            else dump_json({str(key): value for key, value in row.limits.items()}),
            "recorded_at_us": to_us(tx.now),
        },
    )


def keep_contracts(tx: Tx, contract_ids: Collection[str]) -> None:
    """Remove every contract row but these; the caller guards them by the meters' counters."""
    for row in list_contracts(tx):
        if row.contract_id not in contract_ids:
            tx.write(_REMOVE_CONTRACT, {"b_contract": row.contract_id})


def end_contract(tx: Tx, row: Contract) -> bool:
    """Give an open-ended row its end; False when it has one already."""
    until = None if row.effective_until is None else to_us(row.effective_until)
    return tx.write(_END_CONTRACT, {"b_contract": row.contract_id, "b_until": until}) == 1


def _to_contracts(rows: list[Row]) -> tuple[Contract, ...]:
    return to_contracts(tuple(cast("list[ContractRow]", rows)))


@lru_cache(maxsize=256)
def to_contracts(rows: tuple[ContractRow, ...]) -> tuple[Contract, ...]:
    """Contracts change rarely and are read with every count: equal rows give the same tuple again."""
    return tuple(_to_contract(row) for row in rows)


def _to_contract(row: ContractRow) -> Contract:
    contract_id, kind, edition, lines, overage, from_us_, until_us, limits = row
    return Contract(
        contract_id=contract_id,
        kind=cast(ContractKind, kind),
        edition=cast(EditionKey, edition),
        lines=lines,
        overage=cast(Overage, overage),
        effective_from=from_us(from_us_),
        effective_until=None if until_us is None else from_us(until_us),
        limits=None if limits is None else _to_limits(load_object(limits)),
    )


def _to_limits(value: JsonObject) -> dict[Meter, int]:
    return {meter: cast(int, value[meter]) for meter in METERS if meter in value}
