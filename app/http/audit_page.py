"""Pages of an audit chain, for staff and for customers: newest first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, TypeVar

from anyio import to_thread
from fastapi import Query, Response
from starlette.requests import Request

from app.core.clock import to_us
from app.http.admin_route import platform_of
from app.http.page import Cursor, Limit, after_of, linked_page
from app.http.schema.audit import AuditEntryRead
from app.http.schema.model import Moment, Page
from app.operations.audit.reading import NEWEST
from app.operations.audit.repository import EntryFilter

Since = Annotated[Moment | None, Query(alias="from", description="Not before this time.")]
Until = Annotated[Moment | None, Query(description="Before this time.")]

R = TypeVar("R")


class WantedEntries:
    """Which entries; a dependency of routes, so that all of them have the same filters."""

    def __init__(
        self,
        *,
        object: Annotated[str, Query(max_length=191, description="Id of the object.")] = "",  # noqa: A002 - the parameter's name
        actor: Annotated[
            str,
            Query(max_length=64, description="Id of who did it: a token, a client, or a person (`per_…`)."),
        ] = "",
        action: Annotated[
            str,
            Query(
                max_length=128, description="operationId, or `operationId.step` of what wops does on the way."
            ),
        ] = "",
        type: Annotated[str, Query(max_length=64, description="What happened.")] = "",  # noqa: A002
        request_id: Annotated[str, Query(max_length=64)] = "",
    ) -> None:
        self.filter = EntryFilter(
            subject=object, actor_id=actor, action=action, type=type, request_id=request_id
        )

    def about(self, instance_id: str) -> EntryFilter:
        """The filter, for entries of the platform's chain that name an instance."""
        return replace(self.filter, about=instance_id)

    def between(self, since: datetime | None, until: datetime | None) -> EntryFilter:
        """The filter with a range of time."""
        found = self.filter
        if since is not None:
            found = replace(found, since_us=max(0, to_us(since)))
        if until is not None:
            found = replace(found, until_us=max(0, to_us(until)))
        return found


class Asked:
    """Which page; a dependency of routes."""

    def __init__(self, *, limit: Limit = 25, cursor: Cursor = None) -> None:
        self.limit = limit
        self.cursor = cursor


async def entries_page(
    request: Request,
    response: Response,
    chain: str,
    wanted: EntryFilter,
    *,
    asked: Asked,
) -> Page[AuditEntryRead]:
    """One page of a chain, for staff. It may be empty and have a next one: a long stretch then holds nothing that fits.

    Raises:
        CursorInvalid: the cursor belongs to another list.
        DomainError: the chain's database is not there or does not answer.
    """
    before = number_of(request, asked.cursor)
    reader = platform_of(request).audit.reader
    found = await to_thread.run_sync(lambda: reader.find(chain, wanted, before=before, limit=asked.limit))
    shown = [AuditEntryRead.of(each) for each in found.entries]
    return numbered_page(request, response, shown, found.next_before)


def number_of(request: Request, cursor: str | None) -> int:
    """The number below which a page starts.

    Raises:
        CursorInvalid: the cursor belongs to another list.
    """
    return int(after_of(request, cursor) or NEWEST)


def numbered_page(request: Request, response: Response, shown: list[R], following: int | None) -> Page[R]:
    """A page whose next one starts below a number."""
    return linked_page(request, response, shown, None if following is None else str(following))
