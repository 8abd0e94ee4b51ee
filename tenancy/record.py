"""What the platform knows, as values: customers, instances and their contracts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from app.core.ids import CustomerId, InstanceId
from editions.catalog import Overage
from editions.limit import Contract, contract_in_force
from tenancy.access.policy import InstanceProfile, Scope
from tenancy.errors import LimitUnfit
from tenancy.placement import find_edition, line_names

InstanceState = Literal["provisioning", "ready", "frozen", "ended", "erased", "failed"]
InstanceHealth = Literal["unknown", "ok", "degraded", "down"]

KEPT_STATES: Final[tuple[InstanceState, ...]] = ("ready", "frozen", "ended")
DEFAULT_COUNTRIES: Final = ("DE",)
"""Where instances may be placed unless a contract says otherwise. **Source:** requirement text: hosting in Germany."""
LONGEST_PAGE: Final = 101
"""A page of 100, and one row more that says whether there is a next one. **Source:** peers reference §3.7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A software vendor who rents hosting."""

    customer_id: CustomerId
    name: str
    display_name: str
    created_at: datetime
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One hosted License Central.

    Attributes:
        edition: in which it was placed; the contract in force decides what it may use.
        lines: how many serve it, as placed.
        state: what wops has done with it.
        health: what the probes see of it.
        database_url: without password; None until the database exists.
        config_version: what should hold; `applied_version`: what the instance's own database has been told.
        version: for If-Match; raised by every change that staff or customer make to the instance itself.
        retained_until: of an ended one: not to be erased before.
        placed_as: the name it was placed under if it was renamed since.
    """

    instance_id: InstanceId
    customer_id: CustomerId
    name: str
    edition: str
    lines: int
    country: str
    firm_code: int
    pool: str
    state: InstanceState
    health: InstanceHealth
    database_url: str | None
    config_version: int
    applied_version: int
    created_at: datetime
    version: int = 1
    retained_until: datetime | None = None
    placed_as: str | None = None

    @property
    def placement_name(self) -> str:
        """What its lines and boxes are named after; a new name of the instance changes nothing about them."""
        return self.placed_as or self.name

    @property
    def is_open(self) -> bool:
        """Whether its lines let callers in."""
        return self.state == "ready"

    @property
    def is_kept(self) -> bool:
        """Whether it has a database in use or retained: it is told what holds, migrated, swept and exported."""
        return self.state in KEPT_STATES

    def is_due_for_erasure(self, at: datetime) -> bool:
        """Whether its data are retained no longer, and still there."""
        return self.state == "ended" and self.retained_until is not None and self.retained_until <= at


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractRecord:
    """A contract row and whose it is.

    Attributes:
        countries: where the instance may be placed while this is the contract in force.
    """

    instance_id: InstanceId
    contract: Contract
    created_at: datetime
    countries: tuple[str, ...] = DEFAULT_COUNTRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstClient:
    """An API client that provisioning makes; nobody knows its secret until it is rotated for the first time."""

    name: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCreate:
    """What is asked for when an instance is created.

    Attributes:
        country: ISO 3166-1 alpha-2, where its data lies; one of `countries`.
        countries: where the contract allows it to lie.
        lines: as contracted; None for as few as the edition has.
        firm_code: the vendor's own; None for the next free universal one.
    """

    customer_id: CustomerId
    edition: str
    name: str
    country: str = "DE"
    overage: Overage = "grace"
    lines: int | None = None
    firm_code: int | None = None
    countries: tuple[str, ...] = DEFAULT_COUNTRIES
    first_client: FirstClient | None = None


def describe_instance(instance: Instance, contracts: Sequence[Contract], *, at: datetime) -> InstanceProfile:
    """What a line has to know of an instance, as of an instant."""
    base = contract_in_force(contracts, at)
    edition = find_edition(instance.edition if base is None else base.edition)
    return InstanceProfile(
        instance_id=instance.instance_id,
        name=instance.name,
        customer_id=instance.customer_id,
        edition=edition.key,
        firm_code=instance.firm_code,
        pool=instance.pool,
        lines=line_names(instance.placement_name, find_edition(instance.edition), lines=instance.lines),
        web_services=base is not None and edition.web_services,
        config_version=instance.config_version,
        frozen=instance.state in ("frozen", "ended"),
    )


def next_boundary(contracts: Sequence[Contract], *, at: datetime) -> datetime | None:
    """When the next contract row begins or ends."""
    instants = (instant for row in contracts for instant in (row.effective_from, row.effective_until))
    return min((instant for instant in instants if instant is not None and instant > at), default=None)


def check_limit(limit: int) -> int:
    """Return the page size if it is one.

    Raises:
        LimitUnfit: below 1 or above 100.
    """
    if not 1 <= limit <= LONGEST_PAGE:
        raise LimitUnfit(f"A page has 1 to {LONGEST_PAGE} entries.", field="limit")
    return limit
