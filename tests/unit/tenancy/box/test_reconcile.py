"""What the gateway is told about boxes: what it lacks or has otherwise, and nothing twice."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.report import BoxReport
from tenancy.box.reconcile import plan_boxes
from tests.unit.tenancy.box.material import NOW, box, lent, report

_names = st.sampled_from([f"box-{n}" for n in range(5)])
_specs = st.builds(
    lambda name, drained, loan, owner: (
        lent(box(name, "home", drained=drained, owner=owner), "away", NOW + timedelta(hours=loan)).told
        if loan
        else box(name, "home", drained=drained, owner=owner).told
    ),
    _names,
    st.booleans(),
    st.sampled_from([0, -1, 1]),
    st.sampled_from([None, "ins_1"]),
)


def reported(spec: BoxSpec) -> BoxReport:
    """As a gateway reports a box that it was told of."""
    return report(
        spec.name,
        spec.pool,
        works_for=spec.pool_at(NOW),
        owner=spec.owner,
        transactions=spec.transactions,
        condition="drained" if spec.drained else "ready",
        version=spec.version,
    )


@given(
    st.lists(_specs, unique_by=lambda spec: spec.name),
    st.lists(_specs, unique_by=lambda spec: spec.name),
    st.lists(_specs, unique_by=lambda spec: spec.name),
)
def test_planning_again_after_acting_gives_nothing(
    wanted: list[BoxSpec], there: list[BoxSpec], told_before: list[BoxSpec]
) -> None:
    gateway = {spec.name: spec for spec in there}
    told = {spec.name: spec for spec in told_before}
    plan = plan_boxes(wanted, [reported(each) for each in gateway.values()], told, now=NOW)
    for spec in plan.put:
        gateway[spec.name] = told[spec.name] = spec
    again = plan_boxes(wanted, [reported(each) for each in gateway.values()], told, now=NOW)
    assert again.put == ()
    assert again.strays == plan.strays
    assert {name: gateway[name].pool_at(NOW) for name in (spec.name for spec in wanted)} == {
        spec.name: spec.pool_at(NOW) for spec in wanted
    }
    assert set(plan.strays) == gateway.keys() - {spec.name for spec in wanted}


def test_restarted_gateway_that_lost_a_box_is_told_again() -> None:
    spec = box().told
    assert plan_boxes([spec], [], {spec.name: spec}, now=NOW).put == (spec,)
    assert plan_boxes([spec], [report()], {spec.name: spec}, now=NOW).put == ()


def test_joining_and_leaving_boxes_are_told_as_drained() -> None:
    assert box(state="joining").told.drained
    assert box(state="leaving").told.drained
    assert not box().told.drained
    assert box(drained=True).told.drained


def test_end_of_a_loan_by_the_clock_is_no_reason_to_tell_anything() -> None:
    record = lent(box(), "acme", NOW + timedelta(hours=1))
    over = record.spec.lent_until
    assert over is not None
    told = {record.name: record.told}
    working = report(works_for="acme", lent_until=over)
    assert plan_boxes([record.told], [working], told, now=NOW).put == ()
    assert plan_boxes([record.told], [report(lent_until=over)], told, now=over).put == ()


def test_what_somebody_put_late_is_put_right() -> None:
    spec = box().told
    told = {spec.name: spec}
    assert plan_boxes([spec], [report(version=1)], told, now=NOW).put == ()
    assert plan_boxes([spec], [report(version=0)], told, now=NOW).put == (spec,)
