from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.command import Command
from app.core.errors import DomainError, InputInvalid
from app.core.ids import InstanceId
from app.core.origin import Actor, Origin
from app.core.outbox import Event, list_events
from tenancy import Instance, StaffPrincipal
from tenancy.errors import InstanceNotFound, LimitUnfit, StaffRoleInsufficient
from tenancy.staff.errors import (
    HoursUnfit,
    ReasonMissing,
    StaffPersonMissing,
    SupportAccessClosed,
    SupportAccessExpired,
    SupportAccessMissing,
    SupportAccessNotFound,
    SupportAccessOpen,
    SupportAccessReadOnly,
    SupportAccessVersionConflict,
)
from tenancy.staff.support.record import SupportAccess, SupportScope
from tenancy.staff.support.service import SupportService, SupportWish
from tests.integration.tenancy.staff_material import Office
from tests.integration.tenancy.world import World
from tests.service.crowd import at_once

CUSTOMER = "cli_1"


class Help:
    """Support, and one customer's instance."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.office = Office(world.platform)
        self.service = self.new_service()
        self.instance = world.ready_instance()
        self.sara = self.office.hire("sara", "support")

    def new_service(self) -> SupportService:
        """As another process has it."""
        return SupportService(self.world.platform, self.world.databases)

    @property
    def id(self) -> InstanceId:
        return self.instance.instance_id

    def wish(self, **changed: object) -> SupportWish:
        wish = SupportWish(instance_id=self.id, reason="ticket 4711", hours=24)
        return replace(wish, **changed)  # type: ignore[arg-type]

    def ask(self, by: StaffPrincipal | None = None, **changed: object) -> SupportAccess:
        return self.service.request_access(self.wish(**changed), by=by or self.sara).value

    def let_in(self, access: SupportAccess) -> SupportAccess:
        return self.service.approve_access(
            access.instance_id, access.access_id, expected_version=1, by=CUSTOMER
        ).value

    def use(
        self,
        scope: SupportScope = "read",
        *,
        by: StaffPrincipal | None = None,
        instance: Instance | None = None,
        service: SupportService | None = None,
    ) -> None:
        principal = by or self.sara
        actor = Actor(kind="staff", actor_id=principal.token_id, person=principal.person_id)
        (service or self.service).use_access(
            (instance or self.instance).instance_id,
            scope=scope,
            by=principal,
            origin=Origin(actor=actor, action="listLedger"),
        )

    def uses(self) -> list[Event]:
        """What the customer finds in the audit chain of his instance."""
        db = self.world.databases.open(self.id)
        found = db.read(lambda reader: list_events(reader, after=0, limit=1_000))
        return [event for event in found if event.type == "support_access.used"]


@pytest.fixture
def desk(world: World) -> Help:
    return Help(world)


def test_support_is_in_from_the_customers_yes_until_its_hours_are_over(desk: Help) -> None:
    asked = desk.ask(hours=3)
    with pytest.raises(SupportAccessMissing) as refused:
        desk.use()
    assert refused.value.code == "support_access_missing"
    desk.world.clock.advance(timedelta(days=6))
    access = desk.let_in(asked)
    assert (access.state, access.decided_by) == ("approved", CUSTOMER)
    assert access.expires_at == desk.world.clock.now() + timedelta(hours=3)
    desk.world.clock.advance(timedelta(hours=3) - timedelta(microseconds=1))
    desk.use()
    desk.world.clock.advance(timedelta(microseconds=1))
    with pytest.raises(SupportAccessMissing):
        desk.use()
    assert desk.service.get_access(asked.access_id).state == "expired"


def test_access_is_of_one_person_to_one_instance(desk: Help) -> None:
    other = desk.world.ready_instance("globex")
    desk.let_in(desk.ask())
    for person in (desk.office.hire("bert", "support"), replace(desk.sara, person_id=None)):
        with pytest.raises(SupportAccessMissing):
            desk.use(by=person)
    with pytest.raises(SupportAccessMissing):
        desk.use(instance=other)
    desk.use(by=desk.office.hire("Sara", "support"))


def test_who_may_look_changes_nothing(desk: Help) -> None:
    desk.let_in(desk.ask())
    with pytest.raises(SupportAccessReadOnly):
        desk.use("write")
    desk.let_in(desk.ask(scope="write"))
    desk.use("write")
    desk.use("read")


def test_customer_revokes_at_any_time_and_at_once(desk: Help) -> None:
    access = desk.let_in(desk.ask())
    desk.use()
    done = desk.service.revoke_access(desk.id, access.access_id, by=CUSTOMER).value
    assert done.state == "revoked"
    with pytest.raises(SupportAccessMissing):
        desk.use()
    with pytest.raises(SupportAccessClosed):
        desk.service.revoke_access(desk.id, access.access_id, by=CUSTOMER)


def test_refused_support_stays_outside_and_may_ask_again(desk: Help) -> None:
    access = desk.ask()
    done = desk.service.refuse_access(desk.id, access.access_id, expected_version=1, by=CUSTOMER).value
    assert done.state == "refused"
    with pytest.raises(SupportAccessClosed) as refused:
        desk.let_in(access)
    assert refused.value.detail["state"] == "refused"
    with pytest.raises(SupportAccessMissing):
        desk.use()
    assert desk.ask().access_id != access.access_id


def test_the_wrong_customer_finds_nothing(desk: Help) -> None:
    other = desk.world.ready_instance("globex").instance_id
    access = desk.ask()
    service = desk.service
    with pytest.raises(SupportAccessNotFound):
        service.approve_access(other, access.access_id, expected_version=1, by=CUSTOMER)
    with pytest.raises(SupportAccessNotFound):
        service.refuse_access(other, access.access_id, expected_version=1, by=CUSTOMER)
    with pytest.raises(SupportAccessNotFound):
        service.list_uses(other, access.access_id)
    assert service.list_accesses(instance_id=other) == []
    desk.let_in(access)
    with pytest.raises(SupportAccessNotFound):
        service.revoke_access(other, access.access_id, by=CUSTOMER)
    desk.use()


def test_only_what_was_read_is_decided_and_a_waiting_one_cannot_be_revoked(desk: Help) -> None:
    access = desk.ask()
    for decide in (desk.service.approve_access, desk.service.refuse_access):
        with pytest.raises(SupportAccessVersionConflict):
            decide(desk.id, access.access_id, expected_version=2, by=CUSTOMER)
    with pytest.raises(SupportAccessClosed):
        desk.service.revoke_access(desk.id, access.access_id, by=CUSTOMER)
    assert desk.service.get_access(access.access_id) == access


def test_unanswered_request_ends_after_seven_days(desk: Help) -> None:
    access = desk.ask()
    with pytest.raises(SupportAccessOpen) as refused:
        desk.ask(hours=3)
    assert refused.value.detail["access_id"] == access.access_id
    desk.world.clock.advance(timedelta(days=7))
    with pytest.raises(SupportAccessExpired):
        desk.let_in(access)
    again = desk.ask()
    assert [event.subject for event in desk.office.events("support_access.expired")] == [access.access_id]
    desk.world.clock.advance(timedelta(days=7))
    assert (desk.service.expire_overdue(), desk.service.expire_overdue()) == (1, 0)
    assert desk.service.get_access(again.access_id).state == "expired"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"hours": 2}, HoursUnfit),
        ({"hours": 169}, HoursUnfit),
        ({"reason": " "}, ReasonMissing),
        ({"reason": "x" * 501}, InputInvalid),
        ({"scope": "everything"}, InputInvalid),
        ({"instance_id": "ins_0"}, InstanceNotFound),
    ],
)
def test_unfit_wish_is_refused(desk: Help, changed: dict[str, object], error: type[DomainError]) -> None:
    with pytest.raises(error):
        desk.service.request_access(desk.wish(**changed), by=desk.sara)
    assert desk.service.list_accesses() == []


def test_operators_and_auditors_do_not_ask_and_nobody_does_without_a_person(desk: Help) -> None:
    for role in ("operator", "auditor"):
        with pytest.raises(StaffRoleInsufficient):
            desk.ask(desk.office.hire(role, role))
    with pytest.raises(StaffPersonMissing):
        desk.ask(replace(desk.sara, person_id=None))


def test_customer_sees_each_hour_of_use_once_whatever_process_served_it(desk: Help) -> None:
    access = desk.let_in(desk.ask())
    for service in (desk.service, desk.service, desk.new_service()):
        desk.use(service=service)
    assert len(desk.uses()) == 1
    desk.world.clock.advance(timedelta(hours=1))
    at_once(6, lambda _: desk.use(service=desk.new_service()))
    events = desk.uses()
    assert [event.subject for event in events] == [access.access_id] * 2
    assert events[0].data == {"person_id": desk.sara.person_id, "scope": "read"}
    found = desk.service.list_uses(desk.id, access.access_id)
    assert [use.action for _, use in found] == ["listLedger"] * 2
    assert desk.service.list_uses(desk.id, access.access_id, after=found[0][0]) == found[1:]
    with pytest.raises(LimitUnfit):
        desk.service.list_uses(desk.id, access.access_id, limit=0)


def test_a_refused_look_leaves_no_trace_of_use(desk: Help) -> None:
    with pytest.raises(SupportAccessMissing):
        desk.use()
    assert desk.uses() == []


def test_approved_by_many_at_once_it_is_approved_once(desk: Help) -> None:
    access = desk.ask()
    results = at_once(6, lambda _: desk.let_in(access))
    assert sum(isinstance(each, SupportAccess) for each in results) == 1
    assert len(desk.office.events("support_access.approved")) == 1


def test_repeated_commands_ask_and_decide_once(desk: Help) -> None:
    asked = [
        desk.service.request_access(desk.wish(), by=desk.sara, command=Command(op_id="ask")) for _ in range(2)
    ]
    assert (asked[0].value == asked[1].value, asked[1].replayed) == (True, True)
    done = [
        desk.service.approve_access(
            desk.id, asked[0].value.access_id, expected_version=1, by=CUSTOMER, command=Command(op_id="yes")
        )
        for _ in range(2)
    ]
    assert (done[0].value == done[1].value, done[1].replayed) == (True, True)


def test_accesses_are_listed_in_pages(desk: Help) -> None:
    every = [desk.ask(desk.office.hire(f"sara-{n}", "support")) for n in range(4)]
    page = desk.service.list_accesses(limit=3)
    assert page + desk.service.list_accesses(after=page[-1].access_id, limit=3) == every
    assert desk.service.list_accesses(instance_id=desk.id) == every
    with pytest.raises(LimitUnfit):
        desk.service.list_accesses(limit=0)
