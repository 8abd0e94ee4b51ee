"""Which state of an instance may follow which. Pure.

    provisioning ──provisioned──► ready ◄──unfreeze── frozen ◄──┐
         │                          │ ──freeze──────►   │       │ reinstate, while it is retained
         └──given up──► failed      └────────end────────┴──► ended ──erase──► erased

| state | lines let callers in | database | who can still do what |
| --- | --- | --- | --- |
| provisioning | no | being made | staff: the operation |
| ready | yes | in use | everybody |
| frozen | 403 `instance_frozen` | kept | staff; the customer through the portal |
| ended | 403 `instance_frozen` | kept until `retained_until` | as frozen; exports can be fetched |
| erased | 404 | gone | staff: the certificate; name and firm code are nobody else's for ever |
| failed | no | what provisioning left | staff |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

from tenancy.lifecycle.errors import InstanceStateUnfit, RetentionRunning, RetentionUnfit
from tenancy.record import Instance, InstanceState

Verb = Literal["freeze", "unfreeze", "end", "reinstate", "erase"]

TRANSITIONS: Final[Mapping[Verb, tuple[frozenset[InstanceState], frozenset[InstanceState]]]] = {
    "freeze": (frozenset({"ready"}), frozenset({"frozen"})),
    "unfreeze": (frozenset({"frozen"}), frozenset({"ready"})),
    "end": (frozenset({"frozen"}), frozenset({"ended"})),
    "reinstate": (frozenset({"ended"}), frozenset({"ready", "frozen"})),
    "erase": (frozenset({"ended"}), frozenset({"erased"})),
}
"""From where to where each verb leads. An instance that is ready is frozen before it ends.

Up to `ready` it is led by the operation that provisions it, see `tenancy.operation.provision`.
"""

LONGEST_RETENTION: Final = timedelta(days=3650)
"""Ten years, the longest period for which merchants keep records. **Source:** § 257 HGB."""
DEFAULT_RETENTION: Final = timedelta(days=30)
"""Long enough to notice a mistake. Our own decision."""


def move(
    instance: Instance, verb: Verb, *, to: InstanceState, retained_until: datetime | None = None
) -> Instance:
    """The instance in its new state.

    Raises:
        InstanceStateUnfit: its state does not allow that.
    """
    before, after = TRANSITIONS[verb]
    if to not in after:
        raise ValueError(f"{verb} never leads to {to}")
    check_state(instance, before)
    return replace(instance, state=to, retained_until=retained_until)


def check_state(instance: Instance, allowed: frozenset[InstanceState]) -> None:
    """Refuse what the instance's state does not allow.

    Raises:
        InstanceStateUnfit: it is in none of these states.
    """
    if instance.state not in allowed:
        raise InstanceStateUnfit(
            f"The instance is {instance.state}; that can be done only while it is {' or '.join(sorted(allowed))}.",
            state=instance.state,
            allowed=sorted(allowed),
        )


def check_retention(days: int) -> timedelta:
    """How long the data of an ended instance are kept.

    Raises:
        RetentionUnfit: not 0 to 3,650 days.
    """
    most = LONGEST_RETENTION.days
    if not 0 <= days <= most:
        raise RetentionUnfit(f"Data are retained for 0 to {most} days.", field="retention_days", most=most)
    return timedelta(days=days)


def check_erasable(instance: Instance, *, now: datetime, early: bool) -> None:
    """Refuse to erase what may still be needed.

    Args:
        instance: to be erased.
        now: when.
        early: the person whose data they are has the law on his side.

    Raises:
        InstanceStateUnfit: its contract has not ended.
        RetentionRunning: its data are retained until later.
    """
    check_state(instance, TRANSITIONS["erase"][0])
    until = instance.retained_until
    if until is not None and now < until and not early:
        raise RetentionRunning(
            "The instance's data are still retained. Wait, or erase early because the law demands it.",
            retained_until=until.isoformat(),
        )
