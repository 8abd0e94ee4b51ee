from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.access.client.lockout import Insistence, check_lockout, is_open, working
from tenancy.access.client.record import KnownClient
from tenancy.access.decision import Admitted, CallerCredentials, decide
from tenancy.access.errors import WouldLockOutCaller, WouldLockOutEverybody
from tenancy.access.policy import AccessPolicy, Method, Mode
from tenancy.access.rule import AccessRules
from tenancy.errors import TenancyError
from tests.unit.tenancy.access.material import (
    INSIDE,
    KEY,
    NOW,
    OUTSIDE,
    certificates,
    client,
    own_pin,
    policy_of,
    rules_of,
    secret,
)

BASIC = policy_of("all", "basic")
CRM = client("crm", scopes=("admin",))
ERP = client("erp")
CLOSED_ERP = client("erp", disabled=True)
CRM_CALLS = CallerCredentials(peer=INSIDE, basic=("acme.crm", "sec_crm"))


def outcome(
    before: AccessRules, after: AccessRules, *, caller: CallerCredentials | None, force: bool = False
) -> str:
    try:
        check_lockout(before, after, Insistence(caller=caller, force=force), key=KEY, now=NOW)
    except TenancyError as refused:
        return refused.code
    return "done"


def rules(policy: AccessPolicy, *clients: KnownClient) -> AccessRules:
    return rules_of(policy, clients)


CASES: list[tuple[str, AccessRules, AccessRules, str, str]] = [
    # what happens, before, after, what the caller gets, what staff get
    ("another client goes", rules(BASIC, CRM, ERP), rules(BASIC, CRM), "done", "done"),
    ("his own goes", rules(BASIC, CRM, ERP), rules(BASIC, ERP), "would_lock_out_caller", "done"),
    (
        "the last one goes",
        rules(BASIC, CRM),
        rules(BASIC),
        "would_lock_out_caller",
        "would_lock_out_everybody",
    ),
    (
        "his own loses admin",
        rules(BASIC, CRM),
        rules(BASIC, client("crm", scopes=("read",))),
        "would_lock_out_caller",
        "done",
    ),
    (
        "only his network is let in, which is no client",
        rules(BASIC, CRM),
        rules(policy_of("all", "network", scopes=("admin",)), CRM),
        "would_lock_out_caller",
        "done",
    ),
    (
        "another network",
        rules(BASIC, CRM),
        rules(policy_of("all", "network", "basic", networks=["203.0.113.0/24"]), CRM),
        "would_lock_out_caller",
        "done",
    ),
    (
        "closed",
        rules(BASIC, CRM),
        rules(policy_of("all"), CRM),
        "would_lock_out_caller",
        "would_lock_out_everybody",
    ),
    (
        "certificates nobody has",
        rules(BASIC, CRM),
        rules(policy_of("all", "basic", "certificate"), CRM),
        "would_lock_out_caller",
        "would_lock_out_everybody",
    ),
    (
        "the last client, though a network is let in",
        rules(policy_of("any", "network", "basic"), CRM),
        rules(policy_of("any", "network", "basic")),
        "would_lock_out_caller",
        "would_lock_out_everybody",
    ),
]


@pytest.mark.parametrize(("what", "before", "after", "by_caller", "by_staff"), CASES)
def test_change_that_locks_out_is_refused_unless_forced(
    what: str, before: AccessRules, after: AccessRules, by_caller: str, by_staff: str
) -> None:
    assert outcome(before, after, caller=CRM_CALLS) == by_caller, what
    assert outcome(before, after, caller=None) == by_staff, what
    assert outcome(before, after, caller=CRM_CALLS, force=True) == "done"


def test_caller_whose_secret_ends_before_the_change_does_is_not_shut_out_by_it() -> None:
    """An expiry of another client is judged when it comes; by then the caller's old secret has ended by itself."""
    crm = client("crm", secrets=[secret("crm_new"), secret("crm_old", ends=NOW)], scopes=("admin",))
    caller = CallerCredentials(peer=INSIDE, basic=("acme.crm", "sec_crm_old"))
    assert outcome(rules(BASIC, crm, ERP), rules(BASIC, crm), caller=caller) == "done"


def test_instance_that_never_let_anybody_in_is_set_up_in_any_order() -> None:
    nothing = rules(policy_of("all"))
    for before, after in (
        (nothing, rules(BASIC)),
        (rules(BASIC), nothing),
        (nothing, rules(policy_of("all"), ERP)),
        (rules(BASIC, CLOSED_ERP), rules(BASIC)),
    ):
        assert outcome(before, after, caller=None) == "done"


def test_certificate_alone_keeps_its_client_working() -> None:
    made = certificates()["erp"]
    pinned = client("erp", pins=[own_pin(made, "erp")], secrets=[])
    assert working(rules(policy_of("any", "certificate", "basic"), pinned), NOW) == ["acme.erp"]
    assert working(rules(policy_of("all", "certificate", "basic"), pinned), NOW) == []
    assert working(rules(policy_of("any", "certificate"), pinned), made.certificate.not_valid_after_utc) != []


@given(
    mode=st.sampled_from(["all", "any"]),
    methods=st.sets(st.sampled_from(["network", "certificate", "basic"])),
)
def test_open_means_that_some_call_is_let_in(mode: Mode, methods: Iterable[Method]) -> None:
    """The oracle: try every call that could be made with what exists."""
    held = rules_of(policy_of(mode, *methods))
    secrets = [
        (name, each.secret_id) for name, known in held.clients.items() for each in known.client.secrets
    ]
    decisions = [
        decide(held, CallerCredentials(peer=peer, basic=basic, certificate=der), key=KEY, now=NOW)
        for peer in (INSIDE, OUTSIDE)
        for basic in (None, *secrets)
        for der in (None, *(each.der for each in certificates().values()))
    ]
    admitted = [each for each in decisions if isinstance(each, Admitted)]
    assert is_open(held, NOW) == bool(admitted)
    clients = {each.principal.name for each in admitted if each.principal.kind == "client"}
    assert set(working(held, NOW)) == clients


def test_errors_are_the_documented_ones() -> None:
    assert WouldLockOutCaller.code == "would_lock_out_caller"
    assert WouldLockOutEverybody.code == "would_lock_out_everybody"
