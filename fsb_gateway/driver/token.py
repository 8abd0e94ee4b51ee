"""A token behind a PKCS#11 library: found by its label, logged in to once, found again after it was taken away.

One process and one thread per library: python-pkcs11 with several threads on SoftHSM2 failed or hung in four of five
runs [measured], and looking for tokens anew (C_Finalize, C_Initialize) throws everybody else of the process out. The
library is loaded and initialised in the process that uses it, never before a fork.

A wrong PIN is tried once: which PIN file is tried is on disk before the token is asked, and stays there if the token
refuses it, so that not even a process that is started again and again uses up the tries that a token gives. Nobody
knows what came of a try that was killed: it counts as refused. Changing or touching the file allows the next one;
`has_new_pin` says when to try.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final

import msgspec
import pkcs11
from pkcs11 import Session, TokenFlag
from pkcs11 import exceptions as said

from app.core.file import remove_file, replace_file
from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.error import (
    BoxFailed,
    TokenAbsent,
    TokenLibraryUnusable,
    TokenPinExposed,
    TokenPinUnreadable,
    TokenPinWrong,
)
from fsb_gateway.key.wrap import is_exposed

_log = logging.getLogger(__name__)

PIN_REFUSED: Final = (
    said.PinIncorrect,
    said.PinInvalid,
    said.PinLenRange,
    said.PinExpired,
    said.PinLocked,
    said.UserPinNotInitialized,
)
# Longer than any PIN; keeps a wrong file name from loading a disk image.
_PIN_BYTES = 256
_in_use: set[str] = set()
_in_use_lock = threading.Lock()


class _RefusedPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which PIN file a token refused; never what is in it."""

    inode: int
    changed_ns: int
    size: int
    token: str


class Token:
    """The connection to one token."""

    def __init__(self, spec: TokenSpec, *, refused: Path) -> None:
        """Take the library; nothing is asked of it yet.

        Args:
            refused: where a PIN file is noted that was refused, or is being tried.

        Raises:
            BoxFailed: another token of this process uses the library.
        """
        self._spec = spec
        self._refused = refused
        self._session: Session | None = None
        self._looked_at: tuple[int, ...] | None = None
        self._library = os.path.realpath(spec.module)
        with _in_use_lock:
            if self._library in _in_use:
                raise BoxFailed("the PKCS#11 library is in use: each such box needs a process of its own")
            _in_use.add(self._library)

    @property
    def session(self) -> Session:
        """The session that is logged in.

        Raises:
            TokenAbsent: there is none.
        """
        if self._session is None:
            raise TokenAbsent(f"there is no session with token {self._spec.label}")
        return self._session

    def log_in(self) -> None:
        """Look for the token anew, and log in: whatever was found in it before is invalid.

        Raises:
            TokenPinUnreadable, TokenPinExposed: there is no PIN that may be used; the token is not asked.
            TokenLibraryUnusable: its library is not there, or does not start.
            TokenAbsent: it is not there.
            TokenPinWrong: it refuses the PIN, or did so before and the PIN file is the same; or may not be asked, e.g.
                because the try cannot be noted.
            BoxFailed: anything else.
        """
        self._session = None
        # First: what changes from here on is new.
        self._looked_at = self._look_at_pin_file()
        # Read for what is wrong with the file, whatever is wrong with the token.
        pin, note = self._read_pin()
        try:
            token = self._find()
            self._check_tries(token, note)
            self._session = self._open(token, pin, note)
        except said.PKCS11Error as error:
            raise TokenAbsent(f"token {self._spec.label} does not answer: {explain(error)}") from error

    def has_new_pin(self) -> bool:
        """Whether the PIN file is another one than at the last login, or has other rights; asks the token nothing."""
        return self._look_at_pin_file() != self._looked_at

    def close(self) -> None:
        """Log out, and give the library back. A second call does nothing."""
        self._session = None
        with _in_use_lock:
            if self._library not in _in_use:
                return
            _in_use.discard(self._library)
        try:
            library = pkcs11.lib(self._library)
            library.finalize()
        except (said.PKCS11Error, RuntimeError):
            _log.info("the PKCS#11 library of token %s was not open", self._spec.label)

    def _find(self) -> pkcs11.Token:
        try:
            library = pkcs11.lib(self._library)
            library.reinitialize()
        except RuntimeError as error:
            raise TokenLibraryUnusable(
                f"the PKCS#11 library of token {self._spec.label} is not there, or is none"
            ) from error
        slots = library.get_slots(token_present=True)
        tokens = [token for token in (slot.get_token() for slot in slots) if token.label == self._spec.label]
        if not tokens:
            raise TokenAbsent(f"there is no token with the label {self._spec.label}")
        if len(tokens) > 1:
            raise BoxFailed(f"there are {len(tokens)} tokens {self._spec.label}; one must be unmistakable")
        return tokens[0]

    def _read_pin(self) -> tuple[str, _RefusedPin]:
        try:
            descriptor = os.open(self._spec.pin_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise TokenPinUnreadable(f"the PIN file of token {self._spec.label} cannot be opened") from error
        try:
            status = os.fstat(descriptor)
            if is_exposed(status):
                raise TokenPinExposed(
                    f"others can read the PIN file of token {self._spec.label}: change the PIN, set mode 0600"
                )
            pin = os.read(descriptor, _PIN_BYTES).decode(errors="replace").strip("\r\n")
        finally:
            os.close(descriptor)
        if not pin:
            raise TokenPinUnreadable(f"the PIN file of token {self._spec.label} is empty")
        note = _RefusedPin(
            inode=status.st_ino, changed_ns=status.st_mtime_ns, size=status.st_size, token=self._spec.label
        )
        return pin, note

    def _look_at_pin_file(self) -> tuple[int, ...] | None:
        """What tells one PIN file from another, and from itself with other rights; None while there is none."""
        try:
            found = os.stat(self._spec.pin_file, follow_symlinks=False)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _check_tries(self, token: pkcs11.Token, note: _RefusedPin) -> None:
        if self._was_refused(note):
            raise TokenPinWrong(f"token {self._spec.label} refused this PIN file; it is not asked again")
        check_tries(self._spec.label, token.flags)

    def _open(self, token: pkcs11.Token, pin: str, note: _RefusedPin) -> Session:
        try:
            replace_file(self._refused, msgspec.json.encode(note))
        except OSError as error:
            raise TokenPinWrong(
                f"token {self._spec.label} is not asked: a try of its PIN cannot be noted"
            ) from error
        try:
            session = token.open(rw=True, user_pin=pin)
        except PIN_REFUSED:
            # Without its cause, whose frames hold the PIN.
            raise TokenPinWrong(f"token {self._spec.label} refused the PIN") from None
        except said.PKCS11Error:
            remove_file(self._refused)
            raise
        remove_file(self._refused)
        return session

    def _was_refused(self, note: _RefusedPin) -> bool:
        try:
            return msgspec.json.decode(self._refused.read_bytes(), type=_RefusedPin) == note
        except FileNotFoundError:
            return False
        except (msgspec.MsgspecError, OSError):
            # Half a note is a note: one that cannot be read allows no try.
            return True


def check_tries(label: str, flags: TokenFlag) -> None:
    """Refuse to try a PIN where one more mistake locks the token.

    Raises:
        TokenPinWrong: it is locked, or may be with the next try.
    """
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise TokenPinWrong(f"token {label} has locked its PIN")
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise TokenPinWrong(f"token {label} allows one try more; that one is left to a person")
    if flags & TokenFlag.USER_PIN_COUNT_LOW:
        _log.warning("token %s has refused a PIN since its last login", label)


def explain(error: said.PKCS11Error) -> str:
    """What a library says, in a word: its error's name."""
    return type(error).__name__
