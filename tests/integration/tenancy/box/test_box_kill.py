"""kill -9 before, inside and after steps that move keys between the boxes of a real gateway: each time it ends well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.db import Tx
from app.core.ids import InstanceId, OperationId, new_id
from app.core.json import JsonObject
from app.core.outbox import list_events
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.report import FirmKeyReport
from tenancy import Instance, OperationPlan, start_operation
from tenancy.box import plan
from tenancy.box.spec_json import describe_spec
from tests.integration.tenancy.foundry import Foundry
from tests.integration.tenancy.test_provision_kill import MOST_EFFECTS, Killer
from tests.integration.tenancy.world import World


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    killer = Killer()
    yield killer
    killer.stop()


@pytest.fixture
def foundry(world: World, tmp_path: Path) -> Iterator[Foundry]:
    url = world.platform.engine.url.render_as_string(hide_password=False)
    foundry = Foundry(url, tmp_path)
    yield foundry
    foundry.close()


def begin(foundry: Foundry, steps: OperationPlan, object_id: str, parameters: JsonObject) -> OperationId:
    """Start an operation as an approval does."""

    def body(tx: Tx) -> JsonObject:
        return {"id": start_operation(tx, steps, object_id=object_id, parameters=parameters)}

    return OperationId(str(foundry.platform.run_tx(new_id("op"), body).value["id"]))


def make_instance(foundry: Foundry, edition: str) -> Instance:
    foundry.order("acme", edition)
    foundry.run()
    return foundry.instances.get_instance_by_name("acme")


def key_of(foundry: Foundry, instance: Instance) -> FirmKeyReport:
    """The key as a gateway that starts anew finds it."""

    async def ask() -> FirmKeyReport:
        gateway = foundry.gateway()
        await gateway.start()
        try:
            (found,) = [each for each in await gateway.firm_keys() if each.firm_code == instance.firm_code]
            return found
        finally:
            await gateway.close()

    return asyncio.run(ask())


def told(foundry: Foundry, kind: str, operation_id: OperationId, instance: Instance) -> tuple[int, int]:
    """How often it is told of an operation: in the platform's chain, and in the instance's."""
    counts = []
    for db in (foundry.platform, foundry.databases.open(InstanceId(instance.instance_id))):
        found = db.read(lambda reader: list_events(reader, after=0, limit=10_000))
        of_kind = [event for event in found if event.type == kind]
        counts.append(sum(event.data["operation_id"] == operation_id for event in of_kind))
    return counts[0], counts[1]


def points(step: str) -> list[str]:
    return [f"{step}:{where}" for where in ("before", "after", *map(str, range(1, MOST_EFFECTS)))]


def check_done(foundry: Foundry, operation_id: OperationId, *, died: bool) -> None:
    if died:
        foundry.run()
    done = foundry.service().get_operation(operation_id)
    assert done.state == "succeeded", done


def test_rotation_killed_anywhere_makes_one_new_key_in_every_box(foundry: Foundry, killer: Killer) -> None:
    instance = make_instance(foundry, "high_availability")
    deaths = 0
    for former, point in enumerate(points("rotate"), start=1):
        operation_id = begin(
            foundry, plan.ROTATE_FIRM_KEY, instance.instance_id, {"firm_code": instance.firm_code}
        )
        died = killer.dies(foundry, point)
        deaths += died
        check_done(foundry, operation_id, died=died)
        key = key_of(foundry, instance)
        assert key.key_id == f"key_{operation_id}"
        assert (key.boxes, len(key.former)) == (("acme-box-1", "acme-box-2"), former)
        assert told(foundry, "firm_key.rotated", operation_id, instance) == (1, 1)
        if not died:
            break
    assert deaths >= 3
    assert not died, "a step has more effects than this test knows"


@pytest.mark.parametrize("step", plan.MOVE_FIRM_KEY.names)
def test_move_killed_anywhere_leaves_the_key_in_the_other_box_alone(
    foundry: Foundry, killer: Killer, step: str
) -> None:
    instance = make_instance(foundry, "high_availability")
    source, to = "acme-box-1", "acme-box-2"
    deaths = 0
    for point in points(step):
        held = list(key_of(foundry, instance).boxes)
        parameters: JsonObject = {
            "firm_code": instance.firm_code,
            "from": source,
            "to": to,
            "boxes": [*held],
        }
        operation_id = begin(foundry, plan.MOVE_FIRM_KEY, instance.instance_id, parameters)
        died = killer.dies(foundry, point)
        deaths += died
        assert key_of(foundry, instance).boxes, "never nowhere"
        check_done(foundry, operation_id, died=died)
        assert key_of(foundry, instance).boxes == (to,)
        assert told(foundry, "firm_key.dropped", operation_id, instance) == (1, 1)
        source, to = to, source
        if not died:
            break
    assert deaths >= 3
    assert not died, "a step has more effects than this test knows"


@pytest.mark.parametrize("step", plan.ADD_BOX.names)
def test_joining_killed_anywhere_gives_the_box_the_keys_of_its_pool(
    foundry: Foundry, killer: Killer, step: str
) -> None:
    instance = make_instance(foundry, "dedicated")
    deaths, boxes = 0, {"shared-box-1"}
    for n, point in enumerate(points(step)):
        spec = BoxSpec(name=f"more-{n}", pool="shared")
        operation_id = begin(foundry, plan.ADD_BOX, spec.name, {"box": describe_spec(spec)})
        died = killer.dies(foundry, point)
        deaths += died
        check_done(foundry, operation_id, died=died)
        boxes.add(spec.name)
        assert set(key_of(foundry, instance).boxes) == boxes
        assert told(foundry, "firm_key.copied", operation_id, instance) == (1, 1)
        if not died:
            break
    assert deaths >= 2
    assert not died, "a step has more effects than this test knows"
