"""kill -9 after each effect of each operation on the boxes of a real gateway and their keys: each time it ends well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.core.db import Database, Tx
from app.core.ids import InstanceId, OperationId, new_id
from app.core.json import JsonObject
from app.core.outbox import Event, list_events
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.report import FirmKeyReport
from tenancy import Instance, OperationPlan, start_operation
from tenancy.box import plan
from tenancy.box.note.customer_note import CustomerNotes
from tenancy.box.spec_json import describe_spec
from tests.integration.tenancy.foundry import Foundry
from tests.integration.tenancy.test_provision_kill import MOST_EFFECTS, Killer
from tests.integration.tenancy.world import World

PLANS = [each for each in vars(plan).values() if isinstance(each, OperationPlan)]


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


@dataclass
class Points:
    """Where to kill the operations of a kind, one after the other: after each effect of each step.

    Attributes:
        deaths: per step; the first time that nobody dies ends a step.
    """

    plan: OperationPlan
    deaths: dict[str, int] = field(default_factory=dict)
    step: int = 0

    @property
    def left(self) -> bool:
        return self.step < len(self.plan.steps)

    def next(self) -> str:
        """The next point, or one where nobody dies once all are through."""
        name = self.plan.names[self.step] if self.left else "none"
        return f"{name}:{self.deaths.get(name, 0) + 1}"

    def note(self, died: bool) -> None:
        if not self.left:
            return
        name = self.plan.names[self.step]
        self.deaths[name] = self.deaths.get(name, 0) + died
        assert self.deaths[name] < MOST_EFFECTS, "a step has more effects than this test knows"
        self.step += not died


@dataclass
class Bench:
    """A foundry, and the operations that were killed on it.

    Attributes:
        keys: of the instances that were made; they are never nowhere, whoever dies.
    """

    foundry: Foundry
    killer: Killer
    points: dict[str, Points] = field(default_factory=dict)
    keys: list[Instance] = field(default_factory=list)

    def kill(self, steps: OperationPlan, object_id: str, parameters: JsonObject) -> OperationId:
        """Start an operation as an approval does, kill it at its next point, and let the next process end it."""

        def body(tx: Tx) -> JsonObject:
            return {"id": start_operation(tx, steps, object_id=object_id, parameters=parameters)}

        operation_id = OperationId(str(self.foundry.platform.run_tx(new_id("op"), body).value["id"]))
        points = self.points.setdefault(steps.kind, Points(steps))
        points.note(self.killer.dies(self.foundry, points.next()))
        if steps is not plan.RETIRE_FIRM_KEY:
            for instance in self.keys:
                assert any(self.foundry.folder.rglob(f"slots/*/{instance.firm_code}.json")), "never nowhere"
        self.foundry.run()
        done = self.foundry.service().get_operation(operation_id)
        assert done.state == "succeeded", done
        return operation_id

    @property
    def left(self) -> bool:
        """Whether there is a point where nobody has died yet."""
        return any(each.left for each in self.points.values())

    def check_killed(self, *plans: OperationPlan) -> None:
        """Every step that has an effect was killed after it."""
        for each in plans:
            deaths = self.points[each.kind].deaths
            assert all(deaths[name] for name in each.names if name not in ("wait_empty", "look")), (
                each.kind,
                deaths,
            )

    def make(self, name: str, edition: str) -> Instance:
        self.foundry.order(name, edition)
        self.foundry.run()
        self.keys.append(self.foundry.instances.get_instance_by_name(name))
        return self.keys[-1]

    def key(self, instance: Instance) -> FirmKeyReport:
        """The key as the gateway left it."""
        (found,) = [each for each in self.foundry.firm_keys if each.firm_code == instance.firm_code]
        return found

    def approved(self, instance: Instance, **more: str) -> JsonObject:
        """What something is done to a key with."""
        key = self.key(instance)
        return {"firm_code": key.firm_code, "key_id": key.key_id, "boxes": [*key.boxes], **more}

    def told(self, kind: str, operation_id: OperationId, instance: Instance) -> tuple[int, int]:
        """How often it is told of an operation: in the platform's chain, and in the instance's."""
        foundry = self.foundry
        CustomerNotes(foundry.platform, foundry.databases).deliver_due()
        own = foundry.databases.open(InstanceId(instance.instance_id))
        in_platform, in_own = (
            [each for each in events(db, kind) if each.data["operation_id"] == operation_id]
            for db in (foundry.platform, own)
        )
        assert {each.data["firm_code"] for each in in_own} <= {instance.firm_code}
        return len([each for each in in_platform if each.subject == instance.instance_id]), len(in_own)


def events(db: Database, kind: str) -> list[Event]:
    found = db.read(lambda reader: list_events(reader, after=0, limit=10_000))
    return [event for event in found if event.type == kind]


@pytest.fixture
def bench(foundry: Foundry, killer: Killer) -> Bench:
    return Bench(foundry, killer)


def test_all_operations_on_boxes_and_keys_are_killed_here() -> None:
    assert {each.kind for each in PLANS} == {
        *("add_box", "remove_box", "lend_box", "end_loan"),
        *("copy_firm_key", "move_firm_key", "rotate_firm_key", "retire_firm_key"),
    }


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_box_joins_with_the_keys_of_its_pool_and_leaves_with_them(bench: Bench) -> None:
    instance = bench.make("acme", "dedicated")
    spec = BoxSpec(name="more", pool="shared")
    while not bench.points or bench.left:
        joined = bench.kill(plan.ADD_BOX, spec.name, {"box": describe_spec(spec)})
        assert bench.key(instance).boxes == ("more", "shared-box-1")
        assert bench.told("firm_key.copied", joined, instance) == (1, 1)
        left = bench.kill(plan.REMOVE_BOX, spec.name, {"firm_codes": [instance.firm_code]})
        assert bench.key(instance).boxes == ("shared-box-1",)
        assert bench.told("firm_key.dropped", left, instance) == (1, 1)
        assert bench.told("firm_key.left", left, instance) == (0, 0)
        assert not (bench.foundry.folder / "boxes" / "box" / "more.json").exists()
    bench.check_killed(plan.ADD_BOX, plan.REMOVE_BOX)
    told = [len(events(bench.foundry.platform, f"box.{what}")) for what in ("added", "opened", "removed")]
    assert told == [told[0]] * 3


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_lent_box_has_the_borrowers_key_for_as_long_as_it_is_lent(bench: Bench) -> None:
    lender, borrower = bench.make("acme", "high_availability"), bench.make("beta", "dedicated")
    while not bench.points or bench.left:
        loan: JsonObject = {"to": "shared", "hours": 2, "force": False}
        lent = bench.kill(plan.LEND_BOX, "acme-box-1", loan)
        assert bench.key(borrower).boxes == ("acme-box-1", "shared-box-1")
        assert bench.told("firm_key.copied", lent, borrower) == (1, 1)
        ended = bench.kill(plan.END_LOAN, "acme-box-1", {})
        assert bench.key(borrower).boxes == ("shared-box-1",)
        assert bench.told("firm_key.dropped", ended, borrower) == (1, 1)
        assert bench.key(lender).boxes == ("acme-box-1", "acme-box-2")
    bench.check_killed(plan.LEND_BOX, plan.END_LOAN)
    told = [len(events(bench.foundry.platform, f"box.{what}")) for what in ("lent", "taken_back", "returned")]
    assert told == [told[0]] * 3


def test_key_is_moved_and_copied_back(bench: Bench) -> None:
    instance = bench.make("acme", "high_availability")
    source, to = "acme-box-1", "acme-box-2"
    while not bench.points or bench.left:
        asked = bench.approved(instance, **{"from": source, "to": to})
        moved = bench.kill(plan.MOVE_FIRM_KEY, instance.instance_id, asked)
        assert bench.key(instance).boxes == (to,)
        assert bench.told("firm_key.dropped", moved, instance) == (1, 1)
        assert bench.told("firm_key.copied", moved, instance) == (0, 0), "it was there already"
        copied = bench.kill(plan.COPY_FIRM_KEY, instance.instance_id, bench.approved(instance, to=source))
        assert bench.key(instance).boxes == ("acme-box-1", "acme-box-2")
        assert bench.told("firm_key.copied", copied, instance) == (1, 1)
        source, to = to, source
    bench.check_killed(plan.MOVE_FIRM_KEY, plan.COPY_FIRM_KEY)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_key_is_moved_into_a_box_that_lacks_it(bench: Bench) -> None:
    instance = bench.make("acme", "high_availability")
    source, to = "acme-box-1", "acme-box-2"
    spare = bench.approved(instance, **{"from": to, "to": source})
    bench.kill(plan.MOVE_FIRM_KEY, instance.instance_id, spare)
    bench.points.clear()
    while not bench.points or bench.left:
        asked = bench.approved(instance, **{"from": source, "to": to})
        moved = bench.kill(plan.MOVE_FIRM_KEY, instance.instance_id, asked)
        assert bench.key(instance).boxes == (to,)
        for kind in ("firm_key.copied", "firm_key.dropped"):
            assert bench.told(kind, moved, instance) == (1, 1)
        source, to = to, source
    bench.check_killed(plan.MOVE_FIRM_KEY)


def test_rotation_makes_one_new_key_in_every_box(bench: Bench) -> None:
    instance = bench.make("acme", "high_availability")
    former = 0
    while not bench.points or bench.left:
        former += 1
        rotated = bench.kill(plan.ROTATE_FIRM_KEY, instance.instance_id, bench.approved(instance))
        key = bench.key(instance)
        assert key.key_id == f"key_{rotated}"
        assert (key.boxes, len(key.former)) == (("acme-box-1", "acme-box-2"), former)
        assert bench.told("firm_key.rotated", rotated, instance) == (1, 1)
    bench.check_killed(plan.ROTATE_FIRM_KEY)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_retired_key_is_in_no_box(bench: Bench) -> None:
    number = 0
    while not bench.points or bench.left:
        number += 1
        instance = bench.make(f"acme-{number}", "dedicated")
        retired = bench.kill(plan.RETIRE_FIRM_KEY, instance.instance_id, bench.approved(instance))
        assert (bench.key(instance).state, bench.key(instance).boxes) == ("retired", ())
        assert bench.told("firm_key.retired", retired, instance) == (1, 1)
    bench.check_killed(plan.RETIRE_FIRM_KEY)
