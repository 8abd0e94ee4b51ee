"""`/admin/v1/audit`: who did what, and the proof that nobody has rewritten it. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain as joined
from typing import Annotated, Any, Final, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.admin_route import InstanceKey, document, platform_of
from app.http.audit_page import Asked, Since, Until, WantedEntries, entries_page, number_of, numbered_page
from app.http.page import Cursor, Limit
from app.http.schema import admin_example as show
from app.http.schema import audit as audit_example
from app.http.schema.audit import AuditEntryRead, AuditKeyRead, CheckpointRead, VerificationRead
from app.http.schema.model import Page
from app.http.staff import StaffRoute, staff
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.export import ExportWish
from app.operations.audit.reading import NEWEST
from app.operations.audit.repository import list_newest_rounds
from app.operations.audit.verify import CHECKPOINT_CHAIN, MOST_ENTRIES, MOST_ROUNDS, ChainReport

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

JSON_LINES: Final = "application/jsonl"
_CHUNK_BYTES: Final = 65_536
"""Of an export in one piece: a change of thread for each line would cost more than the line."""
_EXAMPLE_LINE: Final = '{"format":"wops-audit-1","kind":"head"}\n'

_InstanceQuery = Annotated[str | None, Query(max_length=64, description="Id of an instance.")]
_Chain = Annotated[
    str, Query(max_length=64, description="`platform`, an instance's id, or `checkpoints`: their own chain.")
]


@router.get(
    "/audit",
    operation_id="listAudit",
    summary="Read the audit log",
    tags=["audit"],
    openapi_extra=staff("audit"),
    responses=document(200, show.page(audit_example.ENTRY), 404, 410, 422),
)
async def list_audit(  # noqa: PLR0913 - parameters of the request
    request: Request,
    response: Response,
    wanted: Annotated[WantedEntries, Depends()],
    asked: Annotated[Asked, Depends()],
    instance_id: _InstanceQuery = None,
    source: Annotated[
        Literal["instance", "platform"],
        Query(description="With `instance_id`: its own chain, or what the platform's says of it."),
    ] = "instance",
    since: Since = None,
    until: Until = None,
) -> Page[AuditEntryRead]:
    """Entries, newest first: of the platform, or of one instance. A page may be empty and have a next one.

    The own chain of an erased instance is no longer there: 410. What the platform's says of it stays, and so does the
    export.
    """
    chain = PLATFORM_CHAIN
    if instance_id is not None and source == "instance":
        await _require_unerased(request, instance_id)
        chain = instance_id
    elif instance_id is not None:
        await _require_instance(request, instance_id)
        wanted.filter = wanted.about(instance_id)
    return await entries_page(request, response, chain, wanted.between(since, until), asked=asked)


@router.get(
    "/instances/{instance_id}/audit",
    operation_id="listInstanceAudit",
    summary="Read an instance's audit log",
    tags=["audit"],
    openapi_extra=staff("look"),
    responses=document(200, show.page(audit_example.ENTRY), 404, 410, 422),
)
async def list_instance_audit(  # noqa: PLR0913 - parameters of the request
    instance_id: InstanceKey,
    request: Request,
    response: Response,
    wanted: Annotated[WantedEntries, Depends()],
    asked: Annotated[Asked, Depends()],
    since: Since = None,
    until: Until = None,
) -> Page[AuditEntryRead]:
    """Entries of the instance's own chain, newest first."""
    await _require_unerased(request, instance_id)
    return await entries_page(request, response, instance_id, wanted.between(since, until), asked=asked)


@router.get(
    "/audit/export",
    operation_id="exportAudit",
    summary="Export the audit log for verification",
    tags=["audit"],
    openapi_extra=staff("audit"),
    response_class=StreamingResponse,
    responses={
        **document(200, None, 404, 422),
        200: {
            "description": "JSON Lines, written as they are read. Without its last line the export is incomplete.",
            "content": {JSON_LINES: {"schema": {"type": "string"}, "example": _EXAMPLE_LINE}},
        },
    },
)
async def export_audit(
    request: Request, instance_id: _InstanceQuery = None, since: Since = None, until: Until = None
) -> StreamingResponse:
    """An instance's chain with the platform's entries about it, or the whole platform chain.

    `verify_audit.py` verifies it with the public key alone. The platform's entries about others are digests, and so are
    all of an erased instance, whatever the range.
    """
    if instance_id is not None:
        await _require_instance(request, instance_id)
    wish = ExportWish(
        instance_id=None if instance_id is None else InstanceId(instance_id), since=since, until=until
    )

    def begin() -> Iterator[bytes]:
        chunks = _in_chunks(platform_of(request).audit.export(wish))
        # What cannot be exported is refused before the answer has begun.
        return joined([next(chunks)], chunks)

    name = f"audit-{instance_id or PLATFORM_CHAIN}.jsonl"
    return StreamingResponse(
        await to_thread.run_sync(begin),
        media_type=JSON_LINES,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@router.get(
    "/audit/checkpoints",
    operation_id="listCheckpoints",
    summary="Read the signed checkpoints",
    tags=["audit"],
    openapi_extra=staff("audit"),
    responses=document(200, show.page(audit_example.CHECKPOINT), 422),
)
async def list_checkpoints(
    request: Request,
    response: Response,
    chain: Annotated[str, Query(max_length=64, description="`platform`, or an instance's id.")] = "",
    limit: Limit = 25,
    cursor: Cursor = None,
) -> Page[CheckpointRead]:
    """What checkpoints say of one chain or of all, newest first. Whoever keeps one can prove any later rewriting."""
    before = number_of(request, cursor)
    found = await to_thread.run_sync(
        platform_of(request).platform_db.read,
        lambda reader: list_newest_rounds(reader, chain=chain, before=before, limit=limit + 1),
    )
    following = found[limit - 1].number if len(found) > limit else None
    shown = [CheckpointRead.of(said) for each in found[:limit] for said in each.checkpoints(chain or None)]
    return numbered_page(request, response, shown, following)


@router.get(
    "/audit/key",
    operation_id="getAuditKey",
    summary="Read the public audit key",
    tags=["audit"],
    openapi_extra=staff("audit"),
    responses=document(200, audit_example.KEY),
)
async def get_audit_key(request: Request) -> AuditKeyRead:
    """The key that checkpoints are verified with. Keep it elsewhere, before you need it."""
    return AuditKeyRead.of(platform_of(request).audit.key)


@router.get(
    "/audit/verification",
    operation_id="verifyAudit",
    summary="Verify an audit chain where it lies",
    tags=["audit"],
    openapi_extra=staff("audit"),
    responses=document(200, audit_example.VERIFICATION, 404, 422),
)
async def verify_audit(
    request: Request,
    chain: _Chain = PLATFORM_CHAIN,
    after: Annotated[int, Query(ge=0, le=NEWEST, description="`last` of the answer before.")] = 0,
) -> VerificationRead:
    """Walk along a chain, up to 200,000 entries in one call, and compare it with every checkpoint about it.

    The chain of an erased instance is verified by the digests that were kept of it. A chain that a checkpoint names can
    be verified whatever the list of instances says.
    """
    verifier = platform_of(request).audit.verifier
    if not await to_thread.run_sync(verifier.knows, chain, limiter=_one_at_a_time(request)):
        await _require_instance(request, chain)

    def work() -> ChainReport:
        if chain == CHECKPOINT_CHAIN:
            return verifier.verify_checkpoints(after=after, most=MOST_ROUNDS)
        return verifier.verify_chain(chain, after=after, most=MOST_ENTRIES)

    return VerificationRead.of(await to_thread.run_sync(work, limiter=_one_at_a_time(request)))


def _one_at_a_time(request: Request) -> CapacityLimiter:
    """A verification keeps a processor busy for seconds: the second one waits for the first."""
    state: Any = request.app.state
    if not hasattr(state, "verifying"):
        state.verifying = CapacityLimiter(1)
    limiter: CapacityLimiter = state.verifying
    return limiter


async def _require_instance(request: Request, instance_id: str) -> None:
    await to_thread.run_sync(platform_of(request).instances.get_instance, InstanceId(instance_id))


async def _require_unerased(request: Request, instance_id: str) -> None:
    await to_thread.run_sync(platform_of(request).instances.require_unerased, InstanceId(instance_id))


def _in_chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
