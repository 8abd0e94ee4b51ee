"""A token seen from outside: by another session of the same process."""

from __future__ import annotations

import os
from collections.abc import Callable

import pkcs11
from pkcs11 import Session, TokenFlag

from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.driver.pkcs11 import Pkcs11Driver
from tests.service.softhsm import PIN

Open = Callable[[], Pkcs11Driver]
"""Opens a box's driver, and closes the one before."""


def look_inside(token: TokenSpec) -> Session:
    """Another session of this process; what logs in is the process, so it sees what the driver sees."""
    return pkcs11.lib(os.path.realpath(token.module)).get_token(token_label=token.label).open(rw=True)


def pin_tried(token: TokenSpec) -> bool:
    """Whether a wrong PIN came since the last login that was right."""
    library = pkcs11.lib(os.path.realpath(token.module))
    return bool(library.get_token(token_label=token.label).flags & TokenFlag.USER_PIN_COUNT_LOW)


def forget_wrong_tries(token: TokenSpec) -> None:
    library = pkcs11.lib(os.path.realpath(token.module))
    library.get_token(token_label=token.label).open(user_pin=PIN).close()
    assert not pin_tried(token)
