"""A driver that does at each signature what the test has written down."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fsb_gateway.box_driver import BoxSpec, KeyBinding, KeySlot
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, Authority

Step = Callable[[], None] | Exception | bytes


class ScriptedDriver:
    """Signs with one firm key. Each signature takes one step from `script`: call it, raise it, or answer with it.

    Attributes:
        trouble: what logging in raises, until it is taken away.
        log_ins: how often somebody has logged in or looked again.
        new_pin: whether somebody has changed the PIN file since; a login looks at it.
        begun: released whenever a signature begins.
    """

    def __init__(self, authority: Authority, *, script: tuple[Step, ...] = ()) -> None:
        public_key = authority.firm.key.public_key()
        self.slots: Mapping[int, KeySlot] = {
            FIRM_CODE: KeySlot(
                firm_code=FIRM_CODE,
                key_id="key-1",
                instance_id=INSTANCE,
                algorithm=authority.algorithm,
                header=authority.header,
                public_key=public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            )
        }
        self.unreadable: frozenset[int] = frozenset()
        self.script: deque[Step] = deque(script)
        self.trouble: Exception | None = None
        self.log_ins = 0
        self.new_pin = False
        self.signed = 0
        self.closed = 0
        self.threads: set[int] = set()
        self.begun = threading.Semaphore(0)
        self._authority = authority

    def open(self, spec: BoxSpec, stopping: threading.Event) -> ScriptedDriver:
        """As `box_keys.OpenDriver` wants it."""
        self.reload()
        return self

    def reload(self) -> None:
        self.threads.add(threading.get_ident())
        self.log_ins += 1
        self.new_pin = False
        if self.trouble is not None:
            raise self.trouble

    def has_new_pin(self) -> bool:
        self.threads.add(threading.get_ident())
        return self.new_pin

    def generate(self, binding: KeyBinding) -> bytes:
        raise NotImplementedError

    def use(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        raise NotImplementedError

    def forget(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        self.threads.add(threading.get_ident())
        self.slots = {code: slot for code, slot in self.slots.items() if code != firm_code}

    def transport_key(self) -> bytes:
        raise NotImplementedError

    def export(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        raise NotImplementedError

    def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        raise NotImplementedError

    def sign(self, slot: KeySlot, message: bytes) -> bytes:
        self.threads.add(threading.get_ident())
        self.begun.release()
        step = self.script.popleft() if self.script else None
        if isinstance(step, Exception):
            raise step
        if isinstance(step, bytes):
            return step
        if step is not None:
            step()
        self.signed += 1
        return self._authority.sign(message)

    def close(self) -> None:
        self.closed += 1
