"""Data directories from before boxes had keys of their own: the registry held the keys, wrapped, for whole pools."""

from __future__ import annotations

import base64
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fsb_gateway.driver.signature import check_signature
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.error import KeyDamaged
from fsb_gateway.file_format.certificate import Issuer, issue_firm_certificate, issue_instance_ca, issue_root
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.key.record import certified_key
from fsb_gateway.key.store import Keystore
from fsb_gateway.key.transport import public_der
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, bind, box_spec, p256

MESSAGE = b"what a box signs"
OTHER = FIRM_CODE + 1


class OldDirectory:
    """Writes what `wops` wrote until then; nothing of today's code is used for the files."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        for part in ("instance-ca", "firm-key"):
            (self.keys / part).mkdir(parents=True, mode=0o700)
        self._kek = os.urandom(32)
        path = self.keys / "key-encryption.key"
        path.write_bytes(self._kek)
        path.chmod(0o600)
        self._root = Issuer(certificate=issue_root(p256("old root"), at=START), key=p256("old root"))
        self._write("root.json", "root", p256("old root"), self._root.certificate)

    def add(self, instance_id: str, firm_code: int, *pools: str) -> bytes:
        """A firm key; its public half."""
        ca_key, key = p256(f"old {instance_id}"), p256(f"old {firm_code}")
        ca_path = self.keys / "instance-ca" / f"{instance_id}.json"
        if not ca_path.exists():
            made = issue_instance_ca(self._root, ca_key.public_key(), instance_id, at=START)
            self._write(f"instance-ca/{instance_id}.json", f"instance-ca/{instance_id}", ca_key, made)
        der = base64.b64decode(json.loads(ca_path.read_text())["certificate"])
        ca = Issuer(certificate=x509.load_der_x509_certificate(der), key=ca_key)
        certificate = issue_firm_certificate(ca, key.public_key(), firm_code, at=START)
        more = {
            "instance_id": instance_id,
            "firm_code": firm_code,
            "algorithm": "ES256",
            "pools": list(pools),
        }
        self._write(
            f"firm-key/{firm_code}.json", f"firm-key/{instance_id}/{firm_code}", key, certificate, more
        )
        return public_der(key.public_key())

    def text(self, firm_code: int) -> str:
        return (self.keys / "firm-key" / f"{firm_code}.json").read_text()

    def _write(
        self,
        name: str,
        bound: str,
        key: PrivateKey,
        certificate: x509.Certificate,
        more: dict[str, object] | None = None,
    ) -> None:
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        nonce = os.urandom(12)
        wrapped = nonce + AESGCM(self._kek).encrypt(nonce, plain, bound.encode())
        content = {
            **(more or {}),
            "wrapped": base64.b64encode(wrapped).decode(),
            "certificate": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        }
        (self.keys / name).write_text(json.dumps(content, separators=(",", ":")))


@pytest.fixture
def old(tmp_path: Path) -> OldDirectory:
    return OldDirectory(tmp_path)


def start(tmp_path: Path, clock: FakeClock, name: str = "box-1", pool: str = "shared") -> SoftwareDriver:
    keystore = Keystore(tmp_path / "keys", clock=clock)
    return SoftwareDriver(tmp_path / "slots" / name, box_spec(name, pool), keystore=keystore)


def signs(driver: SoftwareDriver, firm_code: int = FIRM_CODE) -> bool:
    slot = driver.slots.get(firm_code)
    if slot is None:
        return False
    check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))
    return True


def test_every_box_of_the_pool_takes_the_key_over_and_signs_with_the_same(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    public_key = old.add("ins_1", FIRM_CODE, "shared")
    old.add("ins_2", OTHER, "elsewhere")
    for name in ("box-1", "box-2", "box-1"):
        driver = start(tmp_path, clock, name)
        assert signs(driver)
        assert driver.slots[FIRM_CODE].public_key == public_key
        assert driver.slots[FIRM_CODE].instance_id == "ins_1"
        assert not signs(driver, OTHER)
    assert signs(start(tmp_path, clock, "box-9", "elsewhere"), OTHER)


def test_record_reads_as_one_of_today_with_the_same_key_id_each_time(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    public_key = old.add("ins_1", FIRM_CODE, "shared")
    keystore = Keystore(old.keys, clock=clock)
    before = keystore.record(FIRM_CODE)
    assert before is not None
    assert before.chain is not None
    assert certified_key(before.chain) == public_key
    assert (before.made_at, before.state) == (START, "active")
    driver = start(tmp_path, clock)
    assert keystore.record(FIRM_CODE) == before
    assert driver.slots[FIRM_CODE].key_id == before.binding.key_id


def test_key_that_was_taken_over_goes_on_without_the_registry(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    old.add("ins_1", FIRM_CODE, "shared")
    start(tmp_path, clock)
    (old.keys / "firm-key" / f"{FIRM_CODE}.json").write_text("{")
    assert signs(start(tmp_path, clock))


def test_box_that_forgot_an_old_key_does_not_take_it_again(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    old.add("ins_1", FIRM_CODE, "shared")
    start(tmp_path, clock).forget(FIRM_CODE)
    assert not signs(start(tmp_path, clock))
    assert signs(start(tmp_path, clock, "box-2"))


def test_takeover_killed_before_it_was_noted_is_noted_at_the_next_start(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    old.add("ins_1", FIRM_CODE, "shared")
    path = old.keys / "firm-key" / f"{FIRM_CODE}.json"
    before = path.read_bytes()
    start(tmp_path, clock)
    path.write_bytes(before)
    assert signs(start(tmp_path, clock))
    assert "box-1" in path.read_text()


def test_copy_in_the_registry_goes_a_month_after_the_last_box_took_it(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    old.add("ins_1", FIRM_CODE, "shared", "acme")
    start(tmp_path, clock)
    clock.advance(timedelta(days=29))
    assert signs(start(tmp_path, clock, "box-2", "acme"))
    clock.advance(timedelta(days=29))
    assert signs(start(tmp_path, clock))
    assert "wrapped" in old.text(FIRM_CODE)
    clock.advance(timedelta(days=1))
    assert signs(start(tmp_path, clock))
    assert "wrapped" not in old.text(FIRM_CODE)
    assert not signs(start(tmp_path, clock, "box-3"))
    assert signs(start(tmp_path, clock, "box-2", "acme"))


def test_copy_that_no_box_has_taken_stays(old: OldDirectory, tmp_path: Path, clock: FakeClock) -> None:
    old.add("ins_1", FIRM_CODE, "acme")
    clock.advance(timedelta(days=400))
    start(tmp_path, clock)
    assert signs(start(tmp_path, clock, "box-2", "acme"))


def test_copy_goes_with_the_key_that_it_is_one_of(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    for firm_code in (FIRM_CODE, OTHER):
        old.add("ins_1", firm_code, "shared")
    driver = start(tmp_path, clock)
    keystore = Keystore(old.keys, clock=clock)
    record = keystore.record(FIRM_CODE)
    assert record is not None
    keystore.put_record(record)
    assert "wrapped" in old.text(FIRM_CODE)

    new = bind("key_2", instance="ins_1")
    chain = keystore.issue(new, driver.generate(new))
    keystore.put_record(type(record)(binding=new, chain=chain, made_at=START))
    keystore.retire(OTHER)
    for firm_code in (FIRM_CODE, OTHER):
        assert "wrapped" not in old.text(firm_code)


def test_damaged_old_key_costs_its_own_firm_code_until_it_is_mended(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    for firm_code in (FIRM_CODE, OTHER):
        old.add("ins_1", firm_code, "shared")
    path = old.keys / "firm-key" / f"{FIRM_CODE}.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    driver = start(tmp_path, clock)
    assert signs(driver, OTHER)
    assert driver.unreadable == {FIRM_CODE}
    path.write_bytes(whole)
    driver.reload()
    assert signs(driver)
    assert driver.unreadable == frozenset()


def test_old_key_exchanged_for_another_is_refused(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    old.add("ins_1", FIRM_CODE, "shared")
    old.add("ins_1", OTHER, "shared")
    first = json.loads(old.text(FIRM_CODE))
    first["wrapped"] = json.loads(old.text(OTHER))["wrapped"]
    (old.keys / "firm-key" / f"{FIRM_CODE}.json").write_text(json.dumps(first))
    driver = start(tmp_path, clock)
    assert set(driver.slots) == {OTHER}
    assert driver.unreadable == {FIRM_CODE}


def test_lost_ca_of_an_old_directory_is_not_replaced(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    old.add("ins_1", FIRM_CODE, "shared")
    (old.keys / "instance-ca" / "ins_1.json").unlink()
    keystore = Keystore(old.keys, clock=clock)
    with pytest.raises(KeyDamaged):
        keystore.record(FIRM_CODE)
    with pytest.raises(KeyDamaged):
        keystore.issue(bind("key_2", OTHER, instance="ins_1"), public_der(p256("x").public_key()))
    assert start(tmp_path, clock).unreadable == {FIRM_CODE}


def test_key_that_cannot_be_taken_over_costs_its_own_firm_code_until_it_can(
    old: OldDirectory, tmp_path: Path, clock: FakeClock
) -> None:
    for firm_code in (FIRM_CODE, OTHER):
        old.add("ins_1", firm_code, "shared")
    path = tmp_path / "slots" / "box-1" / f"{FIRM_CODE}.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    driver = start(tmp_path, clock)
    assert signs(driver, OTHER)
    assert driver.unreadable == {FIRM_CODE}
    path.unlink()
    driver.reload()
    assert signs(driver)
    assert driver.unreadable == frozenset()
