"""Everything that needs two people, registered before anybody can ask for it."""

from __future__ import annotations

from tenancy import register_box_actions
from tenancy.lifecycle.service import check_end, check_erase, start_end, start_erase
from tenancy.line.order import register_line_actions
from tenancy.staff.approval import GuardedActions
from tenancy.staff.operation import register_actions


def guarded_actions() -> GuardedActions:
    """All of them, by their operationIds."""
    guarded = GuardedActions()
    register_actions(guarded)
    register_box_actions(guarded)
    register_line_actions(guarded)
    guarded.register("endInstance", start_end, check=check_end, asked=("retention_days",))
    guarded.register("eraseInstance", start_erase, check=check_erase, asked=("early", "legal_reason"))
    return guarded
