"""Lines: who serves which instance, and everything a line needs to serve it.

A line talks to its instances' own databases and to the gateway, to nothing else: with control and the
platform database down it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import InstanceId, LineId
from app.licensing import (
    ContainerService,
    InstanceIdentity,
    ItemService,
    OrderService,
    TransferService,
)
from editions import WEB_SERVICE_CALLS, CallMeter, Meter, QuotaState, edition, quota_state, require_included
from tenancy import AccessCache, CredentialKey
from tenancy.database.port import ServedDatabases
from tenancy.lifecycle.errors import InstanceFrozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a request goes."""

    instance_id: InstanceId
    line_id: LineId


class TransferMaker(Protocol):
    """Makes the licence path of an instance."""

    def __call__(
        self, db: Database, identity: Callable[[], InstanceIdentity], note_open: Callable[[], None]
    ) -> TransferService:
        """Make it, given the instance's database, its identity, and whom to tell that a transfer may be open."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LineParts:
    """What all lines of a process are made of.

    Attributes:
        databases: opens instance databases.
        key: checks API clients' secrets.
        make_transfers: makes the licence path of an instance.
        name_of: an instance's name, for logs.
        wake: told that a call meter has something to write.
    """

    databases: ServedDatabases
    key: CredentialKey
    clock: Clock
    make_transfers: TransferMaker
    name_of: Callable[[InstanceId], str]
    wake: Callable[[InstanceRuntime], None]


class InstanceRuntime:
    """One instance as one line serves it. Made when it is first asked for; costs little while nobody calls.

    Args:
        name_of: the instance's name as it is now, for logs.
    """

    def __init__(
        self,
        address: Address,
        name_of: Callable[[InstanceId], str],
        *,
        db: Database,
        access: AccessCache,
        calls: CallMeter,
        make_transfers: TransferMaker,
    ) -> None:
        self.instance_id = address.instance_id
        self.line_id = address.line_id
        self._name_of = name_of
        self.db = db
        self.clock = db.clock
        self.access = access
        self.calls = calls
        self.items = ItemService(db)
        self.orders = OrderService(db)
        self.containers = ContainerService(db)
        # Not counted, for several threads note at once: which was the last, and with which nothing was left.
        self._last_opened = self._settled = object()
        self.transfers = make_transfers(db, self.identity, self._note_open)

    @property
    def name(self) -> str:
        """The instance's name, for logs."""
        return self._name_of(self.instance_id)

    def require_open(self) -> None:
        """Look whether callers are let in at all; the answer is a second old at most. May block for a read.

        Raises:
            InstanceFrozen: staff have frozen the instance, or its contract has ended.
            InstanceNotReady: it has not been configured yet.
        """
        if self.access.profile().frozen:
            raise InstanceFrozen("The instance is frozen; its data are kept, and nobody works with them.")

    def identity(self) -> InstanceIdentity:
        """The instance's firm code, pool and share of it, from its own database, at most a second old."""
        profile = self.access.profile()
        return InstanceIdentity(
            instance_id=profile.instance_id,
            firm_code=profile.firm_code,
            pool=profile.pool,
            box_share=edition(profile.edition).box_share,
        )

    @property
    def may_have_open_transfers(self) -> bool:
        """Whether one was opened, or seen, since this line last saw that none is in the making. Asks no database."""
        return self._last_opened is not self._settled

    def _note_open(self) -> None:
        self._last_opened = object()

    async def drive_transfers(self) -> None:
        """Take up transfers that nobody drives any more, and see whether any is left."""
        last_opened = self._last_opened
        await self.transfers.drive_due()
        await self.transfers.drive_forgotten()
        is_left = await self.transfers.has_open()
        # One that another line opened is to be looked after as well.
        self._settled = object() if is_left else last_opened

    async def drive_left_over(self, *, before: datetime) -> None:
        """Take up what a process left behind that does not live any more, and look after what does not end at once."""
        self._note_open()
        await self.transfers.drive_left_over(before=before)

    async def look_after_transfers(self) -> None:
        """Take up what nobody drives any more, and go on looking at what another line still drives."""
        self._note_open()
        await self.drive_transfers()

    def require_web_services(self) -> None:
        """Look at the contracts themselves, which may be newer than what the line holds. Blocks for a read.

        Raises:
            EditionFeatureUnavailable: the edition in force has no web services.
            NoContractInForce: nothing is contracted.
        """
        self.db.read(lambda reader: require_included(reader, WEB_SERVICE_CALLS))

    def quota(self, meter: Meter) -> QuotaState:
        """A meter as it stands in the database. Blocks for a read."""
        return self.db.read(lambda reader: quota_state(reader, meter, reader.now))


class Line:
    """One application server serving instances. Thread-safe.

    Args:
        line_id: its name; leases of web-service calls belong to it.
        parts: what every line is made of.
    """

    def __init__(self, line_id: LineId, parts: LineParts) -> None:
        self.line_id = line_id
        self._parts = parts
        # Held for moments only: an instance that takes long to open holds nobody up but those who want it.
        self._lock = threading.Lock()
        self._runtimes: dict[InstanceId, InstanceRuntime] = {}
        self._opening: dict[InstanceId, Future[InstanceRuntime]] = {}

    def find(self, instance_id: InstanceId) -> InstanceRuntime | None:
        """The instance if this line has served it already. Never blocks."""
        return self._runtimes.get(instance_id)

    def open(self, instance_id: InstanceId) -> InstanceRuntime:
        """The instance, ready to be served. May open its database; whoever wants the same meanwhile waits for that.

        Raises:
            InstanceDatabaseMissing: it has none.
        """
        with self._lock:
            runtime = self._runtimes.get(instance_id)
            if runtime is not None:
                return runtime
            begun = self._opening.get(instance_id)
            if begun is None:
                opening = self._opening[instance_id] = Future()
        return self._finish(instance_id, opening) if begun is None else begun.result()

    def forget(self, instance_id: InstanceId) -> InstanceRuntime | None:
        """Serve an instance no longer; returns it if it was. Never blocks: what is being opened now is not kept."""
        with self._lock:
            self._opening.pop(instance_id, None)
            return self._runtimes.pop(instance_id, None)

    def __iter__(self) -> Iterator[InstanceRuntime]:
        return iter(list(self._runtimes.values()))

    def _finish(self, instance_id: InstanceId, opening: Future[InstanceRuntime]) -> InstanceRuntime:
        """Open an instance, for everybody who waits for it."""
        try:
            runtime = self._make(instance_id)
            if not self._end_opening(instance_id, opening, runtime):
                # Forgotten meanwhile: it may lead to where the instance was before.
                runtime = self.open(instance_id)
        except BaseException as error:
            self._end_opening(instance_id, opening, None)
            opening.set_exception(error)
            raise
        opening.set_result(runtime)
        return runtime

    def _end_opening(
        self, instance_id: InstanceId, opening: Future[InstanceRuntime], runtime: InstanceRuntime | None
    ) -> bool:
        """Keep what was opened; False: somebody has had it forgotten."""
        with self._lock:
            if self._opening.get(instance_id) is not opening:
                return False
            del self._opening[instance_id]
            if runtime is not None:
                self._runtimes[instance_id] = runtime
            return True

    def _make(self, instance_id: InstanceId) -> InstanceRuntime:
        parts = self._parts
        db = parts.databases.open(instance_id)
        runtime: InstanceRuntime
        calls = CallMeter(db, self.line_id, clock=parts.clock, wake=lambda: parts.wake(runtime))
        runtime = InstanceRuntime(
            Address(instance_id=instance_id, line_id=self.line_id),
            parts.name_of,
            db=db,
            access=AccessCache(db, clock=parts.clock, key=parts.key),
            calls=calls,
            make_transfers=parts.make_transfers,
        )
        return runtime
