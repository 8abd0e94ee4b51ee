"""Requests and answers of the admin API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StrictInt

from app.http.schema.access import ScopeName
from app.http.schema.model import AnswerModel, Moment, RequestModel
from editions import Contract, Discrepancy, Edition, LedgerEntry
from editions.limit import MOST_NEGOTIATED, contract_in_force, lines_at
from tenancy import (
    ContractRecord,
    Customer,
    FirstClient,
    Instance,
    check_scopes,
)
from tenancy.customer import LONGEST_DISPLAY_NAME
from tenancy.record import DEFAULT_COUNTRIES

CountryCode = Annotated[str, Field(min_length=2, max_length=2)]
EditionName = Literal["datacenter", "dedicated", "high_performance", "high_availability"]
OverageName = Literal["grace", "block"]
NegotiatedLimit = Annotated[StrictInt, Field(ge=0, le=MOST_NEGOTIATED)]
Lines = Annotated[StrictInt, Field(ge=1, le=32)]


class TemplateRead(AnswerModel):
    """What a new container needs to know of its vendor."""

    instance: str = Field(
        description="Id of the instance, as it stands in the certificate that signs updates."
    )
    firm_code: int
    root_certificate: str = Field(description="PEM.")


class CustomerCreate(RequestModel):
    """A new customer."""

    name: str = Field(max_length=64, description="Lower case, digits and dashes.", examples=["acme"])
    display_name: str = Field(min_length=1, max_length=LONGEST_DISPLAY_NAME, examples=["ACME Drawing GmbH"])


class CustomerRead(AnswerModel):
    """A customer."""

    customer_id: str
    name: str
    display_name: str
    created_at: datetime

    @classmethod
    def of(cls, customer: Customer) -> CustomerRead:
        """From the domain's value."""
        return cls(
            customer_id=customer.customer_id,
            name=customer.name,
            display_name=customer.display_name,
            created_at=customer.created_at,
        )


class FirstClientBody(RequestModel):
    """An API client to begin with. Nobody knows its secret: rotate it to get one."""

    name: str = Field(max_length=64, examples=["erp"])
    scopes: list[ScopeName] = Field(min_length=1, max_length=4)


class InstanceCreateBody(RequestModel):
    """A new instance."""

    customer_id: str = Field(max_length=64)
    edition: EditionName
    name: str = Field(max_length=64, description="First segment of its URLs.", examples=["acme-ha"])
    country: str = Field(
        default="DE", min_length=2, max_length=2, description="Where its data lies, ISO 3166-1 alpha-2."
    )
    countries: list[CountryCode] = Field(
        default=list(DEFAULT_COUNTRIES),
        min_length=1,
        max_length=32,
        description="Where the contract allows it to lie.",
    )
    overage: OverageName = "grace"
    lines: Lines | None = Field(default=None, description="As contracted; the edition's least if left out.")
    firm_code: Annotated[StrictInt, Field(ge=1, le=0xFFFF_FFFF)] | None = Field(
        default=None, description="The vendor's own; the next free universal one if left out."
    )
    first_client: FirstClientBody | None = Field(
        default=None, description="An API client that the instance begins with."
    )


def first_client_of(body: InstanceCreateBody) -> FirstClient | None:
    """The first client as the domain knows it."""
    asked = body.first_client
    return None if asked is None else FirstClient(name=asked.name, scopes=check_scopes(asked.scopes))


class InstanceRead(AnswerModel):
    """An instance."""

    instance_id: str
    customer_id: str
    name: str
    edition: str
    lines: int
    country: str
    firm_code: int
    pool: str
    state: str
    health: str
    config_version: int
    applied_version: int
    servers: list[str] = Field(
        description="Names of the servers it is placed on, that of its database first."
    )
    contract_edition: str | None = Field(
        description="What the contract in force gives; null without one. `edition` is where it is placed."
    )
    contract_lines: int = Field(
        description="Lines contracted now, temporary ones included. `lines` is how many serve it."
    )
    created_at: datetime
    retained_until: datetime | None = Field(description="Of an ended one: not to be erased before.")
    due_for_erasure: bool = Field(
        description="Its data are retained no longer: somebody has to have them erased."
    )

    @classmethod
    def of(
        cls, instance: Instance, servers: Sequence[str], contracts: Sequence[Contract], *, at: datetime
    ) -> InstanceRead:
        """From the domain's values; its contracts as of an instant."""
        base = contract_in_force(contracts, at)
        return cls(
            instance_id=instance.instance_id,
            customer_id=instance.customer_id,
            name=instance.name,
            edition=instance.edition,
            lines=instance.lines,
            country=instance.country,
            firm_code=instance.firm_code,
            pool=instance.pool,
            state=instance.state,
            health=instance.health,
            config_version=instance.config_version,
            applied_version=instance.applied_version,
            servers=list(servers),
            contract_edition=None if base is None else base.edition,
            contract_lines=lines_at(contracts, at),
            created_at=instance.created_at,
            retained_until=instance.retained_until,
            due_for_erasure=instance.is_due_for_erasure(at),
        )


class ContractBody(RequestModel):
    """A dated contract row."""

    edition: EditionName
    lines: Lines | None = Field(
        default=None,
        description="The edition's least if left out; of temporary lines one.",
    )
    overage: OverageName = "grace"
    kind: Literal["base", "temporary_lines"] = "base"
    effective_from: Moment | None = Field(
        default=None, description="Now if left out; at most ten years ahead."
    )
    effective_until: Moment | None = Field(default=None, description="Open-ended if left out.")
    limits: dict[Literal["activations", "web_service_calls"], NegotiatedLimit] | None = Field(
        default=None, description="Negotiated amounts per month, in place of the edition's."
    )
    countries: Annotated[list[CountryCode], Field(min_length=1, max_length=50)] | None = Field(
        default=None, description="Where the instance may lie; as before if left out."
    )


class ContractRead(AnswerModel):
    """A dated contract row."""

    contract_id: str
    kind: str
    edition: str
    lines: int
    overage: str
    effective_from: datetime
    effective_until: datetime | None
    limits: dict[str, int] | None
    countries: list[str] | None = Field(
        default=None, description="Where the instance may lie; told to staff only."
    )

    @classmethod
    def of(cls, record: ContractRecord) -> ContractRead:
        """From the domain's value."""
        shown = cls.of_contract(record.contract)
        return shown.model_copy(update={"countries": list(record.countries)})

    @classmethod
    def of_contract(cls, contract: Contract) -> ContractRead:
        """From the meters' value."""
        return cls(
            contract_id=contract.contract_id,
            kind=contract.kind,
            edition=contract.edition,
            lines=contract.lines,
            overage=contract.overage,
            effective_from=contract.effective_from,
            effective_until=contract.effective_until,
            limits=None if contract.limits is None else {str(name): n for name, n in contract.limits.items()},
        )


class EditionRead(AnswerModel):
    """An edition of the catalogue."""

    edition: str
    name: dict[str, str]
    activations: int = Field(description="Activations and deactivations per month; per line if `per_line`.")
    web_service_calls: int | None
    per_line: bool
    min_lines: int
    server: str
    box: str
    availability_per_mille: int
    web_services: bool

    @classmethod
    def of(cls, edition: Edition) -> EditionRead:
        """From the catalogue's value."""
        return cls(
            edition=edition.key,
            name={"en": edition.name_en, "de": edition.name_de},
            activations=edition.activations,
            web_service_calls=edition.calls,
            per_line=edition.per_line,
            min_lines=edition.min_lines,
            server=edition.server,
            box=edition.box,
            availability_per_mille=edition.availability_per_mille,
            web_services=edition.web_services,
        )


class LedgerEntryRead(AnswerModel):
    """One row of the ledger."""

    effect_id: str
    phase: str
    kind: str
    subject: str
    reference: str
    principal: str
    at: datetime
    position: str = Field(description="Pass it as `after` to go on behind this row.")

    @classmethod
    def of(cls, entry: LedgerEntry) -> LedgerEntryRead:
        """From the meters' value."""
        return cls(
            effect_id=entry.effect_id,
            phase=entry.phase,
            kind=entry.kind,
            subject=entry.subject,
            reference=entry.reference,
            principal=entry.principal,
            at=entry.at,
            position=entry.position,
        )


class DiscrepancyRead(AnswerModel):
    """A difference between a counter and the ledger; there should be none."""

    meter: str
    month: str
    what: str
    expected: int
    found: int


class MeterAuditRead(AnswerModel):
    """Whether every counter is what the ledger says."""

    exact: bool
    discrepancies: list[DiscrepancyRead]

    @classmethod
    def of(cls, found: tuple[Discrepancy, ...]) -> MeterAuditRead:
        """From the meters' value."""
        return cls(
            exact=not found,
            discrepancies=[
                DiscrepancyRead(
                    meter=each.meter,
                    month=each.month,
                    what=each.what,
                    expected=each.expected,
                    found=each.found,
                )
                for each in found
            ],
        )
