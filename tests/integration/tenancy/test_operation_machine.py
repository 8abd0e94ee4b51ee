"""Whatever fails, dies, freezes or is decided, in any order: an operation ends, and nobody's late result counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Final

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.db import Database
from app.core.errors import DomainError
from app.core.ids import OperationId, new_id
from tenancy import NotYet, OperationRunner, StepContext
from tenancy.errors import OperationPastNoReturn, OperationStateUnfit, OperationStepNeeded
from tests.fake.clock import FakeClock
from tests.fake.killed import Killed
from tests.integration.tenancy.workshop import PATIENCE, PLAN, Workshop

MISHAPS: Final = ("fine", "fine", "fails", "dies", "dies_after", "waits", "loses_lease", "cancelled", "swept")
DECISIONS: Final = ("retry", "skip", "cancel", "recover")
PAUSES: Final = (timedelta(seconds=4), PATIENCE.lease, PLAN.grace, PLAN.deadline)

turns = st.one_of(
    st.tuples(st.sampled_from(("control-1", "control-2")), st.sampled_from(MISHAPS)),
    st.tuples(st.just("staff"), st.sampled_from(DECISIONS)),
    st.tuples(st.just("time"), st.sampled_from(("0", "1", "2", "3"))),
    st.tuples(st.just("sweeper"), st.just("")),
    st.tuples(st.just("reborn"), st.sampled_from(("control-1", "control-2"))),
)

LEGAL: Final = {
    ("queued", "running"),
    ("queued", "failed"),
    ("queued", "recovering"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "recovering"),
    ("failed", "running"),
    ("failed", "recovering"),
    ("recovering", "recovered"),
    ("recovering", "fatal"),
    ("fatal", "recovering"),
}


class Play:
    """One operation and everybody who has to do with it."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.runners = {name: workshop.runner(name) for name in ("control-1", "control-2")}
        self.operation_id = workshop.start(new_id("house"))
        self.mishap = "fine"
        for step in PLAN.steps:
            workshop.behave[step.name] = self.meet
            workshop.behave[f"undo {step.name}"] = self.meet

    def turn(self, who: str, what: str) -> None:
        if who in self.runners:
            self.mishap = what
            self.work(self.runners[who])
        elif who == "staff":
            self.decide(what)
        elif who == "time":
            self.workshop.clock.advance(PAUSES[int(what)])
        elif who == "sweeper":
            self.workshop.sweeper.sweep()
        else:
            # A process that comes back has forgotten what it was doing.
            self.runners[what] = self.workshop.runner(what)
            anyio.run(self.runners[what].take_over)

    def work(self, runner: OperationRunner) -> None:
        with suppress(BaseExceptionGroup):
            anyio.run(runner.run_due)

    def decide(self, what: str) -> None:
        service = self.workshop.service
        calls = {
            "retry": lambda: service.retry(self.operation_id),
            "skip": lambda: service.skip(self.operation_id, reason="because"),
            "cancel": lambda: service.cancel(self.operation_id, reason="because"),
            "recover": lambda: service.recover(self.operation_id),
        }
        with suppress(OperationStateUnfit, OperationStepNeeded, OperationPastNoReturn):
            calls[what]()

    async def meet(self, context: StepContext) -> NotYet | None:
        """What happens to a step, once."""
        mishap, self.mishap = self.mishap, "fine"
        if mishap == "fails":
            raise DomainError("it rains")
        if mishap == "dies":
            raise Killed
        if mishap == "dies_after":
            name = context.operation.step.name
            undoes = context.operation.state == "recovering"
            (self.workshop.world.discard if undoes else self.workshop.world.add)(name)
            raise Killed
        if mishap == "waits" and context.operation.state == "running":
            return NotYet(until=self.workshop.clock.now() + timedelta(seconds=30), reason="red light")
        if mishap == "cancelled":
            self.decide("cancel")
        if mishap == "swept":
            self.workshop.clock.advance(PLAN.deadline)
            self.workshop.sweeper.sweep()
        if mishap == "loses_lease":
            self.workshop.clock.advance(PATIENCE.lease)
            other = next(each for name, each in self.runners.items() if name != context.operation.owner)
            await other.run_due()
        return None

    def finish(self) -> None:
        """From here on nothing goes wrong, and somebody looks after what needs a human."""
        self.mishap = "fine"
        for _ in range(5):
            self.workshop.run_long()
            if self.workshop.look(self.operation_id).state != "fatal":
                return
            self.decide("retry")
        raise AssertionError("it does not end")


def check(play: Play) -> None:
    workshop = play.workshop
    done = workshop.look(play.operation_id)
    assert done.finished
    assert done.owner is None
    undoable = {step.name for step in PLAN.steps if step.undo}
    if done.state == "succeeded":
        assert workshop.world >= {step.name for step in done.steps if step.state == "succeeded"}
        assert {step.state for step in done.steps} <= {"succeeded", "skipped"}
    else:
        assert done.state == "recovered"
        assert not workshop.world & undoable
    check_log(workshop, play.operation_id)
    states = ["queued", *workshop.states]
    assert set(pairwise(states)) <= LEGAL
    assert states[-1] == done.state


def check_log(workshop: Workshop, operation_id: OperationId) -> None:
    """Each result counts once, whoever brings it, and the log ends as the operation did."""
    log = workshop.log(operation_id)
    for step in PLAN.names:
        assert log.count(f"step_done {step}") + log.count(f"step_skipped {step}") <= 1
        assert log.count(f"undone {step}") <= 1
        assert log.count(f"step_started {step}") >= log.count(f"step_done {step}")
    assert log[-1].split()[0] == workshop.look(operation_id).state


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(turns, max_size=25))
def test_every_story_of_an_operation_ends_and_its_log_tells_it(
    platform_db: Database, clock: FakeClock, story: Sequence[tuple[str, str]]
) -> None:
    play = Play(Workshop(platform_db, clock, replace(PLAN, kind=f"story_{new_id('k')[-12:]}")))
    for who, what in story:
        play.turn(who, what)
    play.finish()
    check(play)
