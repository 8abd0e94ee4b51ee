"""A token, and a box's driver on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsb_gateway.box_driver import BoxSpec, TokenSpec
from fsb_gateway.driver.pkcs11 import Pkcs11Driver
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.key.store import Keystore
from tests.fake.clock import FakeClock
from tests.integration.fsb_gateway.driver.token_bench import Open
from tests.service.softhsm import SoftHsm, make_softhsm


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
