"""Contracts: dated rows in the platform database, told to the instance's own, so that its lines need nobody else.

add_contract, withdraw_contract ──► row, config_version + 1 ──► push_config ──► instance database ──► applied_version
                                                          ▲
    push_due (loop): versions differ, or a row has begun or ended
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from app.core.clock import from_us, to_text, to_us
from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.errors import DomainError
from app.core.ids import ContractId, InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from editions.catalog import Edition, Meter, Overage
from editions.limit import Contract, ContractKind, check_contract, contract_in_force
from editions.metering import put_contracts
from tenancy import repository
from tenancy.access.policy import InstanceProfile
from tenancy.access.repository import write_profile
from tenancy.contract import repository as contract_rows
from tenancy.country import check_country_codes
from tenancy.database.port import InstanceDatabases
from tenancy.errors import ContractBegun, ContractConflict, ContractNotFound, ContractUnfit
from tenancy.lifecycle.state import check_state
from tenancy.line import repository as line_rows
from tenancy.line.errors import ContractOfLine
from tenancy.placement import check_lines, find_edition
from tenancy.record import (
    DEFAULT_COUNTRIES,
    ContractRecord,
    Instance,
    InstanceState,
    describe_instance,
    next_boundary,
)
from tenancy.server.errors import CountryForbidden
from tenancy.transaction import carry_out

_log = logging.getLogger(__name__)

_PUSHING: Final = system_origin("pushConfig")
_BACKDATING: Final = timedelta(minutes=5)
"""For clocks that differ. Further back, a contract would change what has been counted and refused; that is a
correction of quotas."""
_CONTRACTED: Final[frozenset[InstanceState]] = frozenset({"provisioning", "ready", "frozen"})
_FURTHEST: Final = timedelta(days=3653)
"""Ten years: nobody contracts further ahead, but years are mistyped. Our own decision."""
_MOST_PUSHED: Final = 100
_MOST_RETRIED: Final = 10
"""Of those that failed before, in one call of `push_due`: they must not keep the others waiting. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCreate:
    """What is contracted.

    Attributes:
        effective_from: None for now.
        effective_until: None for open-ended.
        lines: None for the edition's least; of temporary lines one.
        limits: negotiated amounts by meter, in place of the edition's.
        kind: `temporary_lines` adds lines to the base contract for a time.
        countries: where the instance may be placed; None for as before. Of base contracts only.
    """

    edition: str
    lines: int | None = None
    overage: Overage = "grace"
    effective_from: datetime | None = None
    effective_until: datetime | None = None
    limits: Mapping[Meter, int] | None = None
    kind: ContractKind = "base"
    countries: tuple[str, ...] | None = None


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
            CountryUnknown, CountryRepeated: not a list of countries.
            CountryForbidden: the instance lies in a country that would no longer be allowed.
            InstanceStateUnfit: it has ended, or never came into being.
            InstanceNotFound: there is none of that id.
        """
        edition = find_edition(asked.edition)
        lines = _lines_of(asked, edition)
        if asked.kind == "base":
            check_lines(edition, lines)
        contract_id = ContractId(new_id("ctr"))

        def body(tx: Tx) -> JsonObject:
            repository.raise_config_version(tx, instance_id)
            instance = repository.get_instance(tx, instance_id)
            check_state(instance, _CONTRACTED)
            contract = _to_contract(asked, contract_id=contract_id, lines=lines, now=tx.now)
            known = contract_rows.list_contracts(tx, instance_id)
            record = ContractRecord(
                instance_id=instance_id,
                contract=contract,
                created_at=tx.now,
                countries=_check_countries(asked, instance, known, at=contract.effective_from),
            )
            if not contract_rows.add_contract(tx, record):
                raise ContractConflict("A contract begins at that instant already.", kind=asked.kind)
            tx.emit(
                "contract.added",
                subject=instance_id,
                data=_describe(record),
                before=_describe_in_force(known, at=contract.effective_from),
            )
            return {"contract_id": contract_id}

        answer = carry_out(self._db, command, body)
        self.push_soon(instance_id)
        added = str(answer.value["contract_id"])
        record = next(each for each in self.list_contracts(instance_id) if each.contract.contract_id == added)
        return Done(value=record, replayed=answer.replayed, created=not answer.replayed)

    def withdraw_contract(
        self, instance_id: InstanceId, contract_id: ContractId, *, command: Command | None = None
    ) -> Done[None]:
        """Take a contract row back before it begins, and tell the instance's database.

        Raises:
            ContractBegun: it is in force, or has been.
            ContractOfLine: a temporary line is contracted by it.
            ContractNotFound, InstanceNotFound: there is no such row.
        """

        def body(tx: Tx) -> JsonObject:
            repository.raise_config_version(tx, instance_id)
            known = contract_rows.list_contracts(tx, instance_id)
            found = next((each for each in known if each.contract.contract_id == contract_id), None)
            if found is None:
                raise ContractNotFound("The instance has no such contract.")
            line = line_rows.find_by_contract(tx, instance_id, contract_id)
            if line is not None:
                raise ContractOfLine("End the line; its contract ends with it.", line=line.line_id)
            if not contract_rows.withdraw_contract(tx, instance_id, contract_id):
                raise ContractBegun("The contract has begun; add another one.", contract_id=contract_id)
            data: JsonObject = {"contract_id": contract_id}
            tx.emit("contract.withdrawn", subject=instance_id, data=data, before=_describe(found))
            return {}

        answer = carry_out(self._db, command, body)
        self.push_soon(instance_id)
        return Done(value=None, replayed=answer.replayed)

    def list_between(self, *, first: str, last: str) -> dict[str, list[Contract]]:
        """Contract rows of every instance whose id lies between two ids, these included."""
        return self._db.read(
            lambda reader: contract_rows.list_contracts_between(reader, first=first, last=last)
        )

    def list_contracts(self, instance_id: InstanceId) -> list[ContractRecord]:
        """All contract rows of an instance, by the time from which they hold.

        Raises:
            InstanceNotFound: there is none of that id.
        """

        def body(reader: Reader) -> list[ContractRecord]:
            repository.get_instance(reader, instance_id)
            return contract_rows.list_contracts(reader, instance_id)

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
            written, known = write_profile(tx, profile)
            if written:
                put_contracts(tx, contracts, complete=True)
                before = None if known is None else _describe_profile(known)
                tx.emit(
                    "instance.configured", subject=instance_id, data=_describe_profile(profile), before=before
                )
            return {"at_us": to_us(now)}

        version = instance.config_version
        op_id = f"config:{instance_id}:{version}"
        answer = self._databases.open(instance_id).run_tx(op_id, body, origin=_PUSHING)
        # What the instance was told then holds until the first boundary after that, even if this is a repeat.
        told_at = from_us(cast(int, answer.value.get("at_us", to_us(now))))
        due = next_boundary(contracts, at=told_at)

        def applied(tx: Tx) -> JsonObject:
            repository.set_applied(tx, instance_id, version=version, due=due)
            return {}

        self._db.run_tx(new_id("op"), applied, origin=_PUSHING)

    def push_soon(self, instance_id: InstanceId) -> bool:
        """Tell the instance's database now if that is possible; otherwise `push_due` does. Raises nothing."""
        return self._push_or_leave(instance_id)

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
            op_id = f"config-due:{instance.instance_id}:{instance.config_version}"
            self._db.run_tx(op_id, body, origin=_PUSHING)
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
    records = contract_rows.list_contracts(reader, instance_id)
    return instance, [record.contract for record in records], reader.now


def _lines_of(asked: ContractCreate, edition: Edition) -> int:
    if asked.lines is not None:
        return asked.lines
    return edition.min_lines if asked.kind == "base" else 1


def _to_contract(asked: ContractCreate, *, contract_id: ContractId, lines: int, now: datetime) -> Contract:
    begins = asked.effective_from or now
    if begins < now - _BACKDATING:
        raise ContractUnfit("A contract cannot begin in the past.", field="effective_from")
    if begins > now + _FURTHEST:
        raise ContractUnfit("A contract begins within the next ten years.", field="effective_from")
    contract = Contract(
        contract_id=contract_id,
        kind=asked.kind,
        edition=find_edition(asked.edition).key,
        lines=lines,
        overage=asked.overage,
        effective_from=begins,
        effective_until=asked.effective_until,
        limits=None if asked.limits is None else dict(asked.limits),
    )
    check_contract(contract)
    return contract


def _check_countries(
    asked: ContractCreate, instance: Instance, known: Sequence[ContractRecord], *, at: datetime
) -> tuple[str, ...]:
    """The countries that the new row allows; the instance's own has to be one of them."""
    if asked.kind != "base" and asked.countries is not None:
        raise ContractUnfit("Countries belong to base contracts.", field="countries")
    before = _record_in_force(known, at=at)
    countries = asked.countries or (DEFAULT_COUNTRIES if before is None else before.countries)
    check_country_codes(countries, field="countries")
    if instance.country not in countries:
        raise CountryForbidden(
            "The instance lies in a country that this contract would no longer allow.",
            country=instance.country,
            countries=sorted(countries),
        )
    return tuple(sorted(countries))


def _record_in_force(known: Sequence[ContractRecord], *, at: datetime) -> ContractRecord | None:
    found = contract_in_force([record.contract for record in known], at)
    return next((record for record in known if record.contract is found), None)


def _describe_in_force(known: Sequence[ContractRecord], *, at: datetime) -> JsonObject | None:
    found = _record_in_force(known, at=at)
    return None if found is None else _describe(found)


def _describe(record: ContractRecord) -> JsonObject:
    """What the audit chain keeps of a contract row."""
    row = record.contract
    return {
        "contract_id": row.contract_id,
        "kind": row.kind,
        "edition": row.edition,
        "lines": row.lines,
        "overage": row.overage,
        "effective_from": to_text(row.effective_from),
        "effective_until": None if row.effective_until is None else to_text(row.effective_until),
        "limits": None if row.limits is None else {str(meter): n for meter, n in row.limits.items()},
        "countries": list(record.countries),
    }


def _describe_profile(profile: InstanceProfile) -> JsonObject:
    """What the instance's own chain keeps of its configuration; its contracts stand in the platform's."""
    return {
        "config_version": profile.config_version,
        "name": profile.name,
        "edition": profile.edition,
        "lines": len(profile.lines),
        "web_services": profile.web_services,
        "frozen": profile.frozen,
    }
