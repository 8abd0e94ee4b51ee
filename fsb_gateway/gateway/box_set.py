"""The boxes and pools of a gateway: which there are, which box works for which pool now, what survives a restart.

<directory>/box/<box>.json     the specification as last put: a gateway that starts anew works without control
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.core.clock import Clock
from app.core.file import remove_file, replace_file
from fsb_gateway.box_driver import BoxSpec, check_spec
from fsb_gateway.box_port import Box
from fsb_gateway.engine.journal import remove_journal
from fsb_gateway.error import (
    BoxBusy,
    BoxSpecInvalid,
    BoxUnknown,
    FsbError,
    FsbUnavailable,
    PoolUnknown,
    TokenTaken,
)
from fsb_gateway.gateway.pool import Pool
from fsb_gateway.gateway.seat import Seat, loan_end
from fsb_gateway.job import check_name
from fsb_gateway.wire import decode_spec, encode_spec

_log = logging.getLogger(__name__)

MakeBox = Callable[[BoxSpec], Box]
"""Makes a box; called on the event loop, so it leaves what takes long to the box's own thread or process."""


@dataclass(frozen=True, slots=True)
class _Crews:
    """Who works for whom, until the next loan ends."""

    by_pool: dict[str, tuple[Seat, ...]]
    until: datetime | None


class BoxSet:
    """All boxes and pools. Lives on the event loop's thread.

    Attributes:
        seats: by the box's name.
        pools: by name; a pool is there as long as a box belongs to it.
    """

    def __init__(self, directory: Path, *, clock: Clock, make_box: MakeBox) -> None:
        """Use the gateway's directory.

        Args:
            directory: with `journals`, `slots` and `box` below it.
        """
        self.seats: dict[str, Seat] = {}
        self.pools: dict[str, Pool] = {}
        self._directory = directory
        self._clock = clock
        self._make_box = make_box
        self._crews = _Crews({}, None)
        self._owned: dict[str, str] = {}
        self._on_change: Callable[[Seat], None] = lambda seat: None

    def on_change(self, listener: Callable[[Seat], None]) -> None:
        """Call this whenever a box may have become able or unable to work."""
        self._on_change = listener

    def seat(self, name: str) -> Seat:
        """A box.

        Raises:
            BoxUnknown: there is none of this name.
        """
        seat = self.seats.get(name)
        if seat is None:
            raise BoxUnknown(f"there is no box {name}", box=name)
        return seat

    def pool(self, name: str) -> Pool:
        """A pool.

        Raises:
            PoolUnknown: there is none of this name.
        """
        pool = self.pools.get(name)
        if pool is None:
            raise PoolUnknown(f"there is no pool {name}", pool=name)
        return pool

    def pool_of(self, instance_id: str) -> Pool | None:
        """The instance's own pool, if it has one here."""
        name = self._owned.get(instance_id)
        return None if name is None else self.pools[name]

    def crew(self, pool: str, now: datetime) -> tuple[Seat, ...]:
        """The boxes that work for a pool now, lent ones included."""
        if self._crews.until is not None and now >= self._crews.until:
            self._arrange()
        return self._crews.by_pool.get(pool, ())

    def members(self, pool: str, now: datetime) -> Iterator[Seat]:
        """The boxes that work for a pool now, and those that belong to it and are lent to another."""
        crew = self.crew(pool, now)
        yield from crew
        yield from (seat for seat in self.seats.values() if seat.spec.pool == pool and seat not in crew)

    def next_return(self, now: datetime) -> datetime | None:
        """When the next loan ends."""
        self.crew("", now)
        return self._crews.until

    async def load(self) -> None:
        """Bring up the boxes that were there when the gateway last worked. Call it once, before any other."""
        for spec in await asyncio.to_thread(self._read_specs):
            if spec.name not in self.seats and await self._has_own_token(spec):
                self._seat(spec)
        self._arrange()

    async def ensure(self, spec: BoxSpec) -> Seat:
        """Set up a box, or change it; one that stopped looks again whether it can work.

        Raises:
            BoxSpecInvalid: the box exists in another pool or with another driver, or its pool has another owner, or
                unfinished jobs of others than the new owner.
            TokenTaken: its token is another box's.
        """
        check_spec(spec)
        await asyncio.to_thread(check_own_token, spec, self._specs())
        seat = self.seats.get(spec.name)
        self._check_fits(spec, seat)
        try:
            if spec.pool in self.pools:
                # While this is written, nobody joins who would not belong there afterwards.
                self.pools[spec.pool].owner = spec.owner
            await asyncio.to_thread(self._write_spec, spec)
        finally:
            self._arrange()
        if seat is None:
            seat = self._seat(spec)
        else:
            before, seat.spec = seat.spec, spec
            self._arrange()
            await self._configure(seat, before)
            if spec.operation_time != before.operation_time and spec.driver == "software":
                self._follow_pace(seat)
        self._arrange()
        self._on_change(seat)
        return seat

    async def configure(self, seat: Seat) -> None:
        """Tell a box what it has missed while it was away."""
        try:
            await seat.box.configure(seat.spec)
        except FsbUnavailable:
            _log.warning("box %s cannot be configured now", seat.name)

    async def remove(self, name: str) -> None:
        """Take a box out of service, with its pool if it was the last one, and forget all that it has on disk.

        Safe to repeat; nothing happens if there is none.

        Raises:
            BoxBusy: it has work, or is the last one for work that waits.
            BoxJournalUnwritable: its journal cannot be removed; it is out of service all the same.
            JobMalformed: that is no name.
        """
        check_name("box", name)
        seat = self.seats.get(name)
        if seat is not None:
            self._check_idle(seat)
            del self.seats[name]
            self._arrange()
            await seat.box.close()
        await asyncio.to_thread(self._remove_files, name)

    async def close(self) -> None:
        """Let every box finish what it has, and stop it."""
        await asyncio.gather(*(seat.box.close() for seat in self.seats.values()))

    def _seat(self, spec: BoxSpec) -> Seat:
        seat = Seat(self._make_box(spec), spec, at=self._clock.monotonic())
        self.seats[spec.name] = seat
        seat.box.on_change(lambda: self._on_change(seat))
        return seat

    async def _configure(self, seat: Seat, before: BoxSpec) -> None:
        if seat.spec not in (before, seat.box.spec):
            await self.configure(seat)
        elif not seat.box.ready or seat.box.unreadable:
            try:
                await seat.box.reload()
            except FsbUnavailable as error:
                _log.warning("box %s still cannot work: %s", seat.name, error.code)

    def _follow_pace(self, seat: Seat) -> None:
        """Expect the new pace at once where the box works now, and where it belongs. A token's is only measured."""
        now, at = self._clock.now(), self._clock.monotonic()
        for name in {seat.spec.pool, seat.spec.pool_at(now)} & self.pools.keys():
            crew = self.crew(name, now) or (seat,)
            times = [each.spec.operation_time for each in crew if each.spec.driver == "software"]
            if times:
                self.pools[name].set_pace(times, at=at)

    def _specs(self) -> list[BoxSpec]:
        return [seat.spec for seat in self.seats.values()]

    async def _has_own_token(self, spec: BoxSpec) -> bool:
        try:
            await asyncio.to_thread(check_own_token, spec, self._specs())
        except TokenTaken as error:
            _log.error("box %s is left out: %s", spec.name, error)
            return False
        return True

    def _check_fits(self, spec: BoxSpec, seat: Seat | None) -> None:
        if seat is not None and (seat.spec.pool, seat.spec.driver) != (spec.pool, spec.driver):
            raise BoxSpecInvalid(
                f"box {spec.name} exists in another pool or with another driver", box=spec.name
            )
        others = (other for other in self.seats.values() if other.spec.pool == spec.pool)
        if any(other.name != spec.name and other.spec.owner != spec.owner for other in others):
            raise BoxSpecInvalid(f"pool {spec.pool} has another owner", box=spec.name, field="owner")
        pool = self.pools.get(spec.pool)
        if pool is not None and spec.owner is not None and pool.instances() - {spec.owner}:
            raise BoxSpecInvalid(
                f"pool {spec.pool} has unfinished jobs of others", box=spec.name, field="owner"
            )

    def _check_idle(self, seat: Seat) -> None:
        now = self._clock.now()
        has_work = seat.outstanding or any(now < entry.job.deadline_at for entry in seat.unknown.values())
        pool = self.pools[seat.spec.pool]
        is_last = not any(other.spec.pool == pool.name for other in self.seats.values() if other is not seat)
        if has_work or (is_last and (len(pool.queue) or pool.held)):
            raise BoxBusy(f"box {seat.name} has work; it is not taken out of service", box=seat.name)

    def _arrange(self) -> None:
        """Settle which pools there are, and who works for them."""
        now = self._clock.now()
        crews: dict[str, tuple[Seat, ...]] = {}
        owners: dict[str, str | None] = {}
        for seat in self.seats.values():
            owners[seat.spec.pool] = seat.spec.owner
            pool = seat.spec.pool_at(now)
            crews[pool] = (*crews.get(pool, ()), seat)
        for name in self.pools.keys() - owners.keys():
            del self.pools[name]
        for seat in self.seats.values():
            name, pace = seat.spec.pool, seat.spec.operation_time
            if name not in self.pools:
                self.pools[name] = Pool(name, seat.spec.owner, operation_time=pace)
            self.pools[name].owner = seat.spec.owner
        self._owned = {owner: name for name, owner in owners.items() if owner is not None}
        ends = (loan_end(seat.spec, now) for seat in self.seats.values())
        self._crews = _Crews(crews, min((end for end in ends if end is not None), default=None))

    def _read_specs(self) -> list[BoxSpec]:
        specs: list[BoxSpec] = []
        for path in sorted((self._directory / "box").glob("*.json")):
            try:
                specs.append(decode_spec(path.read_bytes(), name=path.stem))
            except (FsbError, OSError):
                _log.exception("the specification %s cannot be read; its box is left out", path.name)
        return specs

    def _write_spec(self, spec: BoxSpec) -> None:
        path = self._spec_path(spec.name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = encode_spec(spec)
        if not path.exists() or path.read_bytes() != content:
            replace_file(path, content)

    def _remove_files(self, name: str) -> None:
        """The specification first: without it nothing brings the box back."""
        if self._spec_path(name).exists():
            remove_file(self._spec_path(name))
        remove_journal(self._directory / "journals" / f"{name}.journal")
        shutil.rmtree(self._directory / "slots" / name, ignore_errors=True)

    def _spec_path(self, name: str) -> Path:
        return self._directory / "box" / f"{name}.json"


def check_own_token(spec: BoxSpec, others: Iterable[BoxSpec]) -> None:
    """Refuse a token that another box has, however the path of its library is written. Looks at the file system.

    Raises:
        TokenTaken: names that box.
    """
    if spec.token is None:
        return
    library = os.path.realpath(spec.token.module)
    for other in others:
        if other.name == spec.name or other.token is None or other.token.label != spec.token.label:
            continue
        if os.path.realpath(other.token.module) == library:
            raise TokenTaken(
                f"the token {spec.token.label} is that of box {other.name}", box=spec.name, holder=other.name
            )
