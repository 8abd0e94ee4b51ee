"""Pages of lists: one more row than asked for says whether there is a next page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from app.http.cursor import CursorCodec
from app.http.schema.model import Page, PageInfo

PAGE_MAX = 100
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Entries on a page.")]
Cursor = Annotated[str | None, Query(max_length=512, description="`page.next` of the page before.")]

T = TypeVar("T")
R = TypeVar("R")


def scope_of(request: Request) -> str:
    """What a cursor is bound to: path and filter, without cursor and page size."""
    wanted = sorted(
        (name, value) for name, value in request.query_params.multi_items() if name not in ("cursor", "limit")
    )
    return f"{request.url.path}?{wanted}"


def after_of(request: Request, cursor: str | None) -> str:
    """The id after which the page starts.

    Raises:
        CursorInvalid: the cursor belongs to another list.
    """
    codec: CursorCodec = request.app.state.cursors
    return codec.decode(cursor, scope=scope_of(request))


def page_of(
    request: Request,
    response: Response,
    found: Sequence[T],
    *,
    limit: int,
    show: Callable[[T], R],
    key: Callable[[T], str],
) -> Page[R]:
    """Build a page out of up to `limit` + 1 rows, with its Link header."""
    rows = found[:limit]
    following = key(rows[-1]) if len(found) > limit else None
    return linked_page(request, response, [show(row) for row in rows], following)


def linked_page(request: Request, response: Response, shown: list[R], following: str | None) -> Page[R]:
    """A page and what says where the next one starts, with its Link header; None: it is the last one."""
    codec: CursorCodec = request.app.state.cursors
    cursor = None if following is None else codec.encode(following, scope=scope_of(request))
    if cursor is not None:
        url = request.url.include_query_params(cursor=cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return Page(data=shown, page=PageInfo(next=cursor, has_more=cursor is not None))
