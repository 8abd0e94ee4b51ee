"""A gateway of boxes that remembers what it was told, and whose keys are where it was told to bring them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from hashlib import sha256

import anyio.lowlevel

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.error import (
    BoxBusy,
    BoxDisconnected,
    BoxLast,
    BoxSpecInvalid,
    BoxUnknown,
    FirmCodeNotOwned,
    FirmKeyConflict,
    FirmKeyMissing,
    PoolUnknown,
    TokenTaken,
)
from fsb_gateway.report import BoxCondition, BoxReport, FirmKeyReport, FormerKey, PoolReport
from tests.fake.clock import FakeClock
from tests.service.pki import issue


@dataclass
class FakeBox:
    """A box as the gateway sees it; tests set how it is."""

    spec: BoxSpec
    condition: BoxCondition = "ready"
    running: int = 0
    transactions_low: bool = False
    puts: int = 1


@dataclass
class FakeGateway:
    """`tenancy.box.port.BoxGateway`. Fails while `failures` holds errors.

    Attributes:
        keys: instance and pool of each firm code.
        held: who holds the key of a firm code, and its id.
        away: boxes that do not answer.
        calls: what was done to keys, in order.
        condition_of_new: how boxes are that it is told of for the first time.
        failures_of: with what it refuses to be told of a box; `refused`: how often it did.
    """

    clock: Clock = field(default_factory=FakeClock)
    rack: dict[str, FakeBox] = field(default_factory=dict)
    keys: dict[int, tuple[str, str]] = field(default_factory=dict)
    held: dict[int, dict[str, str]] = field(default_factory=dict)
    former: dict[int, tuple[FormerKey, ...]] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    failures: list[Exception] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    condition_of_new: BoxCondition = "ready"
    failures_of: dict[str, Exception] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def specs(self) -> dict[str, BoxSpec]:
        """What it was told, by name."""
        return {name: box.spec for name, box in self.rack.items()}

    async def ensure_box(self, spec: BoxSpec) -> object:
        await self._begin()
        if spec.name in self.failures_of:
            self.refused[spec.name] += 1
            raise self.failures_of[spec.name]
        self._check_fits(spec)
        known = self.rack.get(spec.name)
        if known is None:
            self.rack[spec.name] = FakeBox(spec, condition=self.condition_of_new)
        else:
            known.spec, known.puts = spec, known.puts + 1
        return None

    async def remove_box(self, name: str) -> None:
        await self._begin()
        if name not in self.rack:
            return
        for firm_code, boxes in self.held.items():
            if set(boxes) == {name}:
                raise BoxLast("the only one", box=name, firm_code=firm_code)
        if self.rack[name].running:
            raise BoxBusy("has work", box=name)
        del self.rack[name]
        for boxes in self.held.values():
            boxes.pop(name, None)

    async def ensure_firm_key(self, instance_id: str, firm_code: int, *, pool: str) -> FirmKeyReport:
        await self._begin()
        members = [box.spec.name for box in self.rack.values() if box.spec.pool == pool]
        if not members:
            raise PoolUnknown("no such pool", pool=pool)
        self._check_owner(instance_id, firm_code)
        if firm_code in self.retired:
            raise FirmKeyConflict("retired", firm_code=firm_code)
        self.keys.setdefault(firm_code, (instance_id, pool))
        if self.away.issuperset(members):
            raise BoxDisconnected("all away", box=members[0])
        boxes = self.held.setdefault(firm_code, {})
        for name in members:
            if name not in self.away:
                boxes[name] = self._key_id(firm_code)
        return self._report(firm_code)

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> None:
        await self._begin()
        self._check_owner(instance_id, firm_code)
        self.keys.pop(firm_code, None)
        self.held.pop(firm_code, None)

    async def boxes(self) -> tuple[BoxReport, ...]:
        await self._begin()
        return tuple(self._box_report(box) for box in self.rack.values())

    async def pools(self) -> tuple[PoolReport, ...]:
        await self._begin()
        names = sorted({box.spec.pool for box in self.rack.values()})
        return tuple(self._pool_report(name) for name in names)

    async def firm_keys(self) -> tuple[FirmKeyReport, ...]:
        await self._begin()
        return tuple(self._report(firm_code) for firm_code in sorted(self.keys))

    async def copy_firm_key(self, firm_code: int, *, to: str) -> FirmKeyReport:
        await self._begin()
        self._check_box(to)
        if firm_code not in self.keys or not self.held.get(firm_code):
            raise FirmKeyMissing("no key", firm_code=firm_code)
        if self.away.issuperset(self.held[firm_code]):
            raise BoxDisconnected("no box to copy from", firm_code=firm_code)
        self.held[firm_code][to] = self._key_id(firm_code)
        self.calls.append(f"copy {firm_code} {to}")
        return self._report(firm_code)

    async def drop_firm_key(self, firm_code: int, *, box: str) -> None:
        await self._begin()
        if box not in self.rack:
            raise BoxUnknown("no such box", box=box)
        boxes = self.held.get(firm_code, {})
        if box not in boxes:
            return
        if self.away.issuperset(boxes.keys() - {box}):
            raise BoxLast("the only one that answers", box=box)
        self._check_box(box)
        del boxes[box]
        self.calls.append(f"drop {firm_code} {box}")

    async def rotate_firm_key(self, firm_code: int, *, key_id: str) -> FirmKeyReport:
        await self._begin()
        boxes = self.held.get(firm_code)
        if not boxes:
            raise FirmKeyMissing("no key", firm_code=firm_code)
        for name in boxes:
            self._check_box(name)
        if self._key_id(firm_code) != key_id:
            old = self._report(firm_code)
            gone = FormerKey(key_id=old.key_id, fingerprint=old.fingerprint, retired_at=self.clock.now())
            self.former[firm_code] = (gone, *self.former.get(firm_code, ()))
            self.held[firm_code] = dict.fromkeys(boxes, key_id)
            self.calls.append(f"rotate {firm_code} {key_id}")
        return self._report(firm_code)

    async def retire_firm_key(self, firm_code: int) -> FirmKeyReport:
        await self._begin()
        if firm_code not in self.keys:
            raise FirmKeyMissing("no key", firm_code=firm_code)
        self.retired.add(firm_code)
        for name in self.held[firm_code]:
            self._check_box(name)
        self.held[firm_code].clear()
        return self._report(firm_code)

    async def _begin(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)

    def _check_fits(self, spec: BoxSpec) -> None:
        for name, box in self.rack.items():
            if name == spec.name and (box.spec.pool, box.spec.driver) != (spec.pool, spec.driver):
                raise BoxSpecInvalid("another pool or driver", box=name)
            if name != spec.name and box.spec.pool == spec.pool and box.spec.owner != spec.owner:
                raise BoxSpecInvalid("another owner", box=name)
            if name != spec.name and spec.token is not None and box.spec.token == spec.token:
                raise TokenTaken("another box's token", box=spec.name, holder=name)

    def _check_owner(self, instance_id: str, firm_code: int) -> None:
        if self.keys.get(firm_code, (instance_id,))[0] != instance_id:
            raise FirmCodeNotOwned("another instance's", firm_code=firm_code)

    def _check_box(self, name: str) -> None:
        if name not in self.rack:
            raise BoxUnknown("no such box", box=name)
        if name in self.away:
            raise BoxDisconnected("away", box=name)

    def _key_id(self, firm_code: int) -> str:
        return next(iter(self.held.get(firm_code, {}).values()), f"key_{firm_code}")

    def _report(self, firm_code: int) -> FirmKeyReport:
        instance_id, _ = self.keys[firm_code]
        now = self.clock.now()
        return FirmKeyReport(
            firm_code=firm_code,
            instance_id=instance_id,
            algorithm="ES256",
            state="retired" if firm_code in self.retired else "active",
            key_id=self._key_id(firm_code),
            fingerprint=sha256(self._key_id(firm_code).encode()).hexdigest(),
            made_at=now,
            expires_at=now + timedelta(days=3650),
            boxes=tuple(sorted(self.held.get(firm_code, {}))),
            certificate=_chain(),
            former=self.former.get(firm_code, ()),
        )

    def _box_report(self, box: FakeBox) -> BoxReport:
        spec = box.spec
        condition = "drained" if spec.drained and box.condition == "ready" else box.condition
        return BoxReport(
            name=spec.name,
            pool=spec.pool,
            works_for=spec.pool_at(self.clock.now()),
            owner=spec.owner,
            driver=spec.driver,
            condition="disconnected" if spec.name in self.away else condition,
            temperature="cold",
            utilisation=0.0,
            running=box.running,
            jobs_done=0,
            operations_done=0,
            busy_seconds=0.0,
            failures={},
            consecutive_failures=0,
            error=None,
            retry_at=None,
            lent_until=spec.lent_until,
            transactions=spec.transactions,
            transactions_left=None if spec.transactions == "unlimited" else spec.transactions_loaded,
            transactions_low=box.transactions_low,
            firm_codes=tuple(code for code in sorted(self.keys) if spec.name in self.held.get(code, {})),
            version=spec.version,
        )

    def _pool_report(self, name: str) -> PoolReport:
        reports = [self._box_report(box) for box in self.rack.values()]
        crew = [each for each in reports if each.works_for == name]
        ready = sum(each.condition == "ready" for each in crew)
        owner = next((box.spec.owner for box in self.rack.values() if box.spec.pool == name), None)
        if not any(each.pool == name for each in reports):
            raise PoolUnknown("no such pool", pool=name)
        return PoolReport(
            name=name,
            owner=owner,
            boxes=tuple(each.name for each in crew),
            ready_boxes=ready,
            reason=None if ready else "pool_without_box",
            waiting=0,
            waiting_operations=0,
            running=0,
            unknown=0,
            oldest_seconds=0.0,
            expected_wait_seconds=0.0,
            expected_wait_p95_seconds=0.0,
            utilisation=0.0,
            jobs_done=0,
            jobs_failed=0,
            operations_done=0,
            operation_seconds=None,
            instances=(),
        )


@cache
def _chain() -> str:
    return issue().pem + issue().pem
