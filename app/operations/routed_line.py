"""Lines as the platform database has them, turned into what routing wants to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.core.ids import InstanceId
from lb.routing import Line
from tenancy import Instance
from tenancy.line.record import SHARED_SET, ServedLine
from tenancy.line.service import LineService


class RoutedLines:
    """Weights of lines, and which of them take requests. Thread-safe, blocking."""

    def __init__(self, lines: LineService) -> None:
        self._lines = lines

    def list_lines(self) -> Mapping[InstanceId, tuple[Line, ...]]:
        """The lines of all instances that have lines of their own."""
        served = self._lines.list_served()
        return {each.instance_id: _routed(each.lines) for each in served if each.line_set != SHARED_SET}

    def lines_of(self, instance_id: InstanceId) -> tuple[Line, ...]:
        """The lines of an instance.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        return _routed(self._lines.front_lines(instance_id))

    def of_instance(self, instance: Instance) -> tuple[Line, ...]:
        """The same, for whoever has the instance."""
        return self.lines_of(instance.instance_id)


def _routed(lines: Iterable[ServedLine]) -> tuple[Line, ...]:
    return tuple(Line(line_id=each.line_id, weight=each.weight, ready=each.in_service) for each in lines)
