"""The port behind which a Firm Security Box keeps its keys and signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from fsb_gateway.error import BoxSpecInvalid
from fsb_gateway.job import Algorithm, check_name

DriverName = Literal["software"]

# A minute per operation is far beyond any dongle; more is a unit mistaken for another.
_OPERATION_TIME_MAX = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSpec:
    """What a box is and whom it serves.

    Attributes:
        pool: the pool it belongs to; a pool comes into being with its first box.
        operation_time: how long one programming operation takes; the software driver keeps to it.
    """

    name: str
    pool: str
    driver: DriverName = "software"
    operation_time: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySlot:
    """A firm key in a box, bound to the one instance that may use it.

    Attributes:
        header: protected header of everything this key signs, as a base64url segment.
    """

    firm_code: int
    instance_id: str
    algorithm: Algorithm
    header: str


class BoxDriver(Protocol):
    """One box's keys. Used by one thread only, except `slots` and `unreadable`, which any thread may read."""

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """The key slots by firm code."""
        ...

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes whose key is there and cannot be opened; they have no slot until somebody mends it."""
        ...

    def reload(self) -> None:
        """Look for firm keys that were installed or mended since."""
        ...

    def forget(self, firm_code: int) -> None:
        """Give up the slot of a firm key that is being destroyed; nothing happens if there is none."""
        ...

    def sign(self, firm_code: int, message: bytes) -> bytes:
        """Sign with the firm code's key: r‖s for ES256, 64 bytes for Ed25519."""
        ...

    def close(self) -> None:
        """Forget the keys."""
        ...


def check_spec(spec: BoxSpec) -> None:
    """Refuse a box that cannot be set up.

    Raises:
        JobMalformed: the name or pool is not a name.
        BoxSpecInvalid: the time per operation is negative or absurd.
    """
    check_name("name", spec.name)
    check_name("pool", spec.pool)
    if not timedelta(0) <= spec.operation_time <= _OPERATION_TIME_MAX:
        raise BoxSpecInvalid("the time per operation is out of range", field="operation_time_seconds")
