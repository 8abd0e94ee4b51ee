"""Load balancing: which line serves a request.

`lb.haproxy_stats` (HAProxy's sockets, typed) and `lb.errors` are public modules of their own, so that whoever only
chooses a line does not load them.
"""

from lb.routing import Line, NoLineReady, Route, RouteUnknown, RoutingError, RoutingTable, choose_line

__all__ = ["Line", "NoLineReady", "Route", "RouteUnknown", "RoutingError", "RoutingTable", "choose_line"]
