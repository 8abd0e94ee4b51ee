"""Lines in processes of their own, as the end of an instance sees them."""

from __future__ import annotations

import logging
from pathlib import Path

from anyio import to_thread

from app.core.errors import DomainError
from app.core.ids import InstanceId
from app.core.net import NetError
from app.licensing import has_open_transfers
from app.operations.line_directory import is_running, list_lines
from tenancy.database.port import ServedDatabases
from tenancy.lifecycle.ending import InstanceLines
from tenancy.line_call import LineCaller
from tenancy.line_file import LineFileError, read_instances

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
        self._data_dir = data_dir
        self._databases = databases
        self._own = own

    async def settle(self, instance_id: InstanceId) -> bool:
        """Have all of them write down and drive; whether no transfer is under way any more."""
        for directory in await to_thread.run_sync(self._serving, instance_id):
            if not await to_thread.run_sync(_settle, directory, instance_id):
                return False
        db = await to_thread.run_sync(self._databases.open, instance_id)
        return not await to_thread.run_sync(has_open_transfers, db)

    async def forget(self, instance_id: InstanceId) -> None:
        """Have all of them answer 404 for it, and let go of its database.

        Raises:
            LineUnreachable: one of them does not answer; try again.
        """
        await self._own.forget(instance_id)
        # All: what a line was told may leave the instance out before the line has read that.
        for directory in await to_thread.run_sync(list_lines, self._data_dir):
            await to_thread.run_sync(_forget, directory, instance_id)

    def _serving(self, instance_id: InstanceId) -> list[Path]:
        """The lines that were told to serve it; who cannot be read is asked, too."""
        return [each for each in list_lines(self._data_dir) if _is_told(each, instance_id) is not False]


def _settle(directory: Path, instance_id: InstanceId) -> bool:
    try:
        return LineCaller(directory).settle(instance_id)
    except NetError as error:
        told = {"line": directory.name, "code": error.code, "cause": error.message}
        _log.warning("line_not_settled", extra=told)
        return not _may_have(directory, instance_id)


def _forget(directory: Path, instance_id: InstanceId) -> None:
    try:
        LineCaller(directory).forget(instance_id)
    except NetError as error:
        if _may_have(directory, instance_id):
            raise LineUnreachable(
                "A line that serves the instance does not answer.", line=directory.name
            ) from error


def _may_have(directory: Path, instance_id: InstanceId) -> bool:
    """Whether a line that does not answer may have the instance open, or will when it is started."""
    return bool(_is_told(directory, instance_id)) or is_running(directory)


def _is_told(directory: Path, instance_id: InstanceId) -> bool | None:
    """Whether a line was told to serve it; None: nobody can say, and no line can start with that."""
    try:
        return any(each.instance_id == instance_id for each in read_instances(directory).instances)
    except LineFileError:
        return None
