"""What a gateway and the process of a box say to each other: frames of MessagePack on a Unix socket.

    frame = length (4 bytes) · one message

    box ──► Identity                          to whoever connects: who is there
    box ◄── Attach                            I am your gateway; an older one is dismissed
    box ──► KnownJobs* SlotChange* Progress   what there is; from now on, each change
    box ◄── Program, Recall, …Key, …  ──► Programmed | Refused | Value
    box ◄── Ping  ──► Pong                    at once, whatever the box is doing

The number of a call comes back with its answer.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from fsb_gateway.box_driver import KeyBinding, KeySlot
from fsb_gateway.box_port import BoxState
from fsb_gateway.error import FsbError, FsbProtocolError, FsbUnavailable

PROTOCOL: Final = 2
"""Raised when a process of an earlier version must not be taken over by a newer gateway."""
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
"""Four times the largest job that a gateway takes; a firm key's slot has about 2,500 bytes."""
KNOWN_JOBS_MAX: Final = 2**18
"""Ids of jobs that a gateway is told: more than a box does in the ten minutes during which a line sends a job again."""

_LENGTH = struct.Struct(">I")
# Leaves room in a socket's address for the directory, or for the way through a descriptor.
_SOCKET_NAME_MAX = 60


class Identity(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Who listens.

    Attributes:
        started: when the process started, in clock ticks since boot, as `/proc/<pid>/stat` has it.
        spec: the specification that the box works by, as `wire.encode_spec` writes it.
    """

    protocol: int
    box: str
    pid: int
    started: int
    spec: bytes


class KnownJobs(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Jobs that are recorded or under way."""

    ids: list[str]


class SlotChange(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Keys that came into use, and firm codes whose key went."""

    put: list[KeySlot]
    gone: list[int]


class Progress(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The state and the counts of `BoxStatus`.

    Attributes:
        under_way: operations of the jobs that the box has and has not finished.
    """

    state: BoxState
    jobs_done: int
    operations_done: int
    busy_seconds: float
    transactions_left: int | None
    error: str | None
    unreadable: list[int]
    under_way: int


class Programmed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A recorded result, as `wire.encode_result` writes it; None if a recalled job is not known."""

    call: int
    result: bytes | None
    progress: Progress


class Value(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What a call for keys gave, if it gives anything."""

    call: int
    value: bytes | None


class Refused(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Why a call failed."""

    call: int
    code: str
    message: str
    detail: dict[str, Any]


class Pong(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The process lives; of its device this says nothing."""


class Ping(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Say that you live."""


class Attach(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The connection is the gateway's."""


class Program(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Carry out a job, as `wire.encode_job` writes it."""

    call: int
    request: str
    job: bytes


class Recall(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Say what is recorded of a job."""

    call: int
    job_id: str
    request: str | None


class Reload(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Look again."""

    call: int


class Configure(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Work by another specification, as `wire.encode_spec` writes it."""

    call: int
    spec: bytes


class GenerateKey(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """See `BoxDriver.generate`."""

    call: int
    binding: KeyBinding


class UseKey(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """See `BoxDriver.use`."""

    call: int
    binding: KeyBinding
    chain: tuple[bytes, bytes]


class ForgetKey(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """See `BoxDriver.forget`."""

    call: int
    firm_code: int
    key_id: str | None
    but: str | None


class TransportKey(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """See `BoxDriver.transport_key`."""

    call: int


class ExportKey(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """See `BoxDriver.export`."""

    call: int
    firm_code: int
    key_id: str
    to: bytes


class ImportKey(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """See `BoxDriver.import_key`."""

    call: int
    binding: KeyBinding
    wrapped: bytes
    public_key: bytes


KeyCall = GenerateKey | UseKey | ForgetKey | TransportKey | ExportKey | ImportKey
Call = Program | Recall | Reload | Configure | KeyCall
FromGateway = Attach | Ping | Call
FromBox = Identity | KnownJobs | SlotChange | Progress | Programmed | Value | Refused | Pong

_encoder = msgspec.msgpack.Encoder()
_from_gateway: msgspec.msgpack.Decoder[FromGateway] = msgspec.msgpack.Decoder(FromGateway)
_from_box: msgspec.msgpack.Decoder[FromBox] = msgspec.msgpack.Decoder(FromBox)


def encode_frame(message: FromGateway | FromBox) -> bytes:
    """Write a message with its length.

    Raises:
        FsbProtocolError: it is longer than the other side would take.
    """
    body = _encoder.encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise FsbProtocolError(f"a message of {len(body)} bytes is too long", limit=FRAME_BYTES_MAX)
    return _LENGTH.pack(len(body)) + body


def decode_from_gateway(body: bytes) -> FromGateway:
    """Read what a gateway sent.

    Raises:
        FsbProtocolError: it is no message.
    """
    try:
        return _from_gateway.decode(body)
    except msgspec.MsgspecError as error:
        raise FsbProtocolError("the gateway sent something that is no message") from error


def decode_from_box(body: bytes) -> FromBox:
    """Read what a box sent.

    Raises:
        FsbProtocolError: it is no message.
    """
    try:
        return _from_box.decode(body)
    except msgspec.MsgspecError as error:
        raise FsbProtocolError("the box sent something that is no message") from error


class FrameBuffer:
    """Puts the pieces that a socket gives together again."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Add a piece; gives every message that is whole now. To be used up before the next piece.

        Raises:
            FsbProtocolError: a frame is longer than any of ours.
        """
        held = self._held
        held += received
        start = 0
        while len(held) - start >= _LENGTH.size:
            length = _LENGTH.unpack_from(held, start)[0]
            if length > FRAME_BYTES_MAX:
                raise FsbProtocolError(f"a message of {length} bytes is too long", limit=FRAME_BYTES_MAX)
            body = start + _LENGTH.size
            if len(held) < body + length:
                break
            yield bytes(held[body : body + length])
            start = body + length
        del held[:start]


def write_refusal(call: int, error: FsbError) -> Refused:
    """An error as it travels."""
    return Refused(call, error.code, error.message, dict(error.detail))


def read_refusal(refused: Refused) -> FsbError:
    """The error that the box raised; one of an unknown code means that nothing was handed out."""
    kind = _kinds().get(refused.code)
    if kind is None:
        return FsbUnavailable(refused.message, **{**refused.detail, "reason": refused.code})
    return kind(refused.message, **refused.detail)


def socket_path(directory: Path, box: str) -> Path:
    """Where the process of a box listens.

    Args:
        directory: of everything that belongs to boxes.
    """
    name = box if len(box) <= _SOCKET_NAME_MAX else hashlib.sha256(box.encode()).hexdigest()[:32]
    return directory / "run" / f"{name}.sock"


@cache
def _kinds() -> dict[str, type[FsbError]]:
    kinds: dict[str, type[FsbError]] = {}
    waiting: list[type[FsbError]] = [FsbError]
    while waiting:
        kind = waiting.pop(0)
        kinds.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return kinds
