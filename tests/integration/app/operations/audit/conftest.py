"""A platform's database and an instance's, with everything that signs, verifies and exports their chains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.core.chain import ChainEntry, link_hash
from app.core.db import Database, Tx
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import Actor, Origin
from app.core.outbox_chain import entry_of
from app.operations.audit.audit import CHECKPOINT_FILE, Audit
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.verify_audit import Checkpoint, CheckpointCheck, ExportCheck, Round
from tenancy.errors import InstanceDatabaseMissing
from tests.fake.clock import FakeClock

OTHER = InstanceId("ins_" + "f" * 32)


class AuditWorld:
    """Two chains, and what somebody with the rights of a database administrator does to them."""

    def __init__(self, folder: Path, platform: Database, instance: Database, clock: FakeClock) -> None:
        self.folder = folder
        self.platform = platform
        self.instance = instance
        self.clock = clock
        self.instance_id = InstanceId("ins_" + "a" * 32)
        self.is_down = self.is_gone = False
        self.audit = self.restart()

    def restart(self) -> Audit:
        """As after a start of the process."""
        self.audit = Audit(self.folder, self.platform, open_instance=self._open)
        self.audit.start(lambda: [self.instance_id])
        return self.audit

    def _open(self, instance_id: InstanceId) -> Database:
        assert instance_id == self.instance_id
        if self.is_down:
            raise DatabaseUnavailable("It does not answer.")
        if self.is_gone:
            raise InstanceDatabaseMissing("It is not there.")
        self.audit.watch(instance_id, self.instance.chain_end)
        return self.instance

    def write(self, db: Database, count: int = 1, *, subject: str = "sub", events: int = 1) -> None:
        """Some transactions with events."""
        for _ in range(count):

            def body(tx: Tx) -> JsonObject:
                for number in range(events):
                    tx.emit("test.done", subject=subject, data={"n": number}, before={"n": -1})
                return {}

            actor = Actor(kind="staff", actor_id="stk_1", person="per_1", sealed_name="sealed")
            origin = Origin(actor=actor, action="doTest", request_id="req-12345678", reason="Because.")
            db.run_tx(new_id("op"), body, origin=origin)

    def tamper(self, db: Database, *statements: str) -> None:
        """What wops never does."""
        with db.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            for statement in statements:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql("COMMIT")

    def recompute(self, db: Database, first: int) -> None:
        """Make all hashes from an entry on fit their content again, as somebody who knows the format does."""
        with db.engine.connect() as connection:
            rows = connection.exec_driver_sql(
                f"SELECT {', '.join(ChainEntry._fields)}, hash FROM outbox_event ORDER BY sequence"
            ).fetchall()
        previous, statements = "0" * 64, []
        for row in rows:
            if row.sequence >= first:
                statements.append(
                    f"UPDATE outbox_event SET hash = '{link_hash(previous, entry_of(row))}'"
                    f" WHERE sequence = {row.sequence}"
                )
                previous = link_hash(previous, entry_of(row))
            else:
                previous = row.hash
        self.tamper(db, *statements)

    def found(self, chain: str) -> list[tuple[str, int]]:
        """Codes and places of what a verification finds."""
        return [(each.code, each.sequence) for each in self.audit.verifier.verify_chain(chain).findings]

    @property
    def findings(self) -> list[tuple[str, int]]:
        """In both chains and in the checkpoints."""
        marks = [(each.code, each.sequence) for each in self.audit.verifier.verify_checkpoints().findings]
        return [*self.found(PLATFORM_CHAIN), *self.found(self.instance_id), *marks]

    def rounds(self) -> list[Round]:
        """Those of the file."""
        with self.audit.notary._file.reading() as found:
            return list(found)

    def checkpoints(self) -> list[Checkpoint]:
        """What they say of each chain."""
        return [said for each in self.rounds() for said in each.checkpoints()]

    @property
    def file(self) -> Path:
        return self.folder / CHECKPOINT_FILE

    def check(self, lines: list[bytes], older: Sequence[Checkpoint] = ()) -> ExportCheck:
        """Verify an export as an auditor does."""
        check = ExportCheck(CheckpointCheck(self.audit.keys), older)
        check.run(lines)
        return check


@pytest.fixture
def world(tmp_path: Path, platform_db: Database, instance_db: Database, clock: FakeClock) -> AuditWorld:
    return AuditWorld(tmp_path / "audit", platform_db, instance_db, clock)
