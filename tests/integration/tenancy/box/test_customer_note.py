"""Customers are told of their keys in their own chain, once, and boxes do not wait for their databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import to_text
from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from fsb_gateway.box_driver import BoxSpec
from tenancy import BoxCare, Instance
from tenancy.box.note import repository as note_repository
from tenancy.box.spec_json import describe_spec
from tests.integration.tenancy.box.rack import Rack
from tests.integration.tenancy.lifecycle.life import Life, read_export
from tests.integration.tenancy.staff_material import as_staff


class Away:
    """The databases of some instances do not answer."""

    def __init__(self, rack: Rack, patch: pytest.MonkeyPatch) -> None:
        self.instances: set[str] = set()
        self._databases = rack.world.databases
        self._open = self._databases.open
        patch.setattr(self._databases, "open", self.open)

    def open(self, instance_id: InstanceId) -> Database:
        if instance_id in self.instances:
            raise DatabaseUnavailable("away")
        return self._open(instance_id)


@pytest.fixture
def away(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(rack, monkeypatch)


def waiting(rack: Rack) -> list[str]:
    """Instances with notes."""
    return list(rack.world.platform.read(note_repository.list_waiting))


def test_customer_whose_database_is_away_holds_nobody_up_and_is_told_once(rack: Rack, away: Away) -> None:
    acme, beta = rack.world.ready_instance("acme"), rack.world.ready_instance("beta")
    rack.world.ready_instance("gamma", "high_availability")
    away.instances = {acme.instance_id}
    assert rack.add("shared-box-2").state == "succeeded"
    assert rack.lend("gamma-box-1", "shared").state == "succeeded"
    rack.world.clock.advance(timedelta(hours=3))
    rack.look()
    ending = rack.operations.find_unfinished("gamma-box-1")
    assert ending is not None
    assert rack.end(ending.operation_id).state == "succeeded"
    for instance in (acme, beta):
        assert rack.holders(instance) == {"shared-box-1", "shared-box-2"}
    assert [len(rack.told(kind, beta)) for kind in ("firm_key.copied", "firm_key.dropped")] == [2, 1]
    assert waiting(rack) == [acme.instance_id]
    away.instances = set()
    rack.world.clock.advance(timedelta(hours=1))
    for _ in range(2):
        assert [len(rack.told(kind, acme)) for kind in ("firm_key.copied", "firm_key.dropped")] == [2, 1]
    assert waiting(rack) == []
    (dropped,) = rack.told("firm_key.dropped", acme)
    (platform, *_) = rack.told("firm_key.dropped")
    assert dropped.data["done_at"] == to_text(platform.occurred_at)
    assert dropped.occurred_at > platform.occurred_at


def test_process_that_dies_before_it_has_crossed_a_note_out_tells_it_once(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = rack.world.ready_instance("acme")
    rack.add("shared-box-2")

    def die(*_given: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(note_repository, "remove_notes", die)
        rack.care.notes.deliver_due()
    assert waiting(rack) == [acme.instance_id]
    other = BoxCare(rack.world.platform, rack.world.databases, rack.fsb)
    assert other.notes.deliver_due() > 0
    assert waiting(rack) == []
    assert len(rack.told("firm_key.copied", acme)) == 1


def test_key_made_with_the_instance_is_told_once_it_is_ready(rack: Rack) -> None:
    rack.world.order("acme")
    rack.world.run(rack.world.runner(actions={}))
    acme = rack.world.instances.get_instance_by_name("acme")
    (event,) = rack.told("firm_key.installed", acme)
    assert event.subject == str(acme.firm_code)
    assert {"fingerprint", "certificate"} <= event.data.keys()
    assert "shared-box" not in str(event.data)


def test_nobody_is_told_of_an_instance_that_has_gone(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    with rack.world.platform.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE instance SET state = 'erased'")
    assert waiting(rack)
    assert rack.care.notes.deliver_due() == 0
    assert waiting(rack) == []


def names_in(rack: Rack, instance: Instance, *, folder: Path) -> str:
    """All that an export of an instance holds."""
    life = Life(rack.world, folder)
    operation = life.service.request_export(instance.instance_id).value
    assert life.run(operation).state == "succeeded"
    (path,) = folder.rglob("*.zip")
    return str(read_export(path))


def test_export_of_a_borrower_says_nothing_of_who_lends(rack: Rack, tmp_path: Path) -> None:
    acme = rack.world.ready_instance("acme")
    rack.world.ready_instance("gamma", "high_availability")
    spec = BoxSpec(name="spare-of-delta", pool="shared")
    rack.do("addBox", spec.name, {"box": describe_spec(spec)})
    rack.lend("gamma-box-1", "shared")
    asked = as_staff(rack.mona)
    asked = replace(asked, origin=replace(asked.origin, reason="gamma needs it"))
    rack.end(rack.service.return_box("gamma-box-1", command=asked).value.operation_id)
    assert len(rack.told("firm_key.dropped", acme)) == 1
    text = names_in(rack, acme, folder=tmp_path)
    assert "firm_key.copied" in text
    for name in ("gamma", "spare-of-delta"):
        assert name not in text
