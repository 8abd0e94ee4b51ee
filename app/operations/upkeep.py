"""What is done for all instances that a process has open, beside serving them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from anyio import CapacityLimiter, to_thread

from app.core.db import Database
from app.core.logging import bind, clear
from app.operations.guard import carry_on
from app.operations.line import InstanceRuntime
from tenancy.database.port import ServedDatabases

KEEP_OPERATIONS: Final = timedelta(days=40)
"""How long a repeated request finds its stored answer. **Source:** operations reference §1.3."""
FORGET_AT_ONCE: Final = 500
"""Operation ids forgotten in one transaction. **Source:** high availability reference §1.5."""
_CLOSED_AT_ONCE: Final = 8
"""Instances written down at the same time at the end, so that one that is locked does not hold up the others."""


async def close_meters(runtimes: Iterable[InstanceRuntime]) -> None:
    """Write counted calls down and give rights back; write down who was let in."""
    threads = CapacityLimiter(_CLOSED_AT_ONCE)
    await asyncio.gather(*(_close_meter(runtime, threads) for runtime in runtimes))


async def _close_meter(runtime: InstanceRuntime, threads: CapacityLimiter) -> None:
    for close in (runtime.calls.close, runtime.access.flush_use):
        with carry_on("meter_not_closed", instance=runtime.name, line=runtime.line_id):
            await to_thread.run_sync(close, limiter=threads)


async def write_use(runtimes: Iterable[InstanceRuntime]) -> None:
    """Write down who was let in and who refused, where it is time for that."""
    for runtime in runtimes:
        clear()
        bind(instance=runtime.name)
        with carry_on("use_not_written"):
            if runtime.access.flush_due():
                await to_thread.run_sync(runtime.access.flush_use)
    clear()


async def forget_operations(
    runtimes: Iterable[InstanceRuntime], *, databases: ServedDatabases, before: datetime
) -> None:
    """Clear operation ids out of instance databases that are older than any repeat."""
    for runtime in {id(each.db): each for each in runtimes}.values():
        clear()
        bind(instance=runtime.name)
        with carry_on("operations_not_forgotten"):
            # Its database is asked for, so that the one used longest ago is closed for it: open files stay bounded.
            await to_thread.run_sync(databases.open, runtime.instance_id)
            await forget_in(runtime.db, before)
    clear()


async def forget_in(db: Database, before: datetime) -> None:
    """Clear old operation ids out of one database."""
    forget = partial(db.forget_operations, before=before, limit=FORGET_AT_ONCE)
    while await to_thread.run_sync(forget) == FORGET_AT_ONCE:
        continue
