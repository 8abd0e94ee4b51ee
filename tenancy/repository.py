"""SQL of the platform schema: customers, instances and firm codes."""

from __future__ import annotations

from datetime import datetime
from typing import Final, cast

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_error import Fault, classify
from app.core.db_statement import Parameters
from app.core.ids import CustomerId, InstanceId
from tenancy import tables
from tenancy.errors import CustomerNotFound, InstanceNotFound, NameTaken
from tenancy.record import (
    KEPT_STATES,
    Customer,
    Instance,
    InstanceHealth,
    InstanceState,
)

FIRST_FIRM_CODE: Final = 6_000_100
"""Universal firm codes are 6.xxx.xxx; 6.000.010 is the evaluation code. **Source:** domain reference §2."""
LAST_FIRM_CODE: Final = 6_999_999

_customer = tables.customer
_instance = tables.instance
_name = tables.instance_name
_firm_code = tables.firm_code

_ADD_CUSTOMER = insert(_customer)
_CUSTOMER = select(_customer).where(_customer.c.customer_id == bindparam("b_customer"))
_CUSTOMERS = (
    select(_customer)
    .where(_customer.c.customer_id > bindparam("b_after"))
    .order_by(_customer.c.customer_id)
    .limit(bindparam("b_limit"))
)
_PUT_CUSTOMER = (
    update(_customer)
    .where(_customer.c.customer_id == bindparam("b_customer"), _customer.c.version == bindparam("b_expected"))
    .values(display_name=bindparam("b_display_name"), version=_customer.c.version + 1)
)
_ADD_INSTANCE = insert(_instance)
_ADD_NAME = insert(_name)
_NAME_OWNER = select(_name.c.instance_id).where(_name.c.name == bindparam("b_name"))
_FREE_NAMES = delete(_name).where(_name.c.instance_id == bindparam("b_instance"))
_INSTANCE = select(_instance).where(_instance.c.instance_id == bindparam("b_instance"))
_INSTANCE_BY_NAME = select(_instance).where(_instance.c.name == bindparam("b_name"))
_INSTANCES = (
    select(_instance)
    .where(_instance.c.instance_id > bindparam("b_after"))
    .order_by(_instance.c.instance_id)
    .limit(bindparam("b_limit"))
)
_INSTANCES_IN_STATE = _INSTANCES.where(_instance.c.state == bindparam("b_state"))
_RETAINED_BEFORE = _instance.c.retained_until_us < bindparam("b_before")
_INSTANCES_RETAINED = _INSTANCES.where(_RETAINED_BEFORE)
_INSTANCES_IN_STATE_RETAINED = _INSTANCES_IN_STATE.where(_RETAINED_BEFORE)
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
_CHANGE = (
    update(_instance)
    .where(
        _instance.c.instance_id == bindparam("b_instance"),
        _instance.c.version == bindparam("b_expected"),
        _instance.c.state == bindparam("b_from"),
    )
    .values(
        name=bindparam("b_name"),
        placed_as=bindparam("b_placed_as"),
        state=bindparam("b_to"),
        retained_until_us=bindparam("b_retained_until"),
        config_version=_instance.c.config_version + 1,
        version=_instance.c.version + 1,
    )
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
        _instance.c.state.in_(KEPT_STATES),
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
_REMOVE_INSTANCE = delete(_instance).where(
    _instance.c.instance_id == bindparam("b_instance"), _instance.c.state.in_(("provisioning", "failed"))
)
_REMOVE_CONTRACTS = delete(tables.contract).where(tables.contract.c.instance_id == bindparam("b_instance"))
_FREE_FIRM_CODE = delete(_firm_code).where(_firm_code.c.instance_id == bindparam("b_instance"))


def add_customer(tx: Tx, customer: Customer) -> bool:
    """Store a customer. False if the name is taken."""
    return tx.insert_if_absent(
        _ADD_CUSTOMER,
        {
            "customer_id": customer.customer_id,
            "name": customer.name,
            "display_name": customer.display_name,
            "created_at_us": to_us(customer.created_at),
            "version": customer.version,
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


def put_customer(tx: Tx, customer: Customer) -> bool:
    """Store a changed customer who still has the version it was read with. False if somebody else was faster."""
    parameters: Parameters = {
        "b_customer": customer.customer_id,
        "b_expected": customer.version,
        "b_display_name": customer.display_name,
    }
    return tx.write(_PUT_CUSTOMER, parameters) == 1


def list_customers(reader: Reader, *, after: str, limit: int) -> list[Customer]:
    """Customers with an id above `after`, oldest first."""
    return [_to_customer(row) for row in reader.all(_CUSTOMERS, {"b_after": after, "b_limit": limit})]


def add_instance(tx: Tx, instance: Instance) -> bool:
    """Store an instance; its firm code must have been taken by `take_firm_code`. False if the name is taken."""
    return take_name(tx, instance.name, instance_id=instance.instance_id) and tx.insert_if_absent(
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
            "version": instance.version,
            "retained_until_us": None,
            "placed_as": None,
        },
    )


def take_name(tx: Tx, name: str, *, instance_id: InstanceId) -> bool:
    """Give an instance a name for ever. False if it is, or was, another one's."""
    values: Parameters = {"name": name, "instance_id": instance_id, "created_at_us": to_us(tx.now)}
    return tx.insert_if_absent(_ADD_NAME, values) or tx.scalar(_NAME_OWNER, {"b_name": name}) == instance_id


def free_names(tx: Tx, instance_id: InstanceId) -> None:
    """Give back the names of an instance that never came into being."""
    tx.write(_FREE_NAMES, {"b_instance": instance_id})


def change_instance(tx: Tx, old: Instance, new: Instance) -> bool:
    """Store a changed name, state or retention, and that the instance's database has to be told.

    Compare-and-set on the version and state that `old` was read with. False if somebody else was faster.

    Raises:
        NameTaken: another instance has the name; only one from before names were kept apart from instances.
    """
    retained = new.retained_until
    parameters: Parameters = {
        "b_instance": old.instance_id,
        "b_expected": old.version,
        "b_from": old.state,
        "b_name": new.name,
        "b_placed_as": new.placed_as,
        "b_to": new.state,
        "b_retained_until": None if retained is None else to_us(retained),
    }
    try:
        return tx.write(_CHANGE, parameters) == 1
    except Exception as error:
        if classify(error, committing=False) is Fault.DUPLICATE:
            raise NameTaken("An instance has that name already.", name=new.name) from error
        raise


def remove_unborn(tx: Tx, instance_id: InstanceId, *, keeps_firm_code: bool = False) -> bool:
    """Remove an instance that never came into being: its row, contracts, firm code and names. False if it did.

    Args:
        tx: of the platform database.
        instance_id: whose provisioning was taken back.
        keeps_firm_code: a key of it is still in boxes, so nobody else can have the code.
    """
    if tx.write(_REMOVE_INSTANCE, {"b_instance": instance_id}) != 1:
        return False
    tx.write(_REMOVE_CONTRACTS, {"b_instance": instance_id})
    if not keeps_firm_code:
        tx.write(_FREE_FIRM_CODE, {"b_instance": instance_id})
    free_names(tx, instance_id)
    return True


def get_instance(reader: Reader, instance_id: InstanceId) -> Instance:
    """Read one instance.

    Raises:
        InstanceNotFound: there is none of that id.
    """
    found = find_instance(reader, instance_id)
    if found is None:
        raise InstanceNotFound("There is no such instance.")
    return found


def find_instance(reader: Reader, instance_id: InstanceId) -> Instance | None:
    """The instance of that id."""
    row = reader.first(_INSTANCE, {"b_instance": instance_id})
    return None if row is None else _to_instance(row)


def find_instance_by_name(reader: Reader, name: str) -> Instance | None:
    """The instance of that name."""
    row = reader.first(_INSTANCE_BY_NAME, {"b_name": name})
    return None if row is None else _to_instance(row)


def list_instances(
    reader: Reader,
    *,
    after: str,
    limit: int,
    state: InstanceState | None = None,
    retained_before: datetime | None = None,
) -> list[Instance]:
    """Instances with an id above `after`, oldest first; in one state only, or retained until before an instant."""
    wanted: dict[str, str | int] = {"b_after": after, "b_limit": limit}
    statement = _INSTANCES
    if state is not None:
        wanted["b_state"] = state
        statement = _INSTANCES_IN_STATE
    if retained_before is not None:
        wanted["b_before"] = to_us(retained_before)
        statement = _INSTANCES_RETAINED if state is None else _INSTANCES_IN_STATE_RETAINED
    return [_to_instance(row) for row in reader.all(statement, wanted)]


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
    """Instances whose database does not hold the newest configuration, frozen and ended ones too."""
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


def _to_customer(row: Row) -> Customer:
    return Customer(
        customer_id=CustomerId(row.customer_id),
        name=row.name,
        display_name=row.display_name,
        created_at=from_us(row.created_at_us),
        version=row.version,
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
        version=row.version,
        retained_until=None if row.retained_until_us is None else from_us(row.retained_until_us),
        placed_as=row.placed_as,
    )
