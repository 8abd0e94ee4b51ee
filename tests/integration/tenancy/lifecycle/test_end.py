from __future__ import annotations

from datetime import timedelta
from functools import partial

import anyio
import pytest

from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from app.core.json import JsonObject
from tenancy.errors import OperationRunning
from tenancy.lifecycle.errors import InstanceStateUnfit, RetentionUnfit
from tenancy.lifecycle.plan import END_INSTANCE
from tenancy.lifecycle.service import check_end, start_end
from tenancy.operation.kind import NotYet, StepContext
from tests.integration.tenancy.lifecycle.life import STAFF, Life, killed_in, read_export


def test_ended_instance_is_frozen_exported_and_retained(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    life.lines.busy = 3
    began = life.clock.now()
    operation = life.run(life.start(start_end, acme, retention_days=90))
    assert (operation.state, {step.state for step in operation.steps}) == ("succeeded", {"succeeded"})
    assert life.lines.busy == 0
    assert life.clock.now() >= began + timedelta(seconds=2)

    ended = life.get(acme)
    assert (ended.state, ended.applied_version) == ("ended", ended.config_version - 1)
    assert ended.retained_until is not None
    assert timedelta(days=90) <= ended.retained_until - began < timedelta(days=90, minutes=1)
    assert life.world.cache(acme.instance_id).profile().frozen
    assert life.world.contracts.push_due() == 1
    assert life.get(acme).applied_version == ended.config_version

    (export,) = life.exporter.list_exports(acme.instance_id)
    assert (export.final, export.export_id) == (True, operation.operation_id)
    manifest, tables = read_export(life.files.export(export.export_id))
    assert (manifest["name"], tables["instance_profile"][0]["frozen"]) == ("acme", 1)
    assert [life.world.events(f"instance.{each}") for each in ("frozen", "ended")] == [
        [acme.instance_id],
        [acme.instance_id],
    ]


def test_every_event_of_the_end_names_who_approved_it_and_why(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    life.end(acme)
    with life.world.platform.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT actor, reason FROM outbox_event WHERE type IN ('instance.frozen', 'instance.ended', 'export.made')"
        ).fetchall()
    assert {tuple(row) for row in rows} == {(STAFF.actor.to_text(), STAFF.reason)}
    assert len(rows) == 3


def test_reinstated_instance_is_as_before(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    ended = life.end(acme)
    back = life.service.reinstate_instance(acme.instance_id, to="ready", expected_version=ended.version).value
    assert (back.state, back.retained_until) == ("ready", None)
    assert not life.world.cache(acme.instance_id).profile().frozen
    again = life.end(acme)
    frozen = life.service.reinstate_instance(
        acme.instance_id, to="frozen", expected_version=again.version
    ).value
    assert frozen.state == "frozen"
    assert life.world.cache(acme.instance_id).profile().frozen


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("step", END_INSTANCE.names)
def test_end_killed_in_a_step_is_finished_by_the_next_process(
    life: Life, step: str, *, after_effect: bool
) -> None:
    acme = life.world.ready_instance("acme")
    operation = life.start(start_end, acme, retention_days=1)
    action = next(kind for kind in life.kinds if kind.plan is END_INSTANCE).actions[step]
    with pytest.raises(BaseExceptionGroup):
        life.run(operation, life.runner(killing=(step, killed_in(action, after_effect=after_effect))))
    reborn = life.runner()
    assert anyio.run(reborn.take_over) == 1
    assert life.run(operation, reborn).state == "succeeded"
    assert life.get(acme).state == "ended"
    (export,) = life.exporter.list_exports(acme.instance_id)
    read_export(life.exporter.find_file(acme.instance_id, export.export_id)[1])
    for event in ("instance.frozen", "instance.ended", "export.made"):
        assert life.world.events(event) == [acme.instance_id]
    assert len(list((life.data_dir / "exports").iterdir())) == 1


@pytest.mark.parametrize("before", ["ready", "frozen"])
@pytest.mark.parametrize("step", END_INSTANCE.names)
def test_end_that_is_cancelled_after_any_step_leaves_the_instance_as_it_was(
    life: Life, step: str, before: str
) -> None:
    acme = life.world.ready_instance("acme")
    if before == "frozen":
        acme = life.service.freeze_instance(acme.instance_id, expected_version=acme.version).value
    operation = life.start(start_end, acme)
    kind = next(each for each in life.kinds if each.plan is END_INSTANCE)

    async def done_and_waiting(context: StepContext) -> NotYet:
        await kind.actions[step](context)
        return NotYet(until=life.clock.now() + timedelta(hours=1), reason="the test")

    runner = life.runner(killing=(step, done_and_waiting))
    for _ in range(10):
        life.world.run(runner)
        found = life.look(operation.operation_id)
        if found.step.name == step and found.step.waiting_for == "the test":
            break
        life.clock.set(max(found.due_at, life.clock.now()))
    life.operations.cancel(operation.operation_id, reason="not yet")
    assert life.run(operation).state == "recovered"
    found_instance = life.get(acme)
    assert (found_instance.state, found_instance.retained_until) == (before, None)
    life.world.contracts.push_due()
    assert life.world.cache(acme.instance_id).profile().frozen == (before == "frozen")
    assert [each for each in life.exporter.list_exports(acme.instance_id) if each.deleted_at is None] == []
    life.service.request_export(acme.instance_id)


def test_end_waits_for_a_database_that_is_away(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = life.world.ready_instance("acme")
    operation = life.start(start_end, acme)

    def away(_instance_id: InstanceId) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(life.world.databases, "open", away)
        life.world.run(life.runner())
    waiting = life.look(operation.operation_id)
    assert (waiting.step.name, waiting.error_code) == ("freeze", "database_unavailable")
    assert life.run(operation).state == "succeeded"


def test_what_cannot_end_is_refused_when_it_is_asked_for(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    read = life.world.platform.read
    for days in (-1, 3651):
        asked: JsonObject = {"retention_days": days}
        with pytest.raises(RetentionUnfit):
            read(partial(check_end, object_id=acme.instance_id, parameters=asked))
    life.end(acme)
    with pytest.raises(InstanceStateUnfit):
        read(lambda reader: check_end(reader, acme.instance_id, {}))
    with pytest.raises(InstanceStateUnfit):
        life.start(start_end, acme)


def test_second_end_at_once_is_refused_naming_the_first(life: Life) -> None:
    acme = life.world.ready_instance("acme")
    first = life.start(start_end, acme)
    with pytest.raises(OperationRunning) as refused:
        life.start(start_end, acme)
    assert refused.value.detail["operation_id"] == first.operation_id
