"""Firm keys between boxes: made in one, brought wrapped to others, exchanged, destroyed.

    ensure   generate in one box → record with its certificates → use → wrapped to every other box of the pool → use;
             one that is away, or out, is owed it, and gets it when it is back
    rotate   record the next → generate → wrapped to every box with the key → record → use in all → old one gone in all
    retire   record → gone in all

Everything may be repeated: each step is written down before the next, so a repeat after a kill goes on where it was.
A first key that a kill left without a record has signed nothing; the repeat makes another, and destroys it.
What signs changes only after every box concerned has answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from app.core.clock import Clock
from app.core.ids import new_id
from fsb_gateway.box_driver import KeyBinding
from fsb_gateway.error import (
    BoxDisconnected,
    BoxLast,
    FirmKeyConflict,
    FirmKeyMissing,
    FsbError,
    FsbUnavailable,
    PoolUnknown,
    PoolWithoutBox,
)
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.key_move import KeyMover, box_away, is_fit, signs_with
from fsb_gateway.gateway.seat import Seat
from fsb_gateway.job import Algorithm, check_firm_code, check_name
from fsb_gateway.key.record import (
    Chain,
    FirmKeyRecord,
    PlannedKey,
    certified_key,
    chain_pem,
    check_algorithm,
    check_owner,
    fingerprint,
    read_chain,
)
from fsb_gateway.key.store import Keystore
from fsb_gateway.report import FirmKeyReport, FormerKey

_log = logging.getLogger(__name__)
T = TypeVar("T")


class FirmKeys:
    """Moves firm keys. Nothing here runs at the same time as anything else here: the gateway sees to that.

    Attributes:
        owners: the instance of each firm code whose key signs, as far as the registry can be read.
        retired: firm codes whose key signs no more, whatever a box still holds.
        owed: firm codes whose key a box is to get when it can take it, by the box's name.
    """

    def __init__(self, keystore: Keystore, boxes: BoxSet, *, clock: Clock) -> None:
        self.owners: dict[int, str] = {}
        self.retired: set[int] = set()
        self.owed: dict[str, set[int]] = {}
        self._keystore = keystore
        self._boxes = boxes
        self._mover = KeyMover(boxes)
        self._clock = clock

    async def load(self) -> None:
        """Read whose the keys are."""
        for record in await asyncio.to_thread(self._keystore.records):
            self._note(record)

    async def ensure(
        self, instance_id: str, firm_code: int, *, pool: str, algorithm: Algorithm
    ) -> FirmKeyReport:
        """Make a firm key unless it is there; afterwards a box of the pool signs with it, at least one.

        So does every other one that is there. Those that are away, or out, are owed it; see `complete`.

        Raises:
            PoolUnknown: there is no box of the pool.
            FirmCodeNotOwned: the firm code belongs to another instance.
            FirmKeyConflict: the key exists with another algorithm, or has been retired.
            FirmKeyMissing: the key exists and no box has it.
            FsbUnavailable: no box of the pool can take it, or be given it.
        """
        check_name("instance_id", instance_id)
        check_name("pool", pool)
        check_firm_code(firm_code)
        members = [seat for seat in self._mover.everybody() if seat.spec.pool == pool]
        if not members:
            raise PoolUnknown(f"there is no pool {pool}", pool=pool)
        record = await self._find(instance_id, firm_code, algorithm)
        if record is None:
            binding = KeyBinding(
                key_id=new_id("key"), firm_code=firm_code, instance_id=instance_id, algorithm=algorithm
            )
            record = await self._make(binding, members)
        return self._report(await self._bring_to_pool(record, members))

    async def complete(self, seat: Seat) -> bool:
        """Bring a box the keys that it is owed; whether it has all of them now."""
        for firm_code in sorted(self.owed.get(seat.name, ())):
            try:
                record = await self._call(self._keystore.record, firm_code)
                if record is not None and record.chain is not None and record.retired_at is None:
                    await self._mover.bring(record, seat, self._mover.everybody())
                    await self._mover.tidy(record, seat)
                    await self._settle(record, had={seat.name})
            except FsbError as error:
                _log.warning(
                    "box %s cannot be given the key of firm code %s: %s", seat.name, firm_code, error.code
                )
                return False
        return True

    async def excuse(self, box: str) -> None:
        """Owe a box nothing any more: it is gone for good."""
        for firm_code in sorted(self.owed.get(box, ())):
            record = await self._call(self._keystore.record, firm_code)
            if record is not None:
                await self._settle(record, had={box})

    async def copy(self, firm_code: int, *, to: str) -> FirmKeyReport:
        """Bring a firm key into one more box, which signs with it from then on.

        Raises:
            BoxUnknown: there is no such box.
            FirmKeyMissing: no such key signs, or no box has it.
            FsbUnavailable: a box does not answer, or fails.
        """
        seat = self._boxes.seat(to)
        record = await self._active(firm_code)
        await self._mover.bring(record, seat, self._mover.everybody())
        await self._mover.tidy(record, seat)
        return self._report(await self._settle(record, had={to}))

    async def drop(self, firm_code: int, *, box: str) -> None:
        """Destroy a firm key in one box. Nothing happens if it is not there.

        Raises:
            BoxUnknown: there is no such box.
            BoxLast: no other box says, now that it is asked, that it has the key.
            BoxDisconnected: the box does not answer.
        """
        check_firm_code(firm_code)
        seat = self._boxes.seat(box)
        if not seat.was_seen:
            raise box_away(seat)
        record = await self._call(self._keystore.record, firm_code)
        if record is not None and box in record.owed:
            record = await self._settle(record, had={box})
        slot = seat.box.slot(firm_code)
        if slot is None and firm_code not in seat.box.unreadable:
            return
        if record is not None and record.retired_at is None:
            await self._check_elsewhere(record, seat)
        await seat.box.forget_key(firm_code)

    async def rotate(self, firm_code: int, *, key_id: str) -> FirmKeyReport:
        """Put a new key in the place of a firm key, in every box that has it; what the old one signed still verifies.

        Raises:
            FirmKeyMissing: no such key signs, or no box has it.
            FsbUnavailable: a box that has the key, or may have it, does not answer; the old key goes on signing.
        """
        check_name("key_id", key_id)
        record = await self._active(firm_code)
        if any(former.key_id == key_id for former in record.former):
            return self._report(record)
        holders = self._reachable(record)
        if record.binding.key_id != key_id:
            record = await self._bring_next(record, key_id, holders)
        for seat in holders:
            await self._mover.bring(record, seat, holders)
        for seat in holders:
            await self._mover.tidy(record, seat)
        return self._report(record)

    async def retire(self, firm_code: int) -> FirmKeyReport:
        """Destroy a firm key in every box. What it signed still verifies; the firm code stays its instance's.

        Raises:
            FirmKeyMissing: there is no such key.
            BoxDisconnected: a box that has the key, or may have it, does not answer; it signs no more all the same.
            FsbUnavailable: a box could not destroy it; all others have, and it signs no more all the same.
        """
        record = await self._call(self._keystore.retire, firm_code)
        if record is None or record.chain is None:
            raise FirmKeyMissing(f"there is no key for firm code {firm_code}", firm_code=firm_code)
        self._note(record)
        await self._forget(firm_code, self._suspected(record.binding.instance_id, firm_code, is_known=True))
        return self._report(record)

    async def remove(self, instance_id: str, firm_code: int) -> None:
        """Destroy a firm key with its certificates, everywhere; nothing happens if there is none.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            BoxDisconnected: a box that has the key, or may have it, does not answer.
            FsbUnavailable: a box could not destroy it; all others have.
        """
        check_name("instance_id", instance_id)
        check_firm_code(firm_code)
        record = await self._call(self._keystore.record, firm_code)
        if record is not None:
            check_owner(firm_code, record.binding.instance_id, instance_id)
        await self._forget(firm_code, self._suspected(instance_id, firm_code, is_known=record is not None))
        await asyncio.to_thread(self._keystore.remove_firm_key, instance_id, firm_code)
        self.owners.pop(firm_code, None)
        self.retired.discard(firm_code)
        self._owe(firm_code, ())

    async def reports(self) -> tuple[FirmKeyReport, ...]:
        """Every firm key that has been made."""
        records = await asyncio.to_thread(self._keystore.records)
        return tuple(self._report(record) for record in records if record.chain is not None)

    async def root_certificate(self) -> str:
        """The platform root as PEM; made at the first call."""
        root = await asyncio.to_thread(self._keystore.ensure_root)
        return root.public_bytes(Encoding.PEM).decode()

    async def check_not_last(self, seat: Seat) -> None:
        """Refuse to lose the only copy of a key that signs. Of a box never heard, only what others list is known.

        Raises:
            BoxLast: the box has one, or may have one.
        """
        for firm_code in sorted(self.owners):
            if seat.box.slot(firm_code) is not None:
                record = await self._call(self._keystore.record, firm_code)
                if record is not None and record.retired_at is None:
                    await self._check_elsewhere(record, seat)
            elif not seat.was_seen and not any(o is not seat for o in self._mover.holders(firm_code)):
                raise _last(seat, firm_code)

    async def _check_elsewhere(self, record: FirmKeyRecord, seat: Seat) -> None:
        """Refuse that a key leaves a box unless another one shows that it has it.

        Raises:
            BoxLast: none does.
        """
        if not await self._mover.is_held(record, but=seat):
            raise _last(seat, record.binding.firm_code)

    async def _find(self, instance_id: str, firm_code: int, algorithm: Algorithm) -> FirmKeyRecord | None:
        """The key of the instance, if it has been made."""
        record = await self._call(self._keystore.record, firm_code)
        if record is not None:
            check_owner(firm_code, record.binding.instance_id, instance_id)
            check_algorithm(firm_code, record.binding.algorithm, algorithm)
            if record.retired_at is not None:
                raise FirmKeyConflict(
                    f"the key of firm code {firm_code} has been retired", firm_code=firm_code
                )
        return record

    async def _make(self, binding: KeyBinding, members: Sequence[Seat]) -> FirmKeyRecord:
        """Let one box make the key, and write down whose it is, with its certificates."""
        public_key = await self._generate(binding, members)
        chain = await asyncio.to_thread(self._keystore.issue, binding, public_key)
        record = FirmKeyRecord(binding=binding, chain=chain, made_at=self._clock.now())
        await asyncio.to_thread(self._keystore.put_record, record)
        return record

    async def _generate(self, binding: KeyBinding, members: Iterable[Seat]) -> bytes:
        """In the first box that can."""
        failure: FsbUnavailable | None = None
        for seat in sorted(members, key=lambda seat: not is_fit(seat)):
            try:
                return await seat.box.generate_key(binding)
            except FsbUnavailable as error:
                failure = failure or error
        raise failure or PoolWithoutBox("there is no box for the key", firm_code=binding.firm_code)

    async def _bring_to_pool(self, record: FirmKeyRecord, members: Sequence[Seat]) -> FirmKeyRecord:
        """Let one box sign with the key at least; whoever cannot now is owed it."""
        had: set[str] = set()
        owed: set[str] = set()
        failure: FsbUnavailable | None = None
        for seat in sorted(members, key=lambda seat: not is_fit(seat)):
            if had and not is_fit(seat):
                # Nobody waits for a box that is in trouble when another one works.
                owed.update(() if signs_with(seat, record.binding) else {seat.name})
                continue
            try:
                await self._mover.bring(record, seat, members)
                await self._mover.tidy(record, seat)
                had.add(seat.name)
            except FsbUnavailable as error:
                failure = failure or error
                owed.update(() if signs_with(seat, record.binding) else {seat.name})
        if failure is not None and not had:
            raise failure
        return await self._settle(record, had=had, owed=owed)

    async def _settle(
        self, record: FirmKeyRecord, *, had: Set[str], owed: Set[str] = frozenset()
    ) -> FirmKeyRecord:
        """Write down who has the key now, and who is still to get it."""
        rest = tuple(sorted((set(record.owed) - had) | owed))
        if rest != record.owed:
            record = replace(record, owed=rest)
            await asyncio.to_thread(self._keystore.put_record, record)
        self._note(record)
        return record

    async def _bring_next(self, record: FirmKeyRecord, key_id: str, holders: Sequence[Seat]) -> FirmKeyRecord:
        """Make the next key, bring it to all, and write down that it is the one that signs."""
        binding = replace(record.binding, key_id=key_id)
        record = await self._plan(record, key_id, holders)
        chain = record.next.chain if record.next is not None else None
        source = None if chain is None else await self._mover.find_unused(binding, holders)
        if chain is None or source is None:
            source = holders[0]
            chain = await self._issue_next(record, binding, source)
        for seat in holders:
            if seat is not source:
                await self._mover.carry(binding, certified_key(chain), source=source, target=seat)
        return await self._exchange(record, binding, chain)

    async def _plan(self, record: FirmKeyRecord, key_id: str, holders: Iterable[Seat]) -> FirmKeyRecord:
        """Write the next id down; what another rotation left unfinished goes."""
        if record.next is not None and record.next.key_id == key_id:
            return record
        if record.next is not None:
            for seat in holders:
                await seat.box.forget_key(record.binding.firm_code, key_id=record.next.key_id)
        record = replace(record, next=PlannedKey(key_id=key_id))
        await asyncio.to_thread(self._keystore.put_record, record)
        return record

    async def _issue_next(self, record: FirmKeyRecord, binding: KeyBinding, source: Seat) -> Chain:
        public_key = await source.box.generate_key(binding)
        chain = await asyncio.to_thread(self._keystore.issue, binding, public_key)
        planned = replace(record, next=PlannedKey(key_id=binding.key_id, chain=chain))
        await asyncio.to_thread(self._keystore.put_record, planned)
        return chain

    async def _exchange(self, record: FirmKeyRecord, binding: KeyBinding, chain: Chain) -> FirmKeyRecord:
        now = self._clock.now()
        former = FormerKey(
            key_id=record.binding.key_id,
            fingerprint="" if record.chain is None else fingerprint(certified_key(record.chain)),
            retired_at=now,
        )
        record = replace(
            record, binding=binding, chain=chain, made_at=now, next=None, former=(former, *record.former)
        )
        await asyncio.to_thread(self._keystore.put_record, record)
        return record

    async def _active(self, firm_code: int) -> FirmKeyRecord:
        record = await self._call(self._keystore.record, firm_code)
        if record is None or record.chain is None or record.retired_at is not None:
            raise FirmKeyMissing(f"no key signs for firm code {firm_code}", firm_code=firm_code)
        return record

    async def _forget(self, firm_code: int, seats: Iterable[Seat]) -> None:
        """Destroy a key in all of these boxes that can; what kept the others from it is told last.

        Raises:
            FsbError: what the first of them said; `BoxDisconnected` if it does not answer, and may sign with the key.
        """
        errors: list[FsbError] = []
        for seat in seats:
            try:
                await seat.box.forget_key(firm_code)
            except BoxDisconnected:
                if not seat.was_seen or seat.box.slot(firm_code) or firm_code in seat.box.unreadable:
                    errors.append(box_away(seat))
            except FsbError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    async def _call(self, find: Callable[[int], T], firm_code: int) -> T:
        check_firm_code(firm_code)
        return await asyncio.to_thread(find, firm_code)

    def _reachable(self, record: FirmKeyRecord) -> list[Seat]:
        """The boxes that sign with the key, all of which answer.

        Raises:
            BoxDisconnected: one does not, or has never been heard and may have the key.
            FirmKeyMissing: there is none.
        """
        firm_code = record.binding.firm_code
        for seat in self._suspected(record.binding.instance_id, firm_code, is_known=True):
            if not seat.connected and (not seat.was_seen or seat.box.slot(firm_code) is not None):
                raise box_away(seat)
        holders = self._mover.holders(firm_code)
        if not holders:
            raise FirmKeyMissing(f"no box has the key of firm code {firm_code}", firm_code=firm_code)
        return holders

    def _suspected(self, instance_id: str, firm_code: int, *, is_known: bool) -> list[Seat]:
        """The boxes that may have anything of an instance's firm key; those of other instances only if it shows.

        Args:
            is_known: the firm code is the instance's. If not, whoever signs with it now is left alone, and boxes that
                were never heard are not waited for.
        """

        def may_have(seat: Seat) -> bool:
            slot = seat.box.slot(firm_code)
            if slot is not None:
                return slot.instance_id == instance_id
            is_open = seat.spec.owner in (None, instance_id) or seat.spec.lent_to is not None
            return (is_open and (is_known or seat.connected)) or firm_code in seat.box.unreadable

        return [seat for seat in self._mover.everybody() if may_have(seat)]

    def _note(self, record: FirmKeyRecord) -> None:
        firm_code = record.binding.firm_code
        self.owners.pop(firm_code, None)
        self.retired.discard(firm_code)
        if record.retired_at is not None:
            self.retired.add(firm_code)
        elif record.chain is not None:
            self.owners[firm_code] = record.binding.instance_id
        self._owe(firm_code, () if record.retired_at is not None else record.owed)

    def _owe(self, firm_code: int, boxes: Iterable[str]) -> None:
        for name in boxes:
            self.owed.setdefault(name, set()).add(firm_code)
        for name in [name for name in self.owed if name not in boxes]:
            self.owed[name].discard(firm_code)
            if not self.owed[name]:
                del self.owed[name]

    def _report(self, record: FirmKeyRecord) -> FirmKeyReport:
        chain = record.chain
        if chain is None:
            raise FirmKeyMissing("the key has not been made yet", firm_code=record.binding.firm_code)
        binding = record.binding
        return FirmKeyReport(
            firm_code=binding.firm_code,
            instance_id=binding.instance_id,
            algorithm=binding.algorithm,
            state=record.state,
            key_id=binding.key_id,
            fingerprint=fingerprint(certified_key(chain)),
            made_at=record.made_at,
            expires_at=read_chain(chain)[0].not_valid_after_utc,
            boxes=tuple(seat.name for seat in self._mover.everybody() if signs_with(seat, binding)),
            certificate=chain_pem(chain),
            former=record.former,
            owed=record.owed if record.retired_at is None else (),
        )


def _last(seat: Seat, firm_code: int) -> BoxLast:
    return BoxLast(
        f"box {seat.name} is the only one that is known to have the key of firm code {firm_code}",
        box=seat.name,
        firm_code=firm_code,
    )
