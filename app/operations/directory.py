"""Which instance a URL names and which lines serve it, for the embedded front door.

Known names are answered from memory, so that they go on being served when the platform database is down.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
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


class InstanceDirectory:
    """Names of instances and the lines that serve them. Thread-safe."""

    def __init__(self, instances: InstanceService, *, clock: Clock) -> None:
        self._instances = instances
        self._clock = clock
        self._lock = threading.Lock()
        # These three are replaced, never changed: readers take no lock.
        self._ids: Mapping[str, InstanceId] = {}
        self._names: Mapping[InstanceId, str] = {}
        self._table = RoutingTable()
        self._unknown: dict[str, float] = {}

    def load(self) -> list[InstanceId]:
        """Read all instances that are ready; call it once at start. Returns their ids."""
        after = ""
        while page := self._instances.list_instances(after=after, limit=_PAGE):
            for instance in page:
                if instance.state == "ready":
                    self.note(instance)
            after = page[-1].instance_id
        return list(self._ids.values())

    def find(self, name: str, *, request_key: str) -> Address | None:
        """Where to send a request, from memory; None when `look_up` has to be asked. Never blocks.

        Raises:
            InstanceNotFound: asked for a moment ago and unknown.
            NoLineReady: no line of the instance takes requests.
        """
        instance_id = self._ids.get(name)
        if instance_id is None:
            # No instance can have such a name: nothing to ask, and nothing to remember.
            if not is_name(name) or self._unknown.get(name, 0.0) > self._clock.monotonic():
                raise _not_found()
            return None
        return Address(
            instance_id=instance_id, line_id=choose_line(self._table, name, request_key=request_key)
        )

    def look_up(self, name: str, *, request_key: str) -> Address:
        """As `find`, asking the platform database. Blocks.

        Raises:
            InstanceNotFound: there is none of that name.
            InstanceNotReady: it is still being set up.
            DatabaseUnavailable: the platform database does not answer.
        """
        try:
            instance = self._instances.get_instance_by_name(name)
        except InstanceNotFound:
            with self._lock:
                if len(self._unknown) > _PAGE * _PAGE:
                    self._unknown.clear()
                self._unknown[name] = self._clock.monotonic() + _FORGET_UNKNOWN_SECONDS
            raise
        if instance.state != "ready":
            raise InstanceNotReady(
                "The instance is still being set up; try again shortly.", state=instance.state
            )
        self.note(instance)
        return Address(
            instance_id=instance.instance_id, line_id=choose_line(self._table, name, request_key=request_key)
        )

    def lines_of(self, instance_id: InstanceId) -> tuple[LineId, ...]:
        """The lines of an instance that is known here."""
        return tuple(line.line_id for line in self._table.routes[self._names[instance_id]].lines)

    def name_of(self, instance_id: InstanceId) -> str:
        """The name of an instance, for logs; its id when it is not known here. Never blocks."""
        return self._names.get(instance_id, instance_id)

    def lines(self) -> set[LineId]:
        """All lines that any instance needs."""
        return {line.line_id for route in self._table.routes.values() for line in route.lines}

    def note(self, instance: Instance) -> None:
        """Remember an instance that is ready."""
        lines = tuple(
            Line(line_id=each)
            for each in line_names(instance.name, edition(instance.edition), lines=instance.lines)
        )
        with self._lock:
            self._unknown.pop(instance.name, None)
            routes = {**self._table.routes, instance.name: Route(instance=instance.name, lines=lines)}
            self._table = RoutingTable(routes)
            self._names = {**self._names, instance.instance_id: instance.name}
            # Last: whoever finds an id finds its lines.
            self._ids = {**self._ids, instance.name: instance.instance_id}


def _not_found() -> InstanceNotFound:
    return InstanceNotFound("There is no such instance.")
