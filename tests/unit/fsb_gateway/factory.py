"""Keys, jobs, certificates and boxes for tests of the gateway and of containers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fsb_gateway import (
    Algorithm,
    BoxSpec,
    ProgrammingJob,
    ProgrammingOperation,
    ProgrammingStep,
    public_jwk,
    sign_message,
)
from fsb_gateway.box_driver import KeyBinding
from fsb_gateway.file_format.certificate import Issuer, issue_firm_certificate, issue_instance_ca, issue_root
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.file_format.update import signing_header
from tests.fake.clock import START

FIRM_CODE = 6_000_010
INSTANCE = "ins_1"
DIGEST = "a" * 64


@lru_cache(maxsize=16)
def p256(name: str) -> EllipticCurvePrivateKey:
    """The same key for the same name, within one run."""
    return generate_private_key(SECP256R1())


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A root, one instance's CA below it and one firm key below that."""

    root: Issuer
    ca: Issuer
    firm: Issuer
    algorithm: Algorithm

    @property
    def chain(self) -> list[x509.Certificate]:
        return [self.firm.certificate, self.ca.certificate]

    @property
    def header(self) -> str:
        return signing_header(self.algorithm, self.chain)

    def sign(self, message: bytes) -> bytes:
        return sign_message(self.firm.key, message)


def make_authority(
    *,
    instance_id: str = INSTANCE,
    firm_code: int = FIRM_CODE,
    algorithm: Algorithm = "ES256",
    root: str = "root",
) -> Authority:
    root_key, ca_key = p256(root), p256(f"{root}/{instance_id}")
    firm_key: PrivateKey = (
        Ed25519PrivateKey.generate() if algorithm == "Ed25519" else generate_private_key(SECP256R1())
    )
    root_issuer = Issuer(certificate=issue_root(root_key, at=START), key=root_key)
    ca_certificate = issue_instance_ca(root_issuer, ca_key.public_key(), instance_id, at=START)
    ca = Issuer(certificate=ca_certificate, key=ca_key)
    certificate = issue_firm_certificate(ca, firm_key.public_key(), firm_code, at=START)
    return Authority(
        root=root_issuer, ca=ca, firm=Issuer(certificate=certificate, key=firm_key), algorithm=algorithm
    )


def add_item(license_id: str = "lic_1", *, generation: int = 1, code: int = 7) -> ProgrammingOperation:
    return ProgrammingOperation(
        op="add_product_item", license_id=license_id, generation=generation, product={"product_code": code}
    )


def delete_item(license_id: str = "lic_1") -> ProgrammingOperation:
    return ProgrammingOperation(op="delete_product_item", license_id=license_id, generation=1, product={})


def make_steps(base_fuc: int, *steps: tuple[ProgrammingOperation, ...]) -> tuple[ProgrammingStep, ...]:
    return tuple(
        ProgrammingStep(fuc=fuc, operations=operations)
        for fuc, operations in enumerate(steps, start=base_fuc + 1)
    )


def make_job(job_id: str = "trf_1", **changes: Any) -> ProgrammingJob:
    base_fuc = changes.get("base_fuc", 0)
    values: dict[str, Any] = {
        "job_id": job_id,
        "instance_id": INSTANCE,
        "pool": "shared",
        "firm_code": FIRM_CODE,
        "container_serial": "130-1234567890",
        "container_key": public_jwk(p256("container")),
        "base_fuc": base_fuc,
        "context_digest": DIGEST,
        "steps": make_steps(base_fuc, (add_item(),)),
        "deadline_at": START + timedelta(hours=1),
    }
    return ProgrammingJob(**{**values, **changes})


def bind(
    key_id: str = "key_1",
    firm_code: int = FIRM_CODE,
    *,
    instance: str = INSTANCE,
    algorithm: Algorithm = "ES256",
) -> KeyBinding:
    return KeyBinding(key_id=key_id, firm_code=firm_code, instance_id=instance, algorithm=algorithm)


def box_spec(name: str = "box-1", pool: str = "shared") -> BoxSpec:
    return BoxSpec(name=name, pool=pool)


def journal_path(folder: Path, box: str = "box-1") -> Path:
    return folder / f"{box}.journal"
