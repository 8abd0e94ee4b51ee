"""What staff do about instances."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.ids import ContractId, InstanceId, OperationId, new_id
from app.core.json import JsonObject
from app.core.outbox import last_sequence, list_events
from editions.catalog import EDITIONS
from editions.limit import Contract, check_contract
from fsb_gateway.job import FIRM_CODE_MAX
from tenancy import repository
from tenancy.contract import repository as contract_rows
from tenancy.country import check_country_code, check_country_codes
from tenancy.database.port import InstanceDatabases
from tenancy.errors import (
    FirmCodeTaken,
    FirmCodeUnfit,
    InstanceDatabaseMissing,
    InstanceNotFound,
    InstanceNotReady,
    NameTaken,
    OverageUnknown,
)
from tenancy.lifecycle.errors import InstanceErased
from tenancy.name import check_name
from tenancy.operation import repository as operations
from tenancy.operation.plan import FIRST_CLIENT, PROVISION_INSTANCE, Operation
from tenancy.operation.start import start_operation
from tenancy.placement import check_country, check_lines, find_edition, place_instance
from tenancy.record import ContractRecord, Instance, InstanceCreate, InstanceState, check_limit
from tenancy.server.placing import place
from tenancy.transaction import carry_out

_OVERAGES: Final = ("grace", "block")
_FIRM_CODE_TRIES: Final = 50
_CHANGES_AT_ONCE: Final = 500


class InstanceService:
    """Instances in the platform database. Thread-safe, blocking."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create_instance(self, asked: InstanceCreate, *, command: Command | None = None) -> Done[Operation]:
        """Take an order for an instance: its row, its first contract, its places and the operation that provisions it.

        Raises:
            NameUnfit, NameTaken, EditionUnknown, LinesTooFew, LinesTooMany, OverageUnknown, CountryUnknown,
            CountryRepeated, CountryForbidden, CapacityExhausted, FirmCodeUnfit, FirmCodeTaken, CustomerNotFound:
            what cannot be had. Nothing was changed.
        """
        instance_id = InstanceId(new_id("ins"))
        contract_id = ContractId(new_id("ctr"))
        lines = self._check(asked)

        def body(tx: Tx) -> JsonObject:
            repository.get_customer(tx, asked.customer_id)
            instance = _new_instance(tx, asked, instance_id=instance_id, lines=lines)
            if not repository.add_instance(tx, instance):
                raise NameTaken("An instance has that name already.", name=asked.name)
            contract = _first_contract(tx, asked, contract_id=contract_id, lines=lines)
            record = ContractRecord(
                instance_id=instance_id, contract=contract, created_at=tx.now, countries=asked.countries
            )
            contract_rows.add_contract(tx, record)
            edition = EDITIONS[asked.edition]
            place(tx, instance_id, edition=edition, lines=lines, country=asked.country)
            tx.emit(
                "instance.created", subject=instance_id, data={"name": asked.name, "edition": asked.edition}
            )
            return {"operation_id": _start(tx, instance_id, asked)}

        answer = carry_out(self._db, command, body)
        ordered = OperationId(str(answer.value["operation_id"]))
        operation = self._db.read(lambda reader: operations.get_operation(reader, ordered))
        return Done(value=operation, replayed=answer.replayed, created=not answer.replayed)

    def get_instance(self, instance_id: InstanceId) -> Instance:
        """Read one instance.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_instance(reader, instance_id))

    def get_instance_by_name(self, name: str) -> Instance:
        """Read one instance by the name in its URLs.

        Raises:
            InstanceNotFound: there is none of that name.
        """
        found = self._db.read(lambda reader: repository.find_instance_by_name(reader, name))
        if found is None:
            raise InstanceNotFound("There is no such instance.")
        return found

    def require_unerased(self, instance_id: InstanceId) -> None:
        """Refuse what looks into the data of an instance that has none any more.

        Raises:
            InstanceNotFound: there is none of that id.
            InstanceErased: nothing of it is left.
        """
        _refuse_erased(self.get_instance(instance_id))

    def last_change(self) -> int:
        """A number to begin with at `list_changed`: read it before the instances themselves."""
        return self._db.read(last_sequence)

    def list_changed(self, after: int) -> tuple[int, list[Instance]]:
        """Instances that anybody has created or changed since, each as it is now, and the number to go on with.

        A small read however many instances there are: it follows the events of the platform database.
        """

        def body(reader: Reader) -> tuple[int, list[Instance]]:
            events = list_events(reader, after=after, limit=_CHANGES_AT_ONCE)
            subjects = dict.fromkeys(each.subject for each in events if each.type.startswith("instance."))
            found = (repository.find_instance(reader, InstanceId(each)) for each in subjects)
            return events[-1].sequence if events else after, [each for each in found if each is not None]

        return self._db.read(body)

    def list_instances(
        self,
        *,
        after: str = "",
        limit: int = 25,
        state: InstanceState | None = None,
        retained_before: datetime | None = None,
    ) -> list[Instance]:
        """Instances with an id above `after`, oldest first; in one state only, or retained until before an instant.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(
            lambda reader: repository.list_instances(
                reader, after=after, limit=limit, state=state, retained_before=retained_before
            )
        )

    def _check(self, asked: InstanceCreate) -> int:
        """Refuse what no database is needed to refuse; returns the number of lines."""
        check_name(asked.name)
        edition = find_edition(asked.edition)
        lines = edition.min_lines if asked.lines is None else asked.lines
        check_lines(edition, lines)
        check_country_code(asked.country, field="country")
        check_country_codes(asked.countries, field="countries")
        check_country(asked.country, asked.countries)
        if asked.overage not in _OVERAGES:
            raise OverageUnknown("The overage policy is grace or block.", known=list(_OVERAGES))
        if asked.firm_code is not None and not 1 <= asked.firm_code <= FIRM_CODE_MAX:
            raise FirmCodeUnfit("A firm code is a number from 1 to 4294967295.", field="firm_code")
        if asked.first_client is not None:
            check_name(asked.first_client.name)
        return lines


class InstanceOpener:
    """Opens the databases of instances for the services. Thread-safe, blocking.

    Args:
        db: the platform database.
        databases: of the instances.
        on_access: told of an instance whose access has been changed here; quick.
    """

    def __init__(
        self,
        db: Database,
        databases: InstanceDatabases,
        *,
        on_access: Callable[[InstanceId], None] = lambda _instance_id: None,
    ) -> None:
        self._db = db
        self._databases = databases
        self.note_access = on_access

    def open_ready(self, instance_id: InstanceId) -> tuple[Instance, Database]:
        """An instance that has been provisioned, frozen and ended ones too, and its database.

        Raises:
            InstanceNotFound: there is none of that id.
            InstanceNotReady: it is still being provisioned, or that failed.
            InstanceErased: nothing of it is left.
        """
        instance = self._db.read(lambda reader: repository.get_instance(reader, instance_id))
        _refuse_erased(instance)
        if not instance.is_kept:
            raise InstanceNotReady("The instance is not ready.", state=instance.state)
        try:
            return instance, self._databases.open(instance_id)
        except InstanceDatabaseMissing as error:
            raise InstanceNotReady(
                "The instance's database cannot be found.", state=instance.state
            ) from error


def _refuse_erased(instance: Instance) -> None:
    if instance.state == "erased":
        raise InstanceErased("The instance's data have been erased.")


def _start(tx: Tx, instance_id: InstanceId, asked: InstanceCreate) -> OperationId:
    parameters: JsonObject = {}
    if asked.first_client is not None:
        client = asked.first_client
        parameters[FIRST_CLIENT] = {"name": client.name, "scopes": [*sorted(client.scopes)]}
    return start_operation(tx, PROVISION_INSTANCE, object_id=instance_id, parameters=parameters)


def _new_instance(tx: Tx, asked: InstanceCreate, *, instance_id: InstanceId, lines: int) -> Instance:
    placement = place_instance(asked.name, EDITIONS[asked.edition], lines=lines, instance_id=instance_id)
    return Instance(
        instance_id=instance_id,
        customer_id=asked.customer_id,
        name=asked.name,
        edition=asked.edition,
        lines=lines,
        country=asked.country,
        firm_code=_take_firm_code(tx, asked.firm_code, instance_id=instance_id),
        pool=placement.pool,
        state="provisioning",
        health="unknown",
        database_url=None,
        config_version=1,
        applied_version=0,
        created_at=tx.now,
    )


def _first_contract(tx: Tx, asked: InstanceCreate, *, contract_id: ContractId, lines: int) -> Contract:
    contract = Contract(
        contract_id=contract_id,
        edition=EDITIONS[asked.edition].key,
        lines=lines,
        overage=asked.overage,
        effective_from=tx.now,
    )
    check_contract(contract)
    return contract


def _take_firm_code(tx: Tx, wanted: int | None, *, instance_id: InstanceId) -> int:
    if wanted is not None:
        if not repository.take_firm_code(tx, wanted, instance_id=instance_id):
            raise FirmCodeTaken("The firm code belongs to another instance.", firm_code=wanted)
        return wanted
    # Whoever was faster has taken the number, seen or not: the key decides, and the next number is tried.
    first = repository.highest_firm_code(tx) + 1
    for candidate in range(first, min(first + _FIRM_CODE_TRIES, repository.LAST_FIRM_CODE + 1)):
        if repository.take_firm_code(tx, candidate, instance_id=instance_id):
            return candidate
    raise FirmCodeTaken("No universal firm code is free.")
