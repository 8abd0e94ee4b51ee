from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.errors import DomainError, InputInvalid
from tenancy import StaffPrincipal
from tenancy.errors import (
    InstanceNotFound,
    LimitUnfit,
    OperationRunning,
    StaffRoleInsufficient,
    StaffTokenInvalid,
)
from tenancy.staff.approval import GuardedActions
from tenancy.staff.errors import (
    ApprovalByRequester,
    ApprovalBySubject,
    ApprovalClosed,
    ApprovalExpired,
    ApprovalNotFound,
    ApprovalOpen,
    ApprovalRequesterGone,
    ApprovalVersionConflict,
    ReasonMissing,
    StaffPersonMissing,
)
from tenancy.staff.person import revoke_tokens
from tenancy.staff.record import LOCAL_PERSON, Approval
from tests.fake.clock import FakeClock
from tests.integration.tenancy.staff_material import ACTION, NOWHERE, Office, guarded
from tests.service.crowd import at_once


@pytest.fixture
def office(platform_db: Database) -> Office:
    return Office(platform_db)


def ask(
    office: Office, by: StaffPrincipal, object_id: str = "ins_1", *, command: Command | None = None
) -> Approval:
    asked = office.approvals.request(
        ACTION, object_id, parameters={"how": "loud"}, reason="it is time", by=by, command=command
    )
    return asked.value


def approve(office: Office, approval: Approval, by: StaffPrincipal, *, version: int = 1) -> Approval:
    return office.approvals.approve(approval.approval_id, expected_version=version, by=by).value


def test_a_second_person_starts_what_the_first_has_asked_for(office: Office) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo", "admin")
    asked = ask(office, mona)
    assert (asked.state, asked.requested_by, asked.parameters) == (
        "requested",
        mona.person_id,
        {"how": "loud"},
    )
    assert office.started == []
    done = approve(office, asked, hugo)
    assert (done.state, done.decided_by, done.version) == ("approved", hugo.person_id, 2)
    assert office.started == ["ins_1"]
    (queued,) = office.events("operation.queued")
    assert done.operation_id == queued.subject
    assert [event.subject for event in office.events("approval.approved")] == [asked.approval_id]


def test_nobody_approves_alone_with_whatever_token(office: Office) -> None:
    mona = office.hire("mona")
    second_token = office.hire(" MONA ", "admin")
    assert second_token.person_id == mona.person_id
    asked = ask(office, mona)
    for again in (mona, second_token):
        with pytest.raises(ApprovalByRequester) as refused:
            approve(office, asked, again)
        assert refused.value.code == "approval_by_requester"
    assert (office.started, office.approvals.get_approval(asked.approval_id)) == ([], asked)


def test_nobody_approves_what_is_done_to_himself_with_whatever_token(office: Office) -> None:
    mona, hugo, ida = office.hire("mona"), office.hire("hugo"), office.hire("ida", "admin")
    asked = ask(office, mona, str(hugo.person_id))
    for again in (hugo, office.hire("hugo", "admin")):
        with pytest.raises(ApprovalBySubject) as refused:
            approve(office, asked, again)
        assert refused.value.code == "approval_by_subject"
    assert (office.started, office.approvals.get_approval(asked.approval_id)) == ([], asked)
    assert approve(office, asked, ida).state == "approved"


def test_token_that_is_revoked_after_it_was_looked_at_approves_nothing(office: Office) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo")
    office.hire("hugo", "admin")
    asked = ask(office, mona)
    office.tokens.revoke(hugo.token_id)
    with pytest.raises(StaffTokenInvalid):
        approve(office, asked, hugo)
    assert (office.started, office.approvals.get_approval(asked.approval_id)) == ([], asked)


@pytest.mark.parametrize("role", ["support", "auditor"])
def test_support_and_auditors_neither_ask_nor_decide(office: Office, role: str) -> None:
    mona, other = office.hire("mona"), office.hire("other", role)
    asked = ask(office, mona)
    with pytest.raises(StaffRoleInsufficient):
        ask(office, other, "ins_2")
    with pytest.raises(StaffRoleInsufficient):
        approve(office, asked, other)
    with pytest.raises(StaffRoleInsufficient):
        office.approvals.reject(asked.approval_id, by=other, reason="no")
    assert office.started == []


def test_a_token_without_a_person_neither_asks_nor_decides(office: Office) -> None:
    nobody = replace(office.hire("mona", "admin"), person_id=None)
    asked = ask(office, office.hire("hugo"))
    with pytest.raises(StaffPersonMissing):
        ask(office, nobody, "ins_2")
    with pytest.raises(StaffPersonMissing):
        approve(office, asked, nobody)
    assert office.started == []


def test_the_same_thing_waits_once_and_the_refusal_names_it(office: Office) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo")
    first = ask(office, mona)
    for again in (mona, hugo):
        with pytest.raises(ApprovalOpen) as refused:
            ask(office, again)
        assert refused.value.detail["approval_id"] == first.approval_id
    ask(office, mona, "ins_2")
    office.approvals.reject(first.approval_id, by=mona, reason="taken back")
    assert ask(office, hugo).approval_id != first.approval_id


def test_a_request_ends_after_a_day_whether_or_not_somebody_sweeps(office: Office, clock: FakeClock) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo")
    asked, other = ask(office, mona), ask(office, mona, "ins_2")
    clock.advance(timedelta(hours=24))
    assert office.approvals.get_approval(asked.approval_id).state == "expired"
    assert office.approvals.list_approvals(waiting=True) == []
    with pytest.raises(ApprovalExpired):
        approve(office, asked, hugo)
    with pytest.raises(ApprovalExpired):
        office.approvals.reject(asked.approval_id, by=hugo, reason="late")
    assert ask(office, mona).state == "requested"
    assert [event.subject for event in office.events("approval.expired")] == [asked.approval_id]
    assert (office.approvals.expire_overdue(), office.approvals.expire_overdue()) == (1, 0)
    assert [event.subject for event in office.events("approval.expired")] == [
        asked.approval_id,
        other.approval_id,
    ]
    assert office.started == []


def test_what_was_decided_stays_decided(office: Office) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo")
    asked = ask(office, mona)
    approve(office, asked, hugo)
    for version in (1, 2):
        with pytest.raises(ApprovalClosed) as refused:
            approve(office, asked, hugo, version=version)
        assert refused.value.detail["state"] == "approved"
    with pytest.raises(ApprovalClosed):
        office.approvals.reject(asked.approval_id, by=hugo, reason="no")
    assert office.started == ["ins_1"]


def test_only_what_was_read_is_approved(office: Office) -> None:
    asked = ask(office, office.hire("mona"))
    with pytest.raises(ApprovalVersionConflict):
        approve(office, asked, office.hire("hugo"), version=2)
    with pytest.raises(ApprovalNotFound):
        office.approvals.approve("apr_0", expected_version=1, by=office.hire("hugo"))
    assert office.started == []


def test_nothing_starts_for_somebody_who_is_gone_meanwhile(office: Office, clock: FakeClock) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo")
    asked = ask(office, mona)
    spare = office.hire("mona", "auditor")
    office.tokens.revoke(mona.token_id)
    office.tokens.revoke(spare.token_id)
    with pytest.raises(ApprovalRequesterGone) as refused:
        approve(office, asked, hugo)
    assert refused.value.code == "approval_requester_gone"
    assert (office.started, office.approvals.get_approval(asked.approval_id)) == ([], asked)
    office.hire("mona")
    assert approve(office, asked, hugo).state == "approved"


def test_what_a_person_asked_whose_token_runs_out_or_who_is_erased_does_not_start(
    office: Office, clock: FakeClock
) -> None:
    mona = office.hire("mona")
    clock.advance(timedelta(days=299, hours=23))
    hugo, ida = office.hire("hugo"), office.hire("ida")
    late, erased = ask(office, mona), ask(office, ida, "ins_2")
    clock.advance(timedelta(hours=1))
    office.db.run_tx("erase", lambda tx: {"erased": revoke_tokens(tx, str(ida.person_id))})
    for asked in (late, erased):
        with pytest.raises(ApprovalRequesterGone):
            approve(office, asked, hugo)
    local = replace(hugo, token_id=LOCAL_PERSON, person_id=LOCAL_PERSON)
    assert approve(office, ask(office, local, "ins_3"), hugo).state == "approved"


def test_an_action_that_cannot_start_leaves_the_request_waiting(office: Office) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo")
    approve(office, ask(office, mona), hugo)
    again = ask(office, mona)
    with pytest.raises(OperationRunning):
        approve(office, again, hugo)
    assert office.approvals.get_approval(again.approval_id).state == "requested"
    assert office.started == ["ins_1"]


def test_what_cannot_be_done_cannot_be_asked_for(office: Office) -> None:
    mona = office.hire("mona")
    with pytest.raises(InstanceNotFound):
        ask(office, mona, NOWHERE)
    for reason, error in (
        ("", ReasonMissing),
        (" ", ReasonMissing),
        ("x" * 501, InputInvalid),
        ("a\nb", InputInvalid),
    ):
        with pytest.raises(error):
            office.approvals.request(ACTION, "ins_1", parameters={}, reason=reason, by=mona)
    with pytest.raises(LookupError):
        office.approvals.request("sing", "ins_1", parameters={}, reason="x", by=mona)
    assert office.approvals.list_approvals() == []
    assert office.events("approval.requested") == []


def test_repeated_commands_ask_and_approve_once(office: Office) -> None:
    mona, hugo = office.hire("mona"), office.hire("hugo")
    asked = [ask(office, mona, command=Command(op_id="ask-1")) for _ in range(2)]
    assert asked[0] == asked[1]
    done = [
        office.approvals.approve(
            asked[0].approval_id, expected_version=1, by=hugo, command=Command(op_id="yes-1")
        )
        for _ in range(2)
    ]
    assert (done[0].value == done[1].value, done[1].replayed) == (True, True)
    assert office.started == ["ins_1"]


def test_approved_by_many_at_once_it_starts_once(office: Office) -> None:
    asked = ask(office, office.hire("mona"))
    others = [office.hire(f"person-{n}", "admin") for n in range(6)]
    results = at_once(6, lambda place: approve(office, asked, others[place]))
    refused = [each for each in results if isinstance(each, DomainError)]
    assert (len(results) - len(refused), {type(each) for each in refused}) == (1, {ApprovalClosed})
    assert office.started == ["ins_1"]


def test_asked_for_by_many_at_once_one_request_waits(office: Office) -> None:
    people = [office.hire(f"person-{n}") for n in range(6)]
    results = at_once(6, lambda place: ask(office, people[place]))
    waiting = [each for each in results if isinstance(each, Approval)]
    assert office.approvals.list_approvals(waiting=True) == waiting
    assert (len(waiting), sum(isinstance(each, ApprovalOpen) for each in results)) == (1, 5)


def test_requests_are_listed_in_pages(office: Office) -> None:
    mona = office.hire("mona")
    all_of_them = [ask(office, mona, f"ins_{n}") for n in range(5)]
    page = office.approvals.list_approvals(limit=3)
    rest = office.approvals.list_approvals(after=page[-1].approval_id, limit=3)
    assert page + rest == all_of_them
    with pytest.raises(LimitUnfit):
        office.approvals.list_approvals(limit=0)


def test_two_actions_of_one_name_are_a_defect() -> None:
    actions = guarded()
    with pytest.raises(ValueError, match=ACTION):
        actions.register(ACTION, actions.get(ACTION).start)
    assert (actions.names, GuardedActions(actions.get(ACTION)).names) == ((ACTION,), (ACTION,))
