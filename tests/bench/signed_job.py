"""The one job that boxes and queue workers do in `job_handoff_vs_queue`: sign an update and return it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from app.core.clock import SystemClock
from app.core.ids import new_id
from fsb_gateway import ProgrammingJob, ProgrammingOperation, ProgrammingStep, public_jwk, sign_message
from fsb_gateway.file_format.certificate import Issuer, issue_firm_certificate, issue_instance_ca, issue_root
from fsb_gateway.file_format.update import signing_header, write_update
from fsb_gateway.wire import decode_job

INSTANCE = "ins_bench"
FIRM_CODE = 6_000_010
POOL = "shared"
_DEADLINE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """An ES256 key and the header of what it signs, as a box's slot has them."""

    key: EllipticCurvePrivateKey
    header: str

    def program(self, body: bytes) -> tuple[str, float]:
        """The update of an encoded job, and how many seconds it took."""
        started = time.perf_counter()
        job = decode_job(body)
        update = write_update(
            job,
            header=self.header,
            sign=lambda message: sign_message(self.key, message),
            at=SystemClock().now(),
        )
        return update, time.perf_counter() - started


def make_signer(folder: Path) -> None:
    """Leave a key with certificates where workers find it."""
    now = SystemClock().now()
    root_key, ca_key, key = (generate_private_key(SECP256R1()) for _ in range(3))
    root = Issuer(certificate=issue_root(root_key, at=now), key=root_key)
    ca_certificate = issue_instance_ca(root, ca_key.public_key(), INSTANCE, at=now)
    ca = Issuer(certificate=ca_certificate, key=ca_key)
    certificate = issue_firm_certificate(ca, key.public_key(), FIRM_CODE, at=now)
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    (folder / "header").write_text(signing_header("ES256", [certificate, ca_certificate]))


def load_signer(folder: Path) -> Signer:
    """What `make_signer` left."""
    key = load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return Signer(key=key, header=(folder / "header").read_text())


class JobMaker:
    """Activations of one licence each, every one with an id of its own, for one container."""

    def __init__(self, *, instance: str = INSTANCE, pool: str = POOL, firm_code: int = FIRM_CODE) -> None:
        self._instance = instance
        self._pool = pool
        self._firm_code = firm_code
        self._container = public_jwk(generate_private_key(SECP256R1()))

    def make(self, operations: int = 1) -> ProgrammingJob:
        """A job of so many programming operations."""
        added = tuple(
            ProgrammingOperation(
                op="add_product_item",
                license_id=new_id("lic"),
                generation=1,
                product={"product_code": 100, "feature_map": 5, "license_quantity": 1},
            )
            for _ in range(operations)
        )
        return ProgrammingJob(
            job_id=new_id("trf"),
            instance_id=self._instance,
            pool=self._pool,
            firm_code=self._firm_code,
            container_serial="130-1000000001",
            container_key=self._container,
            base_fuc=0,
            context_digest="a" * 64,
            steps=(ProgrammingStep(fuc=1, operations=added),),
            deadline_at=SystemClock().now() + _DEADLINE,
        )
