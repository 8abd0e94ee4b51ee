"""`/admin/v1/boxes`, `/admin/v1/pools`, and where an instance stands in the queue."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request

from app.core.command import Done
from app.core.ids import InstanceId
from app.http.admin_route import InstanceKey, document, noted, platform_of, started
from app.http.etag import IfMatch, etag_of, version_of
from app.http.guarded import ask_approval, planned
from app.http.schema import admin_example, staff_example
from app.http.schema import box_example as show
from app.http.schema.box import (
    BoxChangeBody,
    BoxCreateBody,
    BoxLoanBody,
    BoxRead,
    TransactionLoadBody,
)
from app.http.schema.operation import OperationRead
from app.http.schema.pool import FleetQueueRead, PoolDetailRead, PoolRead
from app.http.schema.staff import ApprovalRead, GuardedAsk
from app.http.staff import StaffRoute, command_of, staff, staff_of
from fsb_gateway.error import FsbError
from tenancy.box.record import BoxRecord
from tenancy.errors import StaffRoleInsufficient

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute, tags=["boxes"])

BoxKey = Annotated[str, Path(max_length=128, description="Name of a box.", examples=["shared-box-1"])]
PoolKey = Annotated[str, Path(max_length=128, description="Name of a pool.", examples=["shared"])]


@router.get(
    "/boxes",
    operation_id="listBoxes",
    summary="List boxes",
    openapi_extra=staff("read"),
    responses=document(200, [show.BOX]),
)
async def list_boxes(request: Request) -> list[BoxRead]:
    """All Firm Security Boxes: what staff want of them, and what their gateway reports."""
    return [BoxRead.of(each) for each in await platform_of(request).boxes.control.list_boxes()]


@router.get(
    "/boxes/{box}",
    operation_id="getBox",
    summary="Read a box",
    openapi_extra=staff("read"),
    responses=document(200, show.BOX, 404),
)
async def get_box(box: BoxKey, request: Request, response: Response) -> BoxRead:
    """One box, with its version as ETag."""
    return await _show(request, response, box)


@router.post(
    "/boxes",
    operation_id="addBox",
    summary="Ask for a box to join a pool",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 422),
)
async def add_box(body: BoxCreateBody, request: Request, response: Response) -> ApprovalRead:
    """Once a second person has approved it: set up, given all keys of its pool, then opened. PKCS#11: for admins.

    A token has one box: 409 `token_taken`.
    """
    _check_token(request, has_token=body.token is not None)
    control = platform_of(request).boxes.control
    return await ask_approval(
        request,
        response,
        action="addBox",
        object_id=body.name,
        reason=body.reason,
        parameters=await planned(control.plan_addition(body.asked())),
    )


@router.patch(
    "/boxes/{box}",
    operation_id="changeBox",
    summary="Change a box's pace, faults, token or transactions",
    openapi_extra=staff("change"),
    responses=document(200, show.BOX, 404, 409, 412, 422, 428),
)
async def change_box(
    box: BoxKey, body: BoxChangeBody, request: Request, response: Response, if_match: IfMatch = None
) -> BoxRead:
    """Needs the ETag that was read; in effect from the next job on.

    A box keeps its token: 409 `box_token_fixed`; where its PIN lies, admins say.
    """
    version = version_of(if_match)
    _check_token(request, has_token=body.token is not None)
    done = await to_thread.run_sync(
        lambda: platform_of(request).boxes.service.change_box(
            box, body.asked(), version=version, command=command_of(request)
        )
    )
    return await _told(request, response, done)


@router.post(
    "/boxes/{box}:drain",
    operation_id="drainBox",
    summary="Let a box take no more work",
    openapi_extra=staff("change"),
    responses=document(200, show.DRAINED, 400, 404, 409, 412, 428),
)
async def drain_box(box: BoxKey, request: Request, response: Response, if_match: IfMatch = None) -> BoxRead:
    """Needs the ETag that was read. The box finishes what it has."""
    version = version_of(if_match)
    done = await to_thread.run_sync(
        lambda: platform_of(request).boxes.service.drain_box(
            box, version=version, command=command_of(request)
        )
    )
    return await _told(request, response, done)


@router.post(
    "/boxes/{box}:resume",
    operation_id="resumeBox",
    summary="Let a drained box take work again",
    openapi_extra=staff("change"),
    responses=document(200, show.BOX, 400, 404, 409, 412, 428),
)
async def resume_box(box: BoxKey, request: Request, response: Response, if_match: IfMatch = None) -> BoxRead:
    """Needs the ETag that was read."""
    version = version_of(if_match)
    done = await to_thread.run_sync(
        lambda: platform_of(request).boxes.service.resume_box(
            box, version=version, command=command_of(request)
        )
    )
    return await _told(request, response, done)


@router.post(
    "/boxes/{box}:load",
    operation_id="loadTransactions",
    summary="Note that transactions were loaded into a box",
    openapi_extra=staff("change"),
    responses=document(200, show.BOX, 400, 404, 422),
)
async def load_transactions(
    box: BoxKey, body: TransactionLoadBody, request: Request, response: Response
) -> BoxRead:
    """What is left is all that were ever loaded less what the box's journal has spent."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).boxes.service.load_transactions(
            box, body.number, command=command_of(request)
        )
    )
    return await _told(request, response, done)


@router.post(
    "/boxes/{box}:retry",
    operation_id="retryBox",
    summary="Have a box look again whether it can work",
    openapi_extra=staff("change"),
    responses=document(200, show.BOX, 400, 404, 422),
)
async def retry_box(box: BoxKey, request: Request, response: Response) -> BoxRead:
    """Once somebody has mended it, e.g. a wrong PIN, which nobody tries again by himself: that would lock the token."""
    platform = platform_of(request)
    done = await to_thread.run_sync(
        lambda: platform.boxes.service.note_retry(box, command=command_of(request))
    )
    noted(done, response)
    await platform.boxes.keeper.retry(box)
    return await _show(request, response, box)


@router.post(
    "/boxes/{box}:lend",
    operation_id="lendBox",
    summary="Ask to lend a box to another pool",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 422),
)
async def lend_box(box: BoxKey, body: BoxLoanBody, request: Request, response: Response) -> ApprovalRead:
    """Once a second person has approved it: the pool's keys go into the box, and it works for that pool alone.

    When the time is over it works for its own pool again by itself, and the keys are taken out of it.
    """
    control = platform_of(request).boxes.control
    asked = control.plan_loan(box, to=body.to, hours=body.hours, force=body.force)
    return await ask_approval(
        request,
        response,
        action="lendBox",
        object_id=box,
        reason=body.reason,
        parameters=await planned(asked),
    )


@router.post(
    "/boxes/{box}:return",
    operation_id="returnBox",
    summary="End a box's loan now",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, admin_example.OPERATION, 400, 404, 409),
)
async def return_box(box: BoxKey, request: Request, response: Response) -> OperationRead:
    """It works for its own pool at once; then the borrower's keys are taken out of it."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).boxes.service.return_box(box, command=command_of(request))
    )
    return started(request, done, response)


@router.post(
    "/boxes/{box}:remove",
    operation_id="removeBox",
    summary="Ask to take a box out of its pool for good",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 422),
)
async def remove_box(box: BoxKey, body: GuardedAsk, request: Request, response: Response) -> ApprovalRead:
    """Once a second person has approved it: drained, its keys destroyed in it, forgotten.

    Never the only box of its pool that holds a key, or takes work: 409 `box_last`.
    """
    control = platform_of(request).boxes.control
    return await ask_approval(
        request,
        response,
        action="removeBox",
        object_id=box,
        reason=body.reason,
        parameters=await planned(control.plan_removal(box)),
    )


@router.get(
    "/pools",
    operation_id="listPools",
    summary="List pools",
    openapi_extra=staff("read"),
    responses=document(200, [show.POOL, show.POOL_WITHOUT_BOX]),
)
async def list_pools(request: Request) -> list[PoolRead]:
    """All pools of boxes: who waits, and for how long."""
    return [PoolRead.of(each) for each in await platform_of(request).boxes.control.list_pools()]


@router.get(
    "/pools/{pool}",
    operation_id="getPool",
    summary="Read a pool",
    openapi_extra=staff("read"),
    responses=document(200, show.POOL_DETAIL, 404),
)
async def get_pool(pool: PoolKey, request: Request) -> PoolDetailRead:
    """One pool, with each instance's share of it and its delay by others."""
    return PoolDetailRead.of(await platform_of(request).boxes.control.get_pool(pool))


@router.get(
    "/instances/{instance_id}/queue",
    operation_id="getInstanceQueue",
    summary="Read where an instance stands in the queue",
    openapi_extra=staff("read"),
    responses=document(200, show.QUEUE, 404),
)
async def get_instance_queue(instance_id: InstanceKey, request: Request) -> FleetQueueRead:
    """Its waiting and running jobs, how long a new one would wait, and how much of that others cause."""
    platform = platform_of(request)
    instance = await to_thread.run_sync(platform.instances.get_instance, InstanceId(instance_id))
    report = await platform.fsb.queue(instance_id, pool=instance.pool)
    return FleetQueueRead.at(report, pool=instance.pool)


def _check_token(request: Request, *, has_token: bool) -> None:
    """A box of that kind loads a library from where somebody says: only who may register servers says so."""
    principal = staff_of(request)
    if has_token and principal.role != "admin":
        raise StaffRoleInsufficient(
            f"The role {principal.role} may not say where a token is.", role=principal.role
        )


async def _told(request: Request, response: Response, done: Done[BoxRecord]) -> BoxRead:
    """Tell the gateway at once; while it is away, the loop does it later."""
    record = noted(done, response)
    with suppress(FsbError):
        await platform_of(request).boxes.keeper.reconcile()
    return await _show(request, response, record.name)


async def _show(request: Request, response: Response, name: str) -> BoxRead:
    view = await platform_of(request).boxes.control.get_box(name)
    shown = BoxRead.of(view)
    if shown.version is not None:
        response.headers["ETag"] = etag_of(shown.version)
    return shown
