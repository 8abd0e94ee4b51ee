"""The keys of a box at work: opened on the thread that uses them, opened again when they were away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

from fsb_gateway.box_driver import BoxDriver, BoxSpec, KeySlot
from fsb_gateway.driver.fault import FaultyDriver
from fsb_gateway.error import BoxFailed, FsbError, TokenAbsent, TokenPinWrong

_log = logging.getLogger(__name__)
T = TypeVar("T")

OpenDriver = Callable[[BoxSpec, threading.Event], BoxDriver]
"""Opens a box's keys, on the thread that will use them; what it waits for ends when the event is set."""

KeyTrouble = Literal["token_absent", "token_pin_wrong", "disconnected"]


class BoxKeys:
    """A box's driver, and what is wrong with it. Belongs to the device thread; any thread may read the slots."""

    def __init__(self, open_driver: OpenDriver, stopping: threading.Event) -> None:
        """Not open yet."""
        self._open_driver = open_driver
        self._stopping = stopping
        self._token: Literal["token_absent", "token_pin_wrong"] | None = None
        self._error: FsbError | None = None
        self.driver: BoxDriver | None = None

    @property
    def trouble(self) -> KeyTrouble | None:
        """Why the keys cannot be used; None while they can. A token that fails in some other way counts as absent."""
        if self._token is not None:
            return self._token
        return "disconnected" if self.driver is None else None

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """The keys in use, by firm code."""
        driver = self.driver
        return {} if driver is None else driver.slots

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        driver = self.driver
        return frozenset() if driver is None else driver.unreadable

    def log_in(self, spec: BoxSpec) -> FsbError | None:
        """Open the driver, or let it look again; gives what it said if it cannot. What it lacks is in `trouble`."""
        before, self._error = self._error, None
        try:
            self._log_in(spec)
        except Exception as error:
            found = error if isinstance(error, FsbError) else None
            self._error = found or BoxFailed(f"box {spec.name} cannot open its keys", box=spec.name)
            # Once: they are looked at again every second.
            if before is None or before.message != self._error.message:
                extra = {"code": self._error.code}
                unforeseen = error if found is None else None
                _log.error("box %s: %s", spec.name, self._error.message, extra=extra, exc_info=unforeseen)
        else:
            if before is not None:
                _log.info("box %s has its keys again", spec.name)
        return self._error

    def cause_of(self, error: FsbError) -> FsbError:
        """What the last login said, if that is why; it is more exact than what jobs are refused with afterwards."""
        return self._error if self._error is not None and isinstance(self._error, type(error)) else error

    def _log_in(self, spec: BoxSpec) -> None:
        try:
            if self.driver is None:
                self.driver = self._open_driver(spec, self._stopping)
                # A driver whose token is absent opens all the same, and says so when it looks.
                if spec.token is not None:
                    self.driver.reload()
            else:
                self.driver.reload()
        except Exception as error:
            if spec.token is not None and self.driver is not None:
                # Whatever it was: a token that is not logged in to can do nothing.
                self._token = "token_absent"  # noqa: S105
            if isinstance(error, FsbError):
                self.note(error)
            raise
        self._token = None
        if isinstance(self.driver, FaultyDriver):
            self.driver.faults = spec.faults

    def has_new_pin(self) -> bool:
        """Whether another login is worth a try after the PIN could not be used; asks the token nothing."""
        return self.driver is not None and self.driver.has_new_pin()

    def note(self, error: FsbError) -> None:
        """Draw the conclusions from what the driver said."""
        if isinstance(error, TokenAbsent):
            self._token = "token_absent"  # noqa: S105
        elif isinstance(error, TokenPinWrong):
            self._token = "token_pin_wrong"  # noqa: S105

    def close(self) -> None:
        """Forget the keys; `log_in` opens them again."""
        driver, self.driver = self.driver, None
        if driver is not None:
            driver.close()
