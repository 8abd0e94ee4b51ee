"""People, tokens and something that needs two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.core.command import Command
from app.core.db import Database, Reader, Tx
from app.core.ids import OperationId
from app.core.json import JsonObject
from app.core.origin import Actor, Origin
from app.core.outbox import Event, list_events
from tenancy import StaffPrincipal, StaffTokenService
from tenancy.errors import InstanceNotFound
from tenancy.operation.plan import OperationPlan, StepPlan
from tenancy.operation.start import start_operation
from tenancy.staff.approval import ApprovalService, GuardedActions
from tenancy.staff.person import PersonService
from tests.integration.tenancy.world import KEY

PLAN = OperationPlan(kind="blow_up", steps=(StepPlan(name="blow"),), deadline=timedelta(hours=1))
ACTION = "blowUp"
NOWHERE = "ins_nowhere"
"""What the action's check refuses."""


@dataclass(frozen=True, slots=True)
class Office:
    """The staff's side of a platform database."""

    db: Database

    @property
    def tokens(self) -> StaffTokenService:
        return StaffTokenService(self.db, key=KEY, clock=self.db.clock)

    @property
    def people(self) -> PersonService:
        return PersonService(self.db, key=KEY)

    @property
    def approvals(self) -> ApprovalService:
        return ApprovalService(self.db, guarded())

    def hire(self, person: str, role: str = "operator") -> StaffPrincipal:
        """A new token of a person, old or new."""
        return self.tokens.check(self.secret(person, role))

    def secret(self, person: str, role: str = "operator") -> str:
        expires_at = self.db.clock.now() + timedelta(days=300)
        made = self.tokens.add_token("desk", role, person=person, expires_at=expires_at).value
        assert made.secret is not None
        return made.secret

    def events(self, kind: str) -> Sequence[Event]:
        found = self.db.read(lambda reader: list_events(reader, after=0, limit=10_000))
        return [event for event in found if event.type == kind]

    @property
    def started(self) -> list[str]:
        """The objects on which something was started."""
        return [str(event.data["object_id"]) for event in self.events("operation.queued")]


def guarded() -> GuardedActions:
    actions = GuardedActions()
    actions.register(ACTION, _start, check=_check)
    return actions


def as_staff(principal: StaffPrincipal) -> Command:
    """A command of a member of staff, as the HTTP edge makes it."""
    actor = Actor(
        kind="staff",
        actor_id=principal.token_id,
        person=principal.person_id,
        sealed_name=principal.sealed_name,
    )
    return Command(origin=Origin(actor=actor, action="test"))


def _start(tx: Tx, object_id: str, parameters: JsonObject) -> OperationId:
    return start_operation(tx, PLAN, object_id=object_id, parameters=parameters)


def _check(_reader: Reader, object_id: str, _parameters: JsonObject) -> None:
    if object_id == NOWHERE:
        raise InstanceNotFound("There is no such instance.")
