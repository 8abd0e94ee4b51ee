"""Files about instances below the data directory: exports, and the audit chains of erased instances.

exports/<operation>.zip         for the customer; mode 0600
exports/.draft-<operation>-<n>  being written by the owner with that fencing token; removed by the next one
audit/erased/<instance>.jsonl   digests and circumstances of each entry, without contents
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

from app.core.chain import GENESIS, ChainEntry, entry_digest
from app.core.file import new_file, sync_directory
from app.core.json import JsonObject, dump_json
from tenancy.lifecycle.errors import ExportNotWritten

_ID: Final = re.compile(r"[a-z]+_[0-9a-f]{32}\Z")
_CHAIN_FORMAT: Final = "wops-audit-1"
"""The format of audit exports, with digests in the place of entries: the same verifier reads both."""


class FileStore:
    """Where the files are. Thread-safe; names are made of ids alone."""

    def __init__(self, data_dir: Path) -> None:
        self._exports = data_dir / "exports"
        self._chains = data_dir / "audit" / "erased"

    def export(self, export_id: str) -> Path:
        """Where an export lies."""
        return self._exports / f"{_check(export_id)}.zip"

    def draft(self, export_id: str, *, token: int) -> Path:
        """Where an export is being written; nobody else writes there, not even an owner who has lost the operation.

        Drafts of earlier attempts are removed.
        """
        self._exports.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_drafts(export_id)
        return self._draft(export_id, token)

    def chain(self, instance_id: str) -> Path:
        """Where the digests of an erased instance's audit chain are kept."""
        return self._chains / f"{_check(instance_id)}.jsonl"

    def publish(self, export_id: str, *, token: int) -> None:
        """Give a finished draft its name, in the place of what an earlier attempt may have left there.

        Raises:
            ExportNotWritten: somebody else has taken the operation over, and the draft away.
        """
        try:
            self._draft(export_id, token).replace(self.export(export_id))
        except FileNotFoundError as error:
            raise ExportNotWritten("The export is being written by somebody else.") from error
        sync_directory(self._exports)

    def remove_export(self, export_id: str) -> None:
        """Remove an export and its drafts, if they are there."""
        self.export(export_id).unlink(missing_ok=True)
        self._remove_drafts(export_id)
        if self._exports.exists():
            sync_directory(self._exports)

    def _draft(self, export_id: str, token: int) -> Path:
        return self._exports / f".draft-{_check(export_id)}-{token}"

    def _remove_drafts(self, export_id: str) -> None:
        for path in self._exports.glob(f".draft-{_check(export_id)}-*"):
            path.unlink(missing_ok=True)

    def keep_chain(self, instance_id: str, entries: Iterable[tuple[ChainEntry, str | None]]) -> JsonObject:
        """Keep an audit chain without the contents of its entries; returns the file's name, length and SHA-256.

        Raises:
            ExportNotWritten: the disk does not take it.
        """
        path = self.chain(instance_id)
        draft = path.with_name(f".draft-{path.name}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = _write_chain(draft, instance_id, entries)
            draft.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ExportNotWritten("The audit chain could not be kept.", errno=error.errno) from error
        return {"file": path.name, **written}

    def drop_chain(self, instance_id: str) -> None:
        """Remove a kept chain: its instance lives on."""
        self.chain(instance_id).unlink(missing_ok=True)


def _write_chain(
    path: Path, instance_id: str, entries: Iterable[tuple[ChainEntry, str | None]]
) -> JsonObject:
    count, digest = 0, sha256()
    path.unlink(missing_ok=True)
    with new_file(path) as file:

        def put(value: JsonObject) -> None:
            line = dump_json(value).encode() + b"\n"
            file.write(line)
            digest.update(line)

        put({"kind": "head", "format": _CHAIN_FORMAT, "chains": [instance_id]})
        put({"kind": "chain", "chain": instance_id, "after": 0, "previous": GENESIS})
        for entry, link in entries:
            put(_without_content(entry, link))
            count += 1
        put({"kind": "end", "entry": 0, "digest": count, "checkpoint": 0})
    return {"entries": count, "sha256": digest.hexdigest()}


def _without_content(entry: ChainEntry, link: str | None) -> JsonObject:
    """What stays of an entry: that it was, when, by whom and by which action."""
    return {
        "kind": "digest",
        "sequence": entry.sequence,
        "digest": entry_digest(entry),
        "hash": link,
        "type": entry.type,
        "occurred_at_us": entry.occurred_at_us,
        "actor": entry.actor,
        "action": entry.action,
    }


def _check(identifier: str) -> str:
    if not _ID.match(identifier):
        raise ValueError("that is no id")
    return identifier
