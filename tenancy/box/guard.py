"""What no member of staff does alone about boxes and firm keys, and what is looked at before."""

from __future__ import annotations

from typing import Final, cast

from app.core.db import Reader, Tx
from app.core.ids import InstanceId, OperationId
from app.core.json import JsonObject
from fsb_gateway.error import BoxSpecInvalid
from tenancy import repository as instances
from tenancy.box import plan, repository
from tenancy.box.errors import BoxNameTaken, BoxStateUnfit, FirmKeyPresent
from tenancy.box.key_plan import check_destination, check_kept, check_way
from tenancy.box.record import (
    check_loan,
    check_name_free,
    check_new,
    check_not_last,
    check_state,
    check_token_free,
    owner_of_pool,
)
from tenancy.box.service import find_home
from tenancy.box.spec_json import read_spec
from tenancy.lifecycle.service import touch
from tenancy.lifecycle.state import check_state as check_instance_state
from tenancy.operation.plan import OperationPlan
from tenancy.operation.start import start_operation
from tenancy.record import InstanceState
from tenancy.staff.approval import Check, GuardedActions, Start
from tenancy.staff.operation import check_running

_SILENT: Final[frozenset[InstanceState]] = frozenset({"ended"})
"""A retired key never comes back, so that nobody may need it any more."""


def register_box_actions(guarded: GuardedActions) -> None:
    """Make these operations something that a second person has to approve."""
    for action, steps, check, asked in (
        ("addBox", plan.ADD_BOX, check_addition, ("box",)),
        ("removeBox", plan.REMOVE_BOX, check_removal, ()),
        ("lendBox", plan.LEND_BOX, check_lending, ("to", "hours", "force")),
        ("copyFirmKey", plan.COPY_FIRM_KEY, check_copy, ("to",)),
        ("moveFirmKey", plan.MOVE_FIRM_KEY, check_move, ("from", "to")),
        ("rotateFirmKey", plan.ROTATE_FIRM_KEY, check_running, ()),
        ("retireFirmKey", plan.RETIRE_FIRM_KEY, check_retirement, ()),
    ):
        guarded.register(action, _starter(steps, check), check=check, asked=asked)


def check_addition(reader: Reader, name: str, parameters: JsonObject) -> None:
    """Whether a box can join.

    Raises:
        BoxNameTaken, BoxNameReserved: there is one of that name, or it is kept for another pool's.
        TokenTaken: another box has the token.
        PoolUnknown: nobody uses its pool.
        BoxSpecInvalid: no box is like that, or the pool belongs to somebody else than was said.
    """
    spec = read_spec(name, cast(JsonObject, parameters["box"]))
    check_new(spec)
    check_name_free(spec)
    if repository.find_box(reader, name) is not None:
        raise BoxNameTaken("A box has that name already.", box=name)
    check_token_free(spec, repository.list_boxes(reader))
    if owner_of_pool(spec.pool, repository.list_key_homes(reader)) != spec.owner:
        raise BoxSpecInvalid("the pool belongs to somebody else", field="pool")


def check_removal(reader: Reader, name: str, _parameters: JsonObject) -> None:
    """Whether a box can leave; that no key is lost with it is looked at by the gateway's word.

    Raises:
        BoxUnknown, BoxStateUnfit: there is none, or it is joining, leaving or lent.
        BoxLast: instances use its pool, and no other box of it takes work.
    """
    box = repository.get_box(reader, name)
    check_state(box, "active")
    if box.spec.lent_to is not None:
        raise BoxStateUnfit("The box is lent; have it returned first.", box=name, lent_to=box.spec.lent_to)
    if any(home.pool == box.spec.pool for home in repository.list_key_homes(reader)):
        check_not_last(box, repository.list_boxes(reader), now=reader.now)


def check_lending(reader: Reader, name: str, parameters: JsonObject) -> None:
    """Whether a box can be lent.

    Raises:
        BoxUnknown, BoxStateUnfit: there is none, or it is joining, leaving or lent.
        PoolUnknown, LoanUnfit: not to that pool, or not for so long.
        BoxLast: no other box of its own pool takes work, and nobody said that this is meant.
    """
    box = repository.get_box(reader, name)
    pool, hours = str(parameters["to"]), cast(int, parameters["hours"])
    check_loan(box, to=pool, hours=hours)
    owner_of_pool(pool, repository.list_key_homes(reader))
    if not parameters.get("force"):
        check_not_last(box, repository.list_boxes(reader), now=reader.now)


def check_copy(reader: Reader, instance_id: str, parameters: JsonObject) -> None:
    """Whether a key can be brought into a box.

    Raises:
        InstanceNotFound, InstanceNotReady, InstanceErased: the instance serves nobody.
        BoxUnknown, BoxStateUnfit, PoolForeign: not into that box.
        FirmKeyPresent: it held it when this was asked for.
    """
    _check_target(reader, instance_id, parameters)
    if parameters["to"] in cast(list[str], parameters["boxes"]):
        raise FirmKeyPresent("The box holds the key already.", box=str(parameters["to"]))


def check_move(reader: Reader, instance_id: str, parameters: JsonObject) -> None:
    """Whether a key can be moved between two boxes.

    Raises:
        DomainError: see `check_copy`; the box may hold the key, of which one is left then.
        BoxSpecInvalid: from a box to itself.
        BoxLast: afterwards no box of its own pool would hold it: a lent one gives it back some day.
    """
    _check_target(reader, instance_id, parameters)
    source, to = str(parameters["from"]), str(parameters["to"])
    repository.get_box(reader, source)
    check_way(source, to)
    holders = (*cast(list[str], parameters["boxes"]), to)
    check_kept(source, find_home(reader, instance_id), holders=holders, boxes=repository.list_boxes(reader))


def _check_target(reader: Reader, instance_id: str, parameters: JsonObject) -> None:
    check_running(reader, instance_id, parameters)
    box = repository.get_box(reader, str(parameters["to"]))
    check_state(box, "active")
    check_destination(box, find_home(reader, instance_id), now=reader.now)


def check_retirement(reader: Reader, instance_id: str, _parameters: JsonObject) -> None:
    """Whether nobody needs a key any more.

    Raises:
        InstanceNotFound: there is no such instance.
        InstanceStateUnfit: it serves.
    """
    check_instance_state(instances.get_instance(reader, InstanceId(instance_id)), _SILENT)


def _starter(steps: OperationPlan, check: Check) -> Start:
    def start(tx: Tx, object_id: str, parameters: JsonObject) -> OperationId:
        # Hours may have passed since it was asked for.
        check(tx, object_id, parameters)
        if steps is plan.RETIRE_FIRM_KEY:
            # Who reinstates the instance at this moment has read it before.
            touch(tx, InstanceId(object_id))
        return start_operation(tx, steps, object_id=object_id, parameters=parameters)

    return start
