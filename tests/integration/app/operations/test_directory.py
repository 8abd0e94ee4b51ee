from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from app.core.command import Command
from app.core.db import Tx
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId, LineId
from app.core.json import JsonObject
from app.operations.directory import InstanceDirectory
from tenancy import Instance, InstanceService
from tenancy.errors import InstanceNotFound, InstanceNotReady
from tenancy.lifecycle.service import start_end, start_erase
from tenancy.record import InstanceState
from tests.fake.clock import START
from tests.integration.tenancy.conftest import world
from tests.integration.tenancy.lifecycle.life import Life
from tests.integration.tenancy.world import World

__all__ = ["world"]

pytestmark = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)


@pytest.fixture
def life(world: World, tmp_path: Path) -> Life:
    return Life(world, tmp_path)


@pytest.fixture
def directory(life: Life) -> InstanceDirectory:
    return InstanceDirectory(life.world.instances, clock=life.clock)


def find(directory: InstanceDirectory, name: str) -> tuple[str, str] | None:
    found = directory.find(name, request_key="k")
    return None if found is None else (found.instance_id, found.line_id)


def test_renaming_is_followed_and_lines_stay(life: Life, directory: InstanceDirectory) -> None:
    acme = life.world.ready_instance("acme")
    directory.load()
    assert find(directory, "acme") == (acme.instance_id, "acme-1")
    life.service.rename_instance(acme.instance_id, "beta", expected_version=acme.version)
    assert find(directory, "acme") is not None
    assert [each.name for each in directory.follow()] == ["beta"]
    assert find(directory, "beta") == (acme.instance_id, "acme-1")
    assert find(directory, "acme") is None
    with pytest.raises(InstanceNotFound):
        directory.look_up("acme")
    assert directory.name_of(acme.instance_id) == "beta"
    assert directory.lines_of(acme.instance_id) == (LineId("acme-1"),)
    assert directory.follow() == []


def test_new_frozen_ended_and_erased_instances_are_followed(life: Life, directory: InstanceDirectory) -> None:
    assert directory.load() == []
    ordered = life.world.order("acme")
    with pytest.raises(InstanceNotReady):
        directory.look_up("acme")
    life.world.run()
    directory.follow()
    acme = life.world.instances.get_instance(InstanceId(ordered.object_id))
    assert find(directory, "acme") == (acme.instance_id, "acme-1")
    life.service.freeze_instance(acme.instance_id, expected_version=acme.version)
    directory.follow()
    assert find(directory, "acme") is not None
    life.run(life.start(start_end, acme, retention_days=0))
    directory.follow()
    assert find(directory, "acme") is not None
    life.run(life.start(start_erase, acme))
    directory.follow()
    assert find(directory, "acme") is None
    with pytest.raises(InstanceNotFound):
        directory.look_up("acme")
    assert InstanceDirectory(life.world.instances, clock=life.clock).load() == []
    assert directory.name_of(acme.instance_id) == acme.instance_id


def test_what_was_read_before_a_change_does_not_undo_it(life: Life, directory: InstanceDirectory) -> None:
    acme = life.world.ready_instance("acme")
    directory.load()
    life.service.rename_instance(acme.instance_id, "beta", expected_version=acme.version)
    directory.follow()
    directory.note(acme)
    assert find(directory, "acme") is None
    assert find(directory, "beta") is not None


def test_changes_during_the_load_are_not_missed(
    life: Life, directory: InstanceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = life.world.ready_instance("acme")
    original = life.world.instances.list_instances

    def renamed_meanwhile(*, after: str = "", limit: int = 25) -> list[Instance]:
        page = original(after=after, limit=limit)
        if page:
            life.service.rename_instance(acme.instance_id, "beta", expected_version=acme.version)
        return page

    with monkeypatch.context() as patched:
        patched.setattr(life.world.instances, "list_instances", renamed_meanwhile)
        directory.load()
    directory.follow()
    assert find(directory, "beta") is not None
    assert find(directory, "acme") is None


def test_many_changes_are_followed_in_one_go(life: Life, directory: InstanceDirectory) -> None:
    acme = life.world.ready_instance("acme")
    directory.load()

    def body(tx: Tx) -> JsonObject:
        for _ in range(1200):
            tx.emit("test.noted", subject="sub_1", data={})
        return {}

    life.world.platform.run_tx(Command().op_id, body)
    life.service.rename_instance(acme.instance_id, "beta", expected_version=acme.version)
    assert [each.name for each in directory.follow()] == ["beta"]


def test_known_instances_go_on_being_found_while_the_platform_database_is_away(
    life: Life, directory: InstanceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.world.ready_instance("acme")
    directory.load()

    def away(_after: int) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(life.world.instances, "list_changed", away)
        with pytest.raises(DatabaseUnavailable):
            directory.follow()
    assert find(directory, "acme") is not None
    assert directory.follow() == []


class ManyInstances(InstanceService):
    """As many instances as wanted, without a database."""

    def __init__(self, template: Instance, count: int) -> None:
        self._all = [
            replace(template, instance_id=InstanceId(f"ins_{n:08d}"), name=f"name-{n}") for n in range(count)
        ]

    def last_change(self) -> int:
        return 0

    def list_instances(
        self,
        *,
        after: str = "",
        limit: int = 25,
        state: InstanceState | None = None,
        retained_before: datetime | None = None,
    ) -> list[Instance]:
        assert (state, retained_before) == (None, None)
        first = 0 if not after else int(after[4:]) + 1
        return self._all[first : first + limit]


def test_loading_takes_no_longer_for_each_instance_when_there_are_many(life: Life) -> None:
    template = replace(life.world.ready_instance("acme"), created_at=START)

    def seconds(count: int) -> float:
        directory = InstanceDirectory(ManyInstances(template, count), clock=life.clock)
        began = time.process_time()
        assert len(directory.load()) == count
        return time.process_time() - began

    seconds(100)
    few, many = min(seconds(1000) for _ in range(3)), min(seconds(20_000) for _ in range(3))
    # Quadratic work would take twenty times as long for each.
    assert many / 20 < few * 6
