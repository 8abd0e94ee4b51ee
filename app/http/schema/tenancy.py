"""Requests and answers of the admin API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StrictBool, StrictInt

from app.http.schema.model import AnswerModel, RequestModel
from editions import Contract, Discrepancy, Edition, LedgerEntry
from fsb_gateway import BoxReport, PoolReport
from tenancy import (
    ApiClient,
    ClientCredentials,
    ContractRecord,
    Customer,
    Instance,
    Operation,
    StaffCredentials,
    StaffToken,
    VersionedPolicy,
)

EditionName = Literal["datacenter", "dedicated", "high_performance", "high_availability"]
OverageName = Literal["grace", "block"]
ScopeName = Literal["read", "orders", "licenses", "admin"]
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
    display_name: str = Field(min_length=1, max_length=150, examples=["ACME Drawing GmbH"])


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


class InstanceCreateBody(RequestModel):
    """A new instance."""

    customer_id: str = Field(max_length=64)
    edition: EditionName
    name: str = Field(max_length=64, description="First segment of its URLs.", examples=["acme-ha"])
    country: str = Field(
        default="DE", min_length=2, max_length=2, description="Where its data lies, ISO 3166-1."
    )
    overage: OverageName = "grace"
    lines: Lines | None = Field(default=None, description="As contracted; the edition's least if left out.")
    firm_code: Annotated[StrictInt, Field(ge=1, le=0xFFFF_FFFF)] | None = Field(
        default=None, description="The vendor's own; the next free universal one if left out."
    )


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
    created_at: datetime

    @classmethod
    def of(cls, instance: Instance) -> InstanceRead:
        """From the domain's value."""
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
            created_at=instance.created_at,
        )


class StepRead(AnswerModel):
    """One step of an operation."""

    name: str
    state: str


class OperationRead(AnswerModel):
    """A long-running change."""

    operation_id: str
    kind: str
    object_id: str
    state: str
    steps: list[StepRead]
    attempts: int
    deadline_at: datetime
    error_code: str | None
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, operation: Operation) -> OperationRead:
        """From the domain's value."""
        return cls(
            operation_id=operation.operation_id,
            kind=operation.kind,
            object_id=operation.object_id,
            state=operation.state,
            steps=[StepRead(name=step.name, state=step.state) for step in operation.steps],
            attempts=operation.attempts,
            deadline_at=operation.deadline_at,
            error_code=operation.error_code,
            error_message=operation.error_message,
            created_at=operation.created_at,
            finished_at=operation.finished_at,
        )


class ContractBody(RequestModel):
    """A dated contract row."""

    edition: EditionName
    lines: Lines = 1
    overage: OverageName = "grace"
    kind: Literal["base", "temporary_lines"] = "base"
    effective_from: AwareDatetime | None = Field(default=None, description="Now if left out.")
    effective_until: AwareDatetime | None = Field(default=None, description="Open-ended if left out.")
    limits: dict[Literal["activations", "web_service_calls"], Annotated[StrictInt, Field(ge=0)]] | None = (
        Field(default=None, description="Negotiated amounts per month, in place of the edition's.")
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

    @classmethod
    def of(cls, record: ContractRecord) -> ContractRead:
        """From the domain's value."""
        return cls.of_contract(record.contract)

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


class AccessBody(RequestModel):
    """Who may call an instance's web services."""

    mode: Literal["all", "any"] = "all"
    methods: list[Literal["network", "basic"]] = Field(description="None: closed.")
    networks: list[str] = Field(
        default_factory=list, max_length=200, examples=[["192.0.2.0/24", "2001:db8::/48"]]
    )
    network_scopes: list[ScopeName] = Field(
        default=["read"], description="What a caller may do who is let in by his network alone."
    )
    confirm_wide_networks: StrictBool = Field(
        default=False, description="Needed for networks like 0.0.0.0/0."
    )


class AccessRead(AnswerModel):
    """Who may call an instance's web services."""

    mode: str
    methods: list[str]
    networks: list[str]
    network_scopes: list[str]
    version: int

    @classmethod
    def of(cls, versioned: VersionedPolicy) -> AccessRead:
        """From the domain's value."""
        policy = versioned.policy
        return cls(
            mode=policy.mode,
            methods=sorted(policy.methods),
            networks=[str(each) for each in policy.networks],
            network_scopes=sorted(policy.network_scopes),
            version=versioned.version,
        )


class ClientCreate(RequestModel):
    """A new API client."""

    name: str = Field(max_length=64, examples=["erp"])
    scopes: list[ScopeName] = Field(min_length=1, max_length=4)


class ClientRead(AnswerModel):
    """An API client; never its secret."""

    client_id: str
    name: str
    username: str
    scopes: list[str]
    created_at: datetime
    disabled_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, client: ApiClient) -> ClientRead:
        """From the domain's value."""
        return cls(
            client_id=client.client_id,
            name=client.name,
            username=client.username,
            scopes=sorted(client.scopes),
            created_at=client.created_at,
            disabled_at=client.disabled_at,
            last_used_at=client.last_used_at,
        )


class ClientCredentialsRead(AnswerModel):
    """An API client with its secret, shown this once."""

    client: ClientRead
    secret: str | None = Field(
        description="Null when the request is a repeat: rotate it if the first answer was lost."
    )

    @classmethod
    def of(cls, credentials: ClientCredentials) -> ClientCredentialsRead:
        """From the domain's value."""
        return cls(client=ClientRead.of(credentials.client), secret=credentials.secret)


class StaffTokenCreate(RequestModel):
    """A new staff token."""

    name: str = Field(min_length=1, max_length=120, examples=["night shift"])
    role: Literal["operator", "support", "auditor", "admin"]
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=366)] = 90


class StaffTokenRead(AnswerModel):
    """A staff token; never its secret."""

    token_id: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, token: StaffToken) -> StaffTokenRead:
        """From the domain's value."""
        return cls(
            token_id=token.token_id,
            name=token.name,
            role=token.role,
            created_at=token.created_at,
            expires_at=token.expires_at,
            revoked_at=token.revoked_at,
        )


class StaffCredentialsRead(AnswerModel):
    """A staff token with its secret, shown this once."""

    token: StaffTokenRead
    secret: str | None

    @classmethod
    def of(cls, credentials: StaffCredentials) -> StaffCredentialsRead:
        """From the domain's value."""
        return cls(token=StaffTokenRead.of(credentials.token), secret=credentials.secret)


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


class BoxRead(AnswerModel):
    """A box as its gateway sees it."""

    name: str
    pool: str
    driver: str
    state: str
    jobs_done: int
    operations_done: int
    busy_seconds: float
    firm_codes: list[int]

    @classmethod
    def of(cls, box: BoxReport) -> BoxRead:
        """From the gateway's value."""
        return cls(
            name=box.name,
            pool=box.pool,
            driver=box.driver,
            state=box.state,
            jobs_done=box.jobs_done,
            operations_done=box.operations_done,
            busy_seconds=box.busy_seconds,
            firm_codes=list(box.firm_codes),
        )


class PoolRead(AnswerModel):
    """A pool as its gateway sees it."""

    name: str
    boxes: list[str]
    ready_boxes: int
    waiting: int
    running: int
    expected_wait_seconds: float

    @classmethod
    def of(cls, pool: PoolReport) -> PoolRead:
        """From the gateway's value."""
        return cls(
            name=pool.name,
            boxes=list(pool.boxes),
            ready_boxes=pool.ready_boxes,
            waiting=pool.waiting,
            running=pool.running,
            expected_wait_seconds=pool.expected_wait_seconds,
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
