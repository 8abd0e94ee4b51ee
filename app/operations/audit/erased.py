"""The chains of erased instances: their digests, kept in `audit/erased`, and the proof that they were erased."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from app.core.db import Database
from app.core.ids import InstanceId
from app.core.json import JsonObject, load_object
from app.operations.audit import repository
from app.operations.audit.key import check_signature
from app.operations.audit.verify_audit import Finding
from tenancy.lifecycle import repository as lifecycle
from tenancy.lifecycle.certificate import ErasureCertificate

_INSTANCE_ID: Final = re.compile(r"ins_[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLink:
    """What is kept of an entry: not what it says.

    Attributes:
        line: as it stands in the file, and in exports.
    """

    sequence: int
    digest: str
    hash: str | None
    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedChain:
    """A chain whose database was erased.

    Attributes:
        path: where its digests are; None if the database had been lost before, and the certificate says so.
        findings: what is wrong with the certificate, or with the file as a whole.
    """

    chain: str
    path: Path | None
    findings: tuple[Finding, ...]

    def links(self) -> Iterator[KeptLink]:
        """What is kept of its entries, in their order.

        Raises:
            OSError: the file cannot be read.
            KeyError, TypeError, ValueError: a line is something else.
        """
        if self.path is None:
            return
        with self.path.open("rb") as lines:
            for line in lines:
                value = json.loads(line.decode())
                if value["kind"] == "digest":
                    yield KeptLink(
                        sequence=int(value["sequence"]),
                        digest=str(value["digest"]),
                        hash=value["hash"],
                        line=line,
                    )


class ErasedChains:
    """Looks erased instances up. Thread-safe, blocking.

    Args:
        folder: the data directory's `audit`.
        db: the platform database.
        keys: public keys by their id.
    """

    def __init__(self, folder: Path, db: Database, *, keys: Mapping[str, bytes]) -> None:
        self._folder = folder / "erased"
        self._db = db
        self._keys = dict(keys)

    def find(self, chain: str) -> ErasedChain | None:
        """The chain of an erased instance; None if neither a certificate nor the platform's chain says that it was."""
        if not _INSTANCE_ID.match(chain):
            return None
        certificate = self._db.read(partial(lifecycle.find_certificate, instance_id=InstanceId(chain)))
        if certificate is not None and certificate.is_signed:
            return self._certified(chain, certificate)
        erased = partial(repository.has_event, event_type="instance.erased", subject=chain)
        if not self._db.read(erased):
            return None
        # Between the erasure and its certificate: checkpoints vouch for the file.
        return self._kept(chain)

    def _kept(self, chain: str) -> ErasedChain:
        path = self._folder / f"{chain}.jsonl"
        if path.is_file():
            return ErasedChain(chain=chain, path=path, findings=())
        text = "the instance was erased, and the digests that were kept of its chain are gone"
        return ErasedChain(chain=chain, path=None, findings=(Finding("chain_missing", chain, 1, text),))

    def _certified(self, chain: str, certificate: ErasureCertificate) -> ErasedChain:
        said = self._read(chain, certificate)
        if said is None:
            kept = self._kept(chain)
            forged = Finding(
                "forged", chain, 1, "the certificate of its erasure is not the one that was signed"
            )
            return ErasedChain(chain=chain, path=kept.path, findings=(forged, *kept.findings))
        if said.get("kept") is None:
            return ErasedChain(chain=chain, path=None, findings=())
        kept = self._kept(chain)
        if kept.path is None or _sha256(kept.path) == _text(said["kept"], "sha256"):
            return kept
        text = "the digests that are kept of its chain are not those that its certificate of erasure names"
        return ErasedChain(chain=chain, path=kept.path, findings=(Finding("changed", chain, 1, text),))

    def _read(self, chain: str, certificate: ErasureCertificate) -> JsonObject | None:
        """What a certificate says of the chain; None if it is not what was signed."""
        key = self._keys.get(certificate.key_id)
        try:
            signature = bytes.fromhex(certificate.signature)
            if key is None or not check_signature(key, certificate.document.encode(), signature):
                return None
            document = load_object(certificate.document)
        except ValueError:
            return None
        said = document.get("audit_chain")
        is_about_it = _text(document.get("instance"), "instance_id") == chain
        return dict(said) if is_about_it and isinstance(said, Mapping) else None


def _text(value: object, name: str) -> str:
    return str(value.get(name)) if isinstance(value, Mapping) else ""


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
