"""What only a PKCS#11 box has: a token that can be taken out, a PIN that can be wrong, keys that nobody reads."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass, Session, TokenFlag
from pkcs11 import exceptions as said

from fsb_gateway.box_driver import BoxSpec, TokenSpec
from fsb_gateway.driver import token as token_module
from fsb_gateway.driver.pkcs11 import Pkcs11Driver
from fsb_gateway.driver.signature import check_signature
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.driver.token import check_tries
from fsb_gateway.driver.token_key import find_objects
from fsb_gateway.error import BoxFailed, FirmKeyMissing, FirmKeyUnfit, TokenAbsent, TokenPinWrong
from fsb_gateway.key.store import Keystore
from tests.fake.clock import FakeClock
from tests.integration.fsb_gateway.driver.test_driver import MESSAGE, install
from tests.service.softhsm import PIN, SoftHsm, make_softhsm
from tests.unit.fsb_gateway.factory import FIRM_CODE as CODE
from tests.unit.fsb_gateway.factory import bind

WRONG_PIN = "271828"

Open = Callable[[], Pkcs11Driver]


@pytest.fixture
def keystore(tmp_path: Path, clock: FakeClock) -> Keystore:
    return Keystore(tmp_path / "keys", clock=clock)


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    softhsm = make_softhsm(tmp_path / "softhsm")
    for name, value in softhsm.environment.items():
        monkeypatch.setenv(name, value)
    return softhsm


@pytest.fixture
def token(softhsm: SoftHsm) -> TokenSpec:
    return softhsm.make_token("token-1")


@pytest.fixture
def reopen(token: TokenSpec, tmp_path: Path) -> Iterator[Open]:
    opened: list[Pkcs11Driver] = []

    def again() -> Pkcs11Driver:
        for driver in opened:
            driver.close()
        opened.append(Pkcs11Driver(tmp_path / "slots" / "box-1", token))
        return opened[-1]

    yield again
    for driver in opened:
        driver.close()


@pytest.fixture
def software(tmp_path: Path, keystore: Keystore) -> SoftwareDriver:
    return SoftwareDriver(
        tmp_path / "slots" / "other", BoxSpec(name="other", pool="shared"), keystore=keystore
    )


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


@pytest.mark.parametrize("way", ["generate", "import"])
def test_private_key_is_read_by_nobody(
    reopen: Open, token: TokenSpec, keystore: Keystore, software: SoftwareDriver, way: str
) -> None:
    driver = reopen()
    if way == "generate":
        install(driver, keystore, bind())
    else:
        public_key = software.generate(bind())
        driver.import_key(bind(), software.export(CODE, "key_1", to=driver.transport_key()), public_key)
    session = look_inside(token)
    private = session.get_key(ObjectClass.PRIVATE_KEY, id=b"key_1")
    with pytest.raises(said.AttributeSensitive):
        private[Attribute.VALUE]
    assert private[Attribute.SENSITIVE]
    assert private[Attribute.PRIVATE]
    assert not private[Attribute.DECRYPT]
    assert not private[Attribute.DERIVE]
    with pytest.raises(said.PKCS11Error):
        private[Attribute.SENSITIVE] = False
    with pytest.raises(said.PKCS11Error):
        private.copy({Attribute.SENSITIVE: False})


def test_transport_key_decrypts_nothing_for_its_caller(reopen: Open, token: TokenSpec) -> None:
    """Else whoever is logged in could open what was wrapped to the box, outside the token."""
    reopen().transport_key()
    private = look_inside(token).get_key(ObjectClass.PRIVATE_KEY, key_type=KeyType.RSA)
    assert private[Attribute.UNWRAP]
    assert not private[Attribute.EXTRACTABLE]
    for use in (Attribute.DECRYPT, Attribute.SIGN):
        assert not private[use]
        with pytest.raises(said.PKCS11Error):
            private[use] = True
    with pytest.raises(said.AttributeSensitive):
        private[Attribute.PRIVATE_EXPONENT]


def test_ed25519_key_stays_where_it_was_made(
    reopen: Open, keystore: Keystore, software: SoftwareDriver
) -> None:
    """SoftHSM2 2.6.1 neither wraps nor unwraps such keys: the refusal changes nothing."""
    driver, binding = reopen(), bind(algorithm="Ed25519")
    public_key = software.generate(bind("key_2", CODE + 1, algorithm="Ed25519"))
    install(driver, keystore, binding)
    slot = driver.slots[CODE]
    with pytest.raises(FirmKeyUnfit, match="cannot wrap"):
        driver.export(CODE, "key_1", to=software.transport_key())
    wrapped = software.export(CODE + 1, "key_2", to=driver.transport_key())
    with pytest.raises(FirmKeyUnfit, match="cannot be opened"):
        driver.import_key(bind("key_2", CODE + 1, algorithm="Ed25519"), wrapped, public_key)
    assert driver.slots == {CODE: slot}
    check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))


def test_token_taken_out_and_put_back_signs_again_with_the_same_key(
    reopen: Open, keystore: Keystore, softhsm: SoftHsm
) -> None:
    driver = reopen()
    install(driver, keystore, bind())
    slot = driver.slots[CODE]
    for _ in range(2):
        softhsm.take_out()
        for _ in range(2):
            with pytest.raises(TokenAbsent):
                driver.sign(slot, MESSAGE)
            with pytest.raises(TokenAbsent):
                driver.reload()
        assert driver.slots == {CODE: slot}
        assert driver.unreadable == frozenset()
        softhsm.put_back()
        check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))
    driver.reload()
    assert driver.slots == {CODE: slot}


def test_token_out_and_in_between_two_jobs_is_noticed_by_nobody(
    reopen: Open, keystore: Keystore, softhsm: SoftHsm
) -> None:
    driver = reopen()
    install(driver, keystore, bind())
    slot = driver.slots[CODE]
    softhsm.take_out()
    with pytest.raises(TokenAbsent):
        driver.reload()
    softhsm.put_back()
    check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))


def test_box_without_its_token_starts_and_knows_its_keys(
    reopen: Open, keystore: Keystore, softhsm: SoftHsm
) -> None:
    install(reopen(), keystore, bind())
    softhsm.take_out()
    driver = reopen()
    assert set(driver.slots) == {CODE}
    steps: tuple[Callable[[], object], ...] = (
        driver.reload,
        lambda: driver.sign(driver.slots[CODE], MESSAGE),
        lambda: driver.generate(bind("key_2")),
        lambda: driver.forget(CODE),
        lambda: driver.export(CODE, "key_1", to=b""),
        driver.transport_key,
    )
    for step in steps:
        with pytest.raises(TokenAbsent):
            step()
    softhsm.put_back()
    driver.reload()
    slot = driver.slots[CODE]
    check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))


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


@pytest.mark.parametrize("fault", ["exposed", "missing", "empty", "link"])
def test_pin_file_that_cannot_be_trusted_is_not_used(reopen: Open, token: TokenSpec, fault: str) -> None:
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
    with pytest.raises(TokenPinWrong):
        driver.reload()
    assert not pin_tried(token)


def test_second_box_of_a_process_is_refused_the_same_library(
    reopen: Open, token: TokenSpec, tmp_path: Path
) -> None:
    driver = reopen()
    with pytest.raises(BoxFailed, match="process of its own"):
        Pkcs11Driver(tmp_path / "slots" / "box-2", token)
    driver.close()
    driver.close()
    with closing(Pkcs11Driver(tmp_path / "slots" / "box-2", token)) as second:
        assert second.transport_key()


@pytest.mark.parametrize("wrong", ["label", "module"])
def test_token_or_library_that_is_not_there_is_absent(token: TokenSpec, tmp_path: Path, wrong: str) -> None:
    changed = replace(token, **{wrong: str(tmp_path / "nothing")})
    with closing(Pkcs11Driver(tmp_path / "slots" / "box-1", changed)) as driver, pytest.raises(TokenAbsent):
        driver.reload()


def test_two_tokens_of_one_label_are_not_guessed_at(reopen: Open, softhsm: SoftHsm, token: TokenSpec) -> None:
    driver = reopen()
    softhsm.make_token(token.label)
    with pytest.raises(BoxFailed, match="2 tokens"):
        driver.reload()


def test_key_made_by_a_step_that_was_killed_before_its_record_is_taken_up(
    reopen: Open, token: TokenSpec, tmp_path: Path
) -> None:
    driver = reopen()
    public_key = driver.generate(bind())
    (tmp_path / "slots" / "box-1" / f"{CODE}.json").unlink()
    assert driver.generate(bind()) == public_key
    (tmp_path / "slots" / "box-1" / f"{CODE}.json").unlink()
    objects = find_objects(look_inside(token), CODE)[b"key_1"]
    next(item for item in objects if isinstance(item, pkcs11.PublicKey)).destroy()
    assert driver.generate(bind()) != public_key, "half a pair is of no use"
    assert len(find_objects(look_inside(token), CODE)[b"key_1"]) == 2


def test_key_brought_in_by_a_step_that_was_killed_before_its_record_is_brought_in_again(
    reopen: Open, token: TokenSpec, software: SoftwareDriver, keystore: Keystore, tmp_path: Path
) -> None:
    driver = reopen()
    public_key = software.generate(bind())
    wrapped = software.export(CODE, "key_1", to=driver.transport_key())
    for _ in range(2):
        driver.import_key(bind(), wrapped, public_key)
        (tmp_path / "slots" / "box-1" / f"{CODE}.json").unlink()
    driver.import_key(bind(), wrapped, public_key)
    assert len(find_objects(look_inside(token), CODE)[b"key_1"]) == 1
    driver.use(bind(), keystore.issue(bind(), public_key))
    check_signature(driver.slots[CODE], MESSAGE, driver.sign(driver.slots[CODE], MESSAGE))


def test_forgetting_that_was_killed_between_token_and_file_is_seen_and_can_be_repeated(
    reopen: Open, token: TokenSpec, keystore: Keystore
) -> None:
    driver = reopen()
    install(driver, keystore, bind())
    for item in find_objects(look_inside(token), CODE)[b"key_1"]:
        item.destroy()
    driver.reload()
    assert driver.slots == {}
    assert driver.unreadable == {CODE}
    with pytest.raises(FirmKeyMissing):
        driver.export(CODE, "key_1", to=driver.transport_key())
    driver.forget(CODE)
    assert driver.unreadable == frozenset()
    install(driver, keystore, bind())


def test_forgetting_destroys_what_no_file_knows_of(reopen: Open, token: TokenSpec, tmp_path: Path) -> None:
    driver = reopen()
    driver.generate(bind())
    (tmp_path / "slots" / "box-1" / f"{CODE}.json").unlink()
    driver.forget(CODE)
    assert find_objects(look_inside(token), CODE) == {}


def test_driver_works_on_a_thread_of_its_own_after_it_was_closed_on_another(
    reopen: Open, keystore: Keystore
) -> None:
    """A box that lost its power is closed and opened again by its device thread."""
    install(reopen(), keystore, bind())
    signed: list[bytes] = []

    def work() -> None:
        driver = reopen()
        signed.append(driver.sign(driver.slots[CODE], MESSAGE))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=20)
    assert len(signed) == 1


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
