"""How a firm key gets from one box into another: wrapped, checked, then used. Every step may be repeated."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from fsb_gateway.box_driver import KeyBinding
from fsb_gateway.error import BoxDisconnected, FirmKeyConflict, FirmKeyMissing, FirmKeyUnfit, FsbError
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.seat import Seat
from fsb_gateway.key.record import Chain, FirmKeyRecord, certified_key

_log = logging.getLogger(__name__)


class KeyMover:
    """Brings firm keys into boxes."""

    def __init__(self, boxes: BoxSet) -> None:
        self._boxes = boxes

    async def bring(self, record: FirmKeyRecord, seat: Seat, sources: Iterable[Seat]) -> None:
        """Let a box sign with the key that signs; it gets the key from another one if it has not got it."""
        binding, chain = record.binding, record.chain
        slot = seat.box.slot(binding.firm_code)
        if chain is None or (slot is not None and slot.key_id == binding.key_id):
            return
        if not seat.connected:
            raise box_away(seat)
        if not await self._use(seat, binding, chain):
            source = await self._find_source(record, seat, sources)
            await self.carry(binding, certified_key(chain), source=source, target=seat)
            await seat.box.use_key(binding, chain)

    async def tidy(self, record: FirmKeyRecord, seat: Seat) -> None:
        """Destroy whatever else the box has of the firm code: former keys, and what killed steps left."""
        if record.next is None:
            await seat.box.forget_key(record.binding.firm_code, but=record.binding.key_id)

    async def is_held(self, record: FirmKeyRecord, *, but: Seat) -> bool:
        """Whether another box has the key that signs. The box is asked: what it listed may be in its token no more."""
        binding, chain = record.binding, record.chain
        others = [seat for seat in self.everybody() if seat is not but and signs_with(seat, binding)]
        for seat in others:
            if chain is None or not seat.connected:
                continue
            try:
                await seat.box.use_key(binding, chain)
            except FsbError as error:
                _log.warning(
                    "box %s shows no key of firm code %s: %s", seat.name, binding.firm_code, error.code
                )
                continue
            return True
        return False

    async def _use(self, seat: Seat, binding: KeyBinding, chain: Chain) -> bool:
        """Whether the box had the key already, from a step that was killed, and signs with it now."""
        try:
            await seat.box.use_key(binding, chain)
        except (FirmKeyMissing, FirmKeyUnfit):
            return False
        return True

    async def _find_source(self, record: FirmKeyRecord, target: Seat, sources: Iterable[Seat]) -> Seat:
        """A box that can give the key away: one that signs with it, or one that a killed step left it in."""
        binding = record.binding
        holders = [seat for seat in self.holders(binding.firm_code) if seat is not target]
        signing = [seat for seat in holders if signs_with(seat, binding)]
        for seat in signing:
            if seat.connected:
                return seat
        if signing:
            raise box_away(signing[0])
        others = [seat for seat in sources if seat is not target]
        found = await self.find_unused(binding, [seat for seat in others if seat.connected])
        if found is not None:
            return found
        for seat in others:
            if not seat.connected:
                raise box_away(seat)
        raise FirmKeyMissing(
            f"no box has the key of firm code {binding.firm_code}", firm_code=binding.firm_code
        )

    async def find_unused(self, binding: KeyBinding, seats: Iterable[Seat]) -> Seat | None:
        """A box that has a key, be it in use or not."""
        for seat in seats:
            try:
                await seat.box.export_key(
                    binding.firm_code, binding.key_id, to=await seat.box.transport_key()
                )
            except FirmKeyMissing:
                continue
            except FirmKeyUnfit:
                # It is there, and cannot leave.
                pass
            return seat
        return None

    async def carry(self, binding: KeyBinding, public_key: bytes, *, source: Seat, target: Seat) -> None:
        """Bring a key, wrapped, from one box to another, which does not use it yet."""
        transport = await target.box.transport_key()
        wrapped = await source.box.export_key(binding.firm_code, binding.key_id, to=transport)
        try:
            await target.box.import_key(binding, wrapped, public_key)
        except FirmKeyConflict:
            # A killed step let this box make a key of this id of its own, which nothing has been signed with.
            await target.box.forget_key(binding.firm_code, key_id=binding.key_id)
            await target.box.import_key(binding, wrapped, public_key)

    def everybody(self) -> list[Seat]:
        """Every box, by name: a repeat goes the same way."""
        return sorted(self._boxes.seats.values(), key=lambda seat: seat.name)

    def holders(self, firm_code: int) -> list[Seat]:
        """The boxes that sign with a key of a firm code, as far as is known."""
        return [seat for seat in self.everybody() if seat.box.slot(firm_code) is not None]


def signs_with(seat: Seat, binding: KeyBinding) -> bool:
    """Whether the box signs with this very key."""
    slot = seat.box.slot(binding.firm_code)
    return slot is not None and slot.key_id == binding.key_id


def is_fit(seat: Seat) -> bool:
    """Whether nothing is known to be wrong with the box."""
    return seat.box.ready and seat.health.is_in


def box_away(seat: Seat) -> BoxDisconnected:
    """The refusal of what needs a box that is not there."""
    return BoxDisconnected(f"box {seat.name} does not answer", box=seat.name)
