"""A box in software: its firm keys lie in its folder, wrapped, and are used in memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from app.core.file import replace_file
from fsb_gateway.box_driver import BoxSpec, KeyBinding, KeySlot
from fsb_gateway.error import BoxFailed, FirmKeyMissing, FsbError, KeyDamaged
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.job import Algorithm
from fsb_gateway.key.registry import InheritedKey
from fsb_gateway.key.slot import SlotFolder, SlotKey, SlotRecord, check_same_key, chosen
from fsb_gateway.key.store import Keystore, check_binding, read_public_key
from fsb_gateway.key.transport import generate_transport_key, public_der, unwrap_key, wrap_key

_log = logging.getLogger(__name__)

# **Source:** RFC 7518 §3.4: r and s as 32 bytes each.
_P256_BYTES = 32
_ECDSA = ECDSA(SHA256())


class _TransportFile(msgspec.Struct, forbid_unknown_fields=True):
    wrapped: bytes


class SoftwareDriver:
    """Holds the firm keys of one box. The pace of a real box is kept by the box's worker, not here."""

    def __init__(self, folder: Path, spec: BoxSpec, *, keystore: Keystore) -> None:
        """Open the box's folder; at the first start after an update, take over the keys that its pool had.

        Raises:
            OSError: the folder cannot be used.
        """
        self._files = SlotFolder(folder)
        self._spec = spec
        self._keystore = keystore
        self._wrap = keystore.wrap
        self._keys: dict[str, PrivateKey] = {}
        self._slots: dict[int, KeySlot] = {}
        self._unreadable: frozenset[int] = frozenset()
        self._transport: RSAPrivateKey | None = None
        self.reload()

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """The keys in use, by firm code."""
        return self._slots

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes whose key file cannot be opened; a key that was opened before goes on working."""
        return self._unreadable

    def reload(self) -> None:
        """Open every key again. One that cannot be opened now, and could before, goes on working."""
        unreadable = set(self._inherit())
        for firm_code in list(self._files.firm_codes()):
            try:
                self._open(firm_code)
                unreadable.discard(firm_code)
            except (FsbError, OSError):
                _log.exception("box %s cannot open its key of firm code %d", self._spec.name, firm_code)
                unreadable.add(firm_code)
        for firm_code in self._slots.keys() - set(self._files.firm_codes()):
            self._close(firm_code)
        self._unreadable = frozenset(unreadable - self._slots.keys())

    def has_new_pin(self) -> bool:
        """See `BoxDriver.has_new_pin`: there is no PIN."""
        return False

    def generate(self, binding: KeyBinding) -> bytes:
        """See `BoxDriver.generate`.

        Raises:
            KeyDamaged: the box's file of this firm code cannot be read.
        """
        check_binding(binding)
        record = self._files.open_for(binding)
        found = record.find(binding.key_id)
        if found is None:
            found = self._add(record, binding, _generate(binding.algorithm))
        return found.public_key

    def use(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        """See `BoxDriver.use`."""
        check_binding(binding)
        self._files.use(binding, chain)
        self._open(binding.firm_code)
        self._unreadable = self._unreadable - {binding.firm_code}

    def forget(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        """See `BoxDriver.forget`. A damaged file goes as a whole, and only when all keys are meant.

        Raises:
            KeyDamaged: the file cannot be read, and one key of it was meant.
        """
        try:
            record = self._files.find(firm_code)
        except KeyDamaged:
            if key_id is not None or but is not None:
                raise
            self._files.remove(firm_code)
            record = None
        gone = frozenset() if record is None else chosen(record, key_id=key_id, but=but)
        if record is not None:
            self._files.drop(record, gone)
        slot = self._slots.get(firm_code)
        if slot is not None and (record is None or slot.key_id in gone):
            self._close(firm_code)
        self._keys = {name: key for name, key in self._keys.items() if name not in gone}
        self._unreadable = self._unreadable - {firm_code}

    def transport_key(self) -> bytes:
        """See `BoxDriver.transport_key`."""
        return public_der(self._own_transport_key().public_key())

    def export(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        """See `BoxDriver.export`.

        Raises:
            FirmKeyUnfit: `to` is no transport key.
            KeyDamaged: the key is there and cannot be opened.
        """
        record = self._files.find(firm_code)
        if record is None:
            raise FirmKeyMissing(f"the box has no key for firm code {firm_code}", firm_code=firm_code)
        return wrap_key(self._unwrap(record, record.get(key_id)), to=to)

    def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        """See `BoxDriver.import_key`."""
        check_binding(binding)
        record = self._files.open_for(binding)
        found = record.find(binding.key_id)
        if found is not None:
            check_same_key(binding, found, public_key)
            return
        read_public_key(binding, public_key)
        key = unwrap_key(wrapped, self._own_transport_key(), public_key=public_key)
        self._add(record, binding, key)

    def sign(self, slot: KeySlot, message: bytes) -> bytes:
        """See `BoxDriver.sign`."""
        key = self._keys.get(slot.key_id)
        if key is None:
            raise BoxFailed(f"the box has no key {slot.key_id} any more", box=self._spec.name)
        return sign_message(key, message)

    def close(self) -> None:
        """Forget the keys in memory."""
        self._keys, self._slots, self._transport = {}, {}, None

    def _inherit(self) -> frozenset[int]:
        """Take over what the pool's boxes shared before; firm codes that could not be opened."""
        inheritance = self._keystore.inheritance(pool=self._spec.pool, box=self._spec.name)
        unreadable = set(inheritance.unreadable)
        for inherited in inheritance.keys:
            firm_code = inherited.binding.firm_code
            try:
                self._take_over(inherited)
            except (FsbError, OSError):
                _log.exception("box %s cannot take over the key of firm code %d", self._spec.name, firm_code)
                unreadable.add(firm_code)
        return frozenset(unreadable)

    def _take_over(self, inherited: InheritedKey) -> None:
        binding = inherited.binding
        record = self._files.open_for(binding)
        if record.find(binding.key_id) is None:
            self._add(record, binding, inherited.key)
        self._files.use(binding, inherited.chain)
        # Only now: what is not on this box's disk must not be struck off.
        self._keystore.inherited(binding.firm_code, box=self._spec.name)

    def _add(self, record: SlotRecord, binding: KeyBinding, key: PrivateKey) -> SlotKey:
        added = SlotKey(
            key_id=binding.key_id,
            algorithm=binding.algorithm,
            public_key=public_der(key.public_key()),
            wrapped=self._wrap.wrap(self._name(binding), key),
        )
        self._files.write(record.with_key(added))
        return added

    def _open(self, firm_code: int) -> None:
        record = self._files.find(firm_code)
        slot = None if record is None else record.slot()
        if record is None or slot is None:
            self._close(firm_code)
            return
        if slot.key_id not in self._keys:
            self._keys = {**self._keys, slot.key_id: self._unwrap(record, record.get(slot.key_id))}
        self._slots = {**self._slots, firm_code: slot}

    def _close(self, firm_code: int) -> None:
        slot = self._slots.get(firm_code)
        if slot is not None:
            self._slots = {code: other for code, other in self._slots.items() if code != firm_code}
            self._keys = {name: key for name, key in self._keys.items() if name != slot.key_id}

    def _unwrap(self, record: SlotRecord, key: SlotKey) -> PrivateKey:
        opened = self._wrap.unwrap(self._name(record.binding(key)), key.wrapped or b"")
        if public_der(opened.public_key()) != key.public_key:
            raise KeyDamaged(f"the key {key.key_id} is not the one of its slot", key=key.key_id)
        return opened

    def _name(self, binding: KeyBinding) -> str:
        """Bound into the wrapping: a file of another box, instance or firm code opens nothing here."""
        parts = (binding.instance_id, str(binding.firm_code), binding.key_id, binding.algorithm)
        return "/".join(("slots", self._spec.name, *parts))

    def _own_transport_key(self) -> RSAPrivateKey:
        if self._transport is None:
            path = self._files.folder / "transport.json"
            try:
                self._transport = self._read_transport_key(path)
            except (FileNotFoundError, KeyDamaged) as error:
                if isinstance(error, KeyDamaged):
                    # Nothing is lost with it but what was on its way here, which is sent again.
                    _log.warning("box %s makes a new transport key: the old one is damaged", self._spec.name)
                key = generate_transport_key()
                file = _TransportFile(wrapped=self._wrap.wrap(self._transport_name, key))
                replace_file(path, msgspec.json.encode(file))
                self._transport = key
        return self._transport

    def _read_transport_key(self, path: Path) -> RSAPrivateKey:
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_TransportFile)
        except msgspec.MsgspecError as error:
            raise KeyDamaged(f"the key file {path.name} cannot be read", key=self._transport_name) from error
        return self._wrap.unwrap_rsa(self._transport_name, file.wrapped)

    @property
    def _transport_name(self) -> str:
        return f"slots/{self._spec.name}/transport"


def sign_message(key: PrivateKey, message: bytes) -> bytes:
    """Sign the way PKCS#11 does: r‖s for ES256, 64 bytes for Ed25519."""
    if not isinstance(key, EllipticCurvePrivateKey):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, _ECDSA))
    return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


def _generate(algorithm: Algorithm) -> PrivateKey:
    return generate_private_key(SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()
