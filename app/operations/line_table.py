"""Whom a line in a process of its own serves: follows the file that control gives it.

look ──► file as before: nothing
     ──► another one: read ──newer──► databases known ► names known ► those that are gone, for whoever lets go of them
                        └── broken, exposed or older: what is served stays; said until it is mended
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.core.ids import InstanceId
from lb.routing import NoLineReady
from tenancy.database.listed import ListedDatabases
from tenancy.errors import InstanceNotFound
from tenancy.line_file import (
    INSTANCES_FILE,
    LineFileDamaged,
    LineFileError,
    LineFileOutdated,
    LineInstance,
    ServedInstances,
    read_instances,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Served:
    """What is served now; replaced whole, so that readers need no lock."""

    version: int = 0
    by_name: Mapping[str, InstanceId] = field(default_factory=dict)
    by_id: Mapping[InstanceId, LineInstance] = field(default_factory=dict)
    hidden: frozenset[InstanceId] = frozenset()


class LineTable:
    """The instances of one line. Thread-safe; `look` for one thread at a time.

    Args:
        directory: the line's.
        databases: told where they are.
    """

    def __init__(self, directory: Path, databases: ListedDatabases) -> None:
        self._directory = directory
        self._databases = databases
        self._changing = threading.Lock()
        self._served = _Served()
        self._seen: tuple[int, ...] = ()
        self.problem: str | None = None

    @property
    def applied(self) -> int:
        """The version that is served; 0: none yet."""
        return self._served.version

    def __len__(self) -> int:
        return len(self._served.by_name)

    def ids(self) -> list[InstanceId]:
        """All that are served."""
        return list(self._served.by_name.values())

    def find(self, name: str) -> InstanceId:
        """Which instance has this name. Never blocks.

        Raises:
            NoLineReady: nobody has said yet whom to serve.
            InstanceNotFound: none that is served here.
        """
        served = self._served
        found = served.by_name.get(name)
        if found is None:
            if not served.version:
                raise NoLineReady("The line does not know its instances yet.")
            raise InstanceNotFound("There is no such instance.")
        return found

    def knows(self, instance_id: InstanceId) -> bool:
        """Whether an instance is served here."""
        served = self._served
        return instance_id in served.by_id and instance_id not in served.hidden

    def name_of(self, instance_id: InstanceId) -> str:
        """The name of an instance, for logs; its id when it is not known here."""
        known = self._served.by_id.get(instance_id)
        return instance_id if known is None else known.name

    def hide(self, instance_id: InstanceId) -> None:
        """Serve an instance no longer, whatever the file says, until it has been out of the file."""
        with self._changing:
            served = self._served
            self._served = _serve(
                served.version, served.by_id, served.hidden | ({instance_id} & served.by_id.keys())
            )

    def look(self) -> list[InstanceId]:
        """Take over what has changed; returns whose runtimes lead nowhere any more. Blocks.

        Raises:
            LineFileError: the file cannot be used; what was served goes on being served.
        """
        seen = self._signature()
        if seen == self._seen and self.problem is None:
            return []
        try:
            gone = self._apply(read_instances(self._directory))
        except LineFileError as error:
            self.problem = f"{error.code}: {error.message}"
            raise
        self._seen, self.problem = seen, None
        return gone

    def _signature(self) -> tuple[int, ...]:
        """Changes with every replacement of the file, and with its mode."""
        try:
            status = (self._directory / INSTANCES_FILE).lstat()
        except OSError:
            return ()
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _apply(self, wanted: ServedInstances) -> list[InstanceId]:
        if wanted.version == self.applied:
            return []
        if wanted.version < self.applied:
            raise LineFileOutdated(
                f"{INSTANCES_FILE} has version {wanted.version}, older than {self.applied}, which is served."
            )
        by_id = {each.instance_id: each for each in wanted.instances}
        if len({each.name for each in wanted.instances}) != len(wanted.instances):
            raise LineFileDamaged(f"{INSTANCES_FILE} has a name twice.")
        try:
            gone = self._databases.replace(
                (each.home for each in wanted.instances), connections=wanted.connections
            )
        except ValueError:
            raise LineFileDamaged(f"{INSTANCES_FILE} has an authority that is no certificate.") from None
        with self._changing:
            self._served = _serve(wanted.version, by_id, self._served.hidden & by_id.keys())
        _log.info("instances_applied", extra={"version": wanted.version, "instances": len(by_id)})
        return gone


def _serve(version: int, by_id: Mapping[InstanceId, LineInstance], hidden: frozenset[InstanceId]) -> _Served:
    by_name = {each.name: each.instance_id for each in by_id.values() if each.instance_id not in hidden}
    return _Served(version=version, by_name=by_name, by_id=by_id, hidden=hidden)
