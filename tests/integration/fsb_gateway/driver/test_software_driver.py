"""What only a software box has: its keys lie in files, wrapped, each good for one box, instance and firm code."""

from __future__ import annotations

import base64
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fsb_gateway.driver.signature import check_signature
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.error import BoxFailed, FirmKeyUnfit, KeyDamaged
from fsb_gateway.key.store import Keystore
from fsb_gateway.key.transport import public_der
from fsb_gateway.key.wrap import private_der
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, bind, box_spec, p256

MESSAGE = b"what a box signs"
KEY = bytes(range(32))

Start = Callable[..., SoftwareDriver]


@pytest.fixture
def slots(tmp_path: Path) -> Path:
    return tmp_path / "slots"


@pytest.fixture
def keystore(tmp_path: Path, clock: FakeClock) -> Keystore:
    return Keystore(tmp_path / "keys", clock=clock, key_encryption_key=KEY)


@pytest.fixture
def start(slots: Path, keystore: Keystore) -> Start:
    def start(name: str = "box-1") -> SoftwareDriver:
        return SoftwareDriver(slots / name, box_spec(name), keystore=keystore)

    return start


@pytest.fixture
def driver(start: Start, keystore: Keystore) -> SoftwareDriver:
    driver = start()
    driver.use(bind(), keystore.issue(bind(), driver.generate(bind())))
    return driver


def test_files_are_private_and_hold_no_key_in_clear(
    driver: SoftwareDriver, slots: Path, keystore: Keystore
) -> None:
    driver.transport_key()
    files = [path for path in slots.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {f"{FIRM_CODE}.json", "transport.json"}
    for path in slots.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    wrapped = keystore.wrap.wrap("a name", p256("some key"))
    assert private_der(p256("some key")) not in wrapped
    assert all(KEY not in path.read_bytes() for path in files)


def test_slot_file_of_another_box_opens_nothing(driver: SoftwareDriver, slots: Path, start: Start) -> None:
    start("box-2")
    shutil.copy(slots / "box-1" / f"{FIRM_CODE}.json", slots / "box-2")
    other = start("box-2")
    assert dict(other.slots) == {}
    assert other.unreadable == {FIRM_CODE}
    assert set(start("box-1").slots) == {FIRM_CODE}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"instance_id":"ins_1"', b'"instance_id":"ins_2"'),
        (b'"key_id":"key_1"', b'"key_id":"key_2"'),
        (b'"active":"key_1"', b'"active":"key_2"'),
        (b'"firm_code":6000010', b'"firm_code":6000011'),
    ],
)
def test_slot_file_that_was_changed_opens_nothing(
    driver: SoftwareDriver, slots: Path, start: Start, old: bytes, new: bytes
) -> None:
    path = slots / "box-1" / f"{FIRM_CODE}.json"
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    again = start()
    assert dict(again.slots) == {}
    assert again.unreadable == {FIRM_CODE}


def test_slot_file_with_another_public_key_opens_nothing(
    driver: SoftwareDriver, slots: Path, start: Start
) -> None:
    path = slots / "box-1" / f"{FIRM_CODE}.json"
    content = json.loads(path.read_bytes())
    content["keys"][0]["public_key"] = base64.b64encode(public_der(p256("another").public_key())).decode()
    path.write_text(json.dumps(content))
    assert start().unreadable == {FIRM_CODE}


def test_key_under_another_key_encryption_key_is_unreadable(
    driver: SoftwareDriver, slots: Path, tmp_path: Path, clock: FakeClock
) -> None:
    foreign = Keystore(tmp_path / "elsewhere" / "keys", clock=clock)
    other = SoftwareDriver(slots / "box-1", box_spec(), keystore=foreign)
    assert other.unreadable == {FIRM_CODE}
    with pytest.raises(KeyDamaged):
        other.export(FIRM_CODE, "key_1", to=other.transport_key())


@pytest.mark.parametrize("content", [b"{", b'{"wrapped":"AAAA"}'])
def test_damaged_transport_key_is_replaced_and_what_was_wrapped_to_it_sent_again(
    driver: SoftwareDriver, slots: Path, start: Start, content: bytes
) -> None:
    receiver = start("box-2")
    old = receiver.transport_key()
    (slots / "box-2" / "transport.json").write_bytes(content)
    receiver = start("box-2")
    assert receiver.transport_key() != old
    public_key = driver.slots[FIRM_CODE].public_key
    with pytest.raises(FirmKeyUnfit):
        receiver.import_key(bind(), driver.export(FIRM_CODE, "key_1", to=old), public_key)
    again = driver.export(FIRM_CODE, "key_1", to=receiver.transport_key())
    receiver.import_key(bind(), again, public_key)
    assert start("box-2").transport_key() == receiver.transport_key()


def test_job_that_began_with_the_old_key_is_signed_with_it_after_a_rotation(
    driver: SoftwareDriver, keystore: Keystore
) -> None:
    slot, new = driver.slots[FIRM_CODE], bind("key_2")
    driver.use(new, keystore.issue(new, driver.generate(new)))
    check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))
    driver.forget(FIRM_CODE, but="key_2")
    with pytest.raises(BoxFailed):
        driver.sign(slot, MESSAGE)


def test_slot_file_that_vanished_closes_the_slot(driver: SoftwareDriver, slots: Path) -> None:
    (slots / "box-1" / f"{FIRM_CODE}.json").unlink()
    driver.reload()
    assert dict(driver.slots) == {}


def test_closed_driver_holds_nothing(driver: SoftwareDriver) -> None:
    slot = driver.slots[FIRM_CODE]
    driver.close()
    assert dict(driver.slots) == {}
    with pytest.raises(BoxFailed):
        driver.sign(slot, MESSAGE)
