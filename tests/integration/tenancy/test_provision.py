from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from sqlalchemy.engine import make_url

from app.core.command import Command
from app.core.db import Reader, Tx
from app.core.errors import DomainError, OperationIdReused
from app.core.ids import CustomerId, InstanceId
from app.core.json import JsonObject
from editions.catalog import EDITIONS
from fsb_gateway.error import FsbUnavailable
from tenancy import FirstClient, InstanceCreate, Operation, Server, StepContext
from tenancy.access import repository as access_repository
from tenancy.box.repository import list_boxes
from tenancy.database.repository import list_homes
from tenancy.errors import (
    CustomerNotFound,
    FirmCodeTaken,
    FirmCodeUnfit,
    InstanceDatabaseMissing,
    InstanceNotFound,
    InstanceNotReady,
    NameTaken,
)
from tenancy.operation.plan import PROVISION_INSTANCE
from tenancy.operation.repository import put_operation
from tenancy.server import repository as servers
from tests.fake.box_gateway import FakeBox
from tests.integration.tenancy.box.rack import Rack
from tests.integration.tenancy.world import PATIENCE, World
from tests.service.crowd import at_once
from tests.service.mariadb import MariaDbServer


def list_servers(reader: Reader) -> list[Server]:
    return servers.list_servers(reader, after="", limit=100)


@pytest.mark.parametrize("edition", list(EDITIONS))
def test_each_edition_is_provisioned_with_its_boxes_key_and_configuration(world: World, edition: str) -> None:
    operation = world.order("acme", edition)
    assert world.instances.get_instance_by_name("acme").state == "provisioning"
    assert world.run() == 5

    done = world.look(operation.operation_id)
    assert (done.state, [step.state for step in done.steps]) == ("succeeded", ["succeeded"] * 5)
    instance = world.instances.get_instance_by_name("acme")
    assert (instance.state, instance.health, instance.applied_version) == ("ready", "ok", 1)
    assert instance.database_url is not None
    assert make_url(instance.database_url).password is None
    assert world.fsb.keys == {instance.firm_code: (instance.instance_id, instance.pool)}
    own = EDITIONS[edition].box != "shared"
    assert instance.pool == ("acme" if own else "shared")
    assert len(world.fsb.specs) == (2 if edition == "high_availability" else 1)

    profile = world.cache(instance.instance_id).profile()
    assert (profile.name, profile.edition, profile.pool) == ("acme", edition, instance.pool)
    assert profile.web_services == EDITIONS[edition].web_services
    assert len(profile.lines) == (2 if edition == "high_availability" else 1)
    assert not world.access.get_policy(instance.instance_id).policy.methods
    assert world.events("instance.ready") == [instance.instance_id]
    assert world.run() == 0


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


def give_up(world: World) -> Operation:
    """An ordered instance whose gateway stays away until the operation has failed, and is back now."""
    world.fsb.failures = [FsbUnavailable("no gateway")] * PATIENCE.attempts
    operation = world.order()
    for _ in range(PATIENCE.attempts):
        world.run()
        world.clock.advance(PATIENCE.longest_pause)
    return world.look(operation.operation_id)


def test_gateway_that_stays_away_fails_operation_and_instance_with_the_reason(world: World) -> None:
    given_up = give_up(world)
    assert (given_up.state, given_up.error_code, given_up.step.attempts) == ("failed", "fsb_unavailable", 3)
    instance = world.instances.get_instance_by_name("acme")
    assert (instance.state, instance.health) == ("failed", "down")
    assert world.events("instance.failed") == [instance.instance_id]
    with pytest.raises(InstanceNotReady):
        world.access.get_policy(instance.instance_id)
    assert world.run() == 0


def test_retried_provisioning_ends_well(world: World) -> None:
    given_up = give_up(world)
    world.operations.retry(given_up.operation_id)
    world.run()
    instance = world.instances.get_instance_by_name("acme")
    assert (instance.state, instance.health) == ("ready", "ok")
    assert world.events("instance.provisioning") == [instance.instance_id]


def test_provisioning_that_nobody_saves_leaves_nothing_but_its_operation(world: World) -> None:
    given_up = give_up(world)
    instance = world.instances.get_instance_by_name("acme")
    used = [server.used for server in world.platform.read(list_servers)]
    assert sum(used) == 1
    world.clock.advance(PROVISION_INSTANCE.grace)
    assert world.sweeper.sweep() == 1
    world.run()
    back = world.look(given_up.operation_id)
    assert (back.state, back.error_code) == ("recovered", "fsb_unavailable")
    with pytest.raises(InstanceNotFound):
        world.instances.get_instance(instance.instance_id)
    with pytest.raises(InstanceDatabaseMissing):
        world.databases.open(instance.instance_id)
    assert (world.fsb.keys, world.platform.read(list_homes)) == ({}, [])
    assert not any(server.used for server in world.platform.read(list_servers))
    assert world.events("instance.removed") == [instance.instance_id]
    lines = world.operations.list_log(given_up.operation_id)
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))

    again = world.ready_instance("acme")
    assert (again.name, again.firm_code, again.state) == ("acme", instance.firm_code, "ready")


def test_firm_code_whose_key_is_left_in_boxes_is_nobody_elses(world: World) -> None:
    operation = world.order()
    runner = world.runner()
    for _ in range(2):
        anyio.run(runner.run_due)
    firm_code = world.instances.get_instance_by_name("acme").firm_code
    world.operations.cancel(operation.operation_id, reason="ordered by mistake")
    world.fsb.failures = [FsbUnavailable("no gateway")] * PATIENCE.attempts
    for _ in range(PATIENCE.attempts):
        world.run()
        world.clock.advance(PATIENCE.longest_pause)
    assert world.look(operation.operation_id).state == "fatal"
    world.operations.skip(operation.operation_id, reason="the boxes are gone")
    world.run()
    assert world.look(operation.operation_id).state == "recovered"
    assert firm_code in world.fsb.keys
    assert (world.platform.read(list_homes), world.instances.list_instances()) == ([], [])
    again = world.ready_instance("acme")
    assert again.firm_code != firm_code


def test_cancelled_order_frees_name_firm_code_and_place(world: World) -> None:
    operation = world.order(edition="high_performance")
    firm_code = world.instances.get_instance_by_name("acme").firm_code
    runner = world.runner()
    for _ in range(3):
        anyio.run(runner.run_due)
    assert world.fsb.keys
    world.operations.cancel(operation.operation_id, reason="ordered by mistake")
    world.run()
    assert world.look(operation.operation_id).state == "recovered"
    assert (world.fsb.keys, world.fsb.specs, world.platform.read(list_boxes)) == ({}, {}, [])
    assert not world.instances.list_instances()
    assert world.ready_instance("acme").firm_code == firm_code


def test_first_client_gets_in_once_somebody_has_rotated_it(world: World) -> None:
    asked = InstanceCreate(
        customer_id=world.customer(),
        edition="dedicated",
        name="acme",
        first_client=FirstClient(name="erp", scopes=frozenset({"orders"})),
    )
    operation = world.instances.create_instance(asked).value
    world.run()
    instance_id = InstanceId(operation.object_id)
    client = world.clients.list_clients(instance_id)[0]
    assert (client.name, client.scopes) == ("erp", frozenset({"orders"}))
    noted = [
        line.message for line in world.operations.list_log(operation.operation_id) if line.event == "note"
    ]
    assert noted == [f"First client {client.client_id}: rotate it to get a secret."]
    assert world.clients.rotate_client(instance_id, client.client_id).value.secret


def test_instance_is_not_ready_while_a_box_lacks_its_key(world: World) -> None:
    async def lose_key(_context: StepContext) -> None:
        await anyio.lowlevel.checkpoint()
        world.fsb.keys.clear()

    operation = world.order()
    world.run(world.runner(actions={"create_credentials": lose_key}))
    waiting = world.look(operation.operation_id)
    assert (waiting.step.name, waiting.error_code) == ("check_ready", "instance_not_ready")
    assert world.instances.get_instance_by_name("acme").state == "provisioning"


def test_dead_box_of_a_pool_keeps_no_instance_from_becoming_ready(world: World) -> None:
    world.ready_instance("before")
    shared = next(name for name, spec in world.fsb.specs.items() if spec.owner is None)
    dead = replace(world.fsb.specs[shared], name="dead-box")
    world.fsb.rack["dead-box"] = FakeBox(dead)
    world.fsb.away = {"dead-box"}
    assert world.ready_instance("acme").state == "ready"


def test_instance_is_not_ready_while_no_box_that_has_its_key_works(world: World) -> None:
    async def fail_all(_context: StepContext) -> None:
        await anyio.lowlevel.checkpoint()
        world.fsb.away = set(world.fsb.rack)

    operation = world.order()
    world.run(world.runner(actions={"create_credentials": fail_all}))
    waiting = world.look(operation.operation_id)
    assert (waiting.step.name, waiting.error_code) == ("check_ready", "instance_not_ready")


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_instance_is_not_ready_while_its_user_can_see_another_database(
    world: World, mariadb_server: MariaDbServer
) -> None:
    other = world.ready_instance("other")

    async def grant_too_much(context: StepContext) -> None:
        homes = {home.instance_id: home for home in world.platform.read(list_homes)}
        mine, theirs = homes[InstanceId(context.object_id)], homes[other.instance_id]
        statement = f"GRANT SELECT ON `{theirs.database_name}`.* TO '{mine.user_name}'@'%'"
        await anyio.to_thread.run_sync(mariadb_server.execute, statement)

    operation = world.order()
    world.run(world.runner(actions={"create_credentials": grant_too_much}))
    refused = world.look(operation.operation_id)
    assert (refused.step.name, refused.error_code) == ("check_ready", "instance_not_ready")


def test_instance_that_no_operation_looks_after_is_taken_up_again(world: World) -> None:
    operation = world.order()
    world.platform.run_tx("lost", lambda tx: forget(tx, operation))
    assert world.run() == 0
    assert world.sweeper.sweep() == 1
    assert world.sweeper.sweep() == 0
    world.run()
    assert world.instances.get_instance_by_name("acme").state == "ready"


def forget(tx: Tx, operation: Operation) -> JsonObject:
    """As an older wops did: given up and finished."""
    lost = replace(operation, state="failed", finished_at=tx.now, deadline_at=tx.now)
    assert put_operation(tx, lost)
    return {}


def test_of_sixteen_creates_with_one_name_at_once_one_wins(world: World) -> None:
    customer_id = world.customer()
    asked = InstanceCreate(customer_id=customer_id, edition="dedicated", name="acme")
    answers = at_once(16, lambda _: world.instances.create_instance(asked))
    refused = [answer for answer in answers if isinstance(answer, DomainError)]
    assert [error.code for error in refused] == ["name_taken"] * 15
    assert len(world.instances.list_instances()) == len(world.operations.list_operations()) == 1
    assert world.run() == 5


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
    before = dict(world.fsb.specs)
    world.fsb.rack.clear()
    assert anyio.run(world.boxes.keeper.reconcile) == 3
    assert world.fsb.specs == before
    assert anyio.run(world.boxes.keeper.reconcile) == 0


def test_unknown_instance_and_wrong_database_are_told_apart(world: World) -> None:
    with pytest.raises(InstanceNotFound):
        world.instances.get_instance(InstanceId("ins_0"))
    with pytest.raises(InstanceNotFound):
        world.instances.get_instance_by_name("acme")
    instance = world.ready_instance()
    stored = world.databases.open(instance.instance_id).read(access_repository.find_profile)
    assert stored is not None
    assert stored.instance_id == instance.instance_id


def test_shared_box_that_staff_have_removed_does_not_come_back_with_the_next_order(world: World) -> None:
    rack = Rack(world)
    acme = world.ready_instance("acme")
    rack.add("shared-box-2")
    assert rack.do("removeBox", "shared-box-1", {"firm_codes": [acme.firm_code]}).state == "succeeded"
    beta = world.ready_instance("beta")
    assert beta.state == "ready"
    assert set(world.fsb.specs) == {"shared-box-2"}
    assert [box.name for box in rack.service.list_boxes()] == ["shared-box-2"]
    for instance in (acme, beta):
        assert rack.holders(instance) == {"shared-box-2"}
