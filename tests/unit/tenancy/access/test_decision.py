from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.access.decision import Admitted, CallerCredentials, Decision, Denied, decide
from tenancy.access.doctor import Patient, diagnose
from tenancy.access.policy import Method, Mode
from tenancy.errors import ScopeMissing
from tests.unit.tenancy.access.material import (
    DAY,
    INSIDE,
    KEY,
    NOW,
    OUTSIDE,
    certificates,
    client,
    issuer_pin,
    own_pin,
    policy_of,
    rules_of,
    snapshot_of,
)

Sent = Literal[
    "nothing",
    "right",
    "wrong",
    "disabled",
    "expired",
    "crm",
    "crm_old",
    "crm_gone",
    "unknown",
    "unknown_with_known_secret",
]
SENT: dict[Sent, tuple[str, str] | None] = {
    "nothing": None,
    "right": ("acme.erp", "sec_erp"),
    "wrong": ("acme.erp", "sec_old"),
    "disabled": ("acme.old", "sec_old"),
    "expired": ("acme.late", "sec_late"),
    "crm": ("acme.crm", "sec_crm_new"),
    "crm_old": ("acme.crm", "sec_crm_old"),
    "crm_gone": ("acme.crm", "sec_crm_gone"),
    "unknown": ("other.erp", "sec_other"),
    "unknown_with_known_secret": ("other.erp", "sec_erp"),
}
RIGHT = ("right", "crm", "crm_old")
UNKNOWN = ("unknown", "unknown_with_known_secret")
# What becomes of a certificate where certificates are asked for: as whom it lets in, or the refusal.
SHOWN: dict[str, str] = {
    "nothing": "nothing",
    "erp": "acme.erp",
    "crm": "acme.crm",
    "issued": "acme.erp",
    "issued_crm": "acme.crm",
    "no_usage": "acme.erp",
    "forged": "instance_not_found",
    "unknown": "instance_not_found",
    "outdated": "certificate_outdated",
    "early": "certificate_outdated",
    "of_gone_ca": "certificate_outdated",
    "server": "certificate_not_for_clients",
    "disabled": "certificate_of_closed_client",
}


def ask(mode: Mode, methods: tuple[Method, ...], *, inside: bool, sent: Sent, shown: str) -> Decision:
    call = CallerCredentials(
        peer=INSIDE if inside else OUTSIDE,
        basic=SENT[sent],
        certificate=None if shown == "nothing" else certificates()[shown].der,
    )
    return decide(rules_of(policy_of(mode, *methods)), call, key=KEY, now=NOW)


def told(decision: Decision) -> str:
    return decision.kind if isinstance(decision, Denied) else decision.principal.name


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
    ("all", ("basic",), True, "expired", "credentials_invalid"),
    ("all", ("basic",), True, "crm_old", "acme.crm"),
    ("all", ("basic",), True, "crm_gone", "credentials_invalid"),
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
    # a certificate is asked for and none comes
    ("all", ("network", "certificate", "basic"), True, "right", "certificate_missing"),
    ("any", ("certificate", "basic"), True, "nothing", "credentials_missing"),
    ("any", ("certificate",), True, "nothing", "certificate_missing"),
]


@pytest.mark.parametrize(("mode", "methods", "inside", "sent", "expected"), CASES)
def test_policy_lets_in_or_refuses_with_its_reason(
    mode: Mode, methods: tuple[Method, ...], inside: bool, sent: Sent, expected: str
) -> None:
    assert told(ask(mode, methods, inside=inside, sent=sent, shown="nothing")) == expected


@pytest.mark.parametrize(("shown", "expected"), [each for each in SHOWN.items() if each[0] != "nothing"])
def test_certificate_alone_lets_in_whom_it_is_pinned_to(shown: str, expected: str) -> None:
    for mode in ("all", "any"):
        assert told(ask(mode, ("certificate",), inside=False, sent="nothing", shown=shown)) == expected


@pytest.mark.parametrize("shown", SHOWN)
def test_certificate_is_not_looked_at_unless_it_is_asked_for(shown: str) -> None:
    assert told(ask("all", ("basic",), inside=True, sent="right", shown=shown)) == "acme.erp"


@pytest.mark.parametrize(
    ("sent", "shown", "expected"),
    [
        ("right", "erp", "acme.erp"),
        ("right", "issued", "acme.erp"),
        ("crm", "issued_crm", "acme.crm"),
        ("right", "crm", "certificate_of_other_client"),
        ("crm", "issued", "certificate_of_other_client"),
        ("right", "nothing", "certificate_missing"),
        ("nothing", "erp", "credentials_missing"),
        ("wrong", "outdated", "certificate_outdated"),
        ("unknown", "outdated", "instance_not_found"),
        ("wrong", "unknown", "instance_not_found"),
    ],
)
def test_with_all_certificate_and_basic_are_of_the_same_client(sent: Sent, shown: str, expected: str) -> None:
    assert told(ask("all", ("certificate", "basic"), inside=True, sent=sent, shown=shown)) == expected


def test_with_any_basic_names_the_principal_even_beside_a_certificate_of_another_client() -> None:
    decision = ask("any", ("certificate", "basic"), inside=False, sent="right", shown="crm")
    assert isinstance(decision, Admitted)
    assert (decision.principal.name, decision.use) == ("acme.erp", ("cli_erp", "sec_erp", ""))


def test_first_pin_that_a_certificate_fits_decides_whomever_else_it_fits() -> None:
    made = certificates()
    call = CallerCredentials(peer=INSIDE, certificate=made["issued"].der)
    second = client("second", pins=[issuer_pin(made["acme_ca"], made["issued"].subject, "second")])

    def decided(*, disabled: bool) -> Decision:
        first = client("first", pins=[own_pin(made["issued"], "first")], disabled=disabled)
        rules = rules_of(policy_of("any", "certificate"), [second, first])
        decision = decide(rules, call, key=KEY, now=NOW)
        patient = Patient(peer=INSIDE, certificate=made["issued"].der)
        assert diagnose(snapshot_of(rules), patient, key=KEY, now=NOW).decision == decision
        return decision

    assert told(decided(disabled=False)) == "acme.first"
    assert told(decided(disabled=True)) == "certificate_of_closed_client"


def test_bytes_that_are_no_certificate_look_like_an_unknown_one() -> None:
    call = CallerCredentials(peer=INSIDE, certificate=b"\x30\x03\x02\x01\x01")
    assert decide(rules_of(policy_of("any", "certificate")), call, key=KEY, now=NOW) == Denied(
        kind="instance_not_found"
    )


def test_decision_holds_until_the_first_of_its_credentials_ends() -> None:
    def until(sent: Sent, shown: str = "nothing") -> object:
        decision = ask("any", ("certificate", "basic"), inside=True, sent=sent, shown=shown)
        assert isinstance(decision, Admitted)
        return decision.valid_until

    assert until("right") is None
    assert until("crm_old") == NOW + DAY
    assert until("nothing", "erp") == certificates()["erp"].certificate.not_valid_after_utc
    soon = decide(
        rules_of(policy_of("all", "basic")),
        CallerCredentials(peer=INSIDE, basic=("acme.soon", "sec_soon")),
        key=KEY,
        now=NOW,
    )
    assert isinstance(soon, Admitted)
    assert soon.valid_until == NOW + DAY


@given(
    mode=st.sampled_from(["all", "any"]),
    methods=st.sets(st.sampled_from(["network", "certificate", "basic"])),
    inside=st.booleans(),
    sent=st.sampled_from(list(SENT)),
    shown=st.sampled_from(list(SHOWN)),
)
def test_nobody_is_let_in_against_the_policy(
    mode: Mode, methods: set[Method], inside: bool, sent: Sent, shown: str
) -> None:
    decision = ask(mode, tuple(methods), inside=inside, sent=sent, shown=shown)
    looked_at = "certificate" in methods
    proven = SHOWN[shown].startswith("acme.")
    holds = {"network": inside, "certificate": proven, "basic": sent in RIGHT}
    kept = [holds[method] for method in methods]
    fit = bool(kept) and (all(kept) if mode == "all" else any(kept))
    owner = None if SENT[sent] is None else SENT[sent][0]  # type: ignore[index]
    if mode == "all" and {"certificate", "basic"} <= methods and owner != SHOWN[shown]:
        fit = False
    clean = sent in ("nothing", *RIGHT) and (not looked_at or proven or shown == "nothing")
    assert isinstance(decision, Admitted) == (fit and clean)
    if sent in UNKNOWN or (looked_at and SHOWN[shown] == "instance_not_found"):
        assert decision == Denied(kind="instance_not_found")


def test_caller_let_in_by_his_network_has_the_network_scopes_only() -> None:
    decision = ask("any", ("network", "basic"), inside=True, sent="nothing", shown="nothing")
    assert isinstance(decision, Admitted)
    assert decision.may("read")
    with pytest.raises(ScopeMissing) as refused:
        decision.require("orders")
    assert refused.value.code == "scope_missing"


def test_scope_admin_holds_every_other_one() -> None:
    erp = ask("all", ("basic",), inside=True, sent="right", shown="nothing")
    crm = ask("all", ("basic",), inside=True, sent="crm", shown="nothing")
    assert isinstance(erp, Admitted)
    assert isinstance(crm, Admitted)
    assert not erp.may("admin")
    assert all(crm.may(scope) for scope in ("read", "orders", "licenses", "admin"))


def test_call_never_shows_its_secret() -> None:
    call = CallerCredentials(peer=INSIDE, basic=("acme.erp", "sec_erp"), certificate=b"der")
    assert "sec_erp" not in repr(call)
