"""kill -9 in the middle of an export, by a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.db import Database, Tx
from app.core.json import JsonObject
from tenancy.lifecycle.export_file import write_export
from tests.fake.clock import START
from tests.integration.tenancy.lifecycle.export_child import INSTANCE
from tests.integration.tenancy.lifecycle.life import read_export
from tests.service.database import DatabaseMaker, EngineKind

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("table", ["alembic_version", "outbox_event", "outbox_sequence"])
def test_export_killed_anywhere_is_written_whole_by_the_next_attempt(
    engine_kind: EngineKind, database_maker: DatabaseMaker, tmp_path: Path, table: str
) -> None:
    url = database_maker.create(engine_kind, "instance")
    db = Database(url)

    def body(tx: Tx) -> JsonObject:
        for number in range(50):
            tx.emit("test.noted", subject=f"sub_{number}", data={})
        return {}

    db.run_tx("op_1", body)
    draft = tmp_path / ".draft.zip"
    child = [sys.executable, "-m", "tests.integration.tenancy.lifecycle.export_child", url, str(draft), table]
    ended = subprocess.run(child, cwd=ROOT, timeout=60, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert draft.exists()

    written = write_export(db, draft, instance=INSTANCE, at=START)
    manifest, tables = read_export(draft)
    assert len(tables["outbox_event"]) == 50
    assert manifest["audit_chain"]["sequence"] == 50
    assert written.size_bytes == draft.stat().st_size
    assert list(tmp_path.iterdir()) == [draft]
    db.close()
    database_maker.remove(url)
