from __future__ import annotations

from random import Random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenancy.access.decision import Admitted, CallerCredentials, decide
from tenancy.access.doctor import Diagnosis, Patient, diagnose
from tenancy.access.policy import AccessPolicy, Method, Mode, Scope
from tenancy.access.revocation.verification import Verification
from tests.unit.tenancy.access.material import (
    INSIDE,
    KEY,
    NOW,
    OUTSIDE,
    all_clients,
    certificates,
    policy_of,
    rules_of,
    snapshot_of,
)

USERS = ["acme.erp", "acme.crm", "acme.old", "acme.late", "acme.soon", "other.erp"]
SECRETS = ["sec_erp", "sec_crm_new", "sec_crm_old", "sec_crm_gone", "sec_old", "sec_late", "sec_soon", "no"]
SCOPES: list[Scope | None] = [None, "read", "orders", "licenses", "admin"]
NETWORKS = ["192.0.2.0/24", "192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32"]

CALLS_EACH = 25
"""With each policy: a policy costs more to draw than a call, and thousands of calls are wanted."""

policies = st.builds(
    lambda mode, methods, networks, scopes: policy_of(mode, *methods, networks=networks, scopes=scopes),
    st.sampled_from(["all", "any"]),
    st.sets(st.sampled_from(["network", "certificate", "basic"])),
    st.lists(st.sampled_from(NETWORKS), max_size=3, unique=True),
    st.sets(st.sampled_from(["read", "orders", "licenses", "admin"]), min_size=1),
)
shown = st.none() | st.sampled_from(sorted(certificates()))
peers = st.sampled_from([INSIDE, OUTSIDE])


def der(name: str | None) -> bytes | None:
    return None if name is None else certificates()[name].der


@settings(max_examples=150, deadline=None)
@given(policy=policies, clients=st.sets(st.integers(0, 4)), frozen=st.booleans(), seed=st.integers(0, 2**32))
def test_verdict_is_that_of_the_decision(
    policy: AccessPolicy, clients: set[int], frozen: bool, seed: int
) -> None:
    rules = rules_of(policy, [all_clients()[n] for n in sorted(clients)])
    held, choose = snapshot_of(rules, frozen=frozen), Random(seed)
    for _ in range(CALLS_EACH):
        peer, shown = choose.choice([INSIDE, OUTSIDE]), choose.choice([None, *sorted(certificates())])
        basic = choose.choice([None, (choose.choice(USERS), choose.choice(SECRETS))])
        scope = choose.choice(SCOPES)
        verification = choose.choice(get_args(Verification))
        call = CallerCredentials(peer=peer, basic=basic, certificate=der(shown), verification=verification)
        decision = decide(rules, call, key=KEY, now=NOW)
        username, secret = basic or (None, None)
        patient = Patient(
            peer=peer,
            username=username,
            secret=secret,
            certificate=der(shown),
            verification=verification,
            scope=scope,
        )
        found = diagnose(held, patient, key=KEY, now=NOW)
        assert found.decision == decision
        has_scope = isinstance(decision, Admitted) and (scope is None or decision.may(scope))
        assert found.let_in == (isinstance(decision, Admitted) and not frozen and has_scope)
        check_explains(found)


@settings(max_examples=100, deadline=None)
@given(policy=policies, peer=peers, user=st.none() | st.sampled_from(USERS), right=st.booleans(), shown=shown)
def test_assumed_secret_gives_the_verdict_of_a_real_one(
    policy: AccessPolicy, peer: object, user: str | None, right: bool, shown: str | None
) -> None:
    address = INSIDE if peer == INSIDE else OUTSIDE
    rules = rules_of(policy)
    known = None if user is None else rules.clients.get(user)
    newest = "no" if known is None or not right else known.client.secrets[0].secret_id
    real = Patient(
        peer=address, username=user, secret=None if user is None else newest, certificate=der(shown)
    )
    assumed = Patient(peer=address, username=user, secret_is_right=right, certificate=der(shown))
    held = snapshot_of(rules)
    assert diagnose(held, real, key=KEY, now=NOW) == diagnose(held, assumed, key=KEY, now=NOW)


def check_explains(found: Diagnosis) -> None:
    """The rule that decides is among the findings, fails if the call is refused, and says what to do."""
    by_rule = {each.rule: each for each in found.findings}
    assert len(by_rule) == len(found.findings)
    decides = by_rule[found.decided_by]
    if found.let_in:
        assert decides.outcome == "holds"
    else:
        assert decides.code == found.code
        assert decides.outcome in ("fails", "not_sent")
        assert decides.advice


def ask(
    mode: Mode,
    *methods: Method,
    basic: tuple[str, str] | None = ("acme.erp", "sec_erp"),
    shown: str | None = None,
    scope: Scope | None = None,
    inside: bool = True,
    frozen: bool = False,
) -> Diagnosis:
    username, secret = basic or (None, None)
    patient = Patient(
        peer=INSIDE if inside else OUTSIDE,
        username=username,
        secret=secret,
        certificate=der(shown),
        scope=scope,
    )
    return diagnose(
        snapshot_of(rules_of(policy_of(mode, *methods)), frozen=frozen), patient, key=KEY, now=NOW
    )


@pytest.mark.parametrize(
    ("found", "code", "rule"),
    [
        (ask("all"), "access_closed", "policy"),
        (ask("all", "basic"), None, "basic"),
        (ask("all", "network", "basic"), None, "policy"),
        (ask("any", "network", "basic", basic=None), None, "network"),
        (ask("any", "network", "certificate", basic=None, shown="erp", inside=False), None, "certificate"),
        (ask("all", "network", "basic", inside=False), "network_not_allowed", "network"),
        (ask("all", "certificate", "basic"), "certificate_missing", "certificate"),
        (ask("all", "certificate", "basic", shown="crm"), "certificate_of_other_client", "certificate"),
        (ask("all", "certificate", shown="forged"), "instance_not_found", "certificate"),
        (ask("all", "basic", basic=("other.erp", "no")), "instance_not_found", "basic"),
        (ask("all", "basic", frozen=True), "instance_frozen", "frozen"),
        (ask("all", "basic", scope="admin"), "scope_missing", "scope"),
        (ask("all", "basic", scope="orders"), None, "basic"),
    ],
)
def test_deciding_rule_is_named(found: Diagnosis, code: str | None, rule: str) -> None:
    assert (found.code, found.decided_by) == (code, rule)


def test_finding_says_what_a_rule_was_compared_with() -> None:
    found = {each.rule: each for each in ask("all", "network", "certificate", "basic", inside=False).findings}
    assert found["network"].saw == str(OUTSIDE)
    assert found["network"].compared_with == ("192.0.2.0/24",)
    assert any(certificates()["erp"].fingerprint in each for each in found["certificate"].compared_with)
    assert found["basic"].outcome == "holds"
    assert "enabled" in found["basic"].compared_with


@pytest.mark.parametrize(
    ("username", "secret", "advice"),
    [
        ("acme.erp", "no", "rotate the API client"),
        ("acme.old", "sec_old", "Enable"),
        ("acme.late", "sec_late", "expired"),
        ("other.erp", "no", "list of clients"),
        (None, None, "Enter the user name"),
    ],
)
def test_advice_fits_what_is_wrong_with_the_credentials(
    username: str | None, secret: str | None, advice: str
) -> None:
    basic = None if username is None or secret is None else (username, secret)
    found = ask("all", "basic", basic=basic)
    finding = next(each for each in found.findings if each.rule == "basic")
    assert advice in finding.advice


def test_secret_is_shown_nowhere() -> None:
    patient = Patient(peer=INSIDE, username="acme.erp", secret="sec_top")
    found = diagnose(snapshot_of(rules_of(policy_of("all", "basic"))), patient, key=KEY, now=NOW)
    assert "sec_top" not in repr(patient) + repr(found)
