"""What every driver does, in software and in a PKCS#11 token (SoftHSM2): one suite for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from fsb_gateway.box_driver import BoxDriver, BoxSpec, KeyBinding, KeySlot
from fsb_gateway.driver import open_driver
from fsb_gateway.error import (
    FirmCodeNotOwned,
    FirmKeyConflict,
    FirmKeyMissing,
    FirmKeyUnfit,
    FsbError,
    JobMalformed,
    KeyDamaged,
)
from fsb_gateway.file_format.certificate import verify_chain
from fsb_gateway.job import Algorithm
from fsb_gateway.key.record import read_chain
from fsb_gateway.key.store import Keystore
from tests.fake.clock import START
from tests.service.softhsm import SoftHsm
from tests.unit.fsb_gateway.factory import FIRM_CODE as CODE
from tests.unit.fsb_gateway.factory import bind

ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "Ed25519")
MESSAGE = b"what a box signs"

Open = Callable[[], BoxDriver]


@pytest.fixture(params=["software", "pkcs11"])
def spec(request: pytest.FixtureRequest) -> BoxSpec:
    if request.param == "software":
        return BoxSpec(name="box-1", pool="shared")
    softhsm: SoftHsm = request.getfixturevalue("softhsm")
    return BoxSpec(name="box-1", pool="shared", driver="pkcs11", token=softhsm.make_token("token-1"))


@pytest.fixture
def reopen(spec: BoxSpec, tmp_path: Path, keystore: Keystore) -> Iterator[Open]:
    """Opens the box, and closes it before it is opened again, as a new process of it does."""
    opened: list[BoxDriver] = []

    def again() -> BoxDriver:
        for driver in opened:
            driver.close()
        opened.append(open_driver(spec, slots=tmp_path / "slots", keystore=keystore))
        return opened[-1]

    yield again
    for driver in opened:
        driver.close()


@pytest.fixture
def other(tmp_path: Path, keystore: Keystore) -> Iterator[BoxDriver]:
    """A software box, to and from which keys are moved."""
    with closing(
        open_driver(BoxSpec(name="other", pool="shared"), slots=tmp_path / "slots", keystore=keystore)
    ) as driver:
        yield driver


def install(driver: BoxDriver, keystore: Keystore, binding: KeyBinding) -> bytes:
    public_key = driver.generate(binding)
    driver.use(binding, keystore.issue(binding, public_key))
    return public_key


def holds(slot: KeySlot, signature: bytes, message: bytes = MESSAGE) -> bool:
    key = load_der_public_key(slot.public_key)
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            assert isinstance(key, EllipticCurvePublicKey)
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return len(signature) == 64


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_key_made_here_signs_once_it_has_certificates_and_after_a_restart(
    reopen: Open, keystore: Keystore, algorithm: Algorithm
) -> None:
    driver = reopen()
    binding = bind(algorithm=algorithm)
    public_key = driver.generate(binding)
    assert driver.generate(binding) == public_key
    assert not driver.slots

    driver.use(binding, keystore.issue(binding, public_key))
    slot = driver.slots[CODE]
    assert (slot.key_id, slot.instance_id, slot.algorithm, slot.public_key) == (
        "key_1",
        "ins_1",
        algorithm,
        public_key,
    )
    assert holds(slot, driver.sign(slot, MESSAGE))
    assert not holds(slot, driver.sign(slot, b"something else"))

    again = reopen()
    assert again.slots == {CODE: slot}
    assert again.unreadable == frozenset()
    assert again.generate(binding) == public_key
    assert holds(slot, again.sign(slot, MESSAGE))


def test_certificates_of_the_slot_lead_to_the_root(reopen: Open, keystore: Keystore) -> None:
    driver = reopen()
    binding = bind()
    chain = keystore.issue(binding, driver.generate(binding))
    driver.use(binding, chain)
    driver.use(binding, chain)
    identity = verify_chain(list(read_chain(chain)), keystore.ensure_root(), at=START)
    assert (identity.instance_id, identity.firm_code) == ("ins_1", CODE)


def test_rotation_changes_the_key_in_use_at_one_moment_and_the_old_one_is_destroyed_later(
    reopen: Open, keystore: Keystore
) -> None:
    driver = reopen()
    install(driver, keystore, bind("key_1"))
    old = driver.slots[CODE]
    new = bind("key_2")
    public_key = driver.generate(new)
    assert driver.slots[CODE] == old
    driver.use(new, keystore.issue(new, public_key))
    slot = driver.slots[CODE]
    assert (slot.key_id, slot.public_key) == ("key_2", public_key)
    assert holds(slot, driver.sign(slot, MESSAGE))

    for _ in range(2):
        driver.forget(CODE, but="key_2")
    assert driver.slots[CODE] == slot
    with pytest.raises(FirmKeyMissing):
        driver.export(CODE, "key_1", to=driver.transport_key())
    again = reopen()
    assert again.slots == {CODE: slot}
    assert holds(slot, again.sign(slot, MESSAGE))


def test_forgotten_keys_are_gone_and_forgetting_again_does_nothing(reopen: Open, keystore: Keystore) -> None:
    driver = reopen()
    first = install(driver, keystore, bind("key_1"))
    install(driver, keystore, bind("key_9", CODE + 1))
    slot = driver.slots[CODE]
    for _ in range(2):
        driver.forget(CODE)
    assert set(driver.slots) == {CODE + 1}
    with pytest.raises(FsbError):
        driver.sign(slot, MESSAGE)
    again = reopen()
    assert set(again.slots) == {CODE + 1}
    assert again.unreadable == frozenset()
    assert again.generate(bind("key_1")) != first


def test_one_key_of_several_is_forgotten_by_its_id(reopen: Open, keystore: Keystore) -> None:
    driver = reopen()
    install(driver, keystore, bind("key_1"))
    second = driver.generate(bind("key_2"))
    driver.forget(CODE, key_id="key_2")
    assert driver.slots[CODE].key_id == "key_1"
    assert driver.generate(bind("key_2")) != second
    driver.forget(CODE, key_id="key_1")
    assert CODE not in driver.slots
    assert driver.generate(bind("key_2"))


def test_key_of_another_instance_algorithm_or_firm_code_is_refused(reopen: Open, keystore: Keystore) -> None:
    driver = reopen()
    public_key = driver.generate(bind())
    with pytest.raises(FirmCodeNotOwned):
        driver.generate(bind("key_2", instance="ins_2"))
    with pytest.raises(FirmKeyConflict):
        driver.generate(bind(algorithm="Ed25519"))
    with pytest.raises(FirmKeyConflict):
        driver.generate(bind("key_1", CODE + 1))
    with pytest.raises(FirmKeyMissing):
        driver.use(bind("key_2"), keystore.issue(bind("key_2"), public_key))
    with pytest.raises(FirmKeyMissing):
        driver.use(bind("key_7", CODE + 7), keystore.issue(bind(), public_key))
    assert not driver.slots
    assert driver.generate(bind()) == public_key


@pytest.mark.parametrize("wrong", ["key", "firm_code", "instance"])
def test_certificates_of_something_else_are_refused(reopen: Open, keystore: Keystore, wrong: str) -> None:
    driver = reopen()
    public_key = driver.generate(bind())
    other = driver.generate(bind("key_2"))
    chain = {
        "key": lambda: keystore.issue(bind(), other),
        "firm_code": lambda: keystore.issue(bind("key_1", CODE + 1), public_key),
        "instance": lambda: keystore.issue(bind(instance="ins_2"), public_key),
    }[wrong]()
    with pytest.raises(FirmKeyUnfit):
        driver.use(bind(), chain)
    with pytest.raises(FirmKeyUnfit):
        driver.use(bind(), (b"no certificate", b"neither"))
    assert not driver.slots


@pytest.mark.parametrize("name", ["../key", "", "a b", "k" * 129])
def test_key_id_that_could_leave_the_directory_is_refused(reopen: Open, name: str) -> None:
    with pytest.raises(JobMalformed):
        reopen().generate(bind(name))


def test_key_moves_to_another_box_and_back_and_signs_in_each(
    reopen: Open, other: BoxDriver, keystore: Keystore
) -> None:
    driver, binding = reopen(), bind()
    public_key = install(driver, keystore, binding)
    chain = keystore.issue(binding, public_key)
    wrapped = driver.export(CODE, "key_1", to=other.transport_key())
    for _ in range(2):
        other.import_key(binding, wrapped, public_key)
    assert not other.slots
    other.use(binding, chain)
    assert holds(driver.slots[CODE], other.sign(other.slots[CODE], MESSAGE))

    driver.forget(CODE)
    driver.import_key(binding, other.export(CODE, "key_1", to=driver.transport_key()), public_key)
    driver.use(binding, chain)
    slot = driver.slots[CODE]
    assert holds(slot, driver.sign(slot, MESSAGE))
    again = reopen()
    assert holds(slot, again.sign(again.slots[CODE], MESSAGE))
    assert again.export(CODE, "key_1", to=other.transport_key())


def test_transport_key_is_made_once(reopen: Open) -> None:
    first = reopen().transport_key()
    assert reopen().transport_key() == first


def test_wrapped_key_that_is_not_the_one_it_is_said_to_be_is_refused(reopen: Open, other: BoxDriver) -> None:
    driver = reopen()
    first, second = other.generate(bind("key_1")), other.generate(bind("key_2"))
    wrapped = other.export(CODE, "key_1", to=driver.transport_key())
    with pytest.raises(FirmKeyUnfit):
        driver.import_key(bind("key_1"), wrapped, second)
    for damaged in (wrapped[:-1], b"", wrapped[:100], bytes(len(wrapped)), wrapped[:-8] + bytes(8)):
        with pytest.raises(FirmKeyUnfit):
            driver.import_key(bind("key_1"), damaged, first)
    with pytest.raises(FirmKeyUnfit):
        driver.import_key(bind("key_1"), other.export(CODE, "key_1", to=other.transport_key()), first)
    with pytest.raises(FirmKeyUnfit):
        driver.import_key(bind("key_1", algorithm="Ed25519"), wrapped, first)
    driver.import_key(bind("key_1"), wrapped, first)
    with pytest.raises(FirmKeyConflict):
        driver.import_key(bind("key_1"), wrapped, second)
    with pytest.raises(FirmCodeNotOwned):
        driver.import_key(bind("key_2", instance="ins_2"), wrapped, first)


def test_key_that_is_not_there_is_not_exported(reopen: Open, other: BoxDriver) -> None:
    driver = reopen()
    driver.generate(bind())
    for firm_code, key_id in ((CODE, "key_2"), (CODE + 1, "key_1")):
        with pytest.raises(FirmKeyMissing):
            driver.export(firm_code, key_id, to=other.transport_key())
    for no_transport_key in (b"", driver.generate(bind())):
        with pytest.raises(FirmKeyUnfit):
            driver.export(CODE, "key_1", to=no_transport_key)


def test_damaged_slot_file_costs_its_own_firm_code_only_until_it_is_mended(
    reopen: Open, keystore: Keystore, tmp_path: Path
) -> None:
    driver = reopen()
    for number in range(2):
        install(driver, keystore, bind(f"key_{number}", CODE + number))
    path = tmp_path / "slots" / "box-1" / f"{CODE}.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    driver.reload()
    assert set(driver.slots) == {CODE, CODE + 1}, "a key that was open goes on working"

    again = reopen()
    assert set(again.slots) == {CODE + 1}
    assert again.unreadable == {CODE}
    with pytest.raises(KeyDamaged):
        again.generate(bind("key_0"))
    with pytest.raises(KeyDamaged):
        again.forget(CODE, key_id="key_0")
    path.write_bytes(whole)
    again.reload()
    assert set(again.slots) == {CODE, CODE + 1}
    assert again.unreadable == frozenset()
    assert holds(again.slots[CODE], again.sign(again.slots[CODE], MESSAGE))


def test_damaged_slot_file_goes_when_all_keys_of_its_firm_code_are_forgotten(
    reopen: Open, keystore: Keystore, tmp_path: Path
) -> None:
    first = install(reopen(), keystore, bind())
    (tmp_path / "slots" / "box-1" / f"{CODE}.json").write_bytes(b"{")
    driver = reopen()
    assert driver.unreadable == {CODE}
    driver.forget(CODE)
    assert driver.unreadable == frozenset()
    assert driver.generate(bind()) != first
    assert install(driver, keystore, bind()) == driver.slots[CODE].public_key
