"""Any number of people with any tokens do whatever they like: nothing ever starts that two people did not want."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.core.db import Database
from app.core.errors import DomainError
from tenancy import STAFF_ROLES, StaffPrincipal
from tenancy.errors import OperationRunning, StaffRoleInsufficient
from tenancy.staff.errors import (
    ApprovalByRequester,
    ApprovalClosed,
    ApprovalExpired,
    ApprovalOpen,
    ApprovalVersionConflict,
)
from tests.fake.clock import FakeClock
from tests.integration.tenancy.staff_material import ACTION, Office
from tests.service.database import DatabaseMaker, EngineKind

_NAMES = ("mona", "Mona", "hugo", " hugo", "ida")
_OBJECTS = st.sampled_from([f"ins_{n}" for n in range(20)])
_DAY = timedelta(hours=24)


@dataclass(slots=True)
class _Asked:
    """A request, as the oracle keeps it."""

    approval_id: str
    object_id: str
    person: str
    at: datetime
    state: str = "requested"
    approved_by: str | None = None


class _ApprovalMachine(RuleBasedStateMachine):
    """The oracle knows people by their names, the product by their tokens."""

    tokens: Bundle[tuple[str, StaffPrincipal]] = Bundle("tokens")
    requests: Bundle[_Asked] = Bundle("requests")

    maker: ClassVar[DatabaseMaker]
    kind: ClassVar[EngineKind]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self._url = self.maker.create(self.kind, "platform")
        self.db = Database(self._url, clock=self.clock)
        self.office = Office(self.db)
        self.asked: list[_Asked] = []

    def teardown(self) -> None:
        self.db.close()
        self.maker.remove(self._url)

    @rule(target=tokens, name=st.sampled_from(_NAMES), role=st.sampled_from(STAFF_ROLES))
    def make_token(self, name: str, role: str) -> tuple[str, StaffPrincipal]:
        return name.strip().lower(), self.office.hire(name, role)

    @rule(target=requests, token=tokens, object_id=_OBJECTS)
    def ask(self, token: tuple[str, StaffPrincipal], object_id: str) -> _Asked:
        name, principal = token
        may = principal.role in ("operator", "admin")
        busy = any(self._waits(each) and each.object_id == object_id for each in self.asked)
        try:
            made = self.office.approvals.request(
                ACTION, object_id, parameters={}, reason="because", by=principal
            ).value
        except StaffRoleInsufficient:
            assert not may
            return _Asked("apr_none", object_id, name, self.clock.now(), state="never")
        except ApprovalOpen:
            assert busy
            return _Asked("apr_none", object_id, name, self.clock.now(), state="never")
        assert may
        assert not busy
        self.asked.append(_Asked(made.approval_id, object_id, name, self.clock.now()))
        return self.asked[-1]

    @rule(token=tokens, asked=requests, version=st.sampled_from([1, 1, 1, 2]))
    def approve(self, token: tuple[str, StaffPrincipal], asked: _Asked, version: int) -> None:
        if asked.state == "never":
            return
        name, principal = token
        expected = self._refusal(name, principal, asked, version)
        if expected is not None:
            with pytest.raises(expected):
                self.office.approvals.approve(asked.approval_id, expected_version=version, by=principal)
            return
        self.office.approvals.approve(asked.approval_id, expected_version=version, by=principal)
        asked.state, asked.approved_by = "approved", name

    @rule(token=tokens, asked=requests)
    def reject(self, token: tuple[str, StaffPrincipal], asked: _Asked) -> None:
        if asked.state == "never":
            return
        _, principal = token
        try:
            self.office.approvals.reject(asked.approval_id, by=principal, reason="no")
        except DomainError:
            assert principal.role in ("support", "auditor") or not self._waits(asked)
        else:
            assert self._waits(asked)
            asked.state = "rejected"

    @rule(hours=st.sampled_from([1, 13, 24]), sweeps=st.booleans())
    def wait(self, hours: int, sweeps: bool) -> None:
        self.clock.advance(timedelta(hours=hours))
        if sweeps:
            self.office.approvals.expire_overdue()

    def _waits(self, asked: _Asked) -> bool:
        return asked.state == "requested" and self.clock.now() - asked.at < _DAY

    def _refusal(
        self, name: str, principal: StaffPrincipal, asked: _Asked, version: int
    ) -> type[DomainError] | None:
        if principal.role not in ("operator", "admin"):
            return StaffRoleInsufficient
        if name == asked.person:
            return ApprovalByRequester
        if asked.state != "requested":
            return ApprovalClosed
        if not self._waits(asked):
            return ApprovalExpired
        if version != 1:
            return ApprovalVersionConflict
        running = any(each.object_id == asked.object_id for each in self.asked if each.state == "approved")
        return OperationRunning if running else None

    @invariant()
    def nothing_has_started_that_two_people_did_not_want(self) -> None:
        wanted = [each for each in self.asked if each.approved_by is not None]
        assert all(each.approved_by != each.person for each in wanted)
        assert sorted(self.office.started) == sorted(each.object_id for each in wanted)

    @invariant()
    def everything_is_as_the_oracle_has_it(self) -> None:
        for each in self.asked:
            found = self.office.approvals.get_approval(each.approval_id)
            overdue = each.state == "requested" and not self._waits(each)
            assert found.state == ("expired" if overdue else each.state)
            assert (found.operation_id is not None) == (each.state == "approved")


def test_nobody_ever_executes_alone(database_maker: DatabaseMaker, engine_kind: EngineKind) -> None:
    class Machine(_ApprovalMachine):
        maker = database_maker
        kind = engine_kind

    # A server answers more slowly than a file: fewer lives there, and shorter ones.
    examples, steps = (40, 40) if engine_kind == "sqlite" else (5, 25)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
