"""Requests and answers about the life of an instance."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import Field, StrictBool, StrictInt

from app.core.json import load_object
from app.http.schema.model import AnswerModel, RequestModel
from tenancy.customer import LONGEST_DISPLAY_NAME
from tenancy.lifecycle.certificate import ErasureCertificate, Export

Reason = Annotated[str, Field(min_length=1, max_length=500)]


class InstanceRename(RequestModel):
    """Another name for an instance."""

    name: str = Field(
        max_length=64, description="First segment of its URLs from now on.", examples=["acme-eu"]
    )


class InstanceReinstate(RequestModel):
    """What an ended instance becomes."""

    state: Literal["ready", "frozen"] = "ready"


class InstanceEnd(RequestModel):
    """The end of a contract."""

    reason: Reason = Field(description="Stands in the audit log.")
    retention_days: Annotated[StrictInt, Field(ge=0, le=3650)] = Field(
        default=30, description="How long the data are kept before they may be erased."
    )


class InstanceErase(RequestModel):
    """The erasure of an ended instance."""

    reason: Reason = Field(description="Stands in the audit log.")
    early: StrictBool = Field(default=False, description="Before the end of the retention.")
    legal_reason: str = Field(
        default="", max_length=500, description="The legal request that an early erasure is based on."
    )


class CustomerChange(RequestModel):
    """What can be changed of a customer."""

    display_name: str = Field(min_length=1, max_length=LONGEST_DISPLAY_NAME, examples=["ACME Drawing SE"])


class ExportRead(AnswerModel):
    """An export of an instance."""

    export_id: str
    final: bool = Field(description="Made at the end of the contract.")
    file_name: str
    sha256: str
    size_bytes: int
    manifest: dict[str, Any] = Field(description="As in the file: tables, rows, SHA-256 of each.")
    created_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, export: Export) -> ExportRead:
        """From the domain's value."""
        return cls(
            export_id=export.export_id,
            final=export.final,
            file_name=export.file_name,
            sha256=export.sha256,
            size_bytes=export.size_bytes,
            manifest=cast(dict[str, Any], load_object(export.manifest)),
            created_at=export.created_at,
            deleted_at=export.deleted_at,
        )


class ExportRequestRead(AnswerModel):
    """How far an export is."""

    export_id: str
    state: str = Field(description="Of the operation that makes it: fetch the file once it has succeeded.")


class ErasureCertificateRead(AnswerModel):
    """A certificate of erasure: `signature` is of `document`, byte for byte (UTF-8)."""

    instance_id: str
    algorithm: Literal["Ed25519"] = "Ed25519"
    key_id: str = Field(description="Of the audit key; its public half is published.")
    document: str = Field(description="Canonical JSON, the text that is signed.")
    signature: str = Field(description="64 bytes in hexadecimal digits.")

    @classmethod
    def of(cls, certificate: ErasureCertificate) -> ErasureCertificateRead:
        """From the domain's value."""
        return cls(
            instance_id=certificate.instance_id,
            key_id=certificate.key_id,
            document=certificate.document,
            signature=certificate.signature,
        )
