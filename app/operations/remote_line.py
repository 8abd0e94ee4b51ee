"""Lines in processes of their own, as the end of an instance sees them."""

from __future__ import annotations

import logging
from pathlib import Path

from anyio import to_thread

from app.core.errors import DomainError
from app.core.ids import InstanceId
from app.core.net import NetError
from app.licensing import has_open_transfers
from tenancy.database.port import ServedDatabases
from tenancy.lifecycle.ending import InstanceLines
from tenancy.line_call import LineCaller
from tenancy.line_file import LINE_FILE, LINES_DIRECTORY, LineFileError, read_instances

_log = logging.getLogger(__name__)


class LineUnreachable(DomainError):
    """A line that serves the instance does not answer."""

    code = "line_unreachable"


class RemoteLines:
    """Asks lines in processes of their own to settle and to forget. One that does not answer has done neither.

    Args:
        data_dir: below which the lines' directories are.
        databases: the instances'.
        own: what this process has opened for staff and the portal.
    """

    def __init__(self, data_dir: Path, *, databases: ServedDatabases, own: InstanceLines) -> None:
        self._directory = data_dir / LINES_DIRECTORY
        self._databases = databases
        self._own = own

    async def settle(self, instance_id: InstanceId) -> bool:
        """Have all of them write down and drive; whether no transfer is under way any more."""
        for caller in await to_thread.run_sync(self._serving, instance_id):
            try:
                settled = await to_thread.run_sync(caller.settle, instance_id)
            except NetError as error:
                told = {"line": caller.directory.name, "code": error.code, "cause": error.message}
                _log.warning("line_not_settled", extra=told)
                settled = False
            if not settled:
                return False
        db = await to_thread.run_sync(self._databases.open, instance_id)
        return not await to_thread.run_sync(has_open_transfers, db)

    async def forget(self, instance_id: InstanceId) -> None:
        """Have all of them answer 404 for it, and let go of its database.

        Raises:
            LineUnreachable: one of them does not answer; try again.
        """
        await self._own.forget(instance_id)
        for caller in await to_thread.run_sync(self._serving, instance_id):
            try:
                await to_thread.run_sync(caller.forget, instance_id)
            except NetError as error:
                raise LineUnreachable(
                    "A line that serves the instance does not answer.", line=caller.directory.name
                ) from error

    def _serving(self, instance_id: InstanceId) -> list[LineCaller]:
        """The lines that were told to serve it; who cannot be read is asked, too."""
        found = sorted(path.parent for path in self._directory.glob(f"*/{LINE_FILE}"))
        return [LineCaller(each) for each in found if _may_serve(each, instance_id)]


def _may_serve(directory: Path, instance_id: InstanceId) -> bool:
    try:
        return any(each.instance_id == instance_id for each in read_instances(directory).instances)
    except LineFileError:
        return True
