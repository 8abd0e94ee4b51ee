"""Which line serves a request. Pure.

The embedded front door calls it; HAProxy draws lots by the same weights.

Weighted rendezvous hashing: every line draws a number from the request key, the best draw wins. A line that
goes away moves only its own keys, and each of the others gets its weight's share of them.

**Source:** Thaler, Ravishankar, "Using name-based mappings to increase hit rates" (1998); weights by the
logarithmic method, draft-ietf-bess-weighted-hrw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from app.core.errors import DomainError
from app.core.ids import LineId

_DRAWS = 2**64


class RoutingError(DomainError):
    """Root of this package's errors."""

    code = "routing_error"


class RouteUnknown(RoutingError):
    """No instance of that name is served here."""

    code = "route_unknown"


class NoLineReady(RoutingError):
    """The instance has lines, and none of them takes requests now."""

    code = "no_line_ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as far as routing is concerned.

    Attributes:
        weight: its share of the requests relative to the others; 0 takes no new ones.
        ready: False while it starts, drains or fails its checks.
    """

    line_id: LineId
    weight: int = 1
    ready: bool = True

    def __post_init__(self) -> None:
        """Refuse a weight that means nothing."""
        if self.weight < 0:
            raise ValueError("a line's weight is zero or more")

    @property
    def takes_requests(self) -> bool:
        """Whether it can be chosen."""
        return self.ready and self.weight > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The lines that serve one instance, by the name in the first URL segment."""

    instance: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """All routes of one front door; replaced as a whole, never changed.

    Attributes:
        routes: by instance name.
    """

    routes: Mapping[str, Route] = field(default_factory=dict)

    @classmethod
    def of(cls, *routes: Route) -> RoutingTable:
        """Build a table.

        Raises:
            ValueError: two routes have one name.
        """
        table = {route.instance: route for route in routes}
        if len(table) != len(routes):
            raise ValueError("two routes have the same instance name")
        return cls(table)


def choose_line(table: RoutingTable, instance_name: str, *, request_key: str) -> LineId:
    """Choose the line for a request.

    Args:
        table: what is served here.
        instance_name: the first URL segment.
        request_key: requests with the same key go to the same line as long as it is ready.

    Raises:
        RouteUnknown: no such instance.
        NoLineReady: come back later.
    """
    route = table.routes.get(instance_name)
    if route is None:
        raise RouteUnknown("There is no such instance.")
    lines = [line for line in route.lines if line.takes_requests]
    if not lines:
        raise NoLineReady("No line of this instance takes requests at the moment; try again shortly.")
    if len(lines) == 1:
        return lines[0].line_id
    return max(lines, key=lambda line: (_draw(line, request_key), line.line_id)).line_id


def _draw(line: Line, request_key: str) -> float:
    """The line's draw for the key: greater is better, and a line of double weight wins twice as often."""
    digest = blake2b(
        request_key.encode(errors="surrogatepass"), key=line.line_id.encode()[:64], digest_size=8
    ).digest()
    # In the open interval 0..1, so that the logarithm exists.
    uniform = (int.from_bytes(digest, "big") + 0.5) / _DRAWS
    return line.weight / -math.log(uniform) if uniform < 1 else math.inf
