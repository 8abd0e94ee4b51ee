"""An update can be read and verified without our code: by Node's built-in crypto and by the openssl command."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey

from fsb_gateway import Algorithm
from fsb_gateway.file_format.update import write_update
from tests.fake.clock import START
from tests.unit.fsb_gateway.factory import Authority, make_authority, make_job, p256

SCRIPT = Path(__file__).with_name("verify_update.mjs")


@dataclass(frozen=True)
class Vector:
    """An update with everything that its receiver has, as files."""

    folder: Path
    authority: Authority
    text: str

    def node(self, text: str | None = None) -> subprocess.CompletedProcess[str]:
        (self.folder / "update.txt").write_text(text or self.text)
        files = [str(self.folder / name) for name in ("update.txt", "key.jwk", "root.pem")]
        return run("node", str(SCRIPT), *files)

    def opened(self) -> dict[str, Any]:
        done = self.node()
        assert done.returncode == 0, done.stderr
        opened: dict[str, Any] = json.loads(done.stdout)
        return opened

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(params=["ES256", "Ed25519"])
def vector(request: pytest.FixtureRequest, tmp_path: Path) -> Vector:
    algorithm: Algorithm = request.param
    authority = make_authority(algorithm=algorithm)
    key = ECKey.import_key(p256("container")).as_dict(private=True)
    vector = Vector(
        folder=tmp_path,
        authority=authority,
        text=write_update(make_job(), header=authority.header, sign=authority.sign, at=START),
    )
    vector.file("key.jwk", json.dumps(key))
    vector.file("root.pem", authority.root.certificate.public_bytes(Encoding.PEM))
    return vector


def test_node_decrypts_and_verifies_up_to_the_root(vector: Vector) -> None:
    opened = vector.opened()
    assert opened["alg"] == vector.authority.algorithm
    assert opened["claims"]["sub"] == "130-1234567890"
    assert opened["claims"]["steps"][0]["operations"][0]["product"] == {"product_code": 7}


def test_node_refuses_a_changed_update_and_a_foreign_root(vector: Vector) -> None:
    middle = len(vector.text) * 2 // 3
    letter = "A" if vector.text[middle] != "A" else "B"
    assert vector.node(vector.text[:middle] + letter + vector.text[middle + 1 :]).returncode != 0
    foreign = make_authority(root="foreign root").root.certificate
    vector.file("root.pem", foreign.public_bytes(Encoding.PEM))
    refused = vector.node()
    assert (refused.returncode, refused.stderr.strip()) == (1, "instance CA certificate")


def test_openssl_verifies_the_chain(vector: Vector) -> None:
    opened = vector.opened()
    firm, ca = vector.file("firm.pem", opened["firm"]), vector.file("ca.pem", opened["ca"])
    root = str(vector.folder / "root.pem")
    command = ["openssl", "verify", "-x509_strict", "-attime"]
    done = run(*command, str(int(START.timestamp())), "-CAfile", root, "-untrusted", ca, firm)
    assert (done.returncode, done.stdout.strip()) == (0, f"{firm}: OK"), done.stderr
    late = str(int((START + timedelta(days=3700)).timestamp()))
    assert run(*command, late, "-CAfile", root, "-untrusted", ca, firm).returncode != 0
    foreign = make_authority(root="foreign root").root.certificate.public_bytes(Encoding.PEM)
    foreign_root = vector.file("foreign.pem", foreign)
    moment = str(int(START.timestamp()))
    assert run(*command, moment, "-CAfile", foreign_root, "-untrusted", ca, firm).returncode != 0


def test_openssl_verifies_the_signature(vector: Vector) -> None:
    opened = vector.opened()
    firm = vector.file("firm.pem", opened["firm"])
    key = vector.file("firm.pub", run("openssl", "x509", "-in", firm, "-noout", "-pubkey").stdout)
    message, signature = base64.b64decode(opened["message"]), base64.b64decode(opened["signature"])
    assert openssl_accepts(vector, key, message, signature)
    assert not openssl_accepts(vector, key, message + b"x", signature)


def openssl_accepts(vector: Vector, key: str, message: bytes, signature: bytes) -> bool:
    text = vector.file("message", message)
    if vector.authority.algorithm == "Ed25519":
        sealed = vector.file("signature", signature)
        done = run(
            "openssl",
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            key,
            "-in",
            text,
            "-sigfile",
            sealed,
        )
        return done.returncode == 0
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    sealed = vector.file("signature", encode_dss_signature(r, s))
    return run("openssl", "dgst", "-sha256", "-verify", key, "-signature", sealed, text).returncode == 0
