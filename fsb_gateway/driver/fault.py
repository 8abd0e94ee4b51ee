"""A box that fails on purpose, as often as it is told, to show what the rest makes of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from random import Random

from fsb_gateway.box_driver import BoxDriver, Faults, KeyBinding, KeySlot
from fsb_gateway.error import BoxOccupied, BoxPowerLost, BoxTimedOut

# About what a dongle's own time limit is; long enough to be seen in every queue.
ANSWER_TIME_LIMIT_SECONDS = 2.0


class FaultyDriver:
    """Another driver, with faults in `sign`; one draw per signature, which is one per job.

    Lost power comes in two halves, as often each: before the signature, and after the job's record is on disk. Of the
    second half the driver knows nothing: whoever records calls `after_record`.
    """

    def __init__(
        self,
        driver: BoxDriver,
        faults: Faults,
        *,
        stopping: threading.Event | None = None,
        random: Random | None = None,
        time_limit_seconds: float = ANSWER_TIME_LIMIT_SECONDS,
    ) -> None:
        """Wrap a driver.

        Args:
            faults: may be exchanged at any time.
            stopping: ends the waiting of a job that gets no answer.
            random: seeded, where faults must come again in the same order.
            time_limit_seconds: how long a job hangs that gets no answer.
        """
        self._driver = driver
        self._random = random if random is not None else Random()  # noqa: S311 - no secret hangs on it
        self._time_limit_seconds = time_limit_seconds
        self._stopping = stopping if stopping is not None else threading.Event()
        self._loses_power = False
        self.faults = faults

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """See `BoxDriver.slots`."""
        return self._driver.slots

    @property
    def unreadable(self) -> frozenset[int]:
        """See `BoxDriver.unreadable`."""
        return self._driver.unreadable

    def sign(self, slot: KeySlot, message: bytes) -> bytes:
        """Sign, or fail.

        Raises:
            BoxOccupied, BoxTimedOut, BoxPowerLost: by chance.
        """
        self._loses_power = False
        faults = self.faults
        if not faults.total:
            return self._driver.sign(slot, message)
        drawn = self._random.random()
        if drawn < faults.busy:
            raise BoxOccupied("the box is busy with something else")
        drawn -= faults.busy
        if drawn < faults.timeout:
            self._stopping.wait(self._time_limit_seconds)
            raise BoxTimedOut("the box did not answer in time")
        drawn -= faults.timeout
        if drawn < faults.lost_power / 2:
            raise BoxPowerLost("the box went away while it worked")
        drawn -= faults.lost_power / 2
        self._loses_power = drawn < faults.lost_power / 2
        wrong = not self._loses_power and drawn - faults.lost_power / 2 < faults.wrong_answer
        signature = self._driver.sign(slot, message)
        return _spoil(signature) if wrong else signature

    def after_record(self) -> None:
        """To be called once the job just signed is on disk, and before its result leaves.

        Raises:
            BoxPowerLost: by chance.
        """
        if self._loses_power:
            self._loses_power = False
            raise BoxPowerLost("the box went away after it had finished")

    def reload(self) -> None:
        """See `BoxDriver.reload`."""
        self._driver.reload()

    def has_new_pin(self) -> bool:
        """See `BoxDriver.has_new_pin`."""
        return self._driver.has_new_pin()

    def generate(self, binding: KeyBinding) -> bytes:
        """See `BoxDriver.generate`."""
        return self._driver.generate(binding)

    def use(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        """See `BoxDriver.use`."""
        self._driver.use(binding, chain)

    def forget(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        """See `BoxDriver.forget`."""
        self._driver.forget(firm_code, key_id=key_id, but=but)

    def transport_key(self) -> bytes:
        """See `BoxDriver.transport_key`."""
        return self._driver.transport_key()

    def export(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        """See `BoxDriver.export`."""
        return self._driver.export(firm_code, key_id, to=to)

    def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        """See `BoxDriver.import_key`."""
        self._driver.import_key(binding, wrapped, public_key)

    def close(self) -> None:
        """See `BoxDriver.close`."""
        self._driver.close()


def _spoil(signature: bytes) -> bytes:
    """Another signature of the same length."""
    return bytes((signature[0] ^ 1,)) + signature[1:]
