"""The PIN of a token: tried once, never more; its file, and what may be wrong with it."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Session, TokenFlag
from pkcs11 import exceptions as said

from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.driver import token as token_module
from fsb_gateway.driver.signature import check_signature
from fsb_gateway.driver.token import check_tries
from fsb_gateway.error import (
    FsbError,
    TokenAbsent,
    TokenPinExposed,
    TokenPinUnreadable,
    TokenPinWrong,
)
from fsb_gateway.key.store import Keystore
from tests.integration.fsb_gateway.driver.test_driver import MESSAGE, install
from tests.integration.fsb_gateway.driver.token_bench import Open, forget_wrong_tries, pin_tried
from tests.service.softhsm import PIN, SoftHsm
from tests.unit.fsb_gateway.factory import FIRM_CODE as CODE
from tests.unit.fsb_gateway.factory import bind

WRONG_PIN = "271828"


def test_wrong_pin_is_tried_once_however_often_the_box_is_started_until_its_file_changes(
    reopen: Open, token: TokenSpec, keystore: Keystore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    install(reopen(), keystore, bind())
    pin_file = Path(token.pin_file)
    pin_file.write_text(WRONG_PIN)

    driver = reopen()
    slot = driver.slots[CODE]
    with pytest.raises(TokenPinWrong):
        driver.reload()
    assert pin_tried(token)
    forget_wrong_tries(token)
    for _ in range(3):
        with pytest.raises(TokenPinWrong) as caught:
            driver.sign(slot, MESSAGE)
        assert WRONG_PIN not in repr(caught.value)
        with pytest.raises(TokenPinWrong):
            driver.reload()
        driver = reopen()
    assert not pin_tried(token)

    pin_file.write_text(WRONG_PIN + "8")
    with pytest.raises(TokenPinWrong):
        driver.reload()
    assert pin_tried(token)
    pin_file.write_text(PIN)
    driver.reload()
    check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))
    assert not pin_tried(token)
    written = [path.read_bytes() for path in (pin_file.parent.parent / "slots").rglob("*") if path.is_file()]
    assert WRONG_PIN not in caplog.text
    assert all(WRONG_PIN.encode() not in content for content in written)


def test_pin_that_was_refused_may_be_tried_again_when_its_file_is_touched(
    reopen: Open, token: TokenSpec, tmp_path: Path
) -> None:
    """The PIN of the token was changed back, not the file."""
    pin_file = Path(token.pin_file)
    pin_file.write_text(WRONG_PIN)
    driver = reopen()
    with pytest.raises(TokenPinWrong):
        driver.reload()
    session = pkcs11.lib(os.path.realpath(token.module)).get_token(token_label=token.label)
    with session.open(rw=True, user_pin=PIN) as opened:
        opened.set_pin(PIN, WRONG_PIN)
    with pytest.raises(TokenPinWrong):
        driver.reload()
    os.utime(pin_file)
    driver.reload()
    assert driver.transport_key()
    assert not (tmp_path / "slots" / "box-1" / "refused-pin").exists()


def test_note_of_a_refusal_that_cannot_be_read_allows_no_try(
    reopen: Open, token: TokenSpec, tmp_path: Path
) -> None:
    driver = reopen()
    (tmp_path / "slots" / "box-1" / "refused-pin").write_bytes(b"{")
    with pytest.raises(TokenPinWrong):
        driver.reload()


@pytest.mark.parametrize("flag", [TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED])
def test_token_that_the_next_mistake_would_lock_is_not_asked(flag: TokenFlag) -> None:
    with pytest.raises(TokenPinWrong):
        check_tries("token-1", flag | TokenFlag.LOGIN_REQUIRED | TokenFlag.USER_PIN_COUNT_LOW)
    check_tries("token-1", TokenFlag.LOGIN_REQUIRED | TokenFlag.USER_PIN_COUNT_LOW)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("exposed", TokenPinExposed),
        ("missing", TokenPinUnreadable),
        ("empty", TokenPinUnreadable),
        ("link", TokenPinUnreadable),
    ],
)
def test_pin_file_that_cannot_be_trusted_is_not_used_and_said_to_be_so_even_without_the_token(
    reopen: Open, softhsm: SoftHsm, token: TokenSpec, fault: str, kind: type[FsbError]
) -> None:
    driver = reopen()
    driver.reload()
    pin_file = Path(token.pin_file)
    if fault == "exposed":
        pin_file.chmod(0o640)
    elif fault == "empty":
        pin_file.write_text("\n")
    else:
        kept = pin_file.rename(pin_file.with_suffix(".kept"))
        if fault == "link":
            pin_file.symlink_to(kept)
    assert driver.has_new_pin()
    with pytest.raises(kind):
        driver.reload()
    assert not driver.has_new_pin()
    softhsm.take_out()
    with pytest.raises(kind):
        driver.reload()
    softhsm.put_back()
    assert not pin_tried(token)


@pytest.mark.parametrize("mended", ["written", "touched", "protected"])
def test_pin_file_is_worth_another_try_once_it_has_changed(
    reopen: Open, token: TokenSpec, mended: str
) -> None:
    pin_file = Path(token.pin_file)
    if mended == "protected":
        pin_file.chmod(0o644)
    else:
        pin_file.write_text(WRONG_PIN)
    driver = reopen()
    with pytest.raises(TokenPinWrong):
        driver.reload()
    assert not driver.has_new_pin()
    if mended == "written":
        pin_file.write_text(PIN)
    elif mended == "touched":
        os.utime(pin_file)
    else:
        pin_file.chmod(0o600)
    assert driver.has_new_pin()
    if mended == "touched":
        with pytest.raises(TokenPinWrong):
            driver.reload()
    else:
        driver.reload()
    assert not driver.has_new_pin()


def test_pin_is_not_tried_where_the_try_cannot_be_noted(
    reopen: Open, token: TokenSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a wrong PIN would cost a try for each job, on a full disk."""
    Path(token.pin_file).write_text(WRONG_PIN)
    driver = reopen()

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(token_module, "replace_file", full)
        for _ in range(3):
            with pytest.raises(TokenPinWrong):
                driver.reload()
        # The library is looked at from outside only now.
        assert not pin_tried(token)
    with pytest.raises(TokenPinWrong):
        driver.reload()
    assert pin_tried(token)


@pytest.mark.parametrize(("error", "is_noted"), [(said.DeviceError, False), (KeyboardInterrupt, True)])
def test_try_that_came_to_nothing_may_be_repeated_unless_nobody_knows_what_came_of_it(
    reopen: Open,
    token: TokenSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Any,
    is_noted: bool,
) -> None:
    note = tmp_path / "slots" / "box-1" / "refused-pin"
    driver = reopen()

    class Broken:
        flags = TokenFlag.LOGIN_REQUIRED

        def open(self, *, rw: bool, user_pin: str) -> Session:
            assert note.exists(), "noted before it is tried"
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(token_module.Token, "_find", lambda token: Broken())
        with pytest.raises(KeyboardInterrupt if is_noted else TokenAbsent):
            driver.reload()
    assert note.exists() == is_noted
    if is_noted:
        with pytest.raises(TokenPinWrong):
            driver.reload()
        os.utime(token.pin_file)
    driver.reload()
    assert not note.exists()
