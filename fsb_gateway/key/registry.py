"""The registry's files: one per firm code. The caller holds the lock of the key directory.

Before boxes had keys of their own, such a file held the wrapped key itself and the pools whose boxes used it. A box of
such a pool takes the key over when it first starts. The copy here goes a month after the last one did, at the next
start of a box, or when the key is replaced; a box that comes later gets the key from another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509

from app.core.file import remove_file, replace_file
from fsb_gateway.box_driver import KeyBinding
from fsb_gateway.error import FirmKeyUnfit, KeyDamaged, UpdateUntrusted
from fsb_gateway.file_format.certificate import BACKDATED
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.job import Algorithm
from fsb_gateway.key.record import Chain, FirmKeyRecord, certified_key, fingerprint
from fsb_gateway.key.wrap import KeyWrap

_log = logging.getLogger(__name__)

_FINGERPRINT_DIGITS = 32
# Long enough for every box of a pool to have been started once. Our own decision.
_KEPT = timedelta(days=30)
# How a file of today begins, whatever is damaged behind.
_NEW_START = b'{"record":'


@dataclass(frozen=True, slots=True, kw_only=True)
class InheritedKey:
    """An old firm key in the clear, on its way into a box."""

    binding: KeyBinding
    chain: Chain
    key: PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """The old firm keys that a box takes over.

    Attributes:
        unreadable: firm codes with an old file that cannot be opened, so that nobody knows whose box needs it.
    """

    keys: tuple[InheritedKey, ...]
    unreadable: frozenset[int]


class _OldCopy(msgspec.Struct, forbid_unknown_fields=True):
    """A key as it was kept before, and which boxes have taken it since, the last one when."""

    wrapped: bytes
    pools: list[str]
    taken: list[str]
    taken_at: datetime | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    record: FirmKeyRecord
    inherited: _OldCopy | None = None


class _OldFile(msgspec.Struct, forbid_unknown_fields=True):
    instance_id: str
    firm_code: int
    algorithm: Algorithm
    pools: list[str]
    wrapped: bytes
    certificate: bytes


class Registry:
    """Reads and writes the files. Whoever calls checks who may."""

    def __init__(self, folder: Path, ca_certificate: Callable[[str], bytes]) -> None:
        """Use a folder.

        Args:
            ca_certificate: of an instance, DER: old files do not hold it.
        """
        self._folder = folder
        self._ca_certificate = ca_certificate

    def find(self, firm_code: int) -> FirmKeyRecord | None:
        """What is known of a firm code.

        Raises:
            KeyDamaged: the file cannot be read.
        """
        path = self._path(firm_code)
        return self._read(path).record if path.exists() else None

    def scan(self) -> tuple[FirmKeyRecord, ...]:
        """Every record that can be read, by firm code."""
        found: list[FirmKeyRecord] = []
        for path in self._paths():
            try:
                found.append(self._read(path).record)
            except (KeyDamaged, OSError):
                _log.exception("the record of the firm key %s cannot be read", path.name)
        return tuple(sorted(found, key=lambda record: record.binding.firm_code))

    def put(self, record: FirmKeyRecord) -> None:
        """Write a record; an old copy of the key stays only as long as the key signs."""
        path = self._path(record.binding.firm_code)
        file = _File(record=record)
        if path.exists():
            before = self._read(path)
            if before.record.binding == record.binding and record.retired_at is None:
                file.inherited = before.inherited
        replace_file(path, msgspec.json.encode(file))

    def remove(self, firm_code: int) -> None:
        """Forget a firm code."""
        remove_file(self._path(firm_code))

    def may_have(self, instance_id: str, *, unknown: bool) -> bool:
        """Whether any firm key is the instance's.

        Args:
            unknown: what to take a file for that cannot be read and does not show the instance's id either.
        """
        for path in self._paths():
            try:
                if self._read_owner(path) == instance_id:
                    return True
            except (KeyDamaged, OSError):
                if unknown or _shows(path, instance_id):
                    _log.warning(
                        "the firm key %s cannot be read; it may be one of %s", path.name, instance_id
                    )
                    return True
        return False

    def inheritance(self, wrap: KeyWrap, *, pool: str, box: str, now: datetime) -> Inheritance:
        """The old keys of a pool that this box has not taken. One that cannot be opened costs nobody else theirs.

        Copies that have served their time are destroyed on the way.
        """
        keys: list[InheritedKey] = []
        unreadable: set[int] = set()
        for path in self._paths():
            try:
                file = self._read(path)
                copy = file.inherited
                if copy is not None and copy.taken_at is not None and now - copy.taken_at >= _KEPT:
                    file.inherited = copy = None
                    replace_file(path, msgspec.json.encode(file))
                if copy is not None and pool in copy.pools and box not in copy.taken:
                    keys.append(_open_copy(wrap, file.record, copy))
            except (KeyDamaged, OSError):
                if _is_new(path):
                    continue
                _log.exception("the firm key %s cannot be opened; its firm code is out of work", path.name)
                unreadable.update({int(path.stem)} if path.stem.isdecimal() else ())
        return Inheritance(keys=tuple(keys), unreadable=frozenset(unreadable))

    def note_taken(self, firm_code: int, box: str, *, now: datetime) -> None:
        """Note who has an old key."""
        path = self._path(firm_code)
        file = self._read(path)
        if file.inherited is not None and box not in file.inherited.taken:
            file.inherited.taken.append(box)
            file.inherited.taken_at = now
            replace_file(path, msgspec.json.encode(file))

    def _read(self, path: Path) -> _File:
        content = path.read_bytes()
        try:
            file = _decode(content)
            return file if isinstance(file, _File) else self._convert(file)
        except (msgspec.MsgspecError, ValueError, FirmKeyUnfit, UpdateUntrusted) as error:
            raise KeyDamaged(f"the key file {path.name} cannot be read", key=path.name) from error

    def _read_owner(self, path: Path) -> str:
        """Without the CA's certificate, which may be what is missing."""
        try:
            file = _decode(path.read_bytes())
        except msgspec.MsgspecError as error:
            raise KeyDamaged(f"the key file {path.name} cannot be read", key=path.name) from error
        return file.record.binding.instance_id if isinstance(file, _File) else file.instance_id

    def _convert(self, old: _OldFile) -> _File:
        chain = (old.certificate, self._ca_certificate(old.instance_id))
        digits = fingerprint(certified_key(chain))[:_FINGERPRINT_DIGITS]
        binding = KeyBinding(
            key_id=f"key_{digits}",
            firm_code=old.firm_code,
            instance_id=old.instance_id,
            algorithm=old.algorithm,
        )
        made_at = x509.load_der_x509_certificate(old.certificate).not_valid_before_utc + BACKDATED
        return _File(
            record=FirmKeyRecord(binding=binding, chain=chain, made_at=made_at),
            inherited=_OldCopy(wrapped=old.wrapped, pools=old.pools, taken=[]),
        )

    def _paths(self) -> Iterator[Path]:
        yield from sorted(self._folder.glob("*.json"))

    def _path(self, firm_code: int) -> Path:
        return self._folder / f"{firm_code}.json"


def _decode(content: bytes) -> _File | _OldFile:
    if content.startswith(_NEW_START):
        return msgspec.json.decode(content, type=_File)
    return msgspec.json.decode(content, type=_OldFile)


def _is_new(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(_NEW_START)


def _shows(path: Path, instance_id: str) -> bool:
    return path.is_file() and f'"{instance_id}"'.encode() in path.read_bytes()


def _open_copy(wrap: KeyWrap, record: FirmKeyRecord, copy: _OldCopy) -> InheritedKey:
    if record.chain is None:
        raise KeyDamaged("an old firm key has no certificate", key=str(record.binding.firm_code))
    name = f"firm-key/{record.binding.instance_id}/{record.binding.firm_code}"
    key = wrap.unwrap(name, copy.wrapped)
    return InheritedKey(binding=record.binding, chain=record.chain, key=key)
