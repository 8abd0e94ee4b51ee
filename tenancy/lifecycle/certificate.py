"""Exports and certificates of erasure, as values. Pure.

A certificate is canonical JSON (`app.core.json.dump_json`), signed with Ed25519 by the platform's audit key as it
stands: whoever has the text, the signature and the public key needs nothing else to check it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, Protocol

from app.core.clock import to_text
from app.core.ids import InstanceId
from app.core.json import JsonObject, dump_json, load_object
from tenancy.operation.plan import Operation
from tenancy.placement import SHARED_POOL
from tenancy.record import Instance

CERTIFICATE_FORMAT: Final = "wops-erasure-certificate-1"
"""Stands in the signed text, so that no other thing that the audit key signs can be taken for a certificate."""


class Signer(Protocol):
    """Signs with Ed25519 (RFC 8032)."""

    @property
    def key_id(self) -> str:
        """Names the key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A file with everything of an instance's database.

    Attributes:
        export_id: of the operation that made it.
        final: made at the end of the contract; kept until the data are erased.
        sha256: of the file; the manifest inside has one for each table.
        manifest: the text of manifest.json, as it is in the file.
    """

    instance_id: InstanceId
    export_id: str
    final: bool
    file_name: str
    sha256: str
    size_bytes: int
    manifest: str
    created_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureCertificate:
    """What was erased, when and why.

    Attributes:
        document: canonical JSON, the text that is signed.
        signature: hexadecimal; empty while the erasure is under way.
    """

    instance_id: InstanceId
    document: str
    key_id: str
    signature: str

    @property
    def is_signed(self) -> bool:
        """Whether the erasure is complete."""
        return self.signature != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Ids of the people who decided on an erasure; None where it was started without the two."""

    requested_by: str | None = None
    approved_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What there was before anything was erased.

    Attributes:
        tables: rows by table; empty if the database was gone already.
        chain_head: number and hash of the newest entry of the database's audit chain.
        kept_chain: name and SHA-256 of the file that keeps the chain's digests.
        chain_closed: nothing was written to the chain any more.
    """

    instance: Instance
    tables: Mapping[str, int]
    database_name: str | None
    servers: Sequence[str]
    exports: Sequence[Export]
    chain_head: JsonObject | None
    kept_chain: JsonObject | None
    chain_closed: bool


def describe_inventory(found: Inventory) -> JsonObject:
    """What the certificate will say about what there was."""
    instance = found.instance
    return {
        "format": CERTIFICATE_FORMAT,
        "instance": {
            "instance_id": instance.instance_id,
            "name": instance.name,
            "customer_id": instance.customer_id,
            "edition": instance.edition,
            "country": instance.country,
            "created_at": to_text(instance.created_at),
        },
        "database": {
            "name": found.database_name,
            "servers": list(found.servers),
            "rows": dict(sorted(found.tables.items())),
        },
        "firm_key": {"firm_code": instance.firm_code, "pool": instance.pool},
        "box_journals": "remain" if instance.pool == SHARED_POOL else "removed",
        "exports": [
            {
                "export_id": each.export_id,
                "final": each.final,
                "file": each.file_name,
                "sha256": each.sha256,
                "manifest_sha256": sha256(each.manifest.encode()).hexdigest(),
                "created_at": to_text(each.created_at),
            }
            for each in found.exports
        ],
        "audit_chain": {
            "head": found.chain_head,
            "kept": found.kept_chain,
            "closed": found.chain_closed,
        },
    }


def says_closed(draft: ErasureCertificate) -> bool:
    """Whether the inventory was taken when nothing was written to the audit chain any more."""
    chain = load_object(draft.document)["audit_chain"]
    return isinstance(chain, Mapping) and chain.get("closed") is True


def describe_erasure(
    inventory: JsonObject,
    *,
    operation: Operation,
    people: Decided,
    skipped: Sequence[JsonObject],
    erased_at: datetime,
) -> str:
    """The text of a certificate.

    Args:
        inventory: what `describe_inventory` said.
        operation: that erased.
        people: who wanted it.
        skipped: `step` and `reason` of each step that staff went on without: that part was not erased.
        erased_at: when it was complete.
    """
    return dump_json(
        {
            **inventory,
            "operation_id": operation.operation_id,
            "requested": operation.parameters,
            "requested_by": people.requested_by,
            "approved_by": people.approved_by,
            "skipped": list(skipped),
            "box_journals": "remain" if skipped else inventory["box_journals"],
            "began_at": to_text(operation.created_at),
            "erased_at": to_text(erased_at),
        }
    )


def sign(instance_id: InstanceId, document: str, signer: Signer) -> ErasureCertificate:
    """The certificate with that text."""
    signature = signer.sign(document.encode())
    return ErasureCertificate(
        instance_id=instance_id, document=document, key_id=signer.key_id, signature=signature.hex()
    )
