"""How much may come from one address, counted where everything comes in. Pure.

    connection ─► connections.conn_cur: more than allowed: closed without an answer, before TLS costs anything
    request    ─► calls.http_req_rate: more than allowed: 429, as long as more are sent

`calls` is shared by peers, so that who is refused by one load balancer is refused by the next worker and by the other
load balancer, too. A peer tells its own count, which takes the place of another's: with callers on both at once, each
counts some of them only. Connections end with the process that has them, so that their number is told to nobody.

An address is what one household or firm has: one of IPv4, a /64 of IPv6.

**Source:** HAProxy 2.6 configuration manual §§4.2, 7.3.3; tried on 2.6.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lb.front.problem import answer
from lb.front.settings import FrontSettings

CALLS: Final = "calls"
CONNECTIONS: Final = "connections"
WINDOW_SECONDS: Final = 10
_ENTRIES: Final = 100_000
"""Some 15 MB if all are there; then the oldest go first. Our own decision."""
_ADDRESS: Final = "src,ipmask(32,64)"


def counter_tables() -> Iterator[str]:
    """The tables."""
    kind = f"stick-table type ipv6 size {_ENTRIES}"
    yield f"backend {CALLS} from all"
    yield f"  {kind} expire {6 * WINDOW_SECONDS}s store http_req_rate({WINDOW_SECONDS}s) peers pair"
    yield f"backend {CONNECTIONS} from all"
    yield f"  {kind} expire {WINDOW_SECONDS}s store conn_cur"


def connection_rules(settings: FrontSettings) -> Iterator[str]:
    """What follows `tcp-request connection`."""
    yield f"track-sc1 {_ADDRESS} table {CONNECTIONS}"
    yield f"reject if {{ sc1_conn_cur gt {settings.limits.address_connections} }}"


def call_rules(settings: FrontSettings, problems: str) -> Iterator[str]:
    """What follows `http-request`.

    Args:
        problems: directory of the problems' files.
    """
    most = settings.limits.address_calls * WINDOW_SECONDS
    yield f"track-sc0 {_ADDRESS} table {CALLS}"
    yield f"return {answer(problems, 'caller_too_fast')} if {{ sc0_http_req_rate gt {most} }}"
