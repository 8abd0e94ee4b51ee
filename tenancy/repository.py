"""SQL of the platform schema: customers, instances, firm codes, contracts and boxes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import bindparam, func, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import CustomerId, InstanceId
from app.core.json import dump_json, load_object
from editions.catalog import EditionKey, Meter, Overage
from editions.limit import Contract, ContractKind
from fsb_gateway.box_driver import BoxSpec, DriverName
from tenancy import tables
from tenancy.errors import CustomerNotFound, InstanceNotFound
from tenancy.record import ContractRecord, Customer, Instance, InstanceHealth, InstanceState

FIRST_FIRM_CODE: Final = 6_000_100
"""Universal firm codes are 6.xxx.xxx; 6.000.010 is the evaluation code. **Source:** domain reference §2."""
LAST_FIRM_CODE: Final = 6_999_999

_customer = tables.customer
_instance = tables.instance
_firm_code = tables.firm_code
_contract = tables.contract
_box = tables.box

_ADD_CUSTOMER = insert(_customer)
_CUSTOMER = select(_customer).where(_customer.c.customer_id == bindparam("b_customer"))
_CUSTOMERS = (
    select(_customer)
    .where(_customer.c.customer_id > bindparam("b_after"))
    .order_by(_customer.c.customer_id)
    .limit(bindparam("b_limit"))
)
_ADD_INSTANCE = insert(_instance)
_INSTANCE = select(_instance).where(_instance.c.instance_id == bindparam("b_instance"))
_INSTANCE_BY_NAME = select(_instance).where(_instance.c.name == bindparam("b_name"))
_INSTANCES = (
    select(_instance)
    .where(_instance.c.instance_id > bindparam("b_after"))
    .order_by(_instance.c.instance_id)
    .limit(bindparam("b_limit"))
)
_SET_DATABASE = (
    update(_instance)
    .where(_instance.c.instance_id == bindparam("b_instance"))
    .values(database_url=bindparam("b_url"))
)
_SET_STATE = (
    update(_instance)
    .where(_instance.c.instance_id == bindparam("b_instance"), _instance.c.state == bindparam("b_from"))
    .values(state=bindparam("b_to"), health=bindparam("b_health"))
)
_RAISE_CONFIG = (
    update(_instance)
    .where(_instance.c.instance_id == bindparam("b_instance"))
    .values(config_version=_instance.c.config_version + 1)
)
_RAISE_CONFIG_DUE = _RAISE_CONFIG.where(_instance.c.config_due_us <= bindparam("b_now"))
_APPLIED = (
    update(_instance)
    .where(
        _instance.c.instance_id == bindparam("b_instance"),
        _instance.c.applied_version < bindparam("b_version"),
    )
    .values(applied_version=bindparam("b_version"), config_due_us=bindparam("b_due"))
)
_PUSH_DUE = (
    select(_instance)
    .where(
        _instance.c.state == "ready",
        or_(
            _instance.c.applied_version < _instance.c.config_version,
            _instance.c.config_due_us <= bindparam("b_now"),
        ),
    )
    .order_by(_instance.c.instance_id)
    .limit(bindparam("b_limit"))
)
_ADD_FIRM_CODE = insert(_firm_code)
_HIGHEST_FIRM_CODE = select(func.max(_firm_code.c.firm_code).label("highest")).where(
    _firm_code.c.firm_code >= bindparam("b_first"), _firm_code.c.firm_code <= bindparam("b_last")
)
_ADD_CONTRACT = insert(_contract)
_CONTRACTS = (
    select(_contract)
    .where(_contract.c.instance_id == bindparam("b_instance"))
    .order_by(_contract.c.effective_from_us, _contract.c.contract_id)
)
_ADD_BOX = insert(_box)
_BOXES = select(_box).order_by(_box.c.name)


def add_customer(tx: Tx, customer: Customer) -> bool:
    """Store a customer. False if the name is taken."""
    return tx.insert_if_absent(
        _ADD_CUSTOMER,
        {
            "customer_id": customer.customer_id,
            "name": customer.name,
            "display_name": customer.display_name,
            "created_at_us": to_us(customer.created_at),
        },
    )


def get_customer(reader: Reader, customer_id: CustomerId) -> Customer:
    """Read one customer.

    Raises:
        CustomerNotFound: there is none of that id.
    """
    row = reader.first(_CUSTOMER, {"b_customer": customer_id})
    if row is None:
        raise CustomerNotFound("There is no such customer.")
    return _to_customer(row)


def list_customers(reader: Reader, *, after: str, limit: int) -> list[Customer]:
    """Customers with an id above `after`, oldest first."""
    return [_to_customer(row) for row in reader.all(_CUSTOMERS, {"b_after": after, "b_limit": limit})]


def add_instance(tx: Tx, instance: Instance) -> bool:
    """Store an instance; its firm code must have been taken by `take_firm_code`. False if the name is taken."""
    return tx.insert_if_absent(
        _ADD_INSTANCE,
        {
            "instance_id": instance.instance_id,
            "customer_id": instance.customer_id,
            "name": instance.name,
            "edition": instance.edition,
            "lines": instance.lines,
            "country": instance.country,
            "firm_code": instance.firm_code,
            "pool": instance.pool,
            "state": instance.state,
            "health": instance.health,
            "database_url": instance.database_url,
            "config_version": instance.config_version,
            "applied_version": instance.applied_version,
            "config_due_us": None,
            "created_at_us": to_us(instance.created_at),
        },
    )


def get_instance(reader: Reader, instance_id: InstanceId) -> Instance:
    """Read one instance.

    Raises:
        InstanceNotFound: there is none of that id.
    """
    row = reader.first(_INSTANCE, {"b_instance": instance_id})
    if row is None:
        raise InstanceNotFound("There is no such instance.")
    return _to_instance(row)


def find_instance_by_name(reader: Reader, name: str) -> Instance | None:
    """The instance of that name."""
    row = reader.first(_INSTANCE_BY_NAME, {"b_name": name})
    return None if row is None else _to_instance(row)


def list_instances(reader: Reader, *, after: str, limit: int) -> list[Instance]:
    """Instances with an id above `after`, oldest first."""
    return [_to_instance(row) for row in reader.all(_INSTANCES, {"b_after": after, "b_limit": limit})]


def set_database(tx: Tx, instance_id: InstanceId, *, url: str) -> None:
    """Store where the instance's database is; no password in it."""
    tx.write(_SET_DATABASE, {"b_instance": instance_id, "b_url": url})


def set_state(
    tx: Tx, instance_id: InstanceId, *, old: InstanceState, new: InstanceState, health: InstanceHealth
) -> bool:
    """Move an instance from one state to another. False if it was not in the old one."""
    parameters: Parameters = {"b_instance": instance_id, "b_from": old, "b_to": new, "b_health": health}
    return tx.write(_SET_STATE, parameters) == 1


def raise_config_version(tx: Tx, instance_id: InstanceId) -> None:
    """Say that the instance database has to be told something new. Guards the instance's contracts: call it first.

    Raises:
        InstanceNotFound: there is none of that id.
    """
    if tx.write(_RAISE_CONFIG, {"b_instance": instance_id}) != 1:
        raise InstanceNotFound("There is no such instance.")


def raise_config_version_if_due(tx: Tx, instance_id: InstanceId) -> bool:
    """The same if a contract has begun or ended since the last push."""
    return tx.write(_RAISE_CONFIG_DUE, {"b_instance": instance_id, "b_now": to_us(tx.now)}) == 1


def set_applied(tx: Tx, instance_id: InstanceId, *, version: int, due: datetime | None) -> None:
    """Store which configuration the instance database has, and when it must be looked at again; never goes back."""
    due_us = None if due is None else to_us(due)
    tx.write(_APPLIED, {"b_instance": instance_id, "b_version": version, "b_due": due_us})


def list_push_due(reader: Reader, *, limit: int) -> list[Instance]:
    """Ready instances whose database does not hold the newest configuration."""
    return [
        _to_instance(row) for row in reader.all(_PUSH_DUE, {"b_now": to_us(reader.now), "b_limit": limit})
    ]


def take_firm_code(tx: Tx, firm_code: int, *, instance_id: InstanceId) -> bool:
    """Give an instance a firm code. False if it belongs to another one."""
    values: Parameters = {"firm_code": firm_code, "instance_id": instance_id, "created_at_us": to_us(tx.now)}
    return tx.insert_if_absent(_ADD_FIRM_CODE, values)


def highest_firm_code(reader: Reader) -> int:
    """The highest universal firm code given so far; one below the first when there is none."""
    found = reader.scalar(_HIGHEST_FIRM_CODE, {"b_first": FIRST_FIRM_CODE, "b_last": LAST_FIRM_CODE})
    return FIRST_FIRM_CODE - 1 if found is None else int(found)


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
            "created_at_us": to_us(record.created_at),
        },
    )


def list_contracts(reader: Reader, instance_id: InstanceId) -> list[ContractRecord]:
    """All contract rows of an instance, by the time from which they hold."""
    return [_to_contract(row) for row in reader.all(_CONTRACTS, {"b_instance": instance_id})]


def add_box(tx: Tx, spec: BoxSpec) -> bool:
    """Store that a box exists. False if that was known."""
    return tx.insert_if_absent(
        _ADD_BOX,
        {
            "name": spec.name,
            "pool": spec.pool,
            "driver": spec.driver,
            "operation_time_ms": round(spec.operation_time.total_seconds() * 1000),
            "created_at_us": to_us(tx.now),
        },
    )


def list_boxes(reader: Reader) -> list[BoxSpec]:
    """All boxes that were ever ordered, by name."""
    return [_to_box(row) for row in reader.all(_BOXES)]


def _to_customer(row: Row) -> Customer:
    return Customer(
        customer_id=CustomerId(row.customer_id),
        name=row.name,
        display_name=row.display_name,
        created_at=from_us(row.created_at_us),
    )


def _to_instance(row: Row) -> Instance:
    return Instance(
        instance_id=InstanceId(row.instance_id),
        customer_id=CustomerId(row.customer_id),
        name=row.name,
        edition=row.edition,
        lines=row.lines,
        country=row.country,
        firm_code=row.firm_code,
        pool=row.pool,
        state=cast(InstanceState, row.state),
        health=cast(InstanceHealth, row.health),
        database_url=row.database_url,
        config_version=row.config_version,
        applied_version=row.applied_version,
        created_at=from_us(row.created_at_us),
    )


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
        instance_id=InstanceId(row.instance_id), contract=contract, created_at=from_us(row.created_at_us)
    )


def _to_box(row: Row) -> BoxSpec:
    return BoxSpec(
        name=row.name,
        pool=row.pool,
        driver=cast(DriverName, row.driver),
        operation_time=timedelta(milliseconds=row.operation_time_ms),
    )
