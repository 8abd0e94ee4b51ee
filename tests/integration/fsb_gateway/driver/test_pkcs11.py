"""What only a PKCS#11 box has: a token that can be taken out, keys that nobody reads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11 import exceptions as said

from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.driver.pkcs11 import Pkcs11Driver
from fsb_gateway.driver.signature import check_signature
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.driver.token_key import find_objects
from fsb_gateway.error import (
    BoxFailed,
    FirmKeyMissing,
    FirmKeyUnfit,
    FsbError,
    TokenAbsent,
    TokenKeyLost,
    TokenLibraryUnusable,
)
from fsb_gateway.key.store import Keystore
from tests.integration.fsb_gateway.driver.test_driver import MESSAGE, install
from tests.integration.fsb_gateway.driver.token_bench import Open, look_inside
from tests.service.softhsm import SoftHsm
from tests.unit.fsb_gateway.factory import FIRM_CODE as CODE
from tests.unit.fsb_gateway.factory import bind


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


@pytest.mark.parametrize(
    ("wrong", "value", "kind"),
    [
        ("label", "nothing", TokenAbsent),
        ("module", "nothing.so", TokenLibraryUnusable),
        ("module", "token-1.pin", TokenLibraryUnusable),
    ],
)
def test_token_that_is_not_there_is_told_from_a_library_that_is_none(
    token: TokenSpec, softhsm: SoftHsm, tmp_path: Path, wrong: str, value: str, kind: type[FsbError]
) -> None:
    changed = replace(token, **{wrong: str(softhsm.folder / value)})
    with closing(Pkcs11Driver(tmp_path / "slots" / "box-1", changed)) as driver:
        with pytest.raises(TokenAbsent) as caught:
            driver.reload()
        assert type(caught.value) is kind


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


def test_key_that_vanished_from_the_token_is_said_to_be_gone_by_the_first_signature_that_fails(
    reopen: Open, token: TokenSpec, keystore: Keystore
) -> None:
    driver = reopen()
    install(driver, keystore, bind())
    install(driver, keystore, bind("key_2", CODE + 1))
    slot = driver.slots[CODE]
    check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))
    for item in find_objects(look_inside(token), CODE)[b"key_1"]:
        item.destroy()
    with pytest.raises(TokenKeyLost):
        driver.sign(slot, MESSAGE)
    assert set(driver.slots) == {CODE + 1}
    assert driver.unreadable == {CODE}
