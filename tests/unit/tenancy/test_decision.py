from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import ApiClientId
from tenancy.access.decision import Admitted, Decision, Denied, decide
from tenancy.access.policy import AccessPolicy, ApiClient, KnownClient, Method, Mode
from tenancy.credential import CredentialKey
from tenancy.errors import ScopeMissing

KEY = CredentialKey(bytes(32))
INSIDE = ip_address("192.0.2.7")
OUTSIDE = ip_address("198.51.100.7")
NOW = datetime(2026, 3, 10, tzinfo=UTC)

Sent = Literal["nothing", "right", "wrong", "disabled", "unknown", "unknown_with_known_secret"]
SENT: dict[Sent, tuple[str, str] | None] = {
    "nothing": None,
    "right": ("acme.erp", "secret-erp"),
    "wrong": ("acme.erp", "secret-old"),
    "disabled": ("acme.old", "secret-old"),
    "unknown": ("other.erp", "secret-other"),
    "unknown_with_known_secret": ("other.erp", "secret-erp"),
}


def client(name: str, *, disabled: bool = False) -> KnownClient:
    client_id = ApiClientId(f"cli_{name}")
    return KnownClient(
        client=ApiClient(
            client_id=client_id,
            name=name,
            username=f"acme.{name}",
            scopes=frozenset({"orders"}),
            created_at=NOW,
            disabled_at=NOW if disabled else None,
            last_used_at=None,
        ),
        secret_hash=KEY.hash_secret(f"secret-{name}", owner=client_id),
    )


CLIENTS = {each.client.username: each for each in (client("erp"), client("old", disabled=True))}


def ask(policy: AccessPolicy, *, inside: bool, sent: Sent) -> Decision:
    return decide(policy, CLIENTS, peer=INSIDE if inside else OUTSIDE, basic=SENT[sent], key=KEY)


def policy_of(mode: Mode, *methods: Method) -> AccessPolicy:
    return AccessPolicy(
        mode=mode,
        methods=frozenset(methods),
        networks=(ip_network("192.0.2.0/24"),),
        network_scopes=frozenset({"read"}),
    )


CASES: list[tuple[Mode, tuple[Method, ...], bool, Sent, str]] = [
    # closed
    ("all", (), True, "nothing", "access_closed"),
    ("any", (), True, "right", "access_closed"),
    ("any", (), True, "unknown", "instance_not_found"),
    # Basic alone
    ("all", ("basic",), False, "nothing", "credentials_missing"),
    ("all", ("basic",), False, "right", "acme.erp"),
    ("all", ("basic",), True, "wrong", "credentials_invalid"),
    ("all", ("basic",), True, "disabled", "credentials_invalid"),
    ("all", ("basic",), True, "unknown", "instance_not_found"),
    ("all", ("basic",), True, "unknown_with_known_secret", "instance_not_found"),
    # network alone
    ("all", ("network",), True, "nothing", "network:192.0.2.0/24"),
    ("all", ("network",), False, "nothing", "network_not_allowed"),
    ("any", ("network",), False, "right", "network_not_allowed"),
    ("any", ("network",), True, "right", "network:192.0.2.0/24"),
    # both
    ("all", ("network", "basic"), True, "right", "acme.erp"),
    ("all", ("network", "basic"), False, "right", "network_not_allowed"),
    ("all", ("network", "basic"), True, "nothing", "credentials_missing"),
    ("all", ("network", "basic"), False, "nothing", "network_not_allowed"),
    ("all", ("network", "basic"), False, "unknown", "instance_not_found"),
    # either
    ("any", ("network", "basic"), True, "nothing", "network:192.0.2.0/24"),
    ("any", ("network", "basic"), True, "right", "acme.erp"),
    ("any", ("network", "basic"), False, "right", "acme.erp"),
    ("any", ("network", "basic"), False, "nothing", "credentials_missing"),
    ("any", ("network", "basic"), True, "wrong", "credentials_invalid"),
    ("any", ("network", "basic"), True, "unknown", "instance_not_found"),
    # certificates do not come yet
    ("all", ("network", "certificate", "basic"), True, "right", "certificate_missing"),
    ("any", ("certificate", "basic"), True, "nothing", "credentials_missing"),
    ("any", ("certificate",), True, "nothing", "certificate_missing"),
]


@pytest.mark.parametrize(("mode", "methods", "inside", "sent", "expected"), CASES)
def test_policy_lets_in_or_refuses_with_its_reason(
    mode: Mode, methods: tuple[Method, ...], inside: bool, sent: Sent, expected: str
) -> None:
    decision = ask(policy_of(mode, *methods), inside=inside, sent=sent)
    assert (decision.kind if isinstance(decision, Denied) else decision.principal.name) == expected


@given(
    mode=st.sampled_from(["all", "any"]),
    methods=st.sets(st.sampled_from(["network", "certificate", "basic"])),
    inside=st.booleans(),
    sent=st.sampled_from(list(SENT)),
)
def test_nobody_is_let_in_against_the_policy(
    mode: Mode, methods: set[Method], inside: bool, sent: Sent
) -> None:
    decision = ask(policy_of(mode, *methods), inside=inside, sent=sent)
    holds = {"network": inside, "certificate": False, "basic": sent == "right"}
    kept = [holds[method] for method in methods]
    fit = bool(kept) and (all(kept) if mode == "all" else any(kept))
    assert isinstance(decision, Admitted) == (fit and sent in ("nothing", "right"))
    if sent.startswith("unknown"):
        assert decision == Denied(kind="instance_not_found")


def test_caller_let_in_by_his_network_has_the_network_scopes_only() -> None:
    decision = ask(policy_of("any", "network", "basic"), inside=True, sent="nothing")
    assert isinstance(decision, Admitted)
    assert decision.may("read")
    with pytest.raises(ScopeMissing) as refused:
        decision.require("orders")
    assert refused.value.code == "scope_missing"


def test_scope_admin_holds_every_other_one() -> None:
    decision = ask(policy_of("all", "basic"), inside=True, sent="right")
    assert isinstance(decision, Admitted)
    assert not decision.may("admin")
    admin = Admitted(principal=decision.principal, scopes=frozenset({"admin"}))
    assert all(admin.may(scope) for scope in ("read", "orders", "licenses", "admin"))
