"""RateLimit header fields of a counted answer. Pure.

**Source:** draft-ietf-httpapi-ratelimit-headers as read in the peers reference §3.9: `w` is the length of
this very month in seconds, `t` the exact seconds to its end; a unit that is not registered gets a parameter
of our own. Values are Structured Fields (RFC 9651).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from editions.catalog import ACTIVATIONS, WEB_SERVICE_CALLS, Meter
from editions.period import Month
from editions.quota import QuotaState

POLICY_NAMES: Mapping[Meter, str] = {ACTIVATIONS: "act-month", WEB_SERVICE_CALLS: "ws-month"}
"""Names of the quotas in the header fields. **Source:** peers reference §3.9."""

_PARAMETERS: Mapping[Meter, str] = {ACTIVATIONS: ';wops-unit="activation"', WEB_SERVICE_CALLS: ""}


def rate_limit_headers(
    states: Sequence[QuotaState], now: datetime, *, refused: bool = False
) -> tuple[tuple[str, str], ...]:
    """The header fields for the quotas that a request touched; none for what the edition does not include.

    Args:
        states: one for each meter.
        now: when the answer is sent.
        refused: whether the answer refuses the request for a used-up quota; adds `Retry-After`.
    """
    included = [state for state in states if state.included]
    if not included:
        return ()
    policy = ", ".join([_policy(each.meter, each.contractual, each.month) for each in included])
    left = ", ".join(
        [
            f'"{POLICY_NAMES[each.meter]}";r={each.remaining};t={each.month.seconds_to_end(now)}'
            for each in included
        ]
    )
    headers = (("RateLimit-Policy", policy), ("RateLimit", left))
    if not refused:
        return headers
    wait = max(each.month.seconds_to_end(now) for each in included)
    return (*headers, ("Retry-After", str(wait)))


@lru_cache(maxsize=64)
def _policy(meter: Meter, contractual: int, month: Month) -> str:
    """The same for every answer of a month."""
    window = int(month.length().total_seconds())
    return f'"{POLICY_NAMES[meter]}";q={contractual};w={window}{_PARAMETERS[meter]}'
