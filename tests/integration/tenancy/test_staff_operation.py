"""Quota corrections, firm keys and erased people: asked for, approved, carried out, and killed half-way."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from app.core.db import Database
from app.core.ids import InstanceId
from app.core.outbox import list_events
from editions import ACTIVATIONS, EffectNotFound, month_of
from tenancy import Instance, OperationRunner, StaffPrincipal
from tenancy.errors import InstanceNotFound, InstanceNotReady, StaffTokenInvalid
from tenancy.lifecycle.errors import InstanceErased
from tenancy.operation.kind import OperationKind, StepContext
from tenancy.staff.approval import ApprovalService, GuardedActions
from tenancy.staff.errors import PersonErased
from tenancy.staff.operation import StaffOperations, register_actions
from tenancy.staff.person import ERASED_NAME
from tests.fake.killed import Killed
from tests.integration.editions.material import check, do_count, do_reserve, effects, state
from tests.integration.tenancy.idle import run_until_idle
from tests.integration.tenancy.staff_material import Office, as_staff
from tests.integration.tenancy.test_person import check_chain, dump
from tests.integration.tenancy.world import PATIENCE, World


class Desk:
    """Two people who may do everything together."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.office = Office(world.platform)
        self.work = StaffOperations(world.platform, world.databases, boxes=world.fsb)
        guarded = GuardedActions()
        register_actions(guarded)
        self.approvals = ApprovalService(world.platform, guarded)
        self.mona, self.hugo = self.office.hire("mona@wops.example", "admin"), self.office.hire("hugo")

    def do(self, action: str, object_id: str, **parameters: object) -> None:
        """Ask, approve, carry out."""
        self.start(action, object_id, **parameters)
        self.run()

    def start(self, action: str, object_id: str, **parameters: object) -> None:
        asked = self.approvals.request(
            action,
            object_id,
            parameters=dict(parameters),  # type: ignore[arg-type]
            reason="ticket 4711",
            by=self.mona,
            command=as_staff(self.mona),
        ).value
        self.approvals.approve(
            asked.approval_id, expected_version=asked.version, by=self.hugo, command=as_staff(self.hugo)
        )

    def run(self, wrap: Callable[[OperationKind], OperationKind] = lambda kind: kind) -> None:
        kinds = [wrap(kind) for kind in self.work.kinds()]
        runner = OperationRunner(self.world.platform, kinds, owner="control-1", patience=PATIENCE)
        anyio.run(runner.take_over)
        run_until_idle(runner)

    def db(self, instance: Instance) -> Database:
        return self.world.databases.open(instance.instance_id)


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def counted(db: Database, number: int) -> list[str]:
    what, month = effects(number), month_of(db.clock.now())
    do_reserve(db, what, month)
    do_count(db, what, month)
    return [each.effect_id for each in what]


def killed_after(step: str) -> Callable[[OperationKind], OperationKind]:
    """Kinds whose process dies when a step has done its work and nobody knows yet."""

    def wrap(kind: OperationKind) -> OperationKind:
        if step not in kind.actions:
            return kind
        action = kind.actions[step]

        async def die(context: StepContext) -> None:
            await action(context)
            raise Killed

        return OperationKind(plan=kind.plan, actions={**kind.actions, step: die})

    return wrap


def test_correction_takes_counts_back_and_says_so_in_the_instances_chain(desk: Desk) -> None:
    instance = desk.world.ready_instance()
    db = desk.db(instance)
    ids = counted(db, 3)
    plan = desk.work.plan_correction(instance.instance_id, month="2026-03", effect_ids=ids[:2])
    assert plan == {"month": "2026-03", "effect_ids": ids[:2], "taken_back": {"activations": 2}}
    desk.do("correctQuota", instance.instance_id, **plan)
    assert state(db, ACTIVATIONS).used == 1
    found = db.read(lambda reader: list_events(reader, after=0, limit=1_000))
    (event,) = [each for each in found if each.type == "quota.corrected"]
    assert (event.subject, event.data["taken_back"], event.data["used"]) == ("activations/2026-03", 2, 1)
    with db.engine.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT actor, action, reason FROM outbox_event WHERE type = 'quota.corrected'"
        ).one()
    assert (str(desk.hugo.token_id) in row.actor, row.action) == (True, "correctQuota.voidEntries")
    check(db)


def test_correction_of_what_is_not_there_is_refused_before_anybody_is_asked(desk: Desk) -> None:
    instance = desk.world.ready_instance()
    with pytest.raises(EffectNotFound):
        desk.work.plan_correction(instance.instance_id, month="2026-03", effect_ids=["eff_0"])
    with pytest.raises(InstanceNotFound):
        desk.work.plan_correction(InstanceId("ins_0"), month="2026-03", effect_ids=["eff_0"])
    ordered = desk.world.order("later")
    assert desk.world.instances.get_instance(InstanceId(ordered.object_id)).state == "provisioning"
    for action in ("correctQuota", "installFirmKey"):
        with pytest.raises(InstanceNotReady):
            desk.start(action, ordered.object_id)
    assert desk.approvals.list_approvals() == []


@pytest.mark.parametrize("step", ["void_entries"])
def test_correction_killed_half_way_takes_back_once(desk: Desk, step: str) -> None:
    instance = desk.world.ready_instance()
    db = desk.db(instance)
    ids = counted(db, 2)
    desk.start("correctQuota", instance.instance_id, month="2026-03", effect_ids=ids)
    with pytest.raises(BaseExceptionGroup):
        desk.run(killed_after(step))
    desk.run()
    assert state(db, ACTIVATIONS).used == 0
    found = db.read(lambda reader: list_events(reader, after=0, limit=1_000))
    assert [each.type for each in found].count("quota.corrected") == 1
    check(db)


@pytest.mark.parametrize(
    ("found", "fit"),
    [
        ("frozen", {"correctQuota", "installFirmKey"}),
        ("ended", {"correctQuota"}),
        ("erased", set()),
        ("failed", set()),
    ],
)
def test_instance_that_no_longer_serves_is_corrected_while_it_is_kept(
    desk: Desk, found: str, fit: set[str]
) -> None:
    instance = desk.world.ready_instance()
    db = desk.db(instance)
    ids = counted(db, 2)
    before = len(desk.office.events("firm_key.installed"))
    with desk.world.platform.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE instance SET state = '{found}'")
    correction = {"month": "2026-03", "effect_ids": ids}
    if "correctQuota" in fit:
        plan = desk.work.plan_correction(instance.instance_id, month="2026-03", effect_ids=ids)
        assert plan["taken_back"] == {"activations": 2}
    for action, parameters in (("installFirmKey", {}), ("correctQuota", correction)):
        if action in fit:
            desk.do(action, instance.instance_id, **parameters)
        else:
            with pytest.raises(InstanceErased if found == "erased" else InstanceNotReady):
                desk.start(action, instance.instance_id, **parameters)
    assert state(db, ACTIVATIONS).used == (0 if "correctQuota" in fit else 2)
    assert len(desk.office.events("firm_key.installed")) - before == ("installFirmKey" in fit)
    check(db)


def test_firm_key_goes_into_the_pool_again(desk: Desk) -> None:
    instance = desk.world.ready_instance()
    desk.world.fsb.keys.clear()
    provisioned = len(desk.office.events("firm_key.installed"))
    desk.do("installFirmKey", instance.instance_id)
    assert desk.world.fsb.keys == {instance.firm_code: (instance.instance_id, instance.pool)}
    again = desk.office.events("firm_key.installed")[provisioned:]
    assert [event.subject for event in again] == [instance.instance_id]


def test_firm_key_installed_by_a_step_that_is_repeated_is_told_once(desk: Desk) -> None:
    instance = desk.world.ready_instance()
    provisioned = len(desk.office.events("firm_key.installed"))
    desk.start("installFirmKey", instance.instance_id)
    with pytest.raises(BaseExceptionGroup):
        desk.run(killed_after("install"))
    desk.run()
    assert len(desk.office.events("firm_key.installed")) == provisioned + 1


def erase(desk: Desk, victim: StaffPrincipal) -> None:
    assert victim.person_id is not None
    desk.start("erasePerson", victim.person_id)


@pytest.mark.parametrize("step", [None, "revoke_tokens", "erase_name"])
def test_erased_person_is_nowhere_and_the_chain_still_verifies(desk: Desk, step: str | None) -> None:
    secrets = [desk.office.secret("victor@wops.example"), desk.office.secret("Victor@wops.example", "admin")]
    victor = desk.office.tokens.check(secrets[0])
    desk.office.tokens.rotate(victor.token_id, command=as_staff(victor))
    assert victor.person_id is not None
    assert desk.office.people.read_name(victor.person_id, str(victor.sealed_name)) == "victor@wops.example"
    erase(desk, victor)
    if step is not None:
        with pytest.raises(BaseExceptionGroup):
            desk.run(killed_after(step))
    desk.run()
    for secret in secrets:
        with pytest.raises(StaffTokenInvalid):
            desk.office.tokens.check(secret)
    person = desk.office.people.get_person(victor.person_id)
    assert (person.name, person.erased_at is None) == (None, False)
    assert desk.office.people.read_name(victor.person_id, str(victor.sealed_name)) == ERASED_NAME
    assert "victor" not in dump(desk.world.platform)
    assert [event.subject for event in desk.office.events("person.erased")] == [victor.person_id]
    assert len(desk.office.events("staff_token.revoked")) == 2
    assert check_chain(desk.world.platform) > 0
    with pytest.raises(PersonErased):
        erase(desk, victor)


def test_a_name_that_comes_back_is_a_new_person(desk: Desk) -> None:
    before = desk.office.hire("victor")
    erase(desk, before)
    desk.run()
    after = desk.office.hire("victor")
    assert after.person_id != before.person_id
    assert desk.office.people.read_name(str(before.person_id), str(before.sealed_name)) == ERASED_NAME
