"""kill -9 before, inside and after every step of provisioning and of its undoing: each time it ends well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.db import Database
from app.core.ids import InstanceId
from app.core.outbox import list_events
from tenancy.access import repository as access
from tenancy.access.client.repository import list_known
from tenancy.box.repository import list_boxes
from tenancy.database.repository import list_homes
from tenancy.errors import InstanceNotFound
from tenancy.operation.plan import PROVISION_INSTANCE
from tests.integration.tenancy.foundry import Foundry
from tests.integration.tenancy.world import World

ROOT = Path(__file__).parents[3]
MOST_EFFECTS = 12


class Killer:
    """Lets a child process work on a foundry's data until it dies."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.tenancy.foundry_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def dies(self, foundry: Foundry, point: str) -> bool:
        """Whether the child died at that point; False if it came to its end without passing it."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{foundry.url}\t{foundry.folder}\t{point}\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline().strip()
        assert answer in ("killed", "0"), answer
        return answer == "killed"

    def stop(self) -> None:
        self._child.communicate(timeout=30)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    killer = Killer()
    yield killer
    killer.stop()


@pytest.fixture
def foundry(world: World, tmp_path: Path) -> Iterator[Foundry]:
    """Over the world's databases, with the keys of a real gateway."""
    url = world.platform.engine.url.render_as_string(hide_password=False)
    foundry = Foundry(url, tmp_path)
    yield foundry
    foundry.close()


@pytest.mark.parametrize("step", PROVISION_INSTANCE.names)
def test_process_killed_anywhere_in_a_step_is_followed_by_one_that_ends_well(
    foundry: Foundry, killer: Killer, step: str
) -> None:
    deaths = 0
    for n, where in enumerate(("before", "after", *map(str, range(1, MOST_EFFECTS)))):
        instance_id, operation_id = foundry.order(f"acme-{n}")
        died = killer.dies(foundry, f"{step}:{where}")
        if died:
            deaths += 1
            stuck = foundry.service().get_operation(operation_id)
            assert (stuck.state, stuck.step.name) == ("running", step)
            foundry.run()
        done = foundry.service().get_operation(operation_id)
        assert done.state == "succeeded", done
        check_ready(foundry, instance_id)
        if not died:
            break
    assert deaths >= 2
    assert not died, "a step has more effects than this test knows"


def check_ready(foundry: Foundry, instance_id: InstanceId) -> None:
    instance = foundry.instances.get_instance(instance_id)
    assert (instance.state, instance.applied_version) == ("ready", 1)
    database = foundry.databases.open(instance_id)
    profile = database.read(access.find_profile)
    assert profile is not None
    assert profile.instance_id == instance_id
    assert [known.client.name for known in database.read(list_known)] == ["erp"]
    owners = [each.binding.instance_id for each in foundry.keystore.records()]
    assert owners.count(instance_id) == 1
    told = happened(foundry.platform, instance_id)
    assert [told.count(each) for each in ("firm_key.installed", "instance.ready")] == [1, 1]


def happened(platform: Database, subject: str) -> list[str]:
    found = platform.read(lambda reader: list_events(reader, after=0, limit=10_000))
    return [event.type for event in found if event.subject == subject]


@pytest.mark.parametrize("step", [step.name for step in PROVISION_INSTANCE.steps if step.undo])
def test_process_killed_anywhere_in_an_undo_is_followed_by_one_that_leaves_nothing(
    foundry: Foundry, killer: Killer, step: str
) -> None:
    deaths = 0
    for where in ("before", "after", *map(str, range(1, MOST_EFFECTS))):
        instance_id = half_made(foundry)
        died = killer.dies(foundry, f"undo {step}:{where}")
        if died:
            deaths += 1
            foundry.run()
        check_gone(foundry, instance_id)
        if not died:
            break
    assert deaths >= 2
    assert not died, "an undo has more effects than this test knows"


def half_made(foundry: Foundry) -> InstanceId:
    """An instance that staff have given up after its last step failed; always of the same name."""
    instance_id, operation_id = foundry.order("acme")
    failing = replace(foundry, fail=frozenset({"check_ready"}), attempts=1)
    failing.run()
    failing.close()
    service = foundry.service()
    assert service.get_operation(operation_id).state == "failed"
    assert foundry.instances.get_instance(instance_id).state == "failed"
    service.recover(operation_id)
    return instance_id


def check_gone(foundry: Foundry, instance_id: InstanceId) -> None:
    last = foundry.service().list_operations(object_id=instance_id)[-1]
    assert last.state == "recovered", last
    with pytest.raises(InstanceNotFound):
        foundry.instances.get_instance(instance_id)
    assert foundry.platform.read(list_homes) == []
    assert foundry.platform.read(list_boxes) == []
    assert [each for each in foundry.keystore.records() if each.binding.instance_id == instance_id] == []
    assert not list(foundry.folder.rglob(f"*{instance_id}*.db*"))
    told = happened(foundry.platform, instance_id)
    assert told.count("firm_key.installed") == told.count("firm_key.removed") == 1
    assert told[-2:] == ["instance.released", "instance.removed"]
