from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import anyio
import pytest

from app.core.command import Command
from app.core.errors import DomainError, OperationIdReused
from app.core.ids import CustomerId, InstanceId
from editions.catalog import EDITIONS
from fsb_gateway.error import FsbUnavailable
from tenancy import InstanceCreate, Operation, OperationRunner
from tenancy.access import repository as access_repository
from tenancy.errors import (
    CustomerNotFound,
    FirmCodeTaken,
    FirmCodeUnfit,
    InstanceNotFound,
    InstanceNotReady,
    NameTaken,
)
from tenancy.operation.plan import PROVISION_INSTANCE
from tenancy.operation.runner import StepAction
from tests.integration.tenancy.world import PATIENCE, Killed, World


@pytest.mark.parametrize("edition", list(EDITIONS))
def test_each_edition_is_provisioned_with_its_boxes_key_and_configuration(world: World, edition: str) -> None:
    operation = world.order("acme", edition)
    assert world.instances.get_instance_by_name("acme").state == "provisioning"
    assert world.run() == 4

    done = world.look(operation.operation_id)
    assert (done.state, [step.state for step in done.steps]) == ("succeeded", ["succeeded"] * 4)
    instance = world.instances.get_instance_by_name("acme")
    assert (instance.state, instance.health, instance.applied_version) == ("ready", "ok", 1)
    assert instance.database_url is not None
    assert "@" not in instance.database_url
    assert world.fsb.keys == {instance.firm_code: (instance.instance_id, instance.pool)}
    own = EDITIONS[edition].box != "shared"
    assert instance.pool == ("acme" if own else "shared")
    assert len(world.fsb.boxes) == (2 if edition == "high_availability" else 1)

    profile = world.cache(instance.instance_id).profile()
    assert (profile.name, profile.edition, profile.pool) == ("acme", edition, instance.pool)
    assert profile.web_services == EDITIONS[edition].web_services
    assert len(profile.lines) == (2 if edition == "high_availability" else 1)
    assert not world.access.get_policy(instance.instance_id).policy.methods
    assert world.events("instance.ready") == [instance.instance_id]
    assert world.run() == 0


def killing(action: StepAction, *, after_effect: bool) -> StepAction:
    async def killed(operation: Operation) -> None:
        if after_effect:
            await action(operation)
        raise Killed

    return killed


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("step", PROVISION_INSTANCE.steps)
def test_process_killed_in_a_step_is_followed_by_one_that_resumes_there(
    world: World, step: str, *, after_effect: bool
) -> None:
    operation = world.order(edition="high_performance")
    action = world.provisioner.operation_kind().actions[step]
    with pytest.raises(BaseExceptionGroup):
        world.run(world.runner(actions={step: killing(action, after_effect=after_effect)}))
    stuck = world.look(operation.operation_id)
    assert (stuck.state, stuck.step.name, stuck.owner) == ("running", step, "control-1")

    reborn = world.runner()
    assert anyio.run(reborn.take_over) == 1
    world.run(reborn)
    done = world.look(operation.operation_id)
    assert done.state == "succeeded"
    assert {each.name: each.attempts for each in done.steps} == {
        each: 2 if each == step else 1 for each in PROVISION_INSTANCE.steps
    }
    instance = world.instances.get_instance_by_name("acme")
    assert (instance.state, len(world.fsb.keys), len(world.fsb.boxes)) == ("ready", 1, 1)
    assert world.events("instance.ready") == [instance.instance_id]


def test_other_runner_takes_over_only_when_the_lease_has_ended(world: World) -> None:
    operation = world.order()
    with pytest.raises(BaseExceptionGroup):
        world.run(world.runner(actions={"create_database": killing(_nothing, after_effect=False)}))
    other = world.runner("control-2")
    assert anyio.run(other.take_over) == 0
    assert world.run(other) == 0
    world.clock.advance(PATIENCE.lease)
    assert world.run(other) == 4
    assert world.look(operation.operation_id).state == "succeeded"


async def _nothing(_operation: Operation) -> None:
    """Does nothing, quickly."""


def test_step_that_kills_its_process_every_time_is_given_up(world: World) -> None:
    operation = world.order()
    for _ in range(PATIENCE.attempts):
        runner = world.runner(actions={"create_database": killing(_nothing, after_effect=False)})
        anyio.run(runner.take_over)
        with pytest.raises(BaseExceptionGroup):
            world.run(runner)
    reborn = world.runner()
    anyio.run(reborn.take_over)
    world.run(reborn)
    lost = world.look(operation.operation_id)
    assert (lost.state, lost.error_code) == ("failed", "operation_step_lost")
    assert world.instances.get_instance_by_name("acme").state == "failed"


def test_unreachable_gateway_is_tried_again_later_and_the_reason_is_shown_meanwhile(world: World) -> None:
    world.fsb.failures = [FsbUnavailable("no gateway"), FsbUnavailable("no gateway")]
    operation = world.order()
    world.run()
    waiting = world.look(operation.operation_id)
    assert (waiting.state, waiting.step.name, waiting.error_code) == (
        "running",
        "install_firm_key",
        "fsb_unavailable",
    )
    world.clock.advance(timedelta(seconds=1))
    world.run()
    assert world.look(operation.operation_id).due_at == world.clock.now() + timedelta(seconds=2)
    world.clock.advance(timedelta(seconds=2))
    world.run()
    done = world.look(operation.operation_id)
    assert (done.state, done.error_code, done.steps[1].attempts) == ("succeeded", None, 3)


def test_gateway_that_stays_away_fails_operation_and_instance_with_the_reason(world: World) -> None:
    world.fsb.failures = [FsbUnavailable("no gateway")] * 10
    operation = world.order()
    for _ in range(PATIENCE.attempts):
        world.run()
        world.clock.advance(PATIENCE.longest_pause)
    given_up = world.look(operation.operation_id)
    assert (given_up.state, given_up.error_code, given_up.step.attempts) == ("failed", "fsb_unavailable", 3)
    assert given_up.finished_at is not None
    instance = world.instances.get_instance_by_name("acme")
    assert (instance.state, instance.health) == ("failed", "down")
    assert world.events("instance.failed") == [instance.instance_id]
    assert world.operations.find_unfinished(instance.instance_id) is None
    with pytest.raises(InstanceNotReady):
        world.access.get_policy(instance.instance_id)
    assert world.run() == 0


def test_unforeseen_error_is_not_shown_in_its_own_words(world: World) -> None:
    async def broken(_operation: Operation) -> None:
        raise RuntimeError("password=hunter2")

    operation = world.order()
    world.run(world.runner(actions={"create_database": broken}))
    shown = world.look(operation.operation_id)
    assert shown.error_code == "internal_error"
    assert "hunter2" not in str(shown.error_message)


def test_operation_past_its_deadline_is_given_up(world: World) -> None:
    operation = world.order()
    world.clock.advance(PROVISION_INSTANCE.deadline)
    world.run()
    late = world.look(operation.operation_id)
    assert (late.state, late.error_code) == ("failed", "operation_deadline_passed")
    assert world.instances.get_instance_by_name("acme").state == "failed"


def test_runner_that_lost_its_lease_changes_nothing_when_it_comes_back(world: World) -> None:
    operation = world.order()
    create = world.provisioner.operation_kind().actions["create_database"]
    other = world.runner("control-2")

    async def slow(under_way: Operation) -> None:
        world.clock.advance(PATIENCE.lease)
        assert await other.run_due() == 1
        await create(under_way)

    assert anyio.run(world.runner(actions={"create_database": slow}).run_due) == 1
    after = world.look(operation.operation_id)
    assert (after.step.name, after.steps[0].attempts, after.owner) == ("install_firm_key", 2, None)
    world.run()
    assert world.look(operation.operation_id).state == "succeeded"


def test_attempt_that_outlasts_its_lease_is_cancelled_and_counted(world: World) -> None:
    async def forever(_operation: Operation) -> None:
        await anyio.sleep_forever()

    operation = world.order()
    impatient = world.runner(
        patience=type(PATIENCE)(attempts=2, lease=timedelta(milliseconds=50)),
        actions={"create_database": forever},
    )
    assert anyio.run(impatient.run_due) == 1
    assert world.look(operation.operation_id).error_code == "operation_step_lost"


def test_two_runners_at_once_carry_each_step_out_once(world: World) -> None:
    for n in range(4):
        world.order(f"acme-{n}")
    done: list[str] = []

    def counting(name: str) -> StepAction:
        action = world.provisioner.operation_kind().actions[name]

        async def counted(operation: Operation) -> None:
            done.append(f"{operation.operation_id} {name}")
            await action(operation)

        return counted

    actions = {name: counting(name) for name in PROVISION_INSTANCE.steps}
    runners = [world.runner(f"control-{n}", actions=actions) for n in (1, 2)]

    async def work(runner: OperationRunner) -> None:
        while any(not each.finished for each in world.operations.list_operations()):
            await runner.run_due()

    async def both() -> None:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for runner in runners:
                    tasks.start_soon(work, runner)

    anyio.run(both)
    assert len(done) == len(set(done)) == 16
    assert {each.state for each in world.operations.list_operations()} == {"succeeded"}


def at_once(count: int, call: Callable[[int], object]) -> list[object]:
    """What each of several threads got: a value or a refusal."""

    def one(n: int) -> object:
        try:
            return call(n)
        except DomainError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_of_sixteen_creates_with_one_name_at_once_one_wins(world: World) -> None:
    customer_id = world.customer()
    asked = InstanceCreate(customer_id=customer_id, edition="dedicated", name="acme")
    answers = at_once(16, lambda _: world.instances.create_instance(asked))
    refused = [answer for answer in answers if isinstance(answer, DomainError)]
    assert [error.code for error in refused] == ["name_taken"] * 15
    assert len(world.instances.list_instances()) == len(world.operations.list_operations()) == 1
    assert world.run() == 4


def test_sixteen_creates_at_once_get_sixteen_firm_codes(world: World) -> None:
    customer_id = world.customer()
    answers = at_once(
        16,
        lambda n: world.instances.create_instance(
            InstanceCreate(customer_id=customer_id, edition="datacenter", name=f"acme-{n}")
        ),
    )
    assert not [answer for answer in answers if isinstance(answer, DomainError)]
    codes = sorted(instance.firm_code for instance in world.instances.list_instances())
    assert codes == list(range(6_000_100, 6_000_116))


def test_same_command_again_returns_the_same_operation_and_another_request_under_it_is_refused(
    world: World,
) -> None:
    asked = InstanceCreate(customer_id=world.customer(), edition="dedicated", name="acme")
    command = Command(op_id="key-1", fingerprint="a")
    first = world.instances.create_instance(asked, command=command)
    again = world.instances.create_instance(asked, command=command)
    assert (first.created, again.created, again.replayed) == (True, False, True)
    assert again.value == first.value
    with pytest.raises(OperationIdReused):
        world.instances.create_instance(asked, command=Command(op_id="key-1", fingerprint="b"))
    assert len(world.instances.list_instances()) == 1


def test_refused_order_leaves_nothing_behind(world: World) -> None:
    customer_id = world.customer()
    mine = InstanceCreate(customer_id=customer_id, edition="dedicated", name="acme", firm_code=101_234)
    world.instances.create_instance(mine)
    refusals: list[tuple[InstanceCreate, type[DomainError]]] = [
        (InstanceCreate(customer_id=customer_id, edition="dedicated", name="acme"), NameTaken),
        (
            InstanceCreate(customer_id=customer_id, edition="dedicated", name="other", firm_code=101_234),
            FirmCodeTaken,
        ),
        (
            InstanceCreate(customer_id=customer_id, edition="dedicated", name="other", firm_code=0),
            FirmCodeUnfit,
        ),
        (
            InstanceCreate(customer_id=CustomerId("cus_0"), edition="dedicated", name="other"),
            CustomerNotFound,
        ),
    ]
    for asked, refusal in refusals:
        with pytest.raises(refusal):
            world.instances.create_instance(asked)
    assert len(world.instances.list_instances()) == len(world.operations.list_operations()) == 1
    freed = InstanceCreate(customer_id=customer_id, edition="dedicated", name="other", firm_code=101_235)
    world.instances.create_instance(freed)


def test_restarted_gateway_gets_every_box_again_at_its_own_pace(world: World) -> None:
    world.ready_instance("acme", "high_availability")
    world.ready_instance("beta", "datacenter")
    before = dict(world.fsb.boxes)
    world.fsb.boxes.clear()
    assert anyio.run(world.provisioner.restore_boxes) == 3
    assert world.fsb.boxes == before


def test_unknown_instance_and_wrong_database_are_told_apart(world: World) -> None:
    with pytest.raises(InstanceNotFound):
        world.instances.get_instance(InstanceId("ins_0"))
    with pytest.raises(InstanceNotFound):
        world.instances.get_instance_by_name("acme")
    instance = world.ready_instance()
    stored = world.databases.open(instance.instance_id).read(access_repository.find_profile)
    assert stored is not None
    assert stored.instance_id == instance.instance_id
