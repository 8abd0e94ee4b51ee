"""Boxes that are lent: with the borrower's keys for as long as that lasts, killed half-way, and back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from app.core.db import Tx
from app.core.json import JsonObject
from fsb_gateway.error import BoxLast, PoolForeign
from fsb_gateway.report import FirmKeyReport
from tenancy.box import plan, repository
from tenancy.box.box_change import check_others_work
from tenancy.box.errors import BoxStateUnfit
from tests.integration.tenancy.box.rack import Rack, killed_after


@pytest.mark.parametrize("killed", [None, *plan.LEND_BOX.names])
def test_lent_box_works_for_the_borrower_with_his_keys_and_gives_them_back(
    rack: Rack, killed: str | None
) -> None:
    acme, beta = rack.world.ready_instance("acme"), rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    asked = rack.start("lendBox", "shared-box-2", {"to": "beta", "hours": 2, "force": False})
    began = rack.world.clock.now()
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(asked).state == "succeeded"
    spec = rack.fsb.specs["shared-box-2"]
    assert (spec.lent_to, spec.lent_until) == ("beta", began + timedelta(hours=2))
    assert rack.holders(beta) == {"beta-box-1", "shared-box-2"}
    assert len(rack.told("box.lent")) == 1
    rack.world.clock.advance(timedelta(hours=1))
    rack.look()
    assert rack.told("box.returned") == []
    rack.world.clock.advance(timedelta(hours=1))
    assert rack.fsb.specs["shared-box-2"].pool_at(rack.world.clock.now()) == "shared"
    rack.look()
    rack.run()
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.holders(acme) == {"shared-box-1", "shared-box-2"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None
    assert len(rack.told("box.returned")) == 1
    (dropped,) = rack.told("firm_key.dropped", beta)
    assert "from" not in dropped.data
    rack.look(3)
    assert len([each for each in rack.operations.list_operations(limit=100) if each.kind == "end_loan"]) == 1


@pytest.mark.parametrize("killed", [None, *plan.END_LOAN.names])
def test_loan_that_is_ended_early_is_over_at_once(rack: Rack, killed: str | None) -> None:
    rack.world.ready_instance("acme")
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    ending = rack.service.return_box("shared-box-2").value
    if killed is not None:
        with pytest.raises(BaseExceptionGroup):
            rack.run(killed_after(killed))
    assert rack.end(ending.operation_id).state == "succeeded"
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None
    assert [len(rack.told(kind)) for kind in ("box.taken_back", "box.returned")] == [1, 1]
    with pytest.raises(BoxStateUnfit):
        rack.service.return_box("shared-box-2")


def test_loan_whose_end_fails_waits_for_a_human_who_is_reminded(
    rack: Rack, caplog: pytest.LogCaptureFixture
) -> None:
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    rack.world.clock.advance(timedelta(hours=3))
    rack.fsb.away = {"shared-box-2"}
    rack.look()
    found = rack.operations.find_unfinished("shared-box-2")
    assert found is not None
    ending = rack.until(found.operation_id, "fatal").operation_id
    rack.look()
    assert len([each for each in rack.operations.list_operations(limit=100) if each.kind == "end_loan"]) == 1
    caplog.clear()
    rack.world.clock.advance(timedelta(days=1))
    rack.sweeper.sweep()
    assert "operation_fatal" in caplog.messages
    rack.fsb.away = set()
    rack.operations.retry(ending)
    assert rack.end(ending).state == "succeeded"
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None


def test_only_box_of_an_own_pool_is_lent_only_if_somebody_says_so(rack: Rack) -> None:
    beta = rack.world.ready_instance("beta", "high_performance")
    acme = rack.world.ready_instance("acme")
    with pytest.raises(BoxLast):
        rack.ask("lendBox", "beta-box-1", {"to": "shared", "hours": 1, "force": False})
    assert rack.lend("beta-box-1", "shared", force=True).state == "succeeded"
    assert rack.holders(acme) == {"shared-box-1", "beta-box-1"}
    with pytest.raises(BoxStateUnfit):
        rack.ask("removeBox", "beta-box-1", {})
    assert rack.holders(beta) == {"beta-box-1"}


def test_loan_that_fails_takes_the_keys_out_again(rack: Rack) -> None:
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    asked = rack.start("lendBox", "shared-box-2", {"to": "beta", "hours": 2, "force": False})
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("hand_over"))
    rack.operations.cancel(asked, reason="not needed")
    assert rack.end(asked).state == "recovered"
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.fsb.specs["shared-box-2"].lent_to is None


def test_two_loans_that_were_both_approved_do_not_leave_a_pool_without_a_box(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    loan: JsonObject = {"to": "beta", "hours": 2, "force": False}
    asked = [rack.start("lendBox", name, loan) for name in ("shared-box-1", "shared-box-2")]
    ended = [rack.end(each) for each in asked]
    assert {(each.state, each.error_code) for each in ended} == {
        ("succeeded", None),
        ("recovered", "box_last"),
    }
    (lent,) = [each.object_id for each in ended if each.state == "succeeded"]
    assert [box.name for box in rack.service.list_boxes() if box.spec.lent_to] == [lent]


def test_two_loans_at_the_very_same_time_see_each_other(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    rack.add("shared-box-2")
    until = rack.world.clock.now() + timedelta(hours=2)
    both_have_looked = threading.Barrier(2)

    def lend(name: str) -> bool:
        def body(tx: Tx) -> JsonObject:
            box = repository.get_box(tx, name)
            with suppress(threading.BrokenBarrierError):
                # SQLite lets only one of them in.
                both_have_looked.wait(timeout=1 if rack.world.platform.dialect == "mariadb" else 0)
            check_others_work(tx, box)
            # Without an event, whose number would let only one of them through, too.
            lent = replace(box.spec, lent_to="beta", lent_until=until)
            assert repository.put_box(tx, replace(box, spec=lent))
            return {}

        try:
            rack.world.platform.run_tx(f"lend {name}", body)
        except BoxLast:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lend, ("shared-box-1", "shared-box-2"))) == [False, True]
    assert [bool(box.spec.lent_to) for box in rack.service.list_boxes()].count(True) == 1


def test_end_of_a_loan_is_not_taken_back_and_staff_go_on_without_a_dead_box(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    rack.fsb.away = {"shared-box-2"}
    ending = rack.service.return_box("shared-box-2").value.operation_id
    rack.run()
    assert "cancel" not in rack.operations.decisions(rack.operations.get_operation(ending))
    rack.until(ending, "fatal")
    rack.operations.skip(ending, reason="burnt")
    assert rack.end(ending).state == "succeeded"
    assert rack.service.get_box("shared-box-2").spec.lent_to is None
    assert rack.holders(beta) == {"beta-box-1", "shared-box-2"}
    (left,) = rack.told("firm_key.left")
    assert (left.subject, left.data["from"]) == (beta.instance_id, "shared-box-2")
    rack.look(3)
    (foreign,) = rack.told("box.foreign_keys")
    assert (foreign.subject, foreign.data["firm_codes"]) == ("shared-box-2", [beta.firm_code])


def test_key_is_not_moved_out_of_its_own_pool_into_a_lent_box(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    beta = rack.world.ready_instance("beta", "high_availability")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    asked = rack.start(
        "moveFirmKey", beta.instance_id, rack.copy(beta, "shared-box-2", **{"from": "beta-box-1"})
    )
    rack.fsb.held[beta.firm_code].pop("beta-box-2")
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "box_last")
    assert rack.holders(beta) == {"beta-box-1", "shared-box-2"}
    with pytest.raises(BoxLast):
        rack.ask("moveFirmKey", beta.instance_id, rack.copy(beta, "shared-box-2", **{"from": "beta-box-1"}))

    async def plan_it() -> None:
        await rack.care.control.plan_move(beta.firm_code, source="beta-box-1", to="shared-box-2")

    with pytest.raises(BoxLast):
        anyio.run(plan_it)
    rack.fsb.held[beta.firm_code]["beta-box-2"] = f"key_{beta.firm_code}"
    anyio.run(plan_it)


def test_key_is_not_copied_into_a_box_whose_loan_is_over(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    rack.fsb.held[beta.firm_code].pop("shared-box-2")
    asked = rack.start("copyFirmKey", beta.instance_id, rack.copy(beta, "shared-box-2"))
    rack.world.clock.advance(timedelta(hours=3))
    found = rack.end(asked)
    assert (found.state, found.error_code) == ("recovered", "pool_foreign")
    assert rack.holders(beta) == {"beta-box-1"}
    assert rack.fsb.calls.count(f"copy {beta.firm_code} shared-box-2") == 1, "for the loan alone"
    with pytest.raises(PoolForeign):
        rack.ask("copyFirmKey", beta.instance_id, rack.copy(beta, "shared-box-2"))


def test_key_that_comes_into_a_box_after_its_loan_is_taken_out_again(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    rack.lend("shared-box-2", "beta")
    rack.fsb.held[beta.firm_code].pop("shared-box-2")
    rack.world.clock.advance(timedelta(hours=2, seconds=-1))
    asked = rack.start("copyFirmKey", beta.instance_id, rack.copy(beta, "shared-box-2"))

    async def slow(firm_code: int, *, to: str) -> FirmKeyReport:
        rack.world.clock.advance(timedelta(seconds=1))
        return await copy(firm_code, to=to)

    copy = rack.fsb.copy_firm_key
    rack.fsb.copy_firm_key = slow  # type: ignore[method-assign]
    rack.run()
    assert rack.holders(beta) == {"beta-box-1"}
    assert len(rack.told("firm_key.dropped")) == 1
    assert rack.end(asked).state == "recovered"


def test_foreign_keys_in_a_box_that_is_not_lent_are_told_of_once(rack: Rack) -> None:
    rack.world.ready_instance("acme")
    beta = rack.world.ready_instance("beta", "high_performance")
    rack.add("shared-box-2")
    asked = rack.start("lendBox", "shared-box-2", {"to": "beta", "hours": 2, "force": False})
    with pytest.raises(BaseExceptionGroup):
        rack.run(killed_after("copy_keys"))
    rack.look(3)
    assert "shared-box-2" in rack.holders(beta)
    assert rack.told("box.foreign_keys") == [], "an operation is about it"
    assert rack.end(asked).state == "succeeded"
    rack.look(3)
    assert rack.told("box.foreign_keys") == [], "it is lent"
    rack.end(rack.service.return_box("shared-box-2").value.operation_id)
    rack.fsb.held[beta.firm_code]["shared-box-2"] = f"key_{beta.firm_code}"
    rack.look(4)
    (event,) = rack.told("box.foreign_keys")
    assert (event.subject, event.data) == ("shared-box-2", {"firm_codes": [beta.firm_code]})
    rack.fsb.held[beta.firm_code].pop("shared-box-2")
    rack.look(4)
    (gone,) = rack.told("box.foreign_keys_gone")
    assert gone.subject == "shared-box-2"
    assert len(rack.told("box.foreign_keys")) == 1
