"""Load balancing: which line serves a request."""

from lb.routing import Line, NoLineReady, Route, RouteUnknown, RoutingError, RoutingTable, choose_line

__all__ = ["Line", "NoLineReady", "Route", "RouteUnknown", "RoutingError", "RoutingTable", "choose_line"]
