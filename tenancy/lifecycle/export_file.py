"""An export: a ZIP file with one JSON Lines file per table of an instance's database, and a manifest.

    tables/license.jsonl    one row per line, as canonical JSON, in the order of the primary key
    …
    manifest.json           format, instance, time, schema revision, head of the audit chain, and for each file its
                            rows and SHA-256

Everything comes from one consistent view. Left out are the hashes of API clients' secrets: they are of no use
without a key that stays here, and a client that moves gets a new secret. Names of staff in the audit chain are sealed
as they are stored, so that the chain can be verified from the export alone.

Times are microseconds since 1970 UTC, booleans 0 or 1, lists and maps JSON texts: as the tables have them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from app.core.clock import to_text
from app.core.db import Database, Reader, Row
from app.core.file import new_file
from app.core.json import JsonObject, JsonValue, dump_json
from tenancy.lifecycle import repository
from tenancy.lifecycle.errors import ExportNotWritten
from tenancy.lifecycle.repository import StoredTable
from tenancy.record import Instance

EXPORT_FORMAT: Final = "wops-export-1"
LEFT_OUT: Final = {"api_client": ("secret_hash",), "client_secret": ("secret_hash",)}
MANIFEST: Final = "manifest.json"
_VERSION_TABLE: Final = "alembic_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenExport:
    """A file that was just written.

    Attributes:
        manifest: the text of manifest.json.
        sha256: of the whole file.
    """

    manifest: str
    sha256: str
    size_bytes: int


def write_export(db: Database, path: Path, *, instance: Instance, at: datetime) -> WrittenExport:
    """Write everything of an instance's database into a new file, mode 0600, and onto the disk. Blocks for long.

    Whatever was there under that name is replaced; after an error nothing is there.

    Raises:
        ExportNotWritten: the disk is full, or does not take the file for another reason.
        DatabaseUnavailable: the database does not answer.
    """
    stored = repository.list_stored_tables(db)

    def body(reader: Reader) -> WrittenExport:
        # Run again after a lost connection, it begins a new file: one view, one file. And errors of the file are
        # told from those of the database here, where both are in reach.
        with _whole_or_nothing(path):
            manifest = _write(reader, path, stored, _head(instance, at))
            return WrittenExport(manifest=manifest, sha256=digest_of(path), size_bytes=path.stat().st_size)

    return db.read(body)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@contextmanager
def _whole_or_nothing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ExportNotWritten(
            "The file could not be written: " + (error.strerror or "the disk does not take it") + ".",
            errno=error.errno,
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _head(instance: Instance, at: datetime) -> JsonObject:
    return {
        "format": EXPORT_FORMAT,
        "instance_id": instance.instance_id,
        "name": instance.name,
        "customer_id": instance.customer_id,
        "edition": instance.edition,
        "firm_code": instance.firm_code,
        "exported_at": to_text(at),
        "left_out": [f"{table}.{each}" for table, columns in LEFT_OUT.items() for each in columns],
    }


def _write(reader: Reader, path: Path, stored: tuple[StoredTable, ...], head: JsonObject) -> str:
    path.unlink(missing_ok=True)
    with new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        files: list[JsonValue] = [_write_table(reader, archive, table) for table in stored]
        manifest = dump_json(
            {
                **head,
                "schema_revision": _revision(reader, stored),
                "audit_chain": repository.find_chain_head(reader),
                "files": files,
            }
        )
        archive.writestr(_entry(MANIFEST), manifest)
    return manifest


def _write_table(reader: Reader, archive: zipfile.ZipFile, stored: StoredTable) -> JsonObject:
    name, left_out = f"tables/{stored.name}.jsonl", LEFT_OUT.get(stored.name, ())
    rows, digest = 0, sha256()
    with archive.open(_entry(name), "w", force_zip64=True) as file:
        for row in repository.read_rows(reader, stored):
            line = _to_line(row, stored.columns, left_out)
            file.write(line)
            digest.update(line)
            rows += 1
    return {"table": stored.name, "file": name, "rows": rows, "sha256": digest.hexdigest()}


def _to_line(row: Row, columns: tuple[str, ...], left_out: tuple[str, ...]) -> bytes:
    shown: JsonObject = {name: getattr(row, name) for name in columns if name not in left_out}
    return dump_json(shown).encode() + b"\n"


def _revision(reader: Reader, stored: tuple[StoredTable, ...]) -> str | None:
    for table in stored:
        if table.name == _VERSION_TABLE:
            return next((str(row[0]) for row in repository.read_rows(reader, table)), None)
    return None


def _entry(name: str) -> zipfile.ZipInfo:
    """A name in the archive; without a time of its own, for the manifest has the one that counts."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry
