"""Instances as staff see them: with their servers, and with what the contract in force gives."""

from __future__ import annotations

from collections.abc import Sequence

from anyio import to_thread
from starlette.requests import Request

from app.http.admin_route import platform_of
from app.http.schema.tenancy import InstanceRead
from tenancy import Instance


async def show_instances(request: Request, instances: Sequence[Instance]) -> list[InstanceRead]:
    """Show instances that come in the order of their ids; two small reads however many there are."""
    if not instances:
        return []
    platform = platform_of(request)
    first, last = instances[0].instance_id, instances[-1].instance_id

    def work() -> list[InstanceRead]:
        places = platform.servers.list_places(first=first, last=last)
        contracts = platform.contracts.list_between(first=first, last=last)
        now = platform.clock.now()
        return [
            InstanceRead.of(
                each, places.get(each.instance_id, ()), contracts.get(each.instance_id, ()), at=now
            )
            for each in instances
        ]

    return await to_thread.run_sync(work)


async def show_instance(request: Request, instance: Instance) -> InstanceRead:
    """Show one instance."""
    return (await show_instances(request, [instance]))[0]
