"""What the keystore issues leads to the platform root, as the openssl command sees it, offline."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.job import Algorithm
from fsb_gateway.key.record import chain_pem
from fsb_gateway.key.store import Keystore
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import bind, box_spec

END = "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_openssl_verifies_a_firm_key_and_its_rotated_successor(
    tmp_path: Path, clock: FakeClock, algorithm: Algorithm
) -> None:
    keystore = Keystore(tmp_path / "keys", clock=clock)
    driver = SoftwareDriver(tmp_path / "slots" / "box-1", box_spec(), keystore=keystore)
    for key_id in ("key_1", "key_2"):
        binding = bind(key_id, algorithm=algorithm)
        firm, ca = chain_pem(keystore.issue(binding, driver.generate(binding))).split(END)[:2]
        files = write(tmp_path, root=pem_of_root(keystore), firm=firm + END, ca=ca + END)
        assert openssl_verifies(files)
        assert not openssl_verifies({**files, "ca": files["firm"]})


def test_openssl_refuses_a_key_of_another_platform(tmp_path: Path, clock: FakeClock) -> None:
    here, there = (Keystore(tmp_path / name, clock=clock) for name in ("here", "there"))
    driver = SoftwareDriver(tmp_path / "slots" / "box-1", box_spec(), keystore=here)
    firm, ca = chain_pem(here.issue(bind(), driver.generate(bind()))).split(END)[:2]
    files = write(tmp_path, root=pem_of_root(there), firm=firm + END, ca=ca + END)
    assert not openssl_verifies(files)


def pem_of_root(keystore: Keystore) -> str:
    return keystore.ensure_root().public_bytes(Encoding.PEM).decode()


def write(folder: Path, **texts: str) -> dict[str, str]:
    for name, text in texts.items():
        (folder / f"{name}.pem").write_text(text)
    return {name: str(folder / f"{name}.pem") for name in texts}


def openssl_verifies(files: dict[str, str]) -> bool:
    moment = str(int((START + timedelta(days=100)).timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-attime", moment]
    command += ["-CAfile", files["root"], "-untrusted", files["ca"], files["firm"]]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
