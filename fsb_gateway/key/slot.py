"""A box's key slots on disk: one file per firm code, replaced whole, so that the key in use changes at one moment.

    <slots>/<box>/<firm code>.json      whose, its keys, which of them is in use; a software box's keys wrapped in it
    <slots>/<box>/transport.json        a software box's transport key, wrapped

A box's directory is written by that box's driver only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from app.core.file import remove_file, replace_file
from fsb_gateway.box_driver import KeyBinding, KeySlot
from fsb_gateway.error import FirmKeyConflict, FirmKeyMissing, KeyDamaged
from fsb_gateway.file_format.update import signing_header
from fsb_gateway.job import Algorithm
from fsb_gateway.key.record import Chain, check_algorithm, check_chain, check_owner, read_chain


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotKey:
    """One key of a firm code in one box.

    Attributes:
        public_key: SPKI DER.
        wrapped: the private half, in a software box.
        chain: once it has been in use.
    """

    key_id: str
    algorithm: Algorithm
    public_key: bytes
    wrapped: bytes | None = None
    chain: Chain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRecord:
    """The keys of one firm code in one box.

    Attributes:
        active: id of the key in use.
    """

    instance_id: str
    firm_code: int
    active: str | None = None
    keys: tuple[SlotKey, ...] = ()

    def find(self, key_id: str) -> SlotKey | None:
        """The key of that id."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def get(self, key_id: str) -> SlotKey:
        """The key of that id.

        Raises:
            FirmKeyMissing: there is none.
        """
        key = self.find(key_id)
        if key is None:
            raise FirmKeyMissing(
                f"the box has no key {key_id} for firm code {self.firm_code}", firm_code=self.firm_code
            )
        return key

    def with_key(self, key: SlotKey) -> SlotRecord:
        """The same with a key added, or exchanged for the one of the same id."""
        others = tuple(other for other in self.keys if other.key_id != key.key_id)
        return replace(self, keys=(*others, key))

    def binding(self, key: SlotKey) -> KeyBinding:
        """Whose a key is."""
        return KeyBinding(
            key_id=key.key_id,
            firm_code=self.firm_code,
            instance_id=self.instance_id,
            algorithm=key.algorithm,
        )

    def slot(self) -> KeySlot | None:
        """The key in use, as boxes sign with it.

        Raises:
            KeyDamaged: the record contradicts itself.
        """
        if self.active is None:
            return None
        key = self.find(self.active)
        if key is None or key.chain is None:
            raise KeyDamaged(
                f"the slot of firm code {self.firm_code} names a key that is not there",
                key=str(self.firm_code),
            )
        return KeySlot(
            firm_code=self.firm_code,
            key_id=key.key_id,
            instance_id=self.instance_id,
            algorithm=key.algorithm,
            header=signing_header(key.algorithm, read_chain(key.chain)),
            public_key=key.public_key,
        )


class SlotFolder:
    """The slot files of one box, and what is in them."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; made, with mode 0700, when it is not there."""
        self.folder = folder
        for path in (folder.parent, folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)

    def find(self, firm_code: int) -> SlotRecord | None:
        """The record of a firm code.

        Raises:
            KeyDamaged: it cannot be read.
        """
        path = self._path(firm_code)
        if not path.exists():
            return None
        try:
            record = msgspec.json.decode(path.read_bytes(), type=SlotRecord)
        except (msgspec.MsgspecError, OSError) as error:
            raise KeyDamaged(f"the slot file {path.name} cannot be read", key=path.name) from error
        if record.firm_code != firm_code:
            raise KeyDamaged(f"the slot file {path.name} is another firm code's", key=path.name)
        return record

    def firm_codes(self) -> Iterator[int]:
        """Every firm code that has a file."""
        return (int(path.stem) for path in sorted(self.folder.glob("*.json")) if path.stem.isdecimal())

    def write(self, record: SlotRecord) -> None:
        """Replace the record of a firm code."""
        replace_file(self._path(record.firm_code), msgspec.json.encode(record))

    def remove(self, firm_code: int) -> None:
        """Remove the record of a firm code, if there is one."""
        remove_file(self._path(firm_code))

    def open_for(self, binding: KeyBinding) -> SlotRecord:
        """The record into which a key of this binding may go.

        Raises:
            FirmCodeNotOwned, FirmKeyConflict: the firm code or the id is there for something else.
            KeyDamaged: the record cannot be read.
        """
        record = self.find(binding.firm_code)
        if record is None:
            record = SlotRecord(instance_id=binding.instance_id, firm_code=binding.firm_code)
        check_owner(binding.firm_code, record.instance_id, binding.instance_id)
        found = record.find(binding.key_id)
        if found is not None:
            check_algorithm(binding.firm_code, found.algorithm, binding.algorithm)
        elif self._is_taken(binding):
            raise FirmKeyConflict(
                f"key {binding.key_id} is there for another firm code", firm_code=binding.firm_code
            )
        return record

    def use(self, binding: KeyBinding, chain: Chain) -> SlotRecord:
        """Take a key into use.

        Raises:
            FirmKeyMissing: no such key here.
            FirmKeyUnfit: the certificates are for another key, firm code or instance.
            FirmCodeNotOwned, FirmKeyConflict, KeyDamaged: as for `open_for`.
        """
        record = self.open_for(binding)
        key = record.get(binding.key_id)
        check_chain(binding, chain, key.public_key)
        used = replace(record.with_key(replace(key, chain=chain)), active=binding.key_id)
        if used != record:
            self.write(used)
        return used

    def drop(self, record: SlotRecord, gone: frozenset[str]) -> None:
        """Remove keys from a record; a record without keys goes as well."""
        keys = tuple(key for key in record.keys if key.key_id not in gone)
        if not keys:
            self.remove(record.firm_code)
        elif keys != record.keys:
            active = None if record.active in gone else record.active
            self.write(replace(record, keys=keys, active=active))

    def _is_taken(self, binding: KeyBinding) -> bool:
        for firm_code in self.firm_codes():
            try:
                record = self.find(firm_code)
            except KeyDamaged:
                continue
            if record is not None and firm_code != binding.firm_code and record.find(binding.key_id):
                return True
        return False

    def _path(self, firm_code: int) -> Path:
        return self.folder / f"{firm_code}.json"


def chosen(record: SlotRecord, *, key_id: str | None, but: str | None) -> frozenset[str]:
    """Which keys `BoxDriver.forget` means."""
    ids = {key.key_id for key in record.keys} if key_id is None else {key_id}
    return frozenset(ids - {but})


def check_same_key(binding: KeyBinding, found: SlotKey, public_key: bytes) -> None:
    """Refuse another key under an id that is there.

    Raises:
        FirmKeyConflict: the id is there for another key.
    """
    if found.public_key != public_key:
        raise FirmKeyConflict(
            f"key {binding.key_id} is there, and is another key", firm_code=binding.firm_code
        )
