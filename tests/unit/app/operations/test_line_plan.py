"""Which processes of lines there are to be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import InstanceId, LineId
from app.operations.line_plan import LineAction, plan_lines, want_lines
from tenancy.line.record import ServedInstance, ServedLine
from tenancy.runner.port import LineSeen, LineState

STATES: tuple[LineState, ...] = ("starting", "ready", "draining", "waiting", "frozen", "absent")
NAMES = [LineId(f"acme-{number}") for number in range(1, 6)]


def served(name: str, *lines: str, state: str = "ready", owner: str | None = None) -> ServedInstance:
    return ServedInstance(
        instance_id=InstanceId(f"ins_{owner or name}"),
        name=name,
        state=state,  # type: ignore[arg-type]
        line_set="shared" if lines == ("shared-1",) else f"ins_{name}",
        lines=tuple(
            ServedLine(line_id=LineId(line), number=number, weight=100, in_service=True)
            for number, line in enumerate(lines, start=1)
        ),
    )


def test_shared_line_serves_all_its_instances_and_others_their_own() -> None:
    wanted = want_lines(
        [
            served("delta", "shared-1"),
            served("acme", "acme-1", "acme-2"),
            served("beta", "shared-1", state="frozen"),
        ]
    )
    assert {line_id: each.instances for line_id, each in wanted.items()} == {
        "shared-1": (("ins_beta", "beta"), ("ins_delta", "delta")),
        "acme-1": (("ins_acme", "acme"),),
        "acme-2": (("ins_acme", "acme"),),
    }
    assert [wanted[LineId(name)].share for name in ("acme-1", "acme-2", "shared-1")] == [2, 2, 1]


def test_lacking_line_is_ensured_and_spare_ones_are_ended_by_what_they_do() -> None:
    states: dict[str, LineState] = {
        "old-1": "ready",
        "old-2": "starting",
        "old-3": "waiting",
        "old-4": "frozen",
        "old-5": "draining",
        "kept-1": "frozen",
        "kept-2": "waiting",
        "gone-1": "absent",
    }
    seen = {LineId(name): LineSeen(line_id=LineId(name), state=state) for name, state in states.items()}
    wanted = [LineId(name) for name in ("kept-1", "kept-2", "new-1", "gone-1")]
    assert plan_lines(wanted, seen) == (
        LineAction(verb="ensure", line_id=LineId("gone-1")),
        LineAction(verb="ensure", line_id=LineId("new-1")),
        LineAction(verb="drain", line_id=LineId("old-1")),
        LineAction(verb="drain", line_id=LineId("old-2")),
        LineAction(verb="stop", line_id=LineId("old-3")),
        LineAction(verb="stop", line_id=LineId("old-4")),
        LineAction(verb="drain", line_id=LineId("old-5")),
    )


def test_line_that_is_being_ended_is_neither_ended_again_nor_begun() -> None:
    old = LineId("acme-1")
    seen = {old: LineSeen(line_id=old, state="ready")}
    assert plan_lines([], seen, leaving=[old]) == ()
    assert plan_lines([old], {}, leaving=[old]) == ()


@given(
    wanted=st.sets(st.sampled_from(NAMES)),
    states=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(STATES)),
)
def test_after_what_was_planned_there_is_nothing_more_to_plan(
    wanted: set[LineId], states: dict[LineId, LineState]
) -> None:
    seen = {name: LineSeen(line_id=name, state=state) for name, state in states.items()}
    for action in plan_lines(wanted, seen):
        if action.verb == "ensure":
            seen[action.line_id] = LineSeen(line_id=action.line_id, state="starting")
        else:
            del seen[action.line_id]
    assert plan_lines(wanted, seen) == ()
    assert wanted <= set(seen)
