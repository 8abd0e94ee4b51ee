"""What the front has to know of who may call, of every instance, remembered.

It lies in each instance's own database: asking all of them whenever anything changes would take minutes, and one that
hangs would hold up the others. So it is read when control itself has changed it (`note`), and slowly for all in turns,
for what anybody else has. What is stale here harms nobody: the front refuses no one on its account who shows
credentials, and the line decides by what its own database says.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable
from typing import Final

from app.core.errors import DomainError
from app.core.ids import InstanceId
from tenancy import InstanceDatabases
from tenancy.front.access import read_access
from tenancy.front.access_view import FrontAccess

_log = logging.getLogger(__name__)

FIRST_AT_ONCE: Final = 50
"""Instances read for the first time in one turn: some 100 ms. Our own decision."""
AGAIN_AT_ONCE: Final = 2
"""Instances looked at again in one turn: with five turns a second, a thousand of them every two minutes."""


class AccessBook:
    """Remembers. Reading blocks; threads may share it: an instance is read by one of them at a time."""

    def __init__(self, databases: InstanceDatabases) -> None:
        self._databases = databases
        self._lock = threading.Lock()
        self._noted: dict[InstanceId, None] = {}
        self._known: dict[InstanceId, FrontAccess | None] = {}
        self._again: list[InstanceId] = []
        self._being_read: set[InstanceId] = set()
        self.changes = 0
        """How often anything was found to be otherwise than before."""

    def note(self, instance_id: InstanceId) -> None:
        """Somebody has changed who may call an instance. Never blocks for long."""
        with self._lock:
            self._noted[instance_id] = None

    def find(self, instance_id: InstanceId) -> FrontAccess | None:
        """What is known; None if its database has not answered yet."""
        return self._known.get(instance_id)

    def is_complete(self, served: Collection[InstanceId]) -> bool:
        """Whether every instance has been asked once, with or without an answer."""
        return all(each in self._known for each in served)

    def take_noted(self, most: int) -> list[InstanceId]:
        """Instances that control has changed, to be read now; one that is being read comes later, once more."""
        with self._lock:
            taken = [each for each in self._noted if each not in self._being_read][:most]
            for each in taken:
                del self._noted[each]
        return taken

    def take_turn(self, served: Collection[InstanceId]) -> list[InstanceId]:
        """Those whose turn it is: new ones, and some that are looked at again."""
        with self._lock:
            for gone in self._known.keys() - set(served):
                del self._known[gone]
            new = [each for each in served if each not in self._known][:FIRST_AT_ONCE]
            if not self._again:
                self._again = [each for each in served if each in self._known]
            again, self._again = self._again[:AGAIN_AT_ONCE], self._again[AGAIN_AT_ONCE:]
            return new + [each for each in again if each in self._known]

    def read(self, instance_ids: Iterable[InstanceId]) -> None:
        """Ask their databases; what cannot be read stays as it was, and comes by turns."""
        for each in instance_ids:
            if not self._begin(each):
                continue
            found = self._known.get(each)
            try:
                found = read_access(self._databases.open(each), found)
            except DomainError as error:
                _log.info("front_access_not_read", extra={"instance_id": each, "code": error.code})
            except Exception:
                # A damaged database is its own instance's trouble.
                _log.exception("front_access_not_read", extra={"instance_id": each})
            finally:
                self._keep(each, found)

    def _begin(self, instance_id: InstanceId) -> bool:
        """Whether nobody else is reading it: else it comes later. The slower of two would put old for new."""
        with self._lock:
            if instance_id in self._being_read:
                self._noted[instance_id] = None
                return False
            self._being_read.add(instance_id)
            return True

    def _keep(self, instance_id: InstanceId, found: FrontAccess | None) -> None:
        with self._lock:
            self._being_read.discard(instance_id)
            if self._known.get(instance_id) != found:
                self.changes += 1
            self._known[instance_id] = found
