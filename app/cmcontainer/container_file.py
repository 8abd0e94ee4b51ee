"""A container in a file: what `wops container` and its users call.

The file holds the container's private keys: mode 0600, replaced as a whole, one process at a time (a lock file beside
it). Whatever is refused changes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from app.cmcontainer.container import (
    Container,
    FirmItem,
    ProductItem,
    Template,
    add_firm_item,
    describe,
    next_context,
)
from app.cmcontainer.errors import (
    ContainerFileDamaged,
    ContainerFileExists,
    ContainerFileMissing,
    TemplateInvalid,
)
from app.cmcontainer.update_rule import AppliedUpdate, apply_update, verify_update
from app.core.clock import Clock
from app.core.errors import InputInvalid
from app.core.file import replace_file
from app.core.ids import new_id
from fsb_gateway import FIRM_CODE_MAX, ContextKind, FileMalformed, Update, is_name

# Serials of containers in software start so; ten digits follow. **Source:** reference/domain.md §1.2.
_SERIAL_PREFIX = "130-"
_SERIAL_DIGITS = 10
_FORMAT = "wops-container/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSummary:
    """What a container holds, without its keys."""

    serial: str
    firm_items: tuple[FirmItem, ...]


class _TemplateRecord(msgspec.Struct, forbid_unknown_fields=True):
    firm_code: int
    instance: str
    root_certificate: str


class _ItemRecord(msgspec.Struct, forbid_unknown_fields=True):
    license_id: str
    generation: int
    product: dict[str, Any]


class _FirmItemRecord(msgspec.Struct, forbid_unknown_fields=True):
    template: _TemplateRecord
    fuc: int
    items: list[_ItemRecord]
    applied: list[str]


class _ContainerRecord(msgspec.Struct, forbid_unknown_fields=True):
    serial: str
    signing_key: dict[str, str]
    encryption_key: dict[str, str]
    firm_items: list[_FirmItemRecord]
    last_context_us: int


class _FileRecord(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    sha256: str
    container: msgspec.Raw


def read_template(text: str) -> Template:
    """Read a vendor's template: JSON with `firm_code`, `instance` and `root_certificate` (PEM).

    Raises:
        TemplateInvalid: it is something else.
    """
    try:
        record = msgspec.json.decode(text, type=_TemplateRecord)
        x509.load_pem_x509_certificate(record.root_certificate.encode("ascii"))
    except (msgspec.MsgspecError, ValueError) as error:
        raise TemplateInvalid("a template is JSON with firm_code, instance and root_certificate") from error
    if not 1 <= record.firm_code <= FIRM_CODE_MAX or not is_name(record.instance):
        raise TemplateInvalid("the firm code or instance of the template is out of range")
    return _build_template(record)


def write_template(template: Template) -> str:
    """Write a template as JSON."""
    return msgspec.json.encode(template).decode()


def create_container(path: Path, template: Template, *, serial: str | None = None) -> ContainerSummary:
    """Make a new container with fresh keys, and a random serial unless one is given.

    Raises:
        ContainerFileExists: there is one at this path.
        InputInvalid: the given serial is not a name.
    """
    if serial is not None and not is_name(serial):
        raise InputInvalid("a serial is made of letters, digits, dots and hyphens", field="serial")
    container = Container(
        serial=serial or f"{_SERIAL_PREFIX}{secrets.randbelow(10**_SERIAL_DIGITS):0{_SERIAL_DIGITS}d}",
        signing_key=generate_private_key(SECP256R1()),
        encryption_key=generate_private_key(SECP256R1()),
        firm_items={},
    )
    with _locked(path):
        if path.exists():
            raise ContainerFileExists(f"there is a container in {path.name} already", file=path.name)
        container = add_firm_item(container, template)
        _write(path, container)
    return _summarise(container)


def add_template(path: Path, template: Template) -> ContainerSummary:
    """Open a drawer for another vendor in an existing container.

    Raises:
        TemplateConflict: the firm code is there, from another instance or platform.
    """
    with _locked(path):
        container = add_firm_item(_read(path), template)
        _write(path, container)
    return _summarise(container)


def make_context(path: Path, firm_code: int, *, clock: Clock, kind: ContextKind = "context") -> str:
    """The armoured context of one firm code, to be sent to the vendor; with `kind="receipt"` the receipt.

    Raises:
        FirmCodeUnknown: the container has no drawer for the firm code.
        ContainerFileMissing, ContainerFileDamaged: there is no usable container.
    """
    with _locked(path):
        container, at = next_context(_read(path), now=clock.now())
        text = describe(container, firm_code, kind=kind, context_id=new_id("ctx"), at=at)
        _write(path, container)
    return text


def make_receipt(path: Path, firm_code: int, *, clock: Clock) -> str:
    """The armoured receipt of one firm code: says what the container holds after an update."""
    return make_context(path, firm_code, clock=clock, kind="receipt")


def apply_to_file(path: Path, update: str, *, clock: Clock) -> AppliedUpdate:
    """Apply an update to the container. When this returns, the change is on disk.

    Raises:
        DomainError: refused, nothing changed; the codes stand in `update_rule` and `fsb_gateway.FileFormatError`.
    """
    with _locked(path):
        container, report = apply_update(_read(path), update, at=clock.now())
        _write(path, container)
    return report


def verify_for_file(path: Path, update: str, *, clock: Clock) -> Update:
    """Check offline that an update is for this container and from its vendor, without applying it."""
    return verify_update(_read(path), update, at=clock.now())


def show_container(path: Path) -> ContainerSummary:
    """What the container holds.

    Raises:
        ContainerFileMissing, ContainerFileDamaged: there is no usable container.
    """
    return _summarise(_read(path))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time. The lock is a file of its own, because the container file is replaced."""
    try:
        descriptor = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except FileNotFoundError as error:
        raise ContainerFileMissing(f"there is no folder for {path.name}", file=path.name) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> Container:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ContainerFileMissing(f"there is no container in {path.name}", file=path.name) from error
    try:
        envelope = msgspec.json.decode(content, type=_FileRecord)
        if envelope.format != _FORMAT or envelope.sha256 != hashlib.sha256(envelope.container).hexdigest():
            raise ContainerFileDamaged(f"the container in {path.name} was changed", file=path.name)
        return _build_container(msgspec.json.decode(envelope.container, type=_ContainerRecord))
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
        JoseError,
        ValueError,
        KeyError,
        FileMalformed,
    ) as error:
        raise ContainerFileDamaged(f"the container in {path.name} cannot be read", file=path.name) from error


def _write(path: Path, container: Container) -> None:
    record = {
        "serial": container.serial,
        "signing_key": _private_jwk(container.signing_key),
        "encryption_key": _private_jwk(container.encryption_key),
        "firm_items": list(container.firm_items.values()),
        "last_context_us": container.last_context_us,
    }
    content = msgspec.json.encode(record)
    envelope = {
        "format": _FORMAT,
        "sha256": hashlib.sha256(content).hexdigest(),
        "container": msgspec.Raw(content),
    }
    replace_file(path, msgspec.json.encode(envelope))


def _private_jwk(key: EllipticCurvePrivateKey) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in ECKey.import_key(key).as_dict(private=True).items()
        if name != "kid"
    }


def _build_container(record: _ContainerRecord) -> Container:
    return Container(
        serial=record.serial,
        signing_key=_read_private_key(record.signing_key),
        encryption_key=_read_private_key(record.encryption_key),
        firm_items={item.template.firm_code: _build_firm_item(item) for item in record.firm_items},
        last_context_us=record.last_context_us,
    )


def _read_private_key(jwk: dict[str, str]) -> EllipticCurvePrivateKey:
    key = ECKey.import_key(dict(jwk)).private_key
    if key is None:
        raise ValueError("the private part of a key is missing")
    return key


def _build_firm_item(record: _FirmItemRecord) -> FirmItem:
    items = tuple(
        ProductItem(license_id=item.license_id, generation=item.generation, product=item.product)
        for item in record.items
    )
    template = _build_template(record.template)
    return FirmItem(template=template, fuc=record.fuc, items=items, applied=tuple(record.applied))


def _build_template(record: _TemplateRecord) -> Template:
    return Template(
        firm_code=record.firm_code, instance=record.instance, root_certificate=record.root_certificate
    )


def _summarise(container: Container) -> ContainerSummary:
    return ContainerSummary(serial=container.serial, firm_items=tuple(container.firm_items.values()))
