"""Routes that an instance's customer has in the portal, and staff have in the admin API: written once, added twice.

A router has a dependency that keeps what is its own for the routes, then `SharedRoutes.add_to` adds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from app.http.schema.example import Documenter
from app.http.staff import StaffNeed

Serve = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharedRoute:
    """One route.

    Attributes:
        name: verb and noun of its operationId; the portal's has `Own` between them.
        need: what it demands of staff.
        refused: what it may answer besides what every route of its API may.
    """

    method: str
    path: str
    name: tuple[str, str]
    summary: str
    need: StaffNeed
    answer: tuple[int, object]
    refused: tuple[int, ...]
    serve: Serve


class SharedRoutes:
    """Routes about one thing; `tag` is its word in the descriptions of the APIs."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._routes: list[_SharedRoute] = []

    def reads(
        self, path: str, name: tuple[str, str], summary: str, *, shows: object, refused: tuple[int, ...] = ()
    ) -> Callable[[Serve], Serve]:
        """A route that shows something."""
        return self.route("GET", path, name, summary, need="look", answer=(200, shows), refused=refused)

    def route(  # noqa: PLR0913 - what a route says of itself
        self,
        method: str,
        path: str,
        name: tuple[str, str],
        summary: str,
        *,
        answer: tuple[int, object],
        refused: tuple[int, ...] = (),
        need: StaffNeed = "change",
    ) -> Callable[[Serve], Serve]:
        """A route; see `_SharedRoute`."""

        def note(serve: Serve) -> Serve:
            self._routes.append(
                _SharedRoute(
                    method=method,
                    path=path,
                    name=name,
                    summary=summary,
                    need=need,
                    answer=answer,
                    refused=refused,
                    serve=serve,
                )
            )
            return serve

        return note

    def add_to(
        self,
        router: APIRouter,
        *,
        document: Documenter,
        own: str = "",
        demand: Callable[[StaffNeed], Mapping[str, Any]] | None = None,
    ) -> None:
        """Add all routes to a router.

        Args:
            router: of one API, with the path of an instance as prefix.
            document: describes answers as that API does.
            own: stands behind the verb of every operationId, which are unique over all APIs.
            demand: what a route demands of staff, for `openapi_extra`.
        """
        for each in self._routes:
            verb, noun = each.name
            status, example = each.answer
            router.add_api_route(
                each.path,
                each.serve,
                methods=[each.method],
                operation_id=f"{verb}{own}{noun}",
                summary=each.summary,
                status_code=status,
                tags=[self._tag],
                openapi_extra=None if demand is None else dict(demand(each.need)),
                responses=document(status, example, *each.refused),
            )
