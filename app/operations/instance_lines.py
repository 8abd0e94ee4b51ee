"""The lines of this process, as the end of an instance sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from anyio import to_thread

from app.core.ids import InstanceId
from app.operations.guard import carry_on
from app.operations.line import InstanceRuntime, Line


class ServedLines:
    """Settles what lines do for one instance, and makes them forget it.

    Args:
        lines: those of this process, now.
        open_runtime: the instance as one of its lines serves it; blocks.
        follow: brings the directory up to date; blocks.
    """

    def __init__(
        self,
        lines: Callable[[], Iterable[Line]],
        *,
        open_runtime: Callable[[InstanceId], InstanceRuntime],
        follow: Callable[[], object],
    ) -> None:
        self._lines = lines
        self._open = open_runtime
        self._follow = follow

    async def settle(self, instance_id: InstanceId) -> bool:
        """Write down counted calls, drive open transfers; whether no transfer is under way any more."""
        opened = await to_thread.run_sync(self._open, instance_id)
        for runtime in self._serving(instance_id):
            # A frozen instance takes no calls: its rights go back, and come again if it is unfrozen.
            await to_thread.run_sync(runtime.calls.flush)
            await to_thread.run_sync(runtime.access.flush_use)
            await runtime.drive_transfers()
        return not await opened.transfers.has_open()

    async def forget(self, instance_id: InstanceId) -> None:
        """Answer 404 for it, write down what is in memory as far as that still works, and let go of its database."""
        await to_thread.run_sync(self._follow)
        for line in self._lines():
            runtime = line.forget(instance_id)
            if runtime is not None:
                for close in (runtime.calls.close, runtime.access.flush_use):
                    with carry_on("meter_not_closed", line=line.line_id):
                        await to_thread.run_sync(close)

    def _serving(self, instance_id: InstanceId) -> list[InstanceRuntime]:
        found = (line.find(instance_id) for line in self._lines())
        return [runtime for runtime in found if runtime is not None]
