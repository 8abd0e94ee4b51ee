"""The key directory: platform root, instance CAs, and the registry of firm keys.

    <directory>/key-encryption.key      32 bytes, mode 0600, never leaves the machine with the rest; or an argument
    <directory>/root.json               wrapped key and certificate; so are the next
    <directory>/instance-ca/<instance>.json
    <directory>/firm-key/<firm code>.json       whose, certificates, former keys
    <directory>/../slots/<box>/…                the keys themselves: see `slot`. They tell what must not be lost here

Losing the key-encryption key loses every software box's firm keys: back it up, apart from the directory.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from app.core.clock import Clock
from app.core.file import remove_file, replace_file
from fsb_gateway.box_driver import KeyBinding
from fsb_gateway.error import FirmKeyUnfit, KeyDamaged
from fsb_gateway.file_format.certificate import (
    Issuer,
    issue_firm_certificate,
    issue_instance_ca,
    issue_root,
    key_algorithm,
)
from fsb_gateway.file_format.key import PublicKey
from fsb_gateway.job import check_firm_code, check_name
from fsb_gateway.key.record import Chain, FirmKeyRecord, check_algorithm, check_owner
from fsb_gateway.key.registry import Inheritance, Registry
from fsb_gateway.key.slot import SlotRecord
from fsb_gateway.key.wrap import KeyWrap, open_key_encryption_key

_log = logging.getLogger(__name__)

# One that opens proves the key-encryption key; more than a few are tried only when something is damaged.
_KEYS_TRIED = 8


class _IssuerFile(msgspec.Struct, forbid_unknown_fields=True):
    wrapped: bytes
    certificate: bytes


class Keystore:
    """All certificates of one platform, and who owns which firm key. Safe to use from several threads and processes."""

    def __init__(self, directory: Path, *, clock: Clock, key_encryption_key: bytes | None = None) -> None:
        """Open the directory; make it, and the key-encryption key, at the first start.

        Args:
            key_encryption_key: 32 bytes, kept elsewhere; without it the directory's own is used.

        Raises:
            KeyEncryptionKeyExposed: others can read the key-encryption key.
            KeyEncryptionKeyMissing: wrapped keys are there, here or in a box, their key-encryption key is not.
            KeyDamaged: the key-encryption key has the wrong length, or is not the one of this directory.
        """
        self._directory = directory
        self._clock = clock
        for folder in (directory, directory / "instance-ca", directory / "firm-key"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        self._registry = Registry(directory / "firm-key", self._ca_certificate)
        with self._locked():
            fresh = next(chain(directory.rglob("*.json"), self._slot_files()), None) is None
            if key_encryption_key is None:
                key_encryption_key = open_key_encryption_key(
                    directory / "key-encryption.key", may_create=fresh
                )
            self._wrap = KeyWrap(key_encryption_key)
            self._prove_key()

    @property
    def wrap(self) -> KeyWrap:
        """Wraps what else must not lie about in clear, e.g. a software box's firm keys."""
        return self._wrap

    def ensure_root(self) -> x509.Certificate:
        """The platform root; made when there is none yet.

        Raises:
            KeyDamaged: it cannot be opened, or is lost while instances or boxes have certificates of it.
        """
        with self._locked():
            return self._root().certificate

    def issue(self, binding: KeyBinding, public_key: bytes) -> Chain:
        """Certify a firm key; the first one of an instance makes the instance's CA.

        Args:
            public_key: SPKI DER.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            FirmKeyUnfit: the key is not one of the binding's algorithm.
            KeyDamaged: the CA cannot be opened, or is lost while the instance has firm keys.
            JobMalformed: a name or the firm code is out of range.
        """
        check_binding(binding)
        key = read_public_key(binding, public_key)
        with self._locked():
            record = self._registry.find(binding.firm_code)
            if record is not None:
                check_owner(binding.firm_code, record.binding.instance_id, binding.instance_id)
            ca = self._instance_ca(binding.instance_id)
        firm = issue_firm_certificate(ca, key, binding.firm_code, at=self._clock.now())
        return firm.public_bytes(Encoding.DER), ca.certificate.public_bytes(Encoding.DER)

    def record(self, firm_code: int) -> FirmKeyRecord | None:
        """What is known of a firm key.

        Raises:
            KeyDamaged: its file cannot be read, so nobody knows whose it is.
        """
        check_firm_code(firm_code)
        with self._locked():
            return self._registry.find(firm_code)

    def records(self) -> tuple[FirmKeyRecord, ...]:
        """Every firm key, by firm code. One whose file cannot be read is left out, and logged."""
        with self._locked():
            return self._registry.scan()

    def put_record(self, record: FirmKeyRecord) -> None:
        """Write what is known of a firm key.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            FirmKeyConflict: the key exists with another algorithm.
            KeyDamaged: the file that is there cannot be read.
            JobMalformed: a name or the firm code is out of range.
        """
        check_binding(record.binding)
        with self._locked():
            found = self._registry.find(record.binding.firm_code)
            if found is not None:
                check_owner(record.binding.firm_code, found.binding.instance_id, record.binding.instance_id)
                check_algorithm(record.binding.firm_code, found.binding.algorithm, record.binding.algorithm)
            self._registry.put(record)

    def retire(self, firm_code: int) -> FirmKeyRecord | None:
        """Note that the firm key signs no more; the firm code stays taken. Safe to repeat; None if there is none.

        Raises:
            KeyDamaged: its file cannot be read.
        """
        check_firm_code(firm_code)
        with self._locked():
            record = self._registry.find(firm_code)
            if record is not None and record.retired_at is None:
                record = replace(record, next=None, retired_at=self._clock.now())
                self._registry.put(record)
            return record

    def remove_firm_key(self, instance_id: str, firm_code: int) -> bool:
        """Remove a firm key's record, and with the last one its instance's CA.

        Whoever calls answers for nobody needing it, and for the boxes having forgotten it. False if there is none;
        then what a killed removal left is removed all the same.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            KeyDamaged: the record cannot be read, so nobody knows whose it is.
            JobMalformed: a name or the firm code is out of range.
        """
        check_name("instance_id", instance_id)
        check_firm_code(firm_code)
        with self._locked():
            record = self._registry.find(firm_code)
            if record is not None:
                check_owner(firm_code, record.binding.instance_id, instance_id)
                self._registry.remove(firm_code)
            if not self._registry.may_have(instance_id, unknown=True):
                remove_file(self._ca_path(instance_id))
            return record is not None

    def inheritance(self, *, pool: str, box: str) -> Inheritance:
        """Firm keys from before boxes had keys of their own, which this box of this pool has not taken over yet."""
        with self._locked():
            return self._registry.inheritance(self._wrap, pool=pool, box=box, now=self._clock.now())

    def inherited(self, firm_code: int, *, box: str) -> None:
        """Note that a box has taken an old key over, on its disk: it never does so again, not even after forgetting."""
        with self._locked():
            self._registry.note_taken(firm_code, box, now=self._clock.now())

    def _root(self) -> Issuer:
        path = self._directory / "root.json"
        if not path.exists():
            if self._is_root_needed():
                raise KeyDamaged("the platform root is lost: restore root.json", key="root")
            key = generate_private_key(SECP256R1())
            certificate = issue_root(key, at=self._clock.now())
            self._write_issuer(path, "root", Issuer(certificate=certificate, key=key))
        return self._read_issuer(path, "root")

    def _is_root_needed(self) -> bool:
        """Whether anything was certified: a box's first key is made before the root."""
        cas = (self._directory / "instance-ca").glob("*.json")
        return next(cas, None) is not None or any(_is_certified(path) for path in self._slot_files())

    def _slot_files(self) -> Iterator[Path]:
        return self._directory.with_name("slots").glob("*/*.json")

    def _instance_ca(self, instance_id: str) -> Issuer:
        path, name = self._ca_path(instance_id), _ca_name(instance_id)
        if not path.exists():
            if self._registry.may_have(instance_id, unknown=False):
                raise KeyDamaged(
                    f"the CA of instance {instance_id} is lost, and it has firm keys: restore {name}.json",
                    key=name,
                )
            key = generate_private_key(SECP256R1())
            certificate = issue_instance_ca(self._root(), key.public_key(), instance_id, at=self._clock.now())
            self._write_issuer(path, name, Issuer(certificate=certificate, key=key))
        return self._read_issuer(path, name)

    def _ca_certificate(self, instance_id: str) -> bytes:
        path = self._ca_path(instance_id)
        return _read_issuer_file(path, _ca_name(instance_id)).certificate

    def _prove_key(self) -> None:
        """A foreign key-encryption key must wrap nothing here: nobody could tell later which key opens what."""
        paths = {"root": self._directory / "root.json"}
        cas = islice((self._directory / "instance-ca").glob("*.json"), _KEYS_TRIED)
        paths |= {_ca_name(path.stem): path for path in cas}
        tried = 0
        for name, path in paths.items():
            try:
                record = _read_issuer_file(path, name)
            except (KeyDamaged, OSError):
                continue
            tried += 1
            try:
                self._wrap.unwrap(name, record.wrapped)
            except KeyDamaged:
                continue
            return
        if tried:
            raise KeyDamaged(
                "this is not the key-encryption key of this directory: it opens nothing", key="root"
            )

    def _read_issuer(self, path: Path, name: str) -> Issuer:
        record = _read_issuer_file(path, name)
        key = self._wrap.unwrap(name, record.wrapped)
        return Issuer(certificate=_load_certificate(name, record.certificate), key=key)

    def _write_issuer(self, path: Path, name: str, issuer: Issuer) -> None:
        certificate = issuer.certificate.public_bytes(Encoding.DER)
        record = _IssuerFile(wrapped=self._wrap.wrap(name, issuer.key), certificate=certificate)
        replace_file(path, msgspec.json.encode(record))

    def _ca_path(self, instance_id: str) -> Path:
        return self._directory / "instance-ca" / f"{instance_id}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, across threads and processes: each call opens the lock file for itself."""
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _is_certified(path: Path) -> bool:
    """Whether a slot file has a certificate; one that cannot be read may have."""
    if not path.stem.isdecimal():
        return False
    try:
        record = msgspec.json.decode(path.read_bytes(), type=SlotRecord)
    except (msgspec.MsgspecError, OSError):
        return True
    return any(key.chain is not None for key in record.keys)


def check_binding(binding: KeyBinding) -> None:
    """Refuse a key that cannot be one.

    Raises:
        JobMalformed: a name or the firm code is out of range.
    """
    check_name("key_id", binding.key_id)
    check_name("instance_id", binding.instance_id)
    check_firm_code(binding.firm_code)


def read_public_key(binding: KeyBinding, der: bytes) -> PublicKey:
    """Import the public half of a firm key.

    Raises:
        FirmKeyUnfit: the key is not one of the binding's algorithm.
    """
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FirmKeyUnfit("the public key cannot be read", firm_code=binding.firm_code) from error
    fits = isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    )
    if not isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) or not fits:
        raise FirmKeyUnfit("the public key is of a kind that is not used here", firm_code=binding.firm_code)
    if key_algorithm(key) != binding.algorithm:
        raise FirmKeyUnfit(f"the public key is not one for {binding.algorithm}", firm_code=binding.firm_code)
    return key


def _ca_name(instance_id: str) -> str:
    return f"instance-ca/{instance_id}"


def _read_issuer_file(path: Path, name: str) -> _IssuerFile:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_IssuerFile)
    except (msgspec.MsgspecError, FileNotFoundError) as error:
        raise KeyDamaged(f"the key file {path.name} cannot be read", key=name) from error


def _load_certificate(name: str, der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise KeyDamaged(f"the certificate of {name} cannot be read", key=name) from error
