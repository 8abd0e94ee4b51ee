"""Requests and answers about who may call an instance; the same for its customer and for staff."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, IPvAnyAddress, StrictBool, StrictInt, model_validator

from app.http.problem_catalog import PROBLEM_BY_CODE
from app.http.schema.model import AnswerModel, Moment, RequestModel
from tenancy import (
    DEFAULT_RATE,
    HIGHEST_RATE,
    Admitted,
    ApiClient,
    CertificatePin,
    ClientCredentials,
    ClientSecret,
    VersionedPolicy,
)
from tenancy.access.client.certificate import LONGEST_PEM
from tenancy.access.client.record import LONGEST_OVERLAP, OVERLAP
from tenancy.access.doctor import Diagnosis, Finding
from tenancy.access.failure.log import AccessFailure

ScopeName = Literal["read", "orders", "licenses", "admin"]
MethodName = Literal["network", "certificate", "basic"]
Scopes = Annotated[list[ScopeName], Field(min_length=1, max_length=4)]
RateNumber = Annotated[StrictInt, Field(ge=1, le=HIGHEST_RATE)]
_HOUR: int = 3600


class ForceBody(RequestModel):
    """Whether to go on although it would lock somebody out."""

    force: StrictBool = Field(
        default=False, description="Carry it out even if it shuts out the caller or the last working client."
    )


class AccessBody(ForceBody):
    """Who may call an instance's web services."""

    mode: Literal["all", "any"] = "all"
    methods: list[MethodName] = Field(max_length=10, description="None: closed.")
    networks: list[str] = Field(
        default_factory=list, max_length=200, examples=[["192.0.2.0/24", "2001:db8::/48"]]
    )
    network_scopes: list[ScopeName] = Field(
        default=["read"],
        max_length=10,
        description="What a caller may do who is let in by his network alone.",
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
    scopes: Scopes
    expires_at: Moment | None = Field(default=None, description="Never, if left out.")
    rate_per_second: RateNumber | None = Field(
        default=None,
        description=f"Requests a second in the long run; {DEFAULT_RATE.per_second} if left out. "
        "Customers cannot give more than that.",
    )
    burst: RateNumber | None = Field(
        default=None, description=f"Requests at once, likewise; {DEFAULT_RATE.burst} if left out."
    )


class ClientPatch(ForceBody):
    """What is to be changed of an API client; what is left out stays, null takes it away."""

    name: str | None = Field(default=None, max_length=64)
    scopes: Scopes | None = None
    expires_at: Moment | None = Field(default=None, description="Null: never.")
    rate_per_second: RateNumber | None = Field(default=None, description="Null: the platform's own.")
    burst: RateNumber | None = Field(default=None, description="Null: the platform's own.")

    @model_validator(mode="after")
    def _check_given(self) -> ClientPatch:
        given = self.model_fields_set - {"force"}
        if not given:
            raise ValueError("name at least one field to change")
        if any(getattr(self, name) is None for name in given & {"name", "scopes"}):
            raise ValueError("name and scopes cannot be taken away")
        return self


class RotateBody(ForceBody):
    """How a secret is replaced."""

    overlap_hours: Annotated[StrictInt, Field(ge=0, le=int(LONGEST_OVERLAP.total_seconds()) // _HOUR)] = (
        Field(
            default=int(OVERLAP.total_seconds()) // _HOUR,
            description="How long the old secret goes on beside the new one; 0 ends it at once.",
        )
    )


class SecretRead(AnswerModel):
    """A secret of an API client; never what it is."""

    secret_id: str
    created_at: datetime
    ends_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, secret: ClientSecret) -> SecretRead:
        """From the domain's value."""
        return cls(
            secret_id=secret.secret_id,
            created_at=secret.created_at,
            ends_at=secret.ends_at,
            last_used_at=secret.last_used_at,
        )


class CertificateCreate(RequestModel):
    """By which certificates an API client is to be known."""

    certificate: str = Field(
        max_length=LONGEST_PEM,
        description="PEM: the client's own, or, together with `subject`, that of the CA that issues them.",
    )
    subject: str | None = Field(
        default=None,
        max_length=1000,
        description="RFC 4514; what the CA must have certified. Left out: this one certificate.",
        examples=["CN=erp,O=ACME Drawing GmbH,C=DE"],
    )


class CertificateRead(AnswerModel):
    """By which certificates an API client is known."""

    certificate_id: str
    kind: str
    fingerprint: str = Field(description="SHA-256 of the client's certificate, or of the CA's.")
    subject: str
    not_after: datetime
    created_at: datetime
    last_used_at: datetime | None

    @classmethod
    def of(cls, pin: CertificatePin) -> CertificateRead:
        """From the domain's value."""
        return cls(
            certificate_id=pin.certificate_id,
            kind=pin.kind,
            fingerprint=pin.fingerprint,
            subject=pin.subject,
            not_after=pin.not_after,
            created_at=pin.created_at,
            last_used_at=pin.last_used_at,
        )


class ClientRead(AnswerModel):
    """An API client; never its secrets."""

    client_id: str
    name: str
    username: str
    scopes: list[str]
    created_at: datetime
    disabled_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    rate_per_second: int
    burst: int
    version: int
    secrets: list[SecretRead] = Field(description="Newest first; three at most.")
    certificates: list[CertificateRead]

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
            expires_at=client.expires_at,
            last_used_at=client.last_used_at,
            rate_per_second=client.rate.per_second,
            burst=client.rate.burst,
            version=client.version,
            secrets=[SecretRead.of(each) for each in client.secrets],
            certificates=[CertificateRead.of(each) for each in client.certificates],
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


class DiagnoseBody(RequestModel):
    """A call that somebody wonders about."""

    address: IPvAnyAddress = Field(description="The caller's, as the platform sees it.")
    username: str | None = Field(default=None, max_length=191)
    secret: str | None = Field(
        default=None, max_length=256, repr=False, description="A secret to try; neither stored nor logged."
    )
    secret_is_right: StrictBool = Field(
        default=True, description="What to assume of the secret if none is given to try."
    )
    certificate: str | None = Field(default=None, max_length=LONGEST_PEM, description="PEM.")
    verification: Literal["good", "revoked", "not_verified"] = Field(
        default="good", description="What the load balancer finds when it checks the certificate."
    )
    scope: ScopeName | None = Field(default=None, description="That the route asks for.")


class FindingRead(AnswerModel):
    """What one rule says."""

    rule: str
    outcome: Literal["holds", "fails", "not_sent", "not_asked"]
    code: str | None = Field(description="Of the refusal that callers get.")
    saw: str
    compared_with: list[str]
    advice: str
    hotline_text: dict[str, str] | None

    @classmethod
    def of(cls, finding: Finding) -> FindingRead:
        """From the domain's value, with the catalogue's text for people."""
        kind = None if finding.code is None else PROBLEM_BY_CODE[finding.code]
        return cls(
            rule=finding.rule,
            outcome=finding.outcome,
            code=finding.code,
            saw=finding.saw,
            compared_with=list(finding.compared_with),
            advice=finding.advice,
            hotline_text=None if kind is None else {"en": kind.hotline_en, "de": kind.hotline_de},
        )


class DiagnosisRead(AnswerModel):
    """Whether a call would be let in, and why."""

    let_in: bool
    code: str | None = Field(description="Of the refusal; null: let in.")
    decided_by: str = Field(description="The rule that lets the call in or refuses it.")
    principal: str | None
    scopes: list[str]
    mode: str
    findings: list[FindingRead]

    @classmethod
    def of(cls, found: Diagnosis) -> DiagnosisRead:
        """From the domain's value."""
        admitted = found.decision if isinstance(found.decision, Admitted) else None
        return cls(
            let_in=found.let_in,
            code=found.code,
            decided_by=found.decided_by,
            principal=None if admitted is None else admitted.principal.name,
            scopes=[] if admitted is None else sorted(admitted.scopes),
            mode=found.mode,
            findings=[FindingRead.of(each) for each in found.findings],
        )


class AccessFailureRead(AnswerModel):
    """How often somebody was refused for one reason."""

    client: str = Field(description="User name of an API client, or `-`: none, or none of this instance.")
    network: str
    code: str
    failures: int
    first_at: datetime
    last_at: datetime

    @classmethod
    def of(cls, failure: AccessFailure) -> AccessFailureRead:
        """From the domain's value."""
        return cls(
            client=failure.client,
            network=failure.network,
            code=failure.code,
            failures=failure.failures,
            first_at=failure.first_at,
            last_at=failure.last_at,
        )
