"""What the front is to be, made anew whenever something that it is made of has changed.

The platform database says by the number of its last event that something has; who may call an instance lies in the
instance's own database, see `access_book`. Denials end by themselves, certificates are replaced on the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.core.clock import Clock
from app.core.ids import InstanceId, LineId
from app.operations.front.access_book import AccessBook
from app.operations.front.default_certificate import DefaultCertificate, DefaultPem
from app.operations.front.state import FrontSources, LeftOut, build_state
from lb.front.state import FrontState
from tenancy import InstanceService
from tenancy.front.denied_service import DeniedNetworkService
from tenancy.front.host import HostRecord
from tenancy.front.host_service import HostService
from tenancy.line.record import ServedInstance
from tenancy.line.service import LineService
from tenancy.rule.service import RuleService

_log = logging.getLogger(__name__)

_ANYWAY_EVERY: Final = timedelta(seconds=10)
"""What has changed without an event: a certificate on the disk, the end of a denial."""
_WAIT_FOR_ACCESS: Final = timedelta(seconds=30)
"""How long a first state waits until every instance has said who may call it. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredParts:
    """Whom it asks.

    Attributes:
        address_of: where the front reaches a line.
        control: where it reaches control.
    """

    instances: InstanceService
    lines: LineService
    rules: RuleService
    hosts: HostService
    denied: DeniedNetworkService
    access: AccessBook
    certificate: DefaultCertificate
    address_of: Callable[[LineId], str]
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What the front is to be.

    Attributes:
        number: grows with every change.
        built_at: when it was found out.
        hosts: whose certificates are in it, or should be.
    """

    number: int
    built_at: datetime
    state: FrontState
    left_out: tuple[LeftOut, ...]
    hosts: tuple[HostRecord, ...]
    certificate: DefaultPem


class DesiredFront:
    """Finds out what the front is to be. Blocking; one thread at a time.

    Args:
        parts: see `DesiredParts`.
        clock: ages what is known.
    """

    def __init__(self, parts: DesiredParts, *, clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self._known: Desired | None = None
        self._change = -1
        self._served: tuple[ServedInstance, ...] = ()
        self._access = -1
        self._began = clock.monotonic()
        self._looked_at = float("-inf")

    def look(self) -> Desired | None:
        """What it is to be; None while that is not known yet.

        Raises:
            DatabaseUnavailable: the platform's; what was known stays.
            DomainError, OSError: there is no certificate.
        """
        parts = self._parts
        change = parts.instances.last_change()
        now = self._clock.monotonic()
        access = parts.access.changes
        is_due = change != self._change or now - self._looked_at >= _ANYWAY_EVERY.total_seconds()
        if is_due:
            self._served = tuple(parts.lines.list_served())
        if not is_due and access == self._access:
            return self._known
        if self._known is None and not parts.access.is_complete(self.served) and not self._has_waited(now):
            return None
        self._known = self._build()
        # Only now: what could not be built is tried again at the next look, and its failure said again.
        self._change, self._access, self._looked_at = change, access, now
        return self._known

    @property
    def served(self) -> list[InstanceId]:
        """The instances that are served, as of the last look."""
        return [each.instance_id for each in self._served]

    def _has_waited(self, now: float) -> bool:
        return now - self._began >= _WAIT_FOR_ACCESS.total_seconds()

    def _build(self) -> Desired:
        parts, known = self._parts, self._known
        certificate = parts.certificate.read()
        hosts, damaged = parts.hosts.list_served()
        access = {each.instance_id: parts.access.find(each.instance_id) for each in self._served}
        sources = FrontSources(
            served=self._served,
            address_of=parts.address_of,
            rules={each: version.rules for each, version in parts.rules.list_in_force().items()},
            access={each: found for each, found in access.items() if found is not None},
            hosts=tuple(hosts),
            denied=tuple(each.network for each in parts.denied.list_in_force()),
            control=parts.control,
            default_pem=certificate.pem,
        )
        state, left_out = build_state(sources)
        left_out += tuple(LeftOut(kind="host", name=each.host, why="host_key_damaged") for each in damaged)
        is_new = known is None or (state, left_out) != (known.state, known.left_out)
        return Desired(
            number=(0 if known is None else known.number) + is_new,
            built_at=self._clock.now() if known is None or is_new else known.built_at,
            state=state,
            left_out=left_out,
            hosts=tuple(sorted([each.record for each in hosts] + damaged, key=lambda each: each.host)),
            certificate=certificate,
        )
