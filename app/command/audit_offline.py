"""`wops audit verify --offline`: the databases of a data directory themselves, served or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.cluster.place import settings_at
from app.command.audit import unverified
from app.command.database import open_databases
from app.core.db import Database
from app.core.db_session import DRIVER_ERRORS
from app.core.errors import DomainError, InputInvalid
from app.core.ids import InstanceId
from app.core.json import JsonObject
from app.operations.audit.audit import CHECKPOINT_FILE
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.checkpoint_file import CheckpointFile
from app.operations.audit.erased import ErasedChains
from app.operations.audit.key import public_keys
from app.operations.audit.verify import AuditVerifier, ChainReport
from app.operations.audit.verify_audit import read_keys
from app.settings import Settings
from tenancy import InstanceService


def verify_offline(settings: Settings, names: Sequence[str], *, key: Path | None) -> list[JsonObject]:
    """Verify the checkpoints, the platform's chain and those of the instances named, or of all. Changes nothing.

    Raises:
        DomainError: the platform's database or a key cannot be opened.
        OSError, ValueError: the key file given cannot be read.
    """
    settings = settings_at(settings)
    folder = settings.data_dir.resolve() / "audit"
    if settings.platform_database is None and not settings.platform_file.is_file():
        raise InputInvalid(f"There is no platform database in {settings.data_dir}.", field="data_dir")
    keys = public_keys(folder) if key is None else read_keys(key.read_text("ascii"))
    with open_databases(settings) as (platform_db, databases):

        def open_chain(chain: str) -> Database:
            if chain == PLATFORM_CHAIN:
                return platform_db
            # Opening an older one would migrate it.
            if not databases.is_current(InstanceId(chain)):
                raise InputInvalid(
                    f"{chain} has an older schema; run `wops migrate` first.", field="data_dir"
                )
            return databases.open(InstanceId(chain))

        file = CheckpointFile(folder / CHECKPOINT_FILE)
        erased = ErasedChains(folder, platform_db, keys=keys)
        verifier = AuditVerifier(platform_db, file=file, keys=keys, open_database=open_chain, erased=erased)
        marks = verifier.verify_checkpoints()
        chains = set(_chains(InstanceService(platform_db), names))
        chains |= set() if names else set(marks.chains) - {PLATFORM_CHAIN}
        return [_shown(marks), *(_verify(verifier, chain) for chain in (PLATFORM_CHAIN, *sorted(chains)))]


def _verify(verifier: AuditVerifier, chain: str) -> JsonObject:
    """One that cannot be opened says nothing about the others."""
    try:
        return _shown(verifier.verify_chain(chain))
    except (DomainError, *DRIVER_ERRORS) as error:
        return unverified(chain, error)


def _chains(instances: InstanceService, names: Sequence[str]) -> list[str]:
    """Ids of the instances named, erased ones too, or of all whose database should be there."""
    found: list[str] = []
    known: set[str] = set()
    after = ""
    while page := instances.list_instances(after=after, limit=100):
        for each in page:
            known |= {each.name, each.instance_id}
            if (names or each.is_kept) and (not names or {each.name, each.instance_id} & set(names)):
                found.append(each.instance_id)
        after = page[-1].instance_id
    for name in names:
        if name not in known:
            raise InputInvalid(f"There is no instance {name}.", field="instance")
    return found


def _shown(report: ChainReport) -> JsonObject:
    return {
        "chain": report.chain,
        "sound": not report.findings,
        "entries": report.entries,
        "last": report.last,
        "vouched_until": report.vouched_until,
        "complete": report.complete,
        "chains": list(report.chains),
        "findings": [
            {"code": each.code, "chain": each.chain, "sequence": each.sequence, "text": each.text}
            for each in report.findings
        ],
    }
