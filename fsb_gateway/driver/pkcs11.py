"""A box whose firm keys are in a PKCS#11 token; files hold whose they are and their certificates. A token has one box.

**Measured** with SoftHSM2 2.6.1: it neither wraps (CKR_KEY_NOT_WRAPPABLE) nor unwraps (CKR_FUNCTION_FAILED) Ed25519
keys, so such a key stays in the token in which it was made. It knows no CKM_RSA_AES_KEY_WRAP, so the two steps of it
are taken one by one, inside the token. A signature takes 80 µs (ES256) or 260 µs (Ed25519).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from pkcs11 import Object, PrivateKey, PublicKey
from pkcs11 import exceptions as said

from fsb_gateway.box_driver import KeyBinding, KeySlot, TokenSpec
from fsb_gateway.driver import token_key
from fsb_gateway.driver.signature import check_signature
from fsb_gateway.driver.token import Token, explain
from fsb_gateway.error import (
    BoxAnswerWrong,
    BoxFailed,
    FirmKeyMissing,
    FirmKeyUnfit,
    FsbError,
    KeyDamaged,
    TokenAbsent,
    TokenKeyLost,
)
from fsb_gateway.key.slot import SlotFolder, SlotKey, SlotRecord, check_same_key, chosen
from fsb_gateway.key.store import check_binding, read_public_key
from fsb_gateway.key.transport import public_der

_log = logging.getLogger(__name__)
T = TypeVar("T")

_GONE: Final = (
    said.DeviceError,
    said.DeviceRemoved,
    said.GeneralError,
    said.KeyHandleInvalid,
    said.ObjectHandleInvalid,
    said.SessionClosed,
    said.SessionHandleInvalid,
    said.SlotIDInvalid,
    said.TokenNotPresent,
    said.TokenNotRecognised,
    said.UnwrappingKeyHandleInvalid,
    said.UserNotLoggedIn,
    said.WrappingKeyHandleInvalid,
)
_PROBE_BYTES = 32


class Pkcs11Driver:
    """Holds the firm keys of one box. It must be the only one of its library in the process; see `Token`."""

    def __init__(self, folder: Path, spec: TokenSpec) -> None:
        """Read which keys the box has; the token is first asked by `reload`, or whatever else comes first.

        Raises:
            BoxFailed: the library is used by another box of this process.
            OSError: the folder cannot be used.
        """
        self._files = SlotFolder(folder)
        self._recorded: dict[int, KeySlot] = {}
        self._slots: Mapping[int, KeySlot] = {}
        self._damaged: frozenset[int] = frozenset()
        self._lacking: frozenset[int] = frozenset()
        self._keys: dict[bytes, PrivateKey] = {}
        self._label = spec.label
        self._read_slots()
        self._slots = self._recorded
        # Last: it takes the library, which only `close` gives back.
        self._token = Token(spec, refused=folder / "refused-pin")

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """The keys in use, by firm code; also while the token is away. Not those that the token has lost."""
        return self._slots

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes whose slot file cannot be read, or whose key the token has lost."""
        return self._damaged | self._lacking

    def reload(self) -> None:
        """See `BoxDriver.reload`."""
        self._read_slots()
        self._log_in()

    def has_new_pin(self) -> bool:
        """See `BoxDriver.has_new_pin`."""
        return self._token.has_new_pin()

    def generate(self, binding: KeyBinding) -> bytes:
        """See `BoxDriver.generate`."""
        check_binding(binding)
        record = self._files.open_for(binding)
        found = record.find(binding.key_id)
        return found.public_key if found is not None else self._fresh(lambda: self._make(record, binding))

    def use(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        """See `BoxDriver.use`."""
        check_binding(binding)
        if self._files.find(binding.firm_code) is not None:
            self._log_in()
        record = self._files.open_for(binding)
        key = record.get(binding.key_id)
        if key.key_id.encode() not in self._keys:
            raise FirmKeyMissing(
                f"token {self._label} has lost key {key.key_id}", firm_code=binding.firm_code
            )
        self._files.use(binding, chain)
        self._read_slots()
        self._note_lacking()

    def forget(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        """See `BoxDriver.forget`. The token's part goes first: what is forgotten signs no more, whatever happens."""
        try:
            record = self._files.find(firm_code)
        except KeyDamaged:
            if key_id is not None or but is not None:
                raise
            record = None
        self._fresh(lambda: self._destroy(firm_code, key_id=key_id, but=but))
        if record is not None:
            self._files.drop(record, chosen(record, key_id=key_id, but=but))
        elif key_id is None and but is None:
            self._files.remove(firm_code)
        self.reload()

    def transport_key(self) -> bytes:
        """See `BoxDriver.transport_key`."""
        return self._fresh(lambda: public_der(token_key.ensure_transport_key(self._token.session)[1]))

    def export(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        """See `BoxDriver.export`.

        Raises:
            FirmKeyUnfit: the token cannot wrap such a key, or `to` is no transport key.
        """
        record = self._files.find(firm_code)
        if record is None:
            raise FirmKeyMissing(f"the box has no key for firm code {firm_code}", firm_code=firm_code)
        record.get(key_id)
        return self._fresh(lambda: self._wrap(firm_code, key_id, to))

    def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        """See `BoxDriver.import_key`.

        Raises:
            FirmKeyUnfit: also if the token cannot unwrap such a key.
        """
        check_binding(binding)
        record = self._files.open_for(binding)
        found = record.find(binding.key_id)
        if found is not None:
            check_same_key(binding, found, public_key)
            return
        read_public_key(binding, public_key)
        self._fresh(lambda: self._take_in(binding, wrapped, public_key))
        self._add(record, binding, public_key)

    def sign(self, slot: KeySlot, message: bytes) -> bytes:
        """See `BoxDriver.sign`. A token that was away is logged in to again, once.

        Raises:
            TokenAbsent, TokenPinWrong: it is away, or refuses.
            TokenKeyLost: the key is not in it any more; from now on it is `unreadable`, and in no slot.
        """
        key = self._keys.get(slot.key_id.encode())
        if key is not None:
            try:
                return token_key.sign(key, slot.algorithm, message)
            except said.PKCS11Error as error:
                _log.warning("token %s did not sign: %s", self._label, explain(error))
        return self._fresh(lambda: self._sign_again(slot, message))

    def close(self) -> None:
        """Log out and give the library back."""
        self._keys, self._slots, self._recorded = {}, {}, {}
        self._token.close()

    def _fresh(self, action: Callable[[], T]) -> T:
        """Do something right after a new login: a token that was taken away shows itself as an empty one before."""
        self._log_in()
        try:
            return action()
        except _GONE as error:
            self._keys = {}
            raise TokenAbsent(f"token {self._label} went away: {explain(error)}") from error
        except said.PKCS11Error as error:
            raise BoxFailed(f"token {self._label} refuses: {explain(error)}") from error

    def _log_in(self) -> None:
        self._keys = {}
        self._token.log_in()
        try:
            self._keys = token_key.find_private_keys(self._token.session)
        except said.PKCS11Error as error:
            raise TokenAbsent(f"token {self._label} went away: {explain(error)}") from error
        self._note_lacking()

    def _note_lacking(self) -> None:
        self._lacking = frozenset(
            firm_code for firm_code, slot in self._recorded.items() if slot.key_id.encode() not in self._keys
        )
        self._slots = {code: slot for code, slot in self._recorded.items() if code not in self._lacking}

    def _read_slots(self) -> None:
        """What cannot be read now, and could before, goes on working."""
        slots: dict[int, KeySlot] = {}
        damaged: set[int] = set()
        for firm_code in self._files.firm_codes():
            try:
                record = self._files.find(firm_code)
                slot = None if record is None else record.slot()
            except FsbError:
                _log.exception("the slot of firm code %d cannot be read", firm_code)
                slot = self._recorded.get(firm_code)
                damaged.update(() if slot is not None else (firm_code,))
            if slot is not None:
                slots[firm_code] = slot
        self._recorded, self._damaged = slots, frozenset(damaged)

    def _make(self, record: SlotRecord, binding: KeyBinding) -> bytes:
        left = self._left(binding)
        public_key = _public_half(binding, left)
        if public_key is None:
            token_key.destroy(left)
            private, public_key = token_key.generate(self._token.session, binding)
            self._prove(private, binding, public_key)
        self._add(record, binding, public_key)
        return public_key

    def _take_in(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        token_key.destroy(self._left(binding))
        try:
            key = token_key.unwrap(self._token.session, binding, wrapped)
        except said.PKCS11Error as error:
            # SoftHSM2 calls it a general error, as it does when it is taken away: a login tells one from the other.
            self._log_in()
            raise FirmKeyUnfit(
                f"the wrapped key cannot be opened by this box: {explain(error)}", firm_code=binding.firm_code
            ) from error
        try:
            self._prove(key, binding, public_key)
        except BoxAnswerWrong as error:
            key.destroy()
            raise FirmKeyUnfit("the wrapped key is not the key that it is said to be") from error

    def _left(self, binding: KeyBinding) -> list[Object]:
        """What a killed step may have left of a key that is not in the slot file."""
        objects = token_key.find_objects(self._token.session, binding.firm_code)
        return objects.get(binding.key_id.encode(), [])

    def _prove(self, key: PrivateKey, binding: KeyBinding, public_key: bytes) -> None:
        """See that a private key belongs to a public one.

        Raises:
            BoxAnswerWrong: it does not.
        """
        probe = os.urandom(_PROBE_BYTES)
        slot = KeySlot(
            firm_code=binding.firm_code,
            key_id=binding.key_id,
            instance_id=binding.instance_id,
            algorithm=binding.algorithm,
            header="",
            public_key=public_key,
        )
        check_signature(slot, probe, token_key.sign(key, binding.algorithm, probe))

    def _add(self, record: SlotRecord, binding: KeyBinding, public_key: bytes) -> None:
        added = SlotKey(key_id=binding.key_id, algorithm=binding.algorithm, public_key=public_key)
        self._files.write(record.with_key(added))

    def _destroy(self, firm_code: int, *, key_id: str | None, but: str | None) -> None:
        objects = token_key.find_objects(self._token.session, firm_code)
        for found in objects:
            name = found.decode(errors="replace")
            if name != but and key_id in (None, name):
                token_key.destroy(objects[found])

    def _wrap(self, firm_code: int, key_id: str, to: bytes) -> bytes:
        key = self._keys.get(key_id.encode())
        if key is None:
            raise FirmKeyMissing(f"token {self._label} has lost key {key_id}", firm_code=firm_code)
        try:
            return token_key.wrap(self._token.session, key, to=to)
        except (said.KeyNotWrappable, said.KeyUnextractable) as error:
            raise FirmKeyUnfit(
                f"token {self._label} cannot wrap this key: it stays where it is", firm_code=firm_code
            ) from error

    def _sign_again(self, slot: KeySlot, message: bytes) -> bytes:
        key = self._keys.get(slot.key_id.encode())
        if key is None:
            raise TokenKeyLost(f"token {self._label} has lost key {slot.key_id}", firm_code=slot.firm_code)
        return token_key.sign(key, slot.algorithm, message)


def _public_half(binding: KeyBinding, objects: list[Object]) -> bytes | None:
    """The public key of a pair that is whole."""
    public = next((item for item in objects if isinstance(item, PublicKey)), None)
    if public is None or not any(isinstance(item, PrivateKey) for item in objects):
        return None
    return token_key.read_public_key(binding.algorithm, public)
