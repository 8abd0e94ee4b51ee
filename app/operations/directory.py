"""Which instance a URL names and which line serves a request, for the embedded front door.

Known names are answered from memory, so that they go on being served when the platform database is down. Memory
follows the events of the platform database: what this process changes is known at once (`follow` after the change),
what another one changes within a second (a loop).

    events ─► instances that have changed ─► their lines, their rules ─┐ an entry each, replaced as a whole
    request ─► entry ─► no rules: any line, by weight                  ◄┘
                        rules: lb.rule.decide by the facts of the request ─► a line, or a refusal
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.core.clock import Clock
from app.core.ids import InstanceId, LineId
from app.operations.line import Address
from editions import edition
from lb import Line, Route, RoutingTable, choose_line
from lb.rule.decide import LineChosen, RequestFacts, choose, decide
from lb.rule.rule import NO_RULES, RuleSet
from tenancy import Instance, InstanceService, is_name
from tenancy.errors import InstanceNotFound, InstanceNotReady
from tenancy.rule.record import RuleVersion
from tenancy.rule.service import contracted_lines

_PAGE: Final = 100
_FORGET_UNKNOWN_SECONDS: Final = 1.0
"""How long an unknown name is answered without asking the database again. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A request as rules see it.

    Attributes:
        certificates: fingerprints of the instance's API clients, by user name; needed only with `facts.fingerprint`.
    """

    facts: RequestFacts
    certificates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class RuleSource(Protocol):
    """Where rules come from; `tenancy.rule.service.RuleService` is one. Blocks."""

    def list_in_force(self) -> Mapping[InstanceId, RuleVersion]:
        """All rule sets that have rules."""
        ...

    def find_in_force(self, instance_ids: Collection[InstanceId]) -> Mapping[InstanceId, RuleVersion]:
        """Those of some instances; without the ones that nobody has changed."""
        ...


class LineSource(Protocol):
    """Where weights come from, and which lines take requests. Blocks."""

    def list_lines(self) -> Mapping[InstanceId, tuple[Line, ...]]:
        """The lines of all instances that have lines of their own."""
        ...

    def lines_of(self, instance_id: InstanceId) -> tuple[Line, ...]:
        """The lines of one of them."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """An instance that is served here, frozen ones too: their lines say so. Rules: None if it has none."""

    instance_id: InstanceId
    name: str
    table: RoutingTable
    rules: RuleSet | None

    @property
    def routed(self) -> tuple[Line, ...]:
        return self.table.routes[self.name].lines

    @property
    def lines(self) -> tuple[LineId, ...]:
        return tuple(line.line_id for line in self.routed)


class InstanceDirectory:
    """Names of instances, their rules, and the lines that serve them. Thread-safe.

    Args:
        instances: in the platform database.
        clock: ages what is remembered of unknown names.
        rules: None: nobody has rules.
        lines: None: as contracted, all of one weight, and all take requests.
    """

    def __init__(
        self,
        instances: InstanceService,
        *,
        clock: Clock,
        rules: RuleSource | None = None,
        lines: LineSource | None = None,
    ) -> None:
        self._instances = instances
        self._clock = clock
        self._rule_source = rules
        self._line_source = lines
        self._lock = threading.Lock()
        self._following = threading.Lock()
        # Changed under the lock, an entry at a time; entries never change, so readers take none.
        self._by_name: dict[str, _Known] = {}
        self._by_id: dict[InstanceId, _Known] = {}
        self._versions: dict[InstanceId, int] = {}
        self._rules: dict[InstanceId, RuleVersion] = {}
        self._lines: dict[InstanceId, tuple[Line, ...]] = {}
        self._unknown: dict[str, float] = {}
        self._change = 0

    def load(self) -> list[InstanceId]:
        """Read all instances that are served; call it once at start. Returns their ids."""
        # First: what changes while the pages are read is read again.
        self._change = self._instances.last_change()
        if self._rule_source is not None:
            self._rules = dict(self._rule_source.list_in_force())
        if self._line_source is not None:
            self._lines = dict(self._line_source.list_lines())
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
                self._read_routing(instances)
                for instance in instances:
                    self.note(instance)
                    changed[instance.instance_id] = instance
                self._change = change

    def has_rules(self, name: str) -> bool:
        """Whether `find` wants to know the caller of this instance. Never blocks."""
        known = self._by_name.get(name)
        return known is not None and known.rules is not None

    def find(self, name: str, *, request_key: str, caller: Caller | None = None) -> Address | None:
        """Where to send a request, from memory; None when `look_up` has to be asked. Never blocks.

        Raises:
            InstanceNotFound: asked for a moment ago and unknown.
            RoutingError: by the instance's rules no line takes the request, or none takes any.
        """
        known = self._find_known(name)
        return None if known is None else _address(known, request_key, caller)

    def find_for_control(self, name: str) -> Address | None:
        """As `find`, for what control does about the instance: neither rules nor lines out of service hold that up.

        Raises:
            InstanceNotFound: asked for a moment ago and unknown.
        """
        known = self._find_known(name)
        return None if known is None else Address(instance_id=known.instance_id, line_id=known.lines[0])

    def look_up(self, name: str) -> None:
        """Learn of a name that `find` does not know, from the platform database. Blocks.

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
        # Not while changes are followed: what was read before one of them must not be noted after it.
        with self._following:
            self._read_routing([instance])
            self.note(instance)

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
                known = self._know(instance)
                self._unknown.pop(instance.name, None)
                self._by_id[instance.instance_id] = known
                self._by_name[instance.name] = known
            else:
                self._by_id.pop(instance.instance_id, None)
                self._by_name.pop(instance.name, None)

    def _find_known(self, name: str) -> _Known | None:
        known = self._by_name.get(name)
        if known is None and (not is_name(name) or self._unknown.get(name, 0.0) > self._clock.monotonic()):
            # No instance can have such a name, or none had it just now: nothing to ask, and nothing to remember.
            raise _not_found()
        return known

    def _read_routing(self, instances: Sequence[Instance]) -> None:
        """Read rules and lines of those that have lines of their own."""
        own = [each.instance_id for each in instances if each.is_kept and not _is_shared(each)]
        rules = {} if self._rule_source is None else self._rule_source.find_in_force(own)
        source = self._line_source
        lines = {} if source is None else {each: source.lines_of(each) for each in own}
        with self._lock:
            self._rules.update(rules)
            self._lines.update(lines)

    def _know(self, instance: Instance) -> _Known:
        lines, rules = contracted_lines(instance), NO_RULES
        if not _is_shared(instance):
            lines = self._lines.get(instance.instance_id, lines)
            version = self._rules.get(instance.instance_id)
            rules = NO_RULES if version is None else version.rules
        route = Route(instance=instance.name, lines=lines)
        return _Known(
            instance.instance_id, instance.name, RoutingTable.of(route), rules if rules.rules else None
        )


def _is_shared(instance: Instance) -> bool:
    """Whether its line serves others, too: then there is nothing to choose from."""
    return edition(instance.edition).server == "shared"


def _address(known: _Known, request_key: str, caller: Caller | None) -> Address:
    if known.rules is None or caller is None:
        line_id = choose_line(known.table, known.name, request_key=request_key)
    else:
        decision = decide(known.rules, caller.facts, caller.certificates)
        choice = choose(decision, known.routed, request_key=request_key)
        if not isinstance(choice, LineChosen):
            raise choice.error
        line_id = choice.line_id
    return Address(instance_id=known.instance_id, line_id=line_id)


def _not_found() -> InstanceNotFound:
    return InstanceNotFound("There is no such instance.")
