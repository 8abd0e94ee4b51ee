"""The audit as it is shown: entries, checkpoints, keys, what a verification has found."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Self, cast

from pydantic import Field, JsonValue

from app.core.clock import from_us
from app.http.schema.model import AnswerModel
from app.operations.audit.key import AuditKey
from app.operations.audit.reading import AuditEntry
from app.operations.audit.verify import ChainReport
from app.operations.audit.verify_audit import Checkpoint, Finding


class OwnActorRead(AnswerModel):
    """Who did it, as customers see it."""

    kind: str = Field(
        description="client, network, holder, staff or system; unknown before the audit was there."
    )
    id: str


class ActorRead(OwnActorRead):
    """Who did it, as staff see it."""

    person: str | None = Field(description="Id of the natural person, if one is known.")
    name: str | None = Field(description="His name, until he is erased.")


class OwnAuditEntryRead(AnswerModel):
    """One entry of an instance's audit chain, or one of the platform's about it."""

    chain: str = Field(description="`platform`, or an instance's id.")
    sequence: int = Field(description="Of its chain: 1, 2, 3 … without gaps.")
    event_id: str
    type: str
    subject: str = Field(description="Id of the object.")
    data: dict[str, JsonValue] = Field(description="How it is now.")
    before: dict[str, JsonValue] | None = Field(
        description="What has changed, as it was; null if it is new or unknown."
    )
    occurred_at: datetime
    actor: OwnActorRead
    action: str | None = Field(
        description="operationId of the request; `operationId.step` for what wops does on the way, "
        "e.g. `createInstance.createDatabase`."
    )
    request_id: str | None
    reason: str | None
    hash: str | None = Field(description="Covers this entry and all before it.")

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Show an entry to its customer."""
        return cls(**_fields(entry), actor=OwnActorRead(kind=entry.actor.kind, id=entry.actor.actor_id))


class AuditEntryRead(OwnAuditEntryRead):
    """One entry of an audit chain."""

    actor: ActorRead

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Show an entry to staff."""
        actor = ActorRead(
            kind=entry.actor.kind, id=entry.actor.actor_id, person=entry.actor.person, name=entry.actor.name
        )
        return cls(**_fields(entry), actor=actor)


def _fields(entry: AuditEntry) -> dict[str, Any]:
    return {
        "chain": entry.chain,
        "sequence": entry.sequence,
        "event_id": entry.event_id,
        "type": entry.type,
        "subject": entry.subject,
        "data": cast(dict[str, JsonValue], entry.data),
        "before": cast(dict[str, JsonValue] | None, entry.before),
        "occurred_at": entry.occurred_at,
        "action": entry.action,
        "request_id": entry.request_id,
        "reason": entry.reason,
        "hash": entry.hash,
    }


class CheckpointRead(AnswerModel):
    """A signed statement of how far a chain had come."""

    number: int
    chain: str
    sequence: int = Field(description="Number of the newest entry then.")
    chain_hash: str = Field(description="Its hash.")
    signed_at: datetime
    signed_at_us: int = Field(description="The same in microseconds since 1970, as it is signed.")
    anchor: int = Field(description="1: the first of a day, kept for ever; others are kept for a week.")
    previous_hash: str = Field(description="Of the checkpoint before.")
    anchor_hash: str = Field(description="Of the anchor before.")
    key_id: str
    path: list[str] = Field(
        description="From this chain's leaf to the root that was signed: neighbours, `l` or `r` first."
    )
    signature: str = Field(description="Ed25519, base64url.")

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Show a checkpoint."""
        path = list(checkpoint.path)
        return cls(**{**checkpoint._asdict(), "path": path}, signed_at=from_us(checkpoint.signed_at_us))


class AuditKeyRead(AnswerModel):
    """The public key that checkpoints are verified with."""

    key_id: str
    public_key: str = Field(description="base64url of 32 bytes, for Ed25519.")
    line: str = Field(description="What `verify_audit.py --key` reads.")

    @classmethod
    def of(cls, key: AuditKey) -> Self:
        """Show the key."""
        return cls(key_id=key.key_id, public_key=key.public_line.split()[1], line=key.public_line)


class FindingRead(AnswerModel):
    """Something that is wrong."""

    code: str = Field(
        description="changed, missing, out_of_order, unchained, rewritten, truncated, forged, key_unknown,"
        " chain_missing, checkpoint_missing, checkpoint_changed, malformed."
    )
    chain: str
    sequence: int = Field(description="The first entry, or the checkpoint, that it is about.")
    text: str

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Show a finding."""
        return cls(code=finding.code, chain=finding.chain, sequence=finding.sequence, text=finding.text)


class VerificationRead(AnswerModel):
    """What came of verifying a chain, or a part of it."""

    chain: str
    sound: bool = Field(description="Nothing was found.")
    entries: int
    last: int = Field(description="Number of the last entry looked at; `after` of the next call.")
    vouched_until: int = Field(description="The newest of them that a checkpoint has signed; 0: none.")
    complete: bool = Field(description="False: the chain goes on; call again.")
    chains: list[str] = Field(description="Of `checkpoints`: every chain that one of these names.")
    findings: list[FindingRead]

    @classmethod
    def of(cls, report: ChainReport) -> Self:
        """Show a report."""
        return cls(
            chain=report.chain,
            sound=not report.findings,
            entries=report.entries,
            last=report.last,
            vouched_until=report.vouched_until,
            complete=report.complete,
            chains=list(report.chains),
            findings=[FindingRead.of(each) for each in report.findings],
        )


_INSTANCE: Final = "ins_019b0a3c3b4c7d5e8f901a2b3c4d5e6f"
_HASH: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
OWN_ENTRY: Final[dict[str, Any]] = {
    "chain": _INSTANCE,
    "sequence": 4711,
    "event_id": "evt_019b0a3c6a1b7c2d8e9f0a1b2c3d4e5f",
    "type": "item.changed",
    "subject": "DRAW-PRO",
    "data": {"sku": "DRAW-PRO", "version": 2, "name": "Drawing Pro 2"},
    "before": {"version": 1, "name": "Drawing Pro"},
    "occurred_at": "2026-11-21T10:15:00Z",
    "actor": {"kind": "client", "id": "cli_019b0a3c4b5c7d6e8f90a1b2c3d4e5f6"},
    "action": "replaceItem",
    "request_id": "req_019b0a3c7b2c7d3e8f90a1b2c3d4e5f6",
    "reason": None,
    "hash": _HASH,
}
ENTRY: Final[dict[str, Any]] = {
    **OWN_ENTRY,
    "actor": {**OWN_ENTRY["actor"], "person": None, "name": None},
}
CHECKPOINT: Final[dict[str, Any]] = {
    "number": 815,
    "chain": _INSTANCE,
    "sequence": 4711,
    "chain_hash": _HASH,
    "signed_at": "2026-11-21T10:15:30Z",
    "signed_at_us": 1795256130000000,
    "anchor": 0,
    "previous_hash": "0" * 64,
    "anchor_hash": "0" * 64,
    "path": ["l" + _HASH],
    "key_id": "aud_56475aa75463474c0285df5dbf2bcab7",
    "signature": "kqAJqfDUyriCDkcg2PsboSuhmlz_ytj2Hn5w",
}
KEY: Final[dict[str, Any]] = {
    "key_id": "aud_56475aa75463474c0285df5dbf2bcab7",
    "public_key": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
    "line": "aud_56475aa75463474c0285df5dbf2bcab7 A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
}
VERIFICATION: Final[dict[str, Any]] = {
    "chain": _INSTANCE,
    "sound": True,
    "entries": 4711,
    "last": 4711,
    "vouched_until": 4711,
    "complete": True,
    "chains": [],
    "findings": [],
}
