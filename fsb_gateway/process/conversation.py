"""One connection to the process of a box: what is asked goes to the engine, what the engine answers goes back."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final, TypeVar

from fsb_gateway.box_driver import BoxDriver, KeySlot
from fsb_gateway.engine.box_engine import BoxEngine
from fsb_gateway.engine.box_job import Answer
from fsb_gateway.error import FsbError, FsbProtocolError
from fsb_gateway.process.frame import (
    KNOWN_JOBS_MAX,
    Attach,
    Call,
    Configure,
    ExportKey,
    ForgetKey,
    FrameBuffer,
    FromBox,
    GenerateKey,
    ImportKey,
    KeyCall,
    KnownJobs,
    Ping,
    Pong,
    Program,
    Programmed,
    Progress,
    Recall,
    Reload,
    SlotChange,
    TransportKey,
    UseKey,
    Value,
    decode_from_gateway,
    encode_frame,
    write_refusal,
)
from fsb_gateway.wire import decode_job, decode_spec, encode_result

_log = logging.getLogger(__name__)
T = TypeVar("T")

# A gateway that does not read for so long has stopped; the box must not stop with it.
_SEND_SECONDS: Final = 5.0
# A slot has about 2,500 bytes, an id 40: such frames stay well below the limit.
_SLOTS_PER_FRAME: Final = 256
_IDS_PER_FRAME: Final = 8192


class Conversation:
    """One connection. `hear` belongs to the main thread; any thread may send."""

    def __init__(
        self,
        connection: socket.socket,
        engine: BoxEngine,
        *,
        attached: Callable[[Conversation], None],
    ) -> None:
        """Not the gateway's before it says so.

        Args:
            attached: told when it does.
        """
        connection.settimeout(_SEND_SECONDS)
        self._connection = connection
        self._engine = engine
        self._attached = attached
        self._buffer = FrameBuffer()
        self._sending = threading.Lock()
        self._changing = threading.Lock()
        self._told: dict[int, KeySlot] = {}

    def send(self, *messages: FromBox) -> None:
        """Send messages in this order; to a gateway that is gone or does not read, nothing."""
        content = b"".join(map(encode_frame, messages))
        with self._sending:
            try:
                self._connection.sendall(content)
            except OSError:
                self.hang_up()

    def hear(self, size: int) -> bool:
        """Take what has come in; False when there is nothing more to come."""
        try:
            received = self._connection.recv(size)
            for body in self._buffer.feed(received):
                self._take(decode_from_gateway(body))
        except OSError:
            return False
        except FsbProtocolError as error:
            _log.warning("a gateway is not understood: %s", error)
            return False
        return bool(received)

    def tell_change(self) -> None:
        """Tell the gateway what is new since it was last told."""
        with self._changing:
            slots = dict(self._engine.slots)
            put = [slot for code, slot in slots.items() if self._told.get(code) != slot]
            gone = [code for code in self._told if code not in slots]
            self._told = slots
            changes = [SlotChange(part, []) for part in _parts(put, _SLOTS_PER_FRAME)]
            if gone:
                changes.append(SlotChange([], gone))
            self.send(*changes, self._progress())

    def hang_up(self) -> None:
        """End it; the main thread notices."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back."""
        self.hang_up()
        with self._sending:
            self._connection.close()

    def _take(self, message: Attach | Ping | Call) -> None:
        if isinstance(message, Attach):
            self._begin()
            return
        if isinstance(message, Ping):
            self.send(Pong())
            return
        try:
            self._carry_out(message)
        except FsbError as error:
            self.send(write_refusal(message.call, error))

    def _begin(self) -> None:
        known = self._engine.known_jobs(KNOWN_JOBS_MAX)
        self.send(*(KnownJobs(part) for part in _parts(known, _IDS_PER_FRAME)))
        self._attached(self)
        self.tell_change()

    def _carry_out(self, message: Call) -> None:
        call = message.call
        if isinstance(message, Program):
            job = decode_job(message.job)
            self._engine.submit(job, message.request, lambda answer: self._answer(call, answer))
        elif isinstance(message, Recall):
            self._engine.recall(message.job_id, message.request, lambda answer: self._answer(call, answer))
        elif isinstance(message, Reload):
            self._tell_value(call, self._engine.reload())
        elif isinstance(message, Configure):
            self._tell_value(call, self._engine.configure(decode_spec(message.spec)))
        else:
            self._tell_value(call, self._engine.call(lambda driver: _use_key(driver, message)))

    def _answer(self, call: int, answer: Answer | None) -> None:
        if isinstance(answer, FsbError):
            self.send(write_refusal(call, answer))
        else:
            result = None if answer is None else encode_result(answer)
            self.send(Programmed(call, result, self._progress()))

    def _tell_value(self, call: int, future: Future[bytes | None] | Future[None]) -> None:
        def tell(done: Future[T]) -> None:
            error = done.exception()
            if isinstance(error, FsbError):
                self.send(write_refusal(call, error))
            else:
                value = done.result()
                self.send(Value(call, value if isinstance(value, bytes) else None))

        future.add_done_callback(tell)

    def _progress(self) -> Progress:
        status = self._engine.status(with_firm_codes=False)
        return Progress(
            status.state,
            status.jobs_done,
            status.operations_done,
            status.busy_seconds,
            status.transactions_left,
            status.error,
            sorted(self._engine.unreadable),
            self._engine.operations_under_way(),
        )


def _use_key(driver: BoxDriver, call: KeyCall) -> bytes | None:
    match call:
        case GenerateKey():
            return driver.generate(call.binding)
        case UseKey():
            driver.use(call.binding, call.chain)
        case ForgetKey():
            driver.forget(call.firm_code, key_id=call.key_id, but=call.but)
        case TransportKey():
            return driver.transport_key()
        case ExportKey():
            return driver.export(call.firm_code, call.key_id, to=call.to)
        case ImportKey():
            driver.import_key(call.binding, call.wrapped, call.public_key)
    return None


def _parts(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
