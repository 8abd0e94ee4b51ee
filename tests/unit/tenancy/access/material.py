"""Clients, policies and callers for tests of access rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network

from app.core.ids import ApiClientId, CustomerId, InstanceId
from tenancy.access.client.record import ApiClient, CertificatePin, ClientSecret, KnownClient
from tenancy.access.policy import AccessPolicy, InstanceProfile, Method, Mode, Scope
from tenancy.access.rule import AccessRules, AccessSnapshot, make_rules
from tenancy.credential import CredentialKey
from tests.service.pki import CLIENT_AUTH, SERVER_AUTH, Issued, issue, make_authority

KEY = CredentialKey(bytes(32))
INSIDE = ip_address("192.0.2.7")
OUTSIDE = ip_address("198.51.100.7")
NOW = datetime(2026, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def secret(name: str, *, made: datetime = NOW - DAY, ends: datetime | None = None) -> ClientSecret:
    return ClientSecret(secret_id=f"sec_{name}", created_at=made, ends_at=ends)


def client(
    name: str,
    *,
    secrets: Iterable[ClientSecret] | None = None,
    pins: Iterable[CertificatePin] = (),
    disabled: bool = False,
    expires: datetime | None = None,
    scopes: Iterable[Scope] = ("orders",),
) -> KnownClient:
    """A client whose secrets are named after the ids of `secrets`: `sec_erp` lets `acme.erp` in."""
    client_id = ApiClientId(f"cli_{name}")
    kept = (secret(name),) if secrets is None else tuple(secrets)
    made = ApiClient(
        client_id=client_id,
        name=name,
        username=f"acme.{name}",
        scopes=frozenset(scopes),
        created_at=NOW,
        disabled_at=NOW if disabled else None,
        last_used_at=None,
        expires_at=expires,
        secrets=kept,
        certificates=tuple(pins),
    )
    hashes = tuple(KEY.hash_secret(each.secret_id, owner=client_id) for each in kept)
    return KnownClient(client=made, hashes=hashes, rate=made.rate)


def own_pin(certificate: Issued, owner: str) -> CertificatePin:
    return CertificatePin(
        certificate_id=f"crt_{certificate.fingerprint[:8]}",
        client_id=ApiClientId(f"cli_{owner}"),
        kind="fingerprint",
        fingerprint=certificate.fingerprint,
        issuer=None,
        subject=certificate.subject,
        not_after=certificate.certificate.not_valid_after_utc,
        created_at=NOW,
    )


def issuer_pin(authority: Issued, subject: str, owner: str) -> CertificatePin:
    return CertificatePin(
        certificate_id=f"crt_{authority.fingerprint[:8]}",
        client_id=ApiClientId(f"cli_{owner}"),
        kind="issuer_subject",
        fingerprint=authority.fingerprint,
        issuer=authority.pem,
        subject=subject,
        not_after=authority.certificate.not_valid_after_utc,
        created_at=NOW,
    )


@cache
def certificates() -> dict[str, Issued]:
    """Certificates in every state, made once."""
    acme, other = make_authority(), make_authority("CN=ACME CA,O=ACME")
    gone = make_authority("CN=Old CA,O=ACME", not_before=NOW - 30 * DAY, lasts=20 * DAY)
    return {
        "acme_ca": acme,
        "other_ca": other,
        "gone_ca": gone,
        "erp": issue("CN=erp,O=ACME"),
        "crm": issue("CN=crm,O=ACME"),
        "issued": issue("CN=erp,O=ACME", issuer=acme),
        "issued_crm": issue("CN=crm,O=ACME", issuer=acme),
        "forged": issue("CN=erp,O=ACME", issuer=other),
        "outdated": issue("CN=late,O=ACME", not_before=NOW - 9 * DAY, lasts=DAY),
        "early": issue("CN=early,O=ACME", not_before=NOW + DAY),
        "server": issue("CN=server,O=ACME", usage=SERVER_AUTH),
        "no_usage": issue("CN=plain,O=ACME", usage=None),
        "of_gone_ca": issue("CN=erp,O=ACME", issuer=gone, not_before=NOW - 30 * DAY),
        "disabled": issue("CN=old,O=ACME", usage=CLIENT_AUTH),
        "unknown": issue("CN=stranger,O=Other"),
    }


def policy_of(
    mode: Mode,
    *methods: Method,
    networks: Iterable[str] = ("192.0.2.0/24",),
    scopes: Iterable[Scope] = ("read",),
) -> AccessPolicy:
    return AccessPolicy(
        mode=mode,
        methods=frozenset(methods),
        networks=tuple(ip_network(each) for each in networks),
        network_scopes=frozenset(scopes),
    )


@cache
def all_clients() -> tuple[KnownClient, ...]:
    """One client of each kind."""
    made = certificates()
    erp_pins = [
        *(own_pin(made[name], "erp") for name in ("erp", "outdated", "early", "server", "no_usage")),
        issuer_pin(made["acme_ca"], "CN=erp,O=ACME", "erp"),
        issuer_pin(made["gone_ca"], "CN=erp,O=ACME", "erp"),
    ]
    return (
        client("erp", pins=erp_pins),
        client(
            "crm",
            pins=[own_pin(made["crm"], "crm"), issuer_pin(made["acme_ca"], "CN=crm,O=ACME", "crm")],
            secrets=[secret("crm_new"), secret("crm_old", ends=NOW + DAY), secret("crm_gone", ends=NOW)],
            scopes=("admin",),
        ),
        client("old", pins=[own_pin(made["disabled"], "old")], disabled=True),
        client("late", expires=NOW),
        client("soon", expires=NOW + DAY),
    )


def rules_of(policy: AccessPolicy, clients: Iterable[KnownClient] | None = None) -> AccessRules:
    return make_rules(policy, all_clients() if clients is None else clients)


def snapshot_of(rules: AccessRules, *, frozen: bool = False) -> AccessSnapshot:
    profile = InstanceProfile(
        instance_id=InstanceId("ins_1"),
        name="acme",
        customer_id=CustomerId("cus_1"),
        edition="dedicated",
        firm_code=6000010,
        pool="shared",
        lines=(),
        web_services=True,
        config_version=1,
        frozen=frozen,
    )
    return AccessSnapshot(revision=1, rules=rules, profile=profile)
