"""A runner of operations that works until there is nothing to do."""

from __future__ import annotations

import anyio

from tenancy import OperationRunner


def run_until_idle(runner: OperationRunner) -> int:
    """Run until nothing is due; returns how many steps were attempted."""

    async def until_idle() -> int:
        total = 0
        while attempted := await runner.run_due():
            total += attempted
        return total

    return anyio.run(until_idle)
