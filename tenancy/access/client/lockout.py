"""Whether a change of access would shut out whoever asks for it, or everybody. Pure.

What is judged is the state before and after, whatever the change was; who never had a way in may set things up in
any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tenancy.access.client.record import KnownClient
from tenancy.access.decision import Admitted, CallerCredentials, decide
from tenancy.access.errors import WouldLockOutCaller, WouldLockOutEverybody
from tenancy.access.policy import AccessPolicy
from tenancy.access.rule import AccessRules
from tenancy.credential import CredentialKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Insistence:
    """Who asks for a change of access, and whether he insists on it.

    Attributes:
        caller: with what a customer came in; None: staff, or wops itself.
        force: carry it out whoever it shuts out.
    """

    caller: CallerCredentials | None = None
    force: bool = False


CAREFUL = Insistence()


def check_lockout(
    before: AccessRules, after: AccessRules, insistence: Insistence, *, key: CredentialKey, now: datetime
) -> None:
    """Refuse a change that shuts out the caller, or the last one who could come in.

    Args:
        now: the instant at which both states are judged.

    Raises:
        WouldLockOutCaller, WouldLockOutEverybody: and nobody insisted.
    """
    if insistence.force:
        return
    caller = insistence.caller
    if caller is not None and _loses(before, after, caller, key=key, now=now):
        raise WouldLockOutCaller(
            "With this change you could not come in again with the credentials of this request.",
        )
    if is_open(before, now) and not is_open(after, now):
        raise WouldLockOutEverybody("With this change nobody could come in any more.")
    if _asks_clients(after.policy) and working(before, now) and not working(after, now):
        raise WouldLockOutEverybody("With this change no API client could come in any more.")


def is_open(rules: AccessRules, now: datetime) -> bool:
    """Whether anybody at all can come in."""
    policy = rules.policy
    if "network" in policy.methods and (policy.mode == "any" or policy.methods == {"network"}):
        return True
    return bool(working(rules, now))


def working(rules: AccessRules, now: datetime) -> list[str]:
    """User names of the clients that can come in, from the right network."""
    return [name for name, known in rules.clients.items() if _works(rules.policy, known, now)]


def _works(policy: AccessPolicy, known: KnownClient, now: datetime) -> bool:
    client = known.client
    if not client.is_live(now) or not _asks_clients(policy):
        return False
    holds: dict[str, Callable[[], bool]] = {
        "basic": lambda: any(each.is_live(now) for each in client.secrets),
        "certificate": lambda: any(now <= each.not_after for each in client.certificates),
    }
    asked = [holds[method]() for method in policy.methods if method in holds]
    return all(asked) if policy.mode == "all" else any(asked)


def _asks_clients(policy: AccessPolicy) -> bool:
    return bool(policy.methods & {"basic", "certificate"})


def _loses(
    before: AccessRules, after: AccessRules, caller: CallerCredentials, *, key: CredentialKey, now: datetime
) -> bool:
    """Whether it is the change that shuts the caller out: his secret may end by then whatever happens."""
    return _looks_after(before, caller, key=key, now=now) and not _looks_after(
        after, caller, key=key, now=now
    )


def _looks_after(rules: AccessRules, caller: CallerCredentials, *, key: CredentialKey, now: datetime) -> bool:
    """Whether a caller would come in as a client who may do everything, which the portal asks for."""
    decision = decide(rules, caller, key=key, now=now)
    return isinstance(decision, Admitted) and decision.principal.kind == "client" and decision.may("admin")
