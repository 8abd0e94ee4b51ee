"""Operations on boxes and on the firm keys in them: their steps. Pure.

add_box        set_up ──► copy_keys ──► open                     object: the box
remove_box     leave ──► wait_empty ──► drop_keys ──► remove     no way back from `remove` on
lend_box       copy_keys ──► hand_over
end_loan       take_back ──► drop_keys ──► close                 by the clock, or as staff say; no way back
copy_firm_key  copy                                              object: the instance
move_firm_key  copy ──► drop
rotate_firm_key  rotate
retire_firm_key  look ──► retire                                 no way back from `retire` on

A box has its keys before it takes work, and gives no key away that no other box of the key's pool holds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tenancy.operation.plan import OperationPlan, StepPlan

_DEADLINE: Final = timedelta(hours=1)
"""As provisioning: an hour outlasts a restarted gateway."""
_ALL_KEYS: Final = timedelta(minutes=30)
"""For the keys of a whole pool; one takes some milliseconds, on a token some hundreds. Our own decision."""

ADD_BOX: Final = OperationPlan(
    kind="add_box",
    steps=(
        StepPlan(name="set_up", undo=True),
        StepPlan(name="copy_keys", undo=True, timeout=_ALL_KEYS),
        StepPlan(name="open", undo=True),
    ),
    deadline=_DEADLINE,
)
REMOVE_BOX: Final = OperationPlan(
    kind="remove_box",
    steps=(
        StepPlan(name="leave", undo=True),
        # Longer than a job may wait: `program_deadline_seconds` is half an hour at most.
        StepPlan(name="wait_empty", longest_wait=_DEADLINE),
        # A box that is dead for good gives nothing back; staff say so.
        StepPlan(name="drop_keys", undo=True, may_skip=True, timeout=_ALL_KEYS),
        StepPlan(name="remove"),
    ),
    deadline=_DEADLINE,
    point_of_no_return="remove",
)
LEND_BOX: Final = OperationPlan(
    kind="lend_box",
    steps=(
        StepPlan(name="copy_keys", undo=True, timeout=_ALL_KEYS),
        StepPlan(name="hand_over", undo=True),
    ),
    deadline=_DEADLINE,
)
END_LOAN: Final = OperationPlan(
    kind="end_loan",
    steps=(
        StepPlan(name="take_back"),
        StepPlan(name="drop_keys", may_skip=True, timeout=_ALL_KEYS),
        StepPlan(name="close"),
    ),
    deadline=_DEADLINE,
    # Nobody's loan goes on because its end has failed: staff are reminded until it has ended.
    point_of_no_return="take_back",
)
COPY_FIRM_KEY: Final = OperationPlan(
    kind="copy_firm_key", steps=(StepPlan(name="copy", undo=True),), deadline=_DEADLINE
)
MOVE_FIRM_KEY: Final = OperationPlan(
    kind="move_firm_key",
    steps=(StepPlan(name="copy", undo=True), StepPlan(name="drop", undo=True)),
    deadline=_DEADLINE,
)
ROTATE_FIRM_KEY: Final = OperationPlan(
    kind="rotate_firm_key", steps=(StepPlan(name="rotate", undo=True),), deadline=_DEADLINE
)
RETIRE_FIRM_KEY: Final = OperationPlan(
    kind="retire_firm_key",
    steps=(StepPlan(name="look"), StepPlan(name="retire")),
    deadline=_DEADLINE,
    point_of_no_return="retire",
)

CEREMONIES: Final = frozenset(
    {
        "provision_instance",
        "install_firm_key",
        "erase_instance",
        *(
            plan.kind
            for plan in (
                ADD_BOX,
                REMOVE_BOX,
                LEND_BOX,
                END_LOAN,
                COPY_FIRM_KEY,
                MOVE_FIRM_KEY,
                ROTATE_FIRM_KEY,
                RETIRE_FIRM_KEY,
            )
        ),
    }
)
"""Kinds of operations that make, move or destroy firm keys: each has a ceremony record."""
