"""The key directory: platform root, instance CAs and firm keys, wrapped, with their certificates.

    <directory>/key-encryption.key      32 bytes, mode 0600, never leaves the machine with the rest
    <directory>/root.json
    <directory>/instance-ca/<instance>.json
    <directory>/firm-key/<firm code>.json

Losing the key-encryption key loses every firm key: back it up, apart from the directory.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from app.core.clock import Clock
from app.core.file import remove_file, replace_file
from fsb_gateway.error import FirmCodeNotOwned, FirmKeyConflict, KeyDamaged
from fsb_gateway.file_format.certificate import Issuer, issue_firm_certificate, issue_instance_ca, issue_root
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.job import Algorithm, check_firm_code, check_name
from fsb_gateway.key_wrap import KeyWrap, open_key_encryption_key

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmKey:
    """A firm key in the clear, for a software box's key slot.

    Attributes:
        pools: the pools whose boxes hold it.
        chain: its certificate, then the instance CA's.
    """

    instance_id: str
    firm_code: int
    algorithm: Algorithm
    pools: tuple[str, ...]
    key: PrivateKey
    chain: tuple[x509.Certificate, x509.Certificate]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmKeys:
    """The firm keys of a pool.

    Attributes:
        unreadable: firm codes whose key file is there and cannot be opened, whichever pool holds them.
    """

    keys: tuple[FirmKey, ...]
    unreadable: frozenset[int]


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    wrapped: bytes
    certificate: bytes


class _FirmKeyFile(msgspec.Struct, forbid_unknown_fields=True):
    instance_id: str
    firm_code: int
    algorithm: Algorithm
    pools: list[str]
    wrapped: bytes
    certificate: bytes


class Keystore:
    """All keys of one platform. Safe to use from several threads and processes at once."""

    def __init__(self, directory: Path, *, clock: Clock) -> None:
        """Open the directory; make it, and the key-encryption key, at the first start.

        Raises:
            KeyEncryptionKeyExposed: others can read the key-encryption key.
            KeyEncryptionKeyMissing: wrapped keys are there, their key-encryption key is not.
        """
        self._directory = directory
        self._clock = clock
        for folder in (directory, directory / "instance-ca", directory / "firm-key"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        with self._locked():
            fresh = next(directory.rglob("*.json"), None) is None
            self._wrap = KeyWrap(open_key_encryption_key(directory / "key-encryption.key", may_create=fresh))

    def ensure_root(self) -> x509.Certificate:
        """The platform root; made when it is not there."""
        with self._locked():
            return self._root().certificate

    def ensure_firm_key(
        self, instance_id: str, firm_code: int, *, pool: str, algorithm: Algorithm
    ) -> FirmKey:
        """Make a firm key and its certificates unless they are there, and add the pool to those that hold it.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            FirmKeyConflict: the key exists with another algorithm.
            JobMalformed: a name or the firm code is out of range.
        """
        check_name("instance_id", instance_id)
        check_name("pool", pool)
        check_firm_code(firm_code)
        with self._locked():
            path = self._firm_path(firm_code)
            record = self._read_firm(path) if path.exists() else None
            if record is None:
                record = self._make_firm_key(instance_id, firm_code, algorithm)
            _check_owner(record, instance_id, algorithm)
            if pool not in record.pools:
                record.pools.append(pool)
                replace_file(path, msgspec.json.encode(record))
            return self._open_firm_key(record)

    def remove_firm_key(self, instance_id: str, firm_code: int) -> bool:
        """Destroy a firm key with its certificate, in every pool, and with the last one its instance's CA.

        Whoever calls answers for nobody needing it: what the key signed can be signed by no other. False if there is
        none; then what a killed removal left is removed all the same.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            KeyDamaged: the key file cannot be read, so nobody knows whose it is.
            JobMalformed: a name or the firm code is out of range.
        """
        check_name("instance_id", instance_id)
        check_firm_code(firm_code)
        with self._locked():
            path = self._firm_path(firm_code)
            is_there = path.exists()
            if is_there:
                record = self._read_firm(path)
                _check_owner(record, instance_id, record.algorithm)
                remove_file(path)
            if not self._may_have_firm_key(instance_id):
                remove_file(self._ca_path(instance_id))
            return is_there

    def _may_have_firm_key(self, instance_id: str) -> bool:
        """Whether any firm key is the instance's, or cannot be read and so may be."""
        for path in (self._directory / "firm-key").glob("*.json"):
            try:
                if self._read_firm(path).instance_id == instance_id:
                    return True
            except KeyDamaged:
                _log.warning("the CA of %s is kept: the firm key %s cannot be read", instance_id, path.name)
                return True
        return False

    def firm_keys(self, pool: str) -> FirmKeys:
        """Every firm key that the boxes of a pool hold. One that cannot be opened costs nobody else theirs."""
        keys: list[FirmKey] = []
        unreadable: set[int] = set()
        with self._locked():
            for path in sorted((self._directory / "firm-key").glob("*.json")):
                try:
                    record = self._read_firm(path)
                    if pool in record.pools:
                        keys.append(self._open_firm_key(record))
                except (KeyDamaged, OSError):
                    _log.exception(
                        "the firm key %s cannot be opened; its firm code is out of work", path.name
                    )
                    # Whose pool it was stands in the file: it may have been this one's.
                    unreadable.update({int(path.stem)} if path.stem.isdecimal() else ())
        return FirmKeys(keys=tuple(keys), unreadable=frozenset(unreadable))

    def _root(self) -> Issuer:
        path = self._directory / "root.json"
        if not path.exists():
            key = _generate("ES256")
            self._write_issuer(
                path, "root", Issuer(certificate=issue_root(key, at=self._clock.now()), key=key)
            )
        return self._read_issuer(path, "root")

    def _instance_ca(self, instance_id: str) -> Issuer:
        path = self._ca_path(instance_id)
        name = f"instance-ca/{instance_id}"
        if not path.exists():
            key = _generate("ES256")
            certificate = issue_instance_ca(self._root(), key.public_key(), instance_id, at=self._clock.now())
            self._write_issuer(path, name, Issuer(certificate=certificate, key=key))
        return self._read_issuer(path, name)

    def _make_firm_key(self, instance_id: str, firm_code: int, algorithm: Algorithm) -> _FirmKeyFile:
        key = _generate(algorithm)
        ca = self._instance_ca(instance_id)
        certificate = issue_firm_certificate(ca, key.public_key(), firm_code, at=self._clock.now())
        return _FirmKeyFile(
            instance_id=instance_id,
            firm_code=firm_code,
            algorithm=algorithm,
            pools=[],
            wrapped=self._wrap.wrap(_firm_key_name(instance_id, firm_code), key),
            certificate=certificate.public_bytes(Encoding.DER),
        )

    def _open_firm_key(self, record: _FirmKeyFile) -> FirmKey:
        ca = self._instance_ca(record.instance_id).certificate
        name = _firm_key_name(record.instance_id, record.firm_code)
        return FirmKey(
            instance_id=record.instance_id,
            firm_code=record.firm_code,
            algorithm=record.algorithm,
            pools=tuple(record.pools),
            key=self._wrap.unwrap(name, record.wrapped),
            chain=(_load_certificate(name, record.certificate), ca),
        )

    def _read_firm(self, path: Path) -> _FirmKeyFile:
        try:
            return msgspec.json.decode(path.read_bytes(), type=_FirmKeyFile)
        except msgspec.MsgspecError as error:
            raise KeyDamaged(f"the key file {path.name} cannot be read", key=path.name) from error

    def _read_issuer(self, path: Path, name: str) -> Issuer:
        try:
            record = msgspec.json.decode(path.read_bytes(), type=_KeyFile)
        except msgspec.MsgspecError as error:
            raise KeyDamaged(f"the key file {path.name} cannot be read", key=name) from error
        return Issuer(
            certificate=_load_certificate(name, record.certificate),
            key=self._wrap.unwrap(name, record.wrapped),
        )

    def _write_issuer(self, path: Path, name: str, issuer: Issuer) -> None:
        certificate = issuer.certificate.public_bytes(Encoding.DER)
        record = _KeyFile(wrapped=self._wrap.wrap(name, issuer.key), certificate=certificate)
        replace_file(path, msgspec.json.encode(record))

    def _ca_path(self, instance_id: str) -> Path:
        return self._directory / "instance-ca" / f"{instance_id}.json"

    def _firm_path(self, firm_code: int) -> Path:
        return self._directory / "firm-key" / f"{firm_code}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, across threads and processes: each call opens the lock file for itself."""
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _check_owner(record: _FirmKeyFile, instance_id: str, algorithm: Algorithm) -> None:
    if record.instance_id != instance_id:
        raise FirmCodeNotOwned(
            f"firm code {record.firm_code} belongs to another instance", firm_code=record.firm_code
        )
    if record.algorithm != algorithm:
        raise FirmKeyConflict(
            f"the key of firm code {record.firm_code} exists with algorithm {record.algorithm}",
            firm_code=record.firm_code,
            algorithm=record.algorithm,
        )


def _firm_key_name(instance_id: str, firm_code: int) -> str:
    return f"firm-key/{instance_id}/{firm_code}"


def _generate(algorithm: Algorithm) -> PrivateKey:
    return generate_private_key(SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()


def _load_certificate(name: str, der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise KeyDamaged(f"the certificate of {name} cannot be read", key=name) from error
