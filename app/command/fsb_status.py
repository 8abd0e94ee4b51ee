"""`wops fsb status`: pools, boxes and queues of a gateway, asked through its socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.command.output import out, show, show_table
from app.core.errors import InputInvalid
from app.core.json import JsonValue
from fsb_gateway.client import FsbClient
from fsb_gateway.report import BoxReport, PoolReport

_POOLS = (
    "name", "owner", "boxes", "ready", "without key", "waiting", "running", "unknown", "wait p50/p95 s", "busy",
    "reason",
)  # fmt: skip
_BOXES = ("name", "pool", "works for", "driver", "condition", "temperature", "busy", "jobs", "error")
_QUEUES = ("pool", "instance", "waiting", "running", "unknown", "share", "jobs", "operations")


def show_status(box_dir: Path, *, as_json: bool) -> None:
    """Print what the gateway of this directory says.

    Raises:
        InputInvalid: there is no gateway of its own.
        FsbUnavailable: it does not answer.
    """
    socket = box_dir / "gateway.sock"
    if not socket.exists():
        raise InputInvalid(
            f"No gateway serves {box_dir}. Boxes in the process of `wops up`: see `wops admin box list`.",
            field="data_dir",
        )
    pools, boxes = asyncio.run(_ask(socket))
    if as_json:
        show(msgspec.to_builtins({"pools": pools, "boxes": boxes}), as_json=True)
    else:
        show_reports(pools, boxes)


def show_reports(pools: Sequence[PoolReport], boxes: Sequence[BoxReport]) -> None:
    """Print pools, boxes and queues as tables; the jobs of a pool's instances add up to the pool's."""
    show_table([_pool_row(pool) for pool in pools], _POOLS, as_json=False)
    out.print()
    show_table([_box_row(box) for box in boxes], _BOXES, as_json=False)
    queues = [row for pool in pools for row in _queue_rows(pool)]
    if queues:
        out.print()
        show_table(queues, _QUEUES, as_json=False)


async def _ask(socket: Path) -> tuple[Sequence[PoolReport], Sequence[BoxReport]]:
    client = FsbClient.unix_socket(socket)
    try:
        return await client.pools(), await client.boxes()
    finally:
        await client.close()


def _pool_row(pool: PoolReport) -> dict[str, JsonValue]:
    return {
        "name": pool.name,
        "owner": pool.owner or "shared",
        "boxes": len(pool.boxes),
        "ready": pool.ready_boxes,
        "without key": len(pool.without_key),
        "waiting": pool.waiting,
        "running": pool.running,
        "unknown": pool.unknown,
        "wait p50/p95 s": f"{pool.expected_wait_seconds:.2f}/{pool.expected_wait_p95_seconds:.2f}",
        "busy": f"{pool.utilisation:.0%}",
        "reason": pool.reason,
    }


def _box_row(box: BoxReport) -> dict[str, JsonValue]:
    return {
        "name": box.name,
        "pool": box.pool,
        "works for": box.works_for,
        "driver": box.driver,
        "condition": box.condition,
        "temperature": box.temperature,
        "busy": f"{box.utilisation:.0%}",
        "jobs": box.jobs_done,
        "error": box.error,
    }


def _queue_rows(pool: PoolReport) -> list[dict[str, JsonValue]]:
    return [
        {
            "pool": pool.name,
            "instance": each.instance_id,
            "waiting": each.waiting,
            "running": each.running,
            "unknown": each.unknown,
            "share": f"{each.share:.0%}",
            "jobs": each.jobs_done,
            "operations": each.operations_done,
        }
        for each in pool.instances
    ]
