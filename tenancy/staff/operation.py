"""Operations that begin when a second person has said yes: quota corrections, firm keys, forgetting people.

End and erasure of an instance are such operations too; they are in `tenancy.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypeVar, cast

from anyio import to_thread

from app.core.db import Database, Reader, Tx
from app.core.ids import InstanceId, OperationId, new_id
from app.core.json import JsonObject
from editions.catalog import Meter
from editions.correction import check_voidable, void
from editions.metering import find_quota
from editions.period import Month
from tenancy import repository
from tenancy.box.port import FirmKeyInstaller
from tenancy.database.port import InstanceDatabases
from tenancy.errors import InstanceNotReady
from tenancy.lifecycle.errors import InstanceErased
from tenancy.operation.firm_key import FirmKeys
from tenancy.operation.kind import OperationKind, StepContext
from tenancy.operation.plan import OperationPlan, StepPlan
from tenancy.operation.start import start_operation
from tenancy.record import KEPT_STATES, InstanceState
from tenancy.staff.approval import GuardedActions, Start
from tenancy.staff.person import check_erasable, erase_name, revoke_tokens

T = TypeVar("T")

_DEADLINE: Final = timedelta(hours=1)
"""As provisioning: an hour outlasts a restarted gateway or database server."""
CORRECT_QUOTA: Final = OperationPlan(
    kind="correct_quota", steps=(StepPlan(name="void_entries"),), deadline=_DEADLINE
)
INSTALL_FIRM_KEY: Final = OperationPlan(
    kind="install_firm_key", steps=(StepPlan(name="install"),), deadline=_DEADLINE
)
ERASE_PERSON: Final = OperationPlan(
    kind="erase_person",
    steps=(StepPlan(name="revoke_tokens"), StepPlan(name="erase_name")),
    deadline=_DEADLINE,
    point_of_no_return="revoke_tokens",
)


class StaffOperations:
    """The steps of these operations. Each may be repeated, by itself or after being killed half-way.

    Args:
        db: the platform database.
        databases: of the instances.
        boxes: install firm keys.
    """

    def __init__(self, db: Database, databases: InstanceDatabases, *, boxes: FirmKeyInstaller) -> None:
        self._db = db
        self._databases = databases
        self._keys = FirmKeys(db, boxes)

    def kinds(self) -> tuple[OperationKind, ...]:
        """What the runner needs."""
        return (
            OperationKind(plan=CORRECT_QUOTA, actions={"void_entries": self._void_entries}),
            OperationKind(plan=INSTALL_FIRM_KEY, actions={"install": self._install_firm_key}),
            OperationKind(
                plan=ERASE_PERSON,
                actions={"revoke_tokens": self._revoke_tokens, "erase_name": self._erase_name},
            ),
        )

    def plan_correction(
        self, instance_id: InstanceId, *, month: str, effect_ids: Sequence[str]
    ) -> JsonObject:
        """What a correction would do, as the person reads it who approves it. Blocks.

        Raises:
            InstanceNotFound, InstanceNotReady, InstanceErased: there is nothing to correct.
            InputInvalid, EditionsError: one of the entries cannot be taken back; see `editions.correction`.
        """
        self._db.read(lambda reader: check_kept(reader, instance_id, {}))
        counts = self._databases.open(instance_id).read(
            lambda reader: check_voidable(reader, effect_ids, month=Month.parse(month))
        )
        numbers = {str(meter): number for meter, number in counts.items()}
        return {"month": month, "effect_ids": list(effect_ids), "taken_back": numbers}

    async def _void_entries(self, context: StepContext) -> None:
        await context.check_owner()
        operation_id = context.operation.operation_id
        month = Month.parse(str(context.parameters["month"]))
        effect_ids = cast(list[str], context.parameters["effect_ids"])

        def body(tx: Tx) -> JsonObject:
            taken_back = void(tx, effect_ids, month=month, reference=operation_id)
            if taken_back:
                _emit_correction(tx, operation_id, month, taken_back)
            return {}

        def work() -> None:
            db = self._databases.open(InstanceId(context.object_id))
            db.run_tx(new_id("op"), body, origin=context.origin)

        await to_thread.run_sync(work)

    async def _install_firm_key(self, context: StepContext) -> None:
        instance_id = InstanceId(context.object_id)
        instance = await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.get_instance(reader, instance_id))
        )
        await self._keys.install(context, instance)

    async def _revoke_tokens(self, context: StepContext) -> None:
        await self._write(context, lambda tx: revoke_tokens(tx, context.object_id))

    async def _erase_name(self, context: StepContext) -> None:
        operation_id = context.operation.operation_id

        def work(tx: Tx) -> None:
            erase_name(tx, context.object_id, operation_id=operation_id)
            # Once the name is gone nobody makes a token for it; one that was made since the first step ends here.
            revoke_tokens(tx, context.object_id)

        await self._write(context, work)

    async def _write(self, context: StepContext, work: Callable[[Tx], object]) -> None:
        def body(tx: Tx) -> JsonObject:
            work(tx)
            return {}

        await to_thread.run_sync(lambda: self._db.run_tx(new_id("op"), body, origin=context.origin))


def register_actions(guarded: GuardedActions) -> None:
    """Make these operations something that a second person has to approve."""
    guarded.register("correctQuota", _starter(CORRECT_QUOTA), check=check_kept, asked=("month", "effect_ids"))
    guarded.register("installFirmKey", _starter(INSTALL_FIRM_KEY), check=check_running)
    guarded.register("erasePerson", _starter(ERASE_PERSON), check=check_erasable)


def check_kept(reader: Reader, instance_id: str, _parameters: JsonObject) -> None:
    """Whether an instance has its database, serving or not: bills are corrected after the end, too.

    Raises:
        InstanceNotFound, InstanceNotReady, InstanceErased: it has not.
    """
    _check_state(reader, instance_id, KEPT_STATES)


def check_running(reader: Reader, instance_id: str, _parameters: JsonObject) -> None:
    """Whether an instance has a contract, and so boxes: it serves, or is frozen and will serve again.

    Raises:
        InstanceNotFound, InstanceNotReady, InstanceErased: it has not.
    """
    _check_state(reader, instance_id, ("ready", "frozen"))


def _check_state(reader: Reader, instance_id: str, fit: tuple[InstanceState, ...]) -> None:
    state = repository.get_instance(reader, InstanceId(instance_id)).state
    if state == "erased":
        raise InstanceErased("The instance's data have been erased.")
    if state not in fit:
        raise InstanceNotReady("The instance is not ready.", instance_id=instance_id, state=state)


def _starter(plan: OperationPlan) -> Start:
    def start(tx: Tx, object_id: str, parameters: JsonObject) -> OperationId:
        return start_operation(tx, plan, object_id=object_id, parameters=parameters)

    return start


def _emit_correction(tx: Tx, operation_id: OperationId, month: Month, taken_back: dict[Meter, int]) -> None:
    for meter, number in taken_back.items():
        used = find_quota(tx, meter, month.start)[1].used
        data: JsonObject = {
            "meter": meter,
            "month": str(month),
            "taken_back": number,
            "used": used,
            "operation_id": operation_id,
        }
        tx.emit("quota.corrected", subject=f"{meter}/{month}", data=data, before={"used": used + number})
