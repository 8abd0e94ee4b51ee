"""Which instance a URL names and which lines serve it, for the embedded front door.

Known names are answered from memory, so that they go on being served when the platform database is down. Memory
follows the events of the platform database: what this process changes is known at once (`follow` after the change),
what another one changes within a second (a loop).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from app.core.clock import Clock
from app.core.ids import InstanceId, LineId
from app.operations.line import Address
from editions import edition
from lb import Line, Route, RoutingTable, choose_line
from tenancy import Instance, InstanceService, is_name, line_names
from tenancy.errors import InstanceNotFound, InstanceNotReady

_PAGE: Final = 100
_FORGET_UNKNOWN_SECONDS: Final = 1.0
"""How long an unknown name is answered without asking the database again. Our own decision."""


@dataclass(frozen=True, slots=True)
class _Known:
    """An instance that is served here, frozen ones too: their lines say so."""

    instance_id: InstanceId
    name: str
    table: RoutingTable

    @property
    def lines(self) -> tuple[LineId, ...]:
        return tuple(line.line_id for line in self.table.routes[self.name].lines)


class InstanceDirectory:
    """Names of instances and the lines that serve them. Thread-safe."""

    def __init__(self, instances: InstanceService, *, clock: Clock) -> None:
        self._instances = instances
        self._clock = clock
        self._lock = threading.Lock()
        self._following = threading.Lock()
        # Changed under the lock, an entry at a time; entries never change, so readers take none.
        self._by_name: dict[str, _Known] = {}
        self._by_id: dict[InstanceId, _Known] = {}
        self._versions: dict[InstanceId, int] = {}
        self._unknown: dict[str, float] = {}
        self._change = 0

    def load(self) -> list[InstanceId]:
        """Read all instances that are served; call it once at start. Returns their ids."""
        # First: what changes while the pages are read is read again.
        self._change = self._instances.last_change()
        after = ""
        while page := self._instances.list_instances(after=after, limit=_PAGE):
            for instance in page:
                self.note(instance)
            after = page[-1].instance_id
        return list(self._by_id)

    def follow(self) -> list[Instance]:
        """Take over what anybody has changed about instances since the last time; returns those. Blocks.

        Raises:
            DatabaseUnavailable: the platform database does not answer; what is known goes on being served.
        """
        changed: dict[InstanceId, Instance] = {}
        with self._following:
            while True:
                change, instances = self._instances.list_changed(self._change)
                if change == self._change:
                    return list(changed.values())
                for instance in instances:
                    self.note(instance)
                    changed[instance.instance_id] = instance
                self._change = change

    def find(self, name: str, *, request_key: str) -> Address | None:
        """Where to send a request, from memory; None when `look_up` has to be asked. Never blocks.

        Raises:
            InstanceNotFound: asked for a moment ago and unknown.
            NoLineReady: no line of the instance takes requests.
        """
        known = self._by_name.get(name)
        if known is None:
            # No instance can have such a name: nothing to ask, and nothing to remember.
            if not is_name(name) or self._unknown.get(name, 0.0) > self._clock.monotonic():
                raise _not_found()
            return None
        return _address(known, request_key)

    def look_up(self, name: str, *, request_key: str) -> Address:
        """As `find`, asking the platform database. Blocks.

        Raises:
            InstanceNotFound: there is none of that name, or nothing is left of it.
            InstanceNotReady: it is still being set up.
            DatabaseUnavailable: the platform database does not answer.
        """
        try:
            instance = self._instances.get_instance_by_name(name)
            if instance.state == "erased":
                raise _not_found()
        except InstanceNotFound:
            with self._lock:
                if len(self._unknown) > _PAGE * _PAGE:
                    self._unknown.clear()
                self._unknown[name] = self._clock.monotonic() + _FORGET_UNKNOWN_SECONDS
            raise
        if not instance.is_kept:
            raise InstanceNotReady(
                "The instance is still being set up; try again shortly.", state=instance.state
            )
        self.note(instance)
        return _address(_know(instance), request_key)

    def lines_of(self, instance_id: InstanceId) -> tuple[LineId, ...]:
        """The lines of an instance that is known here."""
        return self._by_id[instance_id].lines

    def knows(self, instance_id: InstanceId) -> bool:
        """Whether an instance is served here, or has been and still is."""
        return instance_id in self._by_id

    def name_of(self, instance_id: InstanceId) -> str:
        """The name of an instance, for logs; its id when it is not known here. Never blocks."""
        known = self._by_id.get(instance_id)
        return instance_id if known is None else known.name

    def lines(self) -> set[LineId]:
        """All lines that any instance needs."""
        return {line for known in list(self._by_id.values()) for line in known.lines}

    def note(self, instance: Instance) -> None:
        """Remember how an instance is: where it is served, that it has another name, or that it is no longer there."""
        with self._lock:
            if instance.version < self._versions.get(instance.instance_id, 0):
                # Read before a change that is known here by now.
                return
            self._versions[instance.instance_id] = instance.version
            old = self._by_id.get(instance.instance_id)
            if old is not None and old.name != instance.name:
                self._by_name.pop(old.name, None)
            if instance.is_kept:
                known = _know(instance)
                self._unknown.pop(instance.name, None)
                self._by_id[instance.instance_id] = known
                self._by_name[instance.name] = known
            else:
                self._by_id.pop(instance.instance_id, None)
                self._by_name.pop(instance.name, None)


def _know(instance: Instance) -> _Known:
    names = line_names(instance.placement_name, edition(instance.edition), lines=instance.lines)
    route = Route(instance=instance.name, lines=tuple(Line(line_id=each) for each in names))
    return _Known(instance.instance_id, instance.name, RoutingTable.of(route))


def _address(known: _Known, request_key: str) -> Address:
    line_id = choose_line(known.table, known.name, request_key=request_key)
    return Address(instance_id=known.instance_id, line_id=line_id)


def _not_found() -> InstanceNotFound:
    return InstanceNotFound("There is no such instance.")
