from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fsb_gateway import Algorithm, Keystore
from fsb_gateway.error import (
    FirmCodeNotOwned,
    FirmKeyConflict,
    JobMalformed,
    KeyDamaged,
    KeyEncryptionKeyExposed,
    KeyEncryptionKeyMissing,
)
from fsb_gateway.file_format.certificate import verify_chain
from tests.fake.clock import START, FakeClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keystore(folder: Path, clock: FakeClock) -> Keystore:
    return Keystore(folder, clock=clock)


def test_directory_and_key_are_private_from_the_start(keystore: Keystore, folder: Path) -> None:
    keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm="ES256")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_firm_key_is_made_once_and_leads_to_the_root(
    keystore: Keystore, folder: Path, clock: FakeClock, algorithm: Algorithm
) -> None:
    first = keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm=algorithm)
    again = Keystore(folder, clock=clock).ensure_firm_key("ins_1", 10, pool="shared", algorithm=algorithm)
    assert first.chain == again.chain
    identity = verify_chain(list(first.chain), keystore.ensure_root(), at=START)
    assert (identity.instance_id, identity.firm_code, identity.algorithm) == ("ins_1", 10, algorithm)
    assert again.key.public_key() == identity.public_key


def test_pool_is_added_and_kept(keystore: Keystore) -> None:
    keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm="ES256")
    key = keystore.ensure_firm_key("ins_1", 10, pool="own", algorithm="ES256")
    assert key.pools == ("shared", "own")
    assert [found.firm_code for found in keystore.firm_keys("own").keys] == [10]
    assert keystore.firm_keys("elsewhere").keys == ()


def test_firm_code_of_another_instance_is_refused(keystore: Keystore) -> None:
    keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm="ES256")
    with pytest.raises(FirmCodeNotOwned):
        keystore.ensure_firm_key("ins_2", 10, pool="shared", algorithm="ES256")
    assert [key.instance_id for key in keystore.firm_keys("shared").keys] == ["ins_1"]


def test_other_algorithm_for_the_same_firm_code_is_refused(keystore: Keystore) -> None:
    keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm="ES256")
    with pytest.raises(FirmKeyConflict):
        keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm="Ed25519")


@pytest.mark.parametrize(
    ("instance_id", "firm_code", "pool"),
    [
        ("../x", 10, "p"),
        ("", 10, "p"),
        ("ins/1", 10, "p"),
        ("ins_1", 0, "p"),
        ("ins_1", 2**32, "p"),
        ("i", 1, "a b"),
    ],
)
def test_names_that_could_leave_the_directory_are_refused(
    keystore: Keystore, instance_id: str, firm_code: int, pool: str
) -> None:
    with pytest.raises(JobMalformed):
        keystore.ensure_firm_key(instance_id, firm_code, pool=pool, algorithm="ES256")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_key_that_others_can_touch_is_not_used(
    keystore: Keystore, folder: Path, clock: FakeClock, mode: int
) -> None:
    (folder / "key-encryption.key").chmod(mode)
    with pytest.raises(KeyEncryptionKeyExposed):
        Keystore(folder, clock=clock)


def test_lost_key_is_not_replaced_by_a_new_one(keystore: Keystore, folder: Path, clock: FakeClock) -> None:
    keystore.ensure_root()
    (folder / "key-encryption.key").unlink()
    with pytest.raises(KeyEncryptionKeyMissing):
        Keystore(folder, clock=clock)
    assert not (folder / "key-encryption.key").exists()


def test_key_cut_short_is_refused(keystore: Keystore, folder: Path, clock: FakeClock) -> None:
    path = folder / "key-encryption.key"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(KeyDamaged):
        Keystore(folder, clock=clock)


def test_other_key_opens_nothing(keystore: Keystore, folder: Path, clock: FakeClock) -> None:
    keystore.ensure_root()
    (folder / "key-encryption.key").write_bytes(bytes(32))
    with pytest.raises(KeyDamaged):
        Keystore(folder, clock=clock).ensure_root()


def test_key_file_under_another_name_is_refused(keystore: Keystore, folder: Path) -> None:
    for firm_code in (10, 11):
        keystore.ensure_firm_key("ins_1", firm_code, pool="shared", algorithm="ES256")
    first, second = folder / "firm-key" / "10.json", folder / "firm-key" / "11.json"
    second.write_bytes(first.read_bytes().replace(b'"firm_code":10', b'"firm_code":11'))
    found = keystore.firm_keys("shared")
    assert [key.firm_code for key in found.keys] == [10]
    assert found.unreadable == {11}


def test_unreadable_key_file_costs_its_own_slot_only_and_is_named(
    keystore: Keystore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for firm_code in (10, 11, 12):
        keystore.ensure_firm_key("ins_1", firm_code, pool="shared", algorithm="ES256")
    (folder / "firm-key" / "10.json").write_text("{")
    (folder / "firm-key" / "11.json").unlink()
    (folder / "firm-key" / "11.json").mkdir()
    found = keystore.firm_keys("shared")
    assert [key.firm_code for key in found.keys] == [12]
    assert found.unreadable == {10, 11}
    assert "10.json" in caplog.text
    with pytest.raises(KeyDamaged) as caught:
        keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm="ES256")
    assert caught.value.detail == {"key": "10.json"}


def test_two_at_once_get_the_same_keys(folder: Path, clock: FakeClock) -> None:
    def ensure(_: int) -> tuple[bytes, bytes]:
        keystore = Keystore(folder, clock=clock)
        key = keystore.ensure_firm_key("ins_1", 10, pool="shared", algorithm="ES256")
        return key.chain[0].tbs_certificate_bytes, keystore.ensure_root().tbs_certificate_bytes

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ensure, range(16)))) == 1
