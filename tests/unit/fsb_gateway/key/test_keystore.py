from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fsb_gateway import Algorithm, Keystore
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.error import (
    FirmCodeNotOwned,
    FirmKeyConflict,
    FirmKeyUnfit,
    JobMalformed,
    KeyDamaged,
    KeyEncryptionKeyExposed,
    KeyEncryptionKeyMissing,
)
from fsb_gateway.file_format.certificate import verify_chain
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.key.record import FirmKeyRecord, PlannedKey, certified_key, fingerprint, read_chain
from fsb_gateway.key.transport import public_der
from fsb_gateway.report import FormerKey
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import bind, box_spec, p256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keystore(folder: Path, clock: FakeClock) -> Keystore:
    return Keystore(folder, clock=clock)


def public(name: str = "firm key") -> bytes:
    return public_der(p256(name).public_key())


def put(keystore: Keystore, firm_code: int = 10, *, instance: str = "ins_1") -> FirmKeyRecord:
    binding = bind(f"key_{firm_code}", firm_code, instance=instance)
    record = FirmKeyRecord(binding=binding, chain=keystore.issue(binding, public()), made_at=START)
    keystore.put_record(record)
    return record


def test_directory_and_keys_are_private_from_the_start(keystore: Keystore, folder: Path) -> None:
    put(keystore)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_issued_certificates_lead_to_the_root(keystore: Keystore, algorithm: Algorithm) -> None:
    key: PrivateKey = p256("firm key") if algorithm == "ES256" else Ed25519PrivateKey.generate()
    chain = keystore.issue(bind(algorithm=algorithm), public_der(key.public_key()))
    identity = verify_chain(list(read_chain(chain)), keystore.ensure_root(), at=START)
    assert (identity.instance_id, identity.firm_code) == (bind().instance_id, bind().firm_code)
    assert (identity.algorithm, identity.public_key) == (algorithm, key.public_key())
    assert certified_key(chain) == public_der(key.public_key())


def test_all_keys_of_an_instance_are_certified_by_its_one_ca(keystore: Keystore) -> None:
    first, second = put(keystore, 10).chain, put(keystore, 11).chain
    other = put(keystore, 12, instance="ins_2").chain
    assert first is not None
    assert second is not None
    assert other is not None
    assert first[1] == second[1] != other[1]


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("Ed25519", lambda: p256("firm key")),
        ("ES256", Ed25519PrivateKey.generate),
        ("ES256", lambda: generate_private_key(SECP384R1())),
    ],
)
def test_key_of_another_kind_is_not_certified(
    keystore: Keystore, algorithm: Algorithm, make: Callable[[], PrivateKey]
) -> None:
    with pytest.raises(FirmKeyUnfit):
        keystore.issue(bind(algorithm=algorithm), public_der(make().public_key()))
    with pytest.raises(FirmKeyUnfit):
        keystore.issue(bind(algorithm=algorithm), b"no key")


def test_record_is_kept_with_all_that_a_rotation_needs(
    keystore: Keystore, folder: Path, clock: FakeClock
) -> None:
    record = put(keystore)
    former = FormerKey(key_id="key_0", fingerprint=fingerprint(public()), retired_at=START)
    rotating = replace(record, next=PlannedKey(key_id="key_2", chain=record.chain), former=(former,))
    keystore.put_record(rotating)
    put(keystore, 9)
    again = Keystore(folder, clock=clock)
    assert again.record(10) == rotating
    assert again.record(11) is None
    assert [found.binding.firm_code for found in again.records()] == [9, 10]
    content = (folder / "firm-key" / "10.json").read_bytes()
    assert b"wrapped" not in content


def test_planned_record_has_an_id_before_there_is_a_key(keystore: Keystore) -> None:
    planned = FirmKeyRecord(binding=bind("key_1", 10), chain=None, made_at=START)
    keystore.put_record(planned)
    assert keystore.record(10) == planned


def test_firm_code_of_another_instance_is_refused(keystore: Keystore) -> None:
    record = put(keystore)
    stolen = replace(record.binding, instance_id="ins_2")
    with pytest.raises(FirmCodeNotOwned):
        keystore.issue(stolen, public())
    with pytest.raises(FirmCodeNotOwned):
        keystore.put_record(replace(record, binding=stolen))
    with pytest.raises(FirmCodeNotOwned):
        keystore.remove_firm_key("ins_2", 10)
    assert keystore.record(10) == record


def test_other_algorithm_for_the_same_firm_code_is_refused(keystore: Keystore) -> None:
    record = put(keystore)
    with pytest.raises(FirmKeyConflict):
        keystore.put_record(replace(record, binding=replace(record.binding, algorithm="Ed25519")))


def test_retired_key_stays_on_record_and_retiring_again_changes_nothing(
    keystore: Keystore, clock: FakeClock
) -> None:
    put(keystore)
    retired = keystore.retire(10)
    assert retired is not None
    assert (retired.state, retired.retired_at) == ("retired", START)
    clock.advance(timedelta(days=1))
    assert keystore.retire(10) == retired == keystore.record(10)
    assert keystore.retire(11) is None


def test_last_key_of_an_instance_takes_its_ca_with_it(keystore: Keystore, folder: Path) -> None:
    put(keystore, 10)
    put(keystore, 11)
    ca = folder / "instance-ca" / "ins_1.json"
    assert keystore.remove_firm_key("ins_1", 10)
    assert ca.exists()
    assert keystore.remove_firm_key("ins_1", 11)
    assert not ca.exists()
    assert not keystore.remove_firm_key("ins_1", 11)


def test_ca_stays_while_an_unreadable_record_may_be_its_instances(keystore: Keystore, folder: Path) -> None:
    put(keystore, 10)
    put(keystore, 11)
    (folder / "firm-key" / "11.json").write_text("{")
    assert keystore.remove_firm_key("ins_1", 10)
    assert (folder / "instance-ca" / "ins_1.json").exists()


def test_lost_ca_of_an_instance_with_firm_keys_is_not_replaced(keystore: Keystore, folder: Path) -> None:
    put(keystore, 10)
    ca = folder / "instance-ca" / "ins_1.json"
    kept = ca.read_bytes()
    ca.unlink()
    for firm_code in (10, 11):
        with pytest.raises(KeyDamaged) as caught:
            keystore.issue(bind("key_2", firm_code), public())
        assert caught.value.detail == {"key": "instance-ca/ins_1"}
    assert not ca.exists()
    put(keystore, 12, instance="ins_2")
    ca.write_bytes(kept)
    assert put(keystore, 11).chain


@pytest.mark.parametrize("of_the_instance", [True, False])
def test_unreadable_record_counts_for_a_lost_ca_if_it_shows_the_instance(
    keystore: Keystore, folder: Path, of_the_instance: bool
) -> None:
    put(keystore, 10, instance="ins_1" if of_the_instance else "ins_2")
    path = folder / "firm-key" / "10.json"
    path.write_bytes(path.read_bytes()[:-20])
    (folder / "instance-ca" / "ins_1.json").unlink(missing_ok=True)
    if of_the_instance:
        with pytest.raises(KeyDamaged):
            keystore.issue(bind("key_2", 11), public())
    else:
        assert keystore.issue(bind("key_2", 11), public())


def test_lost_root_of_a_platform_with_instances_is_not_replaced(keystore: Keystore, folder: Path) -> None:
    put(keystore)
    (folder / "root.json").unlink()
    for step in (keystore.ensure_root, lambda: put(keystore, 11, instance="ins_2")):
        with pytest.raises(KeyDamaged, match="root"):
            step()
    assert not (folder / "root.json").exists()


@pytest.mark.parametrize(
    ("key_id", "instance_id", "firm_code"),
    [
        ("key_1", "../x", 10),
        ("key_1", "", 10),
        ("key_1", "ins/1", 10),
        ("../key", "ins_1", 10),
        ("key_1", "ins_1", 0),
        ("key_1", "ins_1", 2**32),
    ],
)
def test_names_that_could_leave_the_directory_are_refused(
    keystore: Keystore, key_id: str, instance_id: str, firm_code: int
) -> None:
    binding = bind(key_id, firm_code, instance=instance_id)
    with pytest.raises(JobMalformed):
        keystore.issue(binding, public())
    with pytest.raises(JobMalformed):
        keystore.put_record(FirmKeyRecord(binding=binding, chain=None, made_at=START))


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


def test_foreign_key_is_refused_before_it_wraps_anything(
    keystore: Keystore, folder: Path, clock: FakeClock
) -> None:
    keystore.ensure_root()
    with pytest.raises(KeyDamaged, match="not the key-encryption key"):
        Keystore(folder, clock=clock, key_encryption_key=bytes(32))
    (folder / "key-encryption.key").write_bytes(bytes(32))
    with pytest.raises(KeyDamaged, match="not the key-encryption key"):
        Keystore(folder, clock=clock)


def test_damaged_root_stops_certificates_and_not_what_the_key_opens(
    keystore: Keystore, folder: Path, clock: FakeClock
) -> None:
    put(keystore)
    (folder / "root.json").write_text("{")
    again = Keystore(folder, clock=clock)
    assert again.record(10) == keystore.record(10)
    assert put(again, 11).chain
    with pytest.raises(KeyDamaged):
        again.ensure_root()


def test_key_from_elsewhere_is_never_written_down(folder: Path, clock: FakeClock) -> None:
    key = bytes(range(32))
    record = put(Keystore(folder, clock=clock, key_encryption_key=key))
    assert Keystore(folder, clock=clock, key_encryption_key=key).record(10) == record
    assert not (folder / "key-encryption.key").exists()
    assert all(key not in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    with pytest.raises(KeyEncryptionKeyMissing):
        Keystore(folder, clock=clock)
    with pytest.raises(KeyDamaged):
        Keystore(folder, clock=clock, key_encryption_key=key[:-1])


def test_unreadable_record_costs_its_own_firm_code_only_and_is_named(
    keystore: Keystore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for firm_code in (10, 11, 12):
        put(keystore, firm_code)
    (folder / "firm-key" / "10.json").write_text("{")
    (folder / "firm-key" / "11.json").unlink()
    (folder / "firm-key" / "11.json").mkdir()
    assert [record.binding.firm_code for record in keystore.records()] == [12]
    assert "10.json" in caplog.text
    steps: tuple[Callable[[], object], ...] = (
        lambda: keystore.record(10),
        lambda: put(keystore, 10),
        lambda: keystore.retire(10),
    )
    for step in steps:
        with pytest.raises(KeyDamaged) as caught:
            step()
        assert caught.value.detail == {"key": "10.json"}


def test_two_at_once_get_the_same_authorities(folder: Path, clock: FakeClock) -> None:
    def ensure(_: int) -> tuple[bytes, bytes]:
        keystore = Keystore(folder, clock=clock)
        chain = keystore.issue(bind(), public())
        return chain[1], keystore.ensure_root().tbs_certificate_bytes

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ensure, range(16)))) == 1


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["key in the directory", "key elsewhere"])
def test_directory_that_is_gone_while_boxes_have_keys_of_it_is_never_begun_anew(
    folder: Path, clock: FakeClock, key: bytes | None
) -> None:
    keystore = Keystore(folder, clock=clock, key_encryption_key=key)
    driver = SoftwareDriver(folder.with_name("slots") / "box-1", box_spec(), keystore=keystore)
    made = driver.generate(bind())
    shutil.rmtree(folder)
    before = Keystore(folder, clock=clock, key_encryption_key=key) if key else None
    if before is not None:
        # A key that was made before the first root has no certificate of a lost one.
        before.ensure_root()
        driver.use(bind(), before.issue(bind(), made))
        shutil.rmtree(folder)
    with pytest.raises((KeyEncryptionKeyMissing, KeyDamaged)) as caught:
        Keystore(folder, clock=clock, key_encryption_key=key).ensure_root()
    assert isinstance(caught.value, KeyDamaged if key else KeyEncryptionKeyMissing)
    assert not (folder / "key-encryption.key").exists()
    assert not (folder / "root.json").exists()
