"""The access doctor: would this call be let in, which rule decides, and what to do next. Pure, dry.

It walks every rule, also those behind the one that decides, and says what each was compared with. Its verdict is that
of `decide` for the same call; a test compares them for thousands of policies and calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tenancy.access.client.certificate import read_certificate
from tenancy.access.client.record import KnownClient
from tenancy.access.decision import (
    Admitted,
    Decision,
    DenialKind,
    Denied,
    ProvenSecret,
    admit,
    first_denial,
    judge_basic,
    judge_certificate,
    weigh,
)
from tenancy.access.errors import CertificateMalformed
from tenancy.access.policy import Address, InstanceProfile, Network, Scope
from tenancy.access.revocation.verification import Verification
from tenancy.access.rule import AccessRules, AccessSnapshot
from tenancy.credential import CredentialKey

Rule = Literal["policy", "network", "certificate", "basic", "frozen", "scope"]
Outcome = Literal["holds", "fails", "not_sent", "not_asked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """The call to be diagnosed.

    Attributes:
        username: None: no Basic credentials.
        secret: a secret to try; or
        secret_is_right: what to assume of it. With neither, it is assumed to be wrong.
        certificate: DER.
        verification: what the front would have found when it checked it.
        scope: that the route asks for; None: not looked at.
    """

    peer: Address
    username: str | None = None
    secret: str | None = field(default=None, repr=False)
    secret_is_right: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    verification: Verification = "good"
    scope: Scope | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule says.

    Attributes:
        code: of the refusal that callers get; None if the rule holds or is not asked.
        compared_with: what the rule was held against, e.g. the networks of the policy.
        advice: what to do next; empty if there is nothing to do.
    """

    rule: Rule
    outcome: Outcome
    code: str | None
    saw: str
    compared_with: tuple[str, ...] = ()
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Whether a call would be let in.

    Attributes:
        decision: of the access policy, as a line would make it.
        code: of the refusal, also by a frozen instance or a missing scope; None: let in.
        decided_by: the rule that lets the call in or refuses it; `policy`: all that it asks for hold, or it is
            closed.
        mode: of the policy.
    """

    decision: Decision
    code: str | None
    decided_by: Rule
    mode: str
    findings: tuple[Finding, ...]

    @property
    def let_in(self) -> bool:
        """The verdict."""
        return self.code is None


def diagnose(held: AccessSnapshot, patient: Patient, *, key: CredentialKey, now: datetime) -> Diagnosis:
    """Say what would become of a call.

    Args:
        held: the instance's rules and profile.
        patient: the call.
        key: checks the secret, if there is a real one.
        now: judges dates.
    """
    return _Examination(held, patient, key=key, now=now).diagnose()


class _Examination:
    def __init__(self, held: AccessSnapshot, patient: Patient, *, key: CredentialKey, now: datetime) -> None:
        self._rules: AccessRules = held.rules
        self._profile: InstanceProfile = held.profile
        self._patient = patient
        self._now = now
        self._network: Network | None = held.rules.policy.find_network(patient.peer)
        self._secret = self._judge_secret(key)
        self._certificate = judge_certificate(
            held.rules, patient.certificate, verification=patient.verification, now=now
        )

    def diagnose(self) -> Diagnosis:
        decision = self._decide()
        denied = decision.kind if isinstance(decision, Denied) else None
        code = denied or self._behind(decision)
        findings = (
            self._policy(),
            self._about_network(),
            self._about_certificate(denied),
            self._about_basic(),
        )
        return Diagnosis(
            decision=decision,
            code=code,
            decided_by=self._decider(decision, code),
            mode=self._rules.policy.mode,
            findings=(*findings, *self._after(decision)),
        )

    def _judge_secret(self, key: CredentialKey) -> ProvenSecret | Denied | None:
        patient = self._patient
        if patient.username is None:
            return None
        if patient.secret is not None:
            return judge_basic(self._rules, (patient.username, patient.secret), key=key, now=self._now)
        known = self._rules.clients.get(patient.username)
        if known is None:
            return Denied(kind="instance_not_found")
        live = [each for each in known.client.secrets if each.is_live(self._now)]
        if not patient.secret_is_right or not live or not known.client.is_live(self._now):
            return Denied(kind="credentials_invalid")
        return ProvenSecret(known=known, secret=live[0])

    def _decide(self) -> Decision:
        secret, certificate = self._secret, self._certificate
        refused = first_denial(certificate, secret)
        if isinstance(secret, Denied) or isinstance(certificate, Denied):
            return refused or Denied(kind="credentials_invalid")
        if not self._rules.policy.methods:
            return Denied(kind="access_closed")
        denied = weigh(self._rules.policy, self._network, certificate, secret)
        return denied or admit(self._rules.policy, self._network, certificate, secret)

    def _behind(self, decision: Decision) -> str | None:
        """What refuses a call that the policy lets in."""
        if isinstance(decision, Denied):
            return decision.kind
        if self._profile.frozen:
            return "instance_frozen"
        scope = self._patient.scope
        return "scope_missing" if scope is not None and not decision.may(scope) else None

    def _decider(self, decision: Decision, code: str | None) -> Rule:
        if isinstance(decision, Admitted) and code is None:
            return self._opener(decision)
        if code == "instance_not_found":
            unknown = isinstance(self._certificate, Denied) and self._certificate.kind == code
            return "certificate" if unknown else "basic"
        return _DECIDER[code or ""]

    def _opener(self, admitted: Admitted) -> Rule:
        """Which rule lets the call in."""
        policy = self._rules.policy
        if policy.mode == "all" and len(policy.methods) > 1:
            return "policy"
        if admitted.principal.kind == "network":
            return "network"
        named = "basic" in policy.methods and isinstance(self._secret, ProvenSecret)
        return "basic" if named else "certificate"

    def _policy(self) -> Finding:
        policy = self._rules.policy
        closed = not policy.methods
        return Finding(
            rule="policy",
            outcome="fails" if closed else "holds",
            code="access_closed" if closed else None,
            saw=f"{policy.mode} of {', '.join(sorted(policy.methods))}" if not closed else "no methods",
            advice="Choose who may call: put an access policy." if closed else "",
        )

    def _about_network(self) -> Finding:
        policy, peer = self._rules.policy, self._patient.peer
        asked, holds = "network" in policy.methods, self._network is not None
        return Finding(
            rule="network",
            outcome="not_asked" if not asked else "holds" if holds else "fails",
            code="network_not_allowed" if asked and not holds else None,
            saw=str(peer),
            compared_with=(
                (str(self._network),) if self._network is not None else tuple(map(str, policy.networks))
            ),
            advice=""
            if holds or not asked
            else "Call from one of these networks, or add this address to them.",
        )

    def _about_certificate(self, denied: DenialKind | None) -> Finding:
        asked = "certificate" in self._rules.policy.methods
        judged = self._certificate
        code: str | None = judged.kind if isinstance(judged, Denied) else None
        if asked and judged is None:
            code = "certificate_missing"
        if denied == "certificate_of_other_client":
            code = denied
        return Finding(
            rule="certificate",
            outcome=_outcome(asked, sent=self._patient.certificate is not None, code=code),
            code=code,
            saw=_saw_certificate(self._patient.certificate),
            compared_with=tuple(self._pins()) if asked else (),
            advice=_CERTIFICATE_ADVICE.get(code or "", ""),
        )

    def _pins(self) -> Iterator[str]:
        for name, known in self._rules.clients.items():
            for pin in known.client.certificates:
                named = pin.fingerprint if pin.kind == "fingerprint" else pin.subject
                yield f"{name}: {pin.kind} {named}, until {pin.not_after.date().isoformat()}"

    def _about_basic(self) -> Finding:
        asked = "basic" in self._rules.policy.methods
        judged, patient = self._secret, self._patient
        code: str | None = judged.kind if isinstance(judged, Denied) else None
        if asked and judged is None:
            code = "credentials_missing"
        known = None if patient.username is None else self._rules.clients.get(patient.username)
        return Finding(
            rule="basic",
            outcome=_outcome(asked, sent=patient.username is not None, code=code),
            code=code,
            saw=patient.username or "no user name",
            compared_with=tuple(self._about_client(known)),
            advice=_basic_advice(code, known, now=self._now),
        )

    def _about_client(self, known: KnownClient | None) -> Iterator[str]:
        if known is None:
            yield f"{len(self._rules.clients)} API clients of this instance"
            return
        client = known.client
        yield "disabled" if client.disabled_at is not None else "enabled"
        if client.expires_at is not None:
            yield f"expires {client.expires_at.isoformat()}"
        for each in client.secrets:
            yield f"secret of {each.created_at.isoformat()}" + (
                "" if each.ends_at is None else f", ends {each.ends_at.isoformat()}"
            )

    def _after(self, decision: Decision) -> Iterator[Finding]:
        """Rules behind the policy."""
        frozen = self._profile.frozen
        yield Finding(
            rule="frozen",
            outcome="fails" if frozen else "holds",
            code="instance_frozen" if frozen else None,
            saw="frozen" if frozen else "in operation",
            advice="Ask the operators why the instance is frozen; the portal goes on working."
            if frozen
            else "",
        )
        scope = self._patient.scope
        if scope is None or not isinstance(decision, Admitted):
            return
        missing = not decision.may(scope)
        yield Finding(
            rule="scope",
            outcome="fails" if missing else "holds",
            code="scope_missing" if missing else None,
            saw=scope,
            compared_with=tuple(sorted(decision.scopes)),
            advice=f"Give {decision.principal.name} the scope {scope}." if missing else "",
        )


_DECIDER: Mapping[str, Rule] = {
    "access_closed": "policy",
    "network_not_allowed": "network",
    "certificate_missing": "certificate",
    "certificate_outdated": "certificate",
    "certificate_not_for_clients": "certificate",
    "certificate_of_closed_client": "certificate",
    "certificate_of_other_client": "certificate",
    "certificate_revoked": "certificate",
    "revocation_list_outdated": "certificate",
    "certificate_not_verified": "certificate",
    "credentials_missing": "basic",
    "credentials_invalid": "basic",
    "instance_frozen": "frozen",
    "scope_missing": "scope",
}


def _outcome(asked: bool, *, sent: bool, code: str | None) -> Outcome:
    if code is not None and sent:
        return "fails"
    if not asked:
        return "not_asked"
    return "holds" if sent else "not_sent"


def _saw_certificate(der: bytes | None) -> str:
    if der is None:
        return "no certificate"
    try:
        certificate = read_certificate(der)
    except CertificateMalformed:
        return "something that is no certificate"
    return f"{certificate.subject}, SHA-256 {certificate.fingerprint}"


_CERTIFICATE_ADVICE = {
    "certificate_missing": "Set the client certificate up in the calling program.",
    "certificate_outdated": "Renew the certificate; its dates, or those of the CA, do not hold now.",
    "certificate_not_for_clients": "Have a certificate issued whose extended key usage allows clientAuth.",
    "certificate_of_closed_client": "Enable the API client that is known by this certificate, or let it last longer.",
    "certificate_of_other_client": "Send certificate and user name of the same API client.",
    "certificate_revoked": "Have a new certificate issued; what its authority has revoked never comes in again.",
    "revocation_list_outdated": "Put the authority's newest revocation list, or remove the one that is there.",
    "certificate_not_verified": "Compare the certificate with its authority: the load balancer rejects the signature.",
    "instance_not_found": "Add this certificate, or its CA and subject, to an API client.",
}


def _basic_advice(code: str | None, known: KnownClient | None, *, now: datetime) -> str:
    if code == "credentials_missing":
        return "Enter the user name and secret of an API client in the calling program."
    if code == "instance_not_found":
        return "Use the user name of an API client of this instance; they are in the list of clients."
    if code is None or known is None:
        return ""
    client = known.client
    if client.disabled_at is not None:
        return "Enable the API client."
    if not client.is_live(now):
        return "The API client has expired: let it last longer."
    if not any(each.is_live(now) for each in client.secrets):
        return "All secrets of the API client have ended: rotate it."
    return "Enter the secret again, or rotate the API client."
