"""Which limit is in force at an instant, from dated contract rows. Pure.

    base rows        ──dedicated──┬──high_availability, 2 lines────────────►
    temporary lines               │        └─ +1 line ─┘
    limit in force     3,000      │  25,000 × the most lines at any instant of the month (3)

**Source:** "Decisions" in the domain reference (at the limit; HA month quota).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from editions.catalog import EDITIONS, GRACE_PERCENT, METERS, Edition, EditionKey, Meter, Overage
from editions.errors import ContractInvalid, NoContractInForce
from editions.period import Month, month_of

ContractKind = Literal["base", "temporary_lines"]

_MOST_LINES = 1_000
"""Far above any sensible number of lines; keeps a slip of the keyboard out of the limits. A choice of
ours."""
MOST_NEGOTIATED = 10**12
"""Far above any sensible month; keeps sums within 64 bits. A choice of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One dated row: what is contracted from when to when.

    Attributes:
        kind: `base` says edition and policy; `temporary_lines` adds lines to the base rows of its edition
        for a time.
        lines: the number of lines, or of additional ones.
        overage: what happens at the limit; without meaning for temporary lines.
        effective_from: first instant, aware.
        effective_until: first instant no longer covered; None: open-ended (base rows only).
        limits: negotiated amounts per month and meter, in place of the edition's (already for all lines
        together).
    """

    contract_id: str
    edition: EditionKey
    effective_from: datetime
    kind: ContractKind = "base"
    lines: int = 1
    overage: Overage = "grace"
    effective_until: datetime | None = None
    limits: Mapping[Meter, int] | None = None

    def covers(self, at: datetime) -> bool:
        """Whether the row is in force at an instant."""
        return self.effective_from <= at and (self.effective_until is None or at < self.effective_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What an instance may use of one meter in one month, as of an instant.

    Attributes:
        included: False: the edition does not have what the meter counts; both amounts are 0 then.
        contractual: the amount the contract grants.
        refusal: the amount above which is refused; larger than `contractual` under the policy `grace`.
        lines: the number of lines that went into the amount; 1 where lines do not multiply.
        holds_until: the next instant at which a contract row begins or ends, or the month does.
    """

    meter: Meter
    month: Month
    edition: EditionKey
    overage: Overage
    included: bool
    contractual: int
    refusal: int
    lines: int
    contract_id: str
    holds_until: datetime


def refusal_amount(contractual: int, overage: Overage) -> int:
    """The amount above which a policy refuses; fractions are cut off."""
    return contractual * GRACE_PERCENT // 100 if overage == "grace" else contractual


def contract_in_force(contracts: Sequence[Contract], at: datetime) -> Contract | None:
    """The base row that covers an instant; of several, the one that began last (then: the younger id)."""
    covering = [row for row in contracts if row.kind == "base" and row.covers(at)]
    return max(covering, key=lambda row: (row.effective_from, row.contract_id), default=None)


def lines_at(contracts: Sequence[Contract], at: datetime) -> int:
    """Contracted lines at an instant, temporary ones included; 0 without a contract."""
    base = contract_in_force(contracts, at)
    if base is None:
        return 0
    added = (
        row.lines
        for row in contracts
        if row.kind == "temporary_lines" and row.edition == base.edition and row.covers(at)
    )
    return base.lines + sum(added)


def find_limit(contracts: Sequence[Contract], meter: Meter, at: datetime) -> Limit | None:
    """The limit in force at an instant; None when nothing is contracted then.

    Args:
        contracts: at least all rows that touch the month of `at`.
        meter: what is counted.
        at: decides both the month and the base row.
    """
    base = contract_in_force(contracts, at)
    if base is None:
        return None
    month = month_of(at)
    edition = EDITIONS[base.edition]
    lines = _most_lines(contracts, edition, month) if edition.per_line else 1
    contractual = _contractual(base, edition, meter, lines)
    return Limit(
        meter=meter,
        month=month,
        edition=base.edition,
        overage=base.overage,
        included=contractual is not None,
        contractual=contractual or 0,
        refusal=refusal_amount(contractual or 0, base.overage),
        lines=lines,
        contract_id=base.contract_id,
        holds_until=_next_boundary(contracts, at, month),
    )


def limit_in_force(contracts: Sequence[Contract], meter: Meter, at: datetime) -> Limit:
    """As `find_limit`.

    Raises:
        NoContractInForce: nothing is contracted at that instant.
    """
    limit = find_limit(contracts, meter, at)
    if limit is None:
        raise no_contract()
    return limit


def no_contract() -> NoContractInForce:
    """The refusal for an instant without a contract."""
    return NoContractInForce(
        "No contract is in force for this instance at the moment. Please contact support."
    )


def _contractual(base: Contract, edition: Edition, meter: Meter, lines: int) -> int | None:
    amount = edition.amount(meter)
    if amount is None:
        return None
    if base.limits is not None and meter in base.limits:
        return base.limits[meter]
    return amount * lines


def _most_lines(contracts: Sequence[Contract], edition: Edition, month: Month) -> int:
    """The most lines at any instant of the month at which this edition is in force."""
    instants = {
        month.start,
        *(instant for instant in _boundaries(contracts) if month.start <= instant < month.end),
    }
    return max(lines_at(contracts, at) for at in instants if _edition_at(contracts, at) == edition.key)


def _edition_at(contracts: Sequence[Contract], at: datetime) -> EditionKey | None:
    base = contract_in_force(contracts, at)
    return None if base is None else base.edition


def _boundaries(contracts: Sequence[Contract]) -> Iterator[datetime]:
    for row in contracts:
        yield row.effective_from
        if row.effective_until is not None:
            yield row.effective_until


def _next_boundary(contracts: Sequence[Contract], at: datetime, month: Month) -> datetime:
    return min([month.end, *(instant for instant in _boundaries(contracts) if instant > at)])


def check_contract(row: Contract) -> None:
    """Refuse a row that contradicts the catalogue or itself.

    Raises:
        ContractInvalid: `detail["field"]` names the place.
    """
    edition = EDITIONS.get(row.edition)
    if edition is None:
        raise ContractInvalid("There is no such edition.", field="edition", known=list(EDITIONS))
    if row.overage not in ("grace", "block"):
        raise ContractInvalid("The overage policy is either grace or block.", field="overage")
    _check_lines(row, edition)
    _check_time(row)
    _check_limits(row.limits or {})


def _check_lines(row: Contract, edition: Edition) -> None:
    if row.kind == "temporary_lines":
        if not edition.per_line:
            raise ContractInvalid(
                "Temporary lines can only be added to an edition with several lines.", field="edition"
            )
        least, most = 1, _MOST_LINES
    elif row.kind == "base":
        least, most = edition.min_lines, edition.max_lines or _MOST_LINES
    else:
        raise ContractInvalid("A contract row is either base or temporary_lines.", field="kind")
    if not least <= row.lines <= most:
        raise ContractInvalid(
            "The number of lines does not fit the edition.", field="lines", least=least, most=most
        )


def _check_time(row: Contract) -> None:
    for field, moment in (("effective_from", row.effective_from), ("effective_until", row.effective_until)):
        if moment is not None and moment.tzinfo is None:
            raise ContractInvalid("A time needs a time zone.", field=field)
    if row.effective_until is None:
        if row.kind == "temporary_lines":
            raise ContractInvalid("Temporary lines need an end.", field="effective_until")
    elif row.effective_until <= row.effective_from:
        raise ContractInvalid("A contract row ends after it begins.", field="effective_until")


def _check_limits(limits: Mapping[Meter, int]) -> None:
    for meter, amount in limits.items():
        if meter not in METERS:
            raise ContractInvalid("There is no such meter.", field="limits", known=list(METERS))
        if not 0 <= amount <= MOST_NEGOTIATED:
            raise ContractInvalid("A negotiated limit is out of range.", field="limits", most=MOST_NEGOTIATED)
