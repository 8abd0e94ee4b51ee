"""Contracts: dated rows in the platform database, told to the instance's own, so that its lines need nobody else.

add_contract ──► platform row, config_version + 1 ──► push_config ──► instance database ──► applied_version
                                                          ▲
    push_due (loop): versions differ, or a row has begun or ended
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.errors import DomainError
from app.core.ids import ContractId, InstanceId, new_id
from app.core.json import JsonObject
from editions.catalog import Meter, Overage
from editions.limit import Contract, ContractKind, check_contract
from editions.metering import put_contracts
from tenancy import repository
from tenancy.access.repository import write_profile
from tenancy.errors import ContractConflict, ContractUnfit
from tenancy.instance_database import InstanceDatabases
from tenancy.placement import check_lines, find_edition
from tenancy.record import ContractRecord, Instance, describe_instance, next_boundary
from tenancy.transaction import carry_out

_log = logging.getLogger(__name__)

_BACKDATING: Final = timedelta(minutes=5)
"""For clocks that differ. Further back, a contract would change what has been counted and refused; that is a
correction of quotas."""
_MOST_PUSHED: Final = 100
_MOST_RETRIED: Final = 10
"""Of those that failed before, in one call of `push_due`: they must not keep the others waiting. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCreate:
    """What is contracted.

    Attributes:
        effective_from: None for now.
        effective_until: None for open-ended.
        limits: negotiated amounts by meter, in place of the edition's.
        kind: `temporary_lines` adds lines to the base contract for a time.
    """

    edition: str
    lines: int
    overage: Overage = "grace"
    effective_from: datetime | None = None
    effective_until: datetime | None = None
    limits: Mapping[Meter, int] | None = None
    kind: ContractKind = "base"


class ContractService:
    """Contracts of instances. Thread-safe, blocking."""

    def __init__(self, db: Database, databases: InstanceDatabases) -> None:
        self._db = db
        self._databases = databases
        # Instances whose push failed, those tried longest ago first. Only the loop that calls `push_due` uses it.
        self._failed: dict[InstanceId, None] = {}

    def add_contract(
        self, instance_id: InstanceId, asked: ContractCreate, *, command: Command | None = None
    ) -> Done[ContractRecord]:
        """Add a contract row and tell the instance's database; if that cannot be reached, `push_due` does it later.

        Quotas follow at once. Lines and boxes stay where they were placed until the edition is switched.

        Raises:
            EditionUnknown, LinesTooFew, LinesTooMany, ContractInvalid, ContractUnfit: what was asked for
                makes no sense.
            ContractConflict: one of its kind begins at that instant already.
            InstanceNotFound: there is none of that id.
        """
        edition = find_edition(asked.edition)
        if asked.kind == "base":
            check_lines(edition, asked.lines)
        contract_id = ContractId(new_id("ctr"))

        def body(tx: Tx) -> JsonObject:
            repository.raise_config_version(tx, instance_id)
            contract = _to_contract(asked, contract_id=contract_id, now=tx.now)
            record = ContractRecord(instance_id=instance_id, contract=contract, created_at=tx.now)
            if not repository.add_contract(tx, record):
                raise ContractConflict("A contract begins at that instant already.", kind=asked.kind)
            tx.emit(
                "contract.added",
                subject=instance_id,
                data={"contract_id": contract_id, "edition": asked.edition},
            )
            return {"contract_id": contract_id}

        answer = carry_out(self._db, command, body)
        self._push_or_leave(instance_id)
        added = str(answer.value["contract_id"])
        record = next(each for each in self.list_contracts(instance_id) if each.contract.contract_id == added)
        return Done(value=record, replayed=answer.replayed, created=not answer.replayed)

    def list_contracts(self, instance_id: InstanceId) -> list[ContractRecord]:
        """All contract rows of an instance, by the time from which they hold.

        Raises:
            InstanceNotFound: there is none of that id.
        """

        def body(reader: Reader) -> list[ContractRecord]:
            repository.get_instance(reader, instance_id)
            return repository.list_contracts(reader, instance_id)

        return self._db.read(body)

    def push_config(self, instance_id: InstanceId) -> None:
        """Tell the instance's database what should hold. Idempotent; an old push that comes late changes nothing.

        Raises:
            InstanceNotFound: there is none of that id.
            InstanceDatabaseMissing, DatabaseUnavailable: it cannot be told now.
        """
        instance, contracts, now = self._db.read(lambda reader: _read_config(reader, instance_id))
        profile = describe_instance(instance, contracts, at=now)

        def body(tx: Tx) -> JsonObject:
            if write_profile(tx, profile):
                put_contracts(tx, contracts)
            return {}

        version = instance.config_version
        self._databases.open(instance_id).run_tx(f"config:{instance_id}:{version}", body)
        due = next_boundary(contracts, at=now)

        def applied(tx: Tx) -> JsonObject:
            repository.set_applied(tx, instance_id, version=version, due=due)
            return {}

        self._db.run_tx(new_id("op"), applied)

    def push_due(self) -> int:
        """Push every configuration that is due; returns how many were. A loop calls it."""
        limit = _MOST_PUSHED + len(self._failed)
        due = self._db.read(lambda reader: repository.list_push_due(reader, limit=limit))
        by_id = {instance.instance_id: instance for instance in due}
        self._failed = {each: None for each in self._failed if each in by_id}
        fresh = [each for each in by_id if each not in self._failed]
        retried = list(self._failed)[:_MOST_RETRIED]
        return sum(self._push_and_note(by_id[each]) for each in [*fresh[:_MOST_PUSHED], *retried])

    def _push_and_note(self, instance: Instance) -> bool:
        try:
            pushed = self._push_one(instance)
        except Exception:
            _log.exception("configuration_not_pushed", extra={"instance": instance.name})
            pushed = False
        self._failed.pop(instance.instance_id, None)
        if not pushed:
            self._failed[instance.instance_id] = None
        return pushed

    def _push_one(self, instance: Instance) -> bool:
        def body(tx: Tx) -> JsonObject:
            return {"raised": repository.raise_config_version_if_due(tx, instance.instance_id)}

        if instance.applied_version == instance.config_version:
            self._db.run_tx(f"config-due:{instance.instance_id}:{instance.config_version}", body)
        return self._push_or_leave(instance.instance_id)

    def _push_or_leave(self, instance_id: InstanceId) -> bool:
        try:
            self.push_config(instance_id)
        except DomainError as error:
            _log.warning("configuration_not_pushed", extra={"instance_id": instance_id, "code": error.code})
            return False
        except Exception:
            # A damaged database is its own instance's trouble: the others are pushed, and the contract stands.
            _log.exception("configuration_not_pushed", extra={"instance_id": instance_id})
            return False
        return True


def _read_config(reader: Reader, instance_id: InstanceId) -> tuple[Instance, list[Contract], datetime]:
    """What should hold, from one view of the database, so that version and content belong together."""
    instance = repository.get_instance(reader, instance_id)
    records = repository.list_contracts(reader, instance_id)
    return instance, [record.contract for record in records], reader.now


def _to_contract(asked: ContractCreate, *, contract_id: ContractId, now: datetime) -> Contract:
    begins = asked.effective_from or now
    if begins < now - _BACKDATING:
        raise ContractUnfit("A contract cannot begin in the past.", field="effective_from")
    contract = Contract(
        contract_id=contract_id,
        kind=asked.kind,
        edition=find_edition(asked.edition).key,
        lines=asked.lines,
        overage=asked.overage,
        effective_from=begins,
        effective_until=asked.effective_until,
        limits=None if asked.limits is None else dict(asked.limits),
    )
    check_contract(contract)
    return contract
