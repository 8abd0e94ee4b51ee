"""Firm keys as the admin API shows and takes them. No answer holds a private key."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from app.http.schema.box import Why
from app.http.schema.model import AnswerModel, RequestModel
from fsb_gateway.report import FirmKeyReport, FormerKey


class KeyCopyBody(RequestModel):
    """Into which box a firm key is brought."""

    to: str = Field(
        min_length=1, max_length=128, description="Name of the box that gets it.", examples=["shared-box-2"]
    )
    reason: Why


class KeyMoveBody(RequestModel):
    """From which box into which a firm key goes."""

    source: str = Field(
        alias="from",
        min_length=1,
        max_length=128,
        description="Name of the box that gives it.",
        examples=["shared-box-1"],
    )
    to: str = Field(
        min_length=1, max_length=128, description="Name of the box that gets it.", examples=["shared-box-2"]
    )
    reason: Why


class FormerKeyRead(AnswerModel):
    """A key that signed once; what it signed still verifies."""

    key_id: str
    fingerprint: str
    retired_at: datetime

    @classmethod
    def of(cls, former: FormerKey) -> FormerKeyRead:
        """From the gateway's value."""
        return cls(key_id=former.key_id, fingerprint=former.fingerprint, retired_at=former.retired_at)


class FirmKeyRead(AnswerModel):
    """A firm key and where it is."""

    firm_code: int = Field(description="The vendor's.")
    instance_id: str = Field(description="The one instance that it signs for.")
    algorithm: str = Field(description="ES256 or Ed25519.")
    state: str = Field(description="active, or retired.")
    key_id: str
    fingerprint: str = Field(description="SHA-256 of the public key (SubjectPublicKeyInfo, DER).")
    made_at: datetime
    expires_at: datetime
    boxes: list[str] = Field(description="That hold it and sign with it.")
    owed: list[str] = Field(description="Boxes that were away; they get it when they are back.")
    former: list[FormerKeyRead] = Field(description="Keys that were rotated away, the newest first.")

    @classmethod
    def of(cls, key: FirmKeyReport) -> FirmKeyRead:
        """From the gateway's value."""
        return cls.model_validate(_key(key))


class FirmKeyDetailRead(FirmKeyRead):
    """A firm key with its certificates."""

    certificate: str = Field(description="PEM of its certificate, then of the instance CA's.")

    @classmethod
    def of(cls, key: FirmKeyReport) -> FirmKeyDetailRead:
        """From the gateway's value."""
        return cls.model_validate({**_key(key), "certificate": key.certificate})


def _key(key: FirmKeyReport) -> dict[str, object]:
    return {
        "firm_code": key.firm_code,
        "instance_id": key.instance_id,
        "algorithm": key.algorithm,
        "state": key.state,
        "key_id": key.key_id,
        "fingerprint": key.fingerprint,
        "made_at": key.made_at,
        "expires_at": key.expires_at,
        "boxes": list(key.boxes),
        "owed": list(key.owed),
        "former": [FormerKeyRead.of(each) for each in key.former],
    }
