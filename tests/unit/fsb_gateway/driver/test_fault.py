from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fsb_gateway.box_driver import Faults, KeySlot
from fsb_gateway.driver.fault import FaultyDriver
from fsb_gateway.driver.signature import check_signature
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.error import BoxAnswerWrong, BoxOccupied, BoxPowerLost, BoxTimedOut, FsbError
from fsb_gateway.key.store import Keystore
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, bind, box_spec

MESSAGE = b"what a box signs"
JOBS = 2000


@pytest.fixture
def software(tmp_path: Path, clock: FakeClock) -> SoftwareDriver:
    keystore = Keystore(tmp_path / "keys", clock=clock)
    driver = SoftwareDriver(tmp_path / "slots" / "box-1", box_spec(), keystore=keystore)
    driver.use(bind(), keystore.issue(bind(), driver.generate(bind())))
    return driver


def faulty(software: SoftwareDriver, faults: Faults, *, seed: int = 1) -> FaultyDriver:
    return FaultyDriver(software, faults, random=Random(seed), time_limit_seconds=0)


def outcome(driver: FaultyDriver, slot: KeySlot) -> str:
    """What becomes of one job, as a box does it: sign, check, record, hand out."""
    try:
        check_signature(slot, MESSAGE, driver.sign(slot, MESSAGE))
    except FsbError as error:
        return error.code
    try:
        driver.after_record()
    except BoxPowerLost:
        return "lost after the record"
    return "done"


def test_without_faults_every_job_is_done(software: SoftwareDriver) -> None:
    driver = faulty(software, Faults())
    assert {outcome(driver, driver.slots[FIRM_CODE]) for _ in range(50)} == {"done"}


@pytest.mark.parametrize(
    ("faults", "codes"),
    [
        (Faults(busy=1), {BoxOccupied.code}),
        (Faults(timeout=1), {BoxTimedOut.code}),
        (Faults(wrong_answer=1), {BoxAnswerWrong.code}),
        (Faults(lost_power=1), {BoxPowerLost.code, "lost after the record"}),
    ],
)
def test_each_fault_is_what_it_says(software: SoftwareDriver, faults: Faults, codes: set[str]) -> None:
    driver = faulty(software, faults)
    assert {outcome(driver, driver.slots[FIRM_CODE]) for _ in range(50)} == codes


def test_faults_come_as_often_as_they_are_told_and_again_with_the_same_seed(software: SoftwareDriver) -> None:
    faults = Faults(busy=0.1, timeout=0.05, wrong_answer=0.2, lost_power=0.3)
    runs = []
    for _ in range(2):
        driver = faulty(software, faults)
        runs.append([outcome(driver, driver.slots[FIRM_CODE]) for _ in range(JOBS)])
    assert runs[0] == runs[1]
    counted = Counter(runs[0])
    expected = {
        BoxOccupied.code: 0.1,
        BoxTimedOut.code: 0.05,
        BoxAnswerWrong.code: 0.2,
        BoxPowerLost.code: 0.15,
        "lost after the record": 0.15,
        "done": 0.35,
    }
    assert set(counted) == set(expected)
    for name, share in expected.items():
        assert counted[name] / JOBS == pytest.approx(share, abs=0.04)


def test_power_is_lost_after_a_record_once_and_not_in_the_next_job(software: SoftwareDriver) -> None:
    driver = faulty(software, Faults(lost_power=1), seed=2)
    slot = driver.slots[FIRM_CODE]
    while outcome(driver, slot) != "lost after the record":
        pass
    driver.after_record()
    driver.faults = Faults()
    assert outcome(driver, slot) == "done"


def test_waiting_for_no_answer_ends_when_the_box_stops(software: SoftwareDriver) -> None:
    stopping = threading.Event()
    driver = FaultyDriver(software, Faults(timeout=1), stopping=stopping, time_limit_seconds=60)
    ended = threading.Event()

    def work() -> None:
        with pytest.raises(BoxTimedOut):
            driver.sign(driver.slots[FIRM_CODE], MESSAGE)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    stopping.set()
    assert ended.wait(20)
    thread.join()


def test_keys_are_those_of_the_driver_behind(software: SoftwareDriver, tmp_path: Path) -> None:
    driver = faulty(software, Faults(busy=1))
    assert driver.slots == software.slots
    assert driver.unreadable == software.unreadable
    driver.reload()
    assert driver.transport_key() == software.transport_key()
    assert driver.generate(bind()) == software.slots[FIRM_CODE].public_key
    wrapped = driver.export(FIRM_CODE, "key_1", to=driver.transport_key())
    driver.import_key(bind(), wrapped, software.slots[FIRM_CODE].public_key)
    driver.forget(FIRM_CODE)
    assert not software.slots
