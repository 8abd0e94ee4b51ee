"""A run over all instances while a platform serves the same databases: nobody who calls notices."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from app.core.migrate import head
from tests.integration.app.command.platform_process import running, wops
from tests.service.fleet import OLD_INSTANCE, Fleet

BEHIND = 60


def _call(url: str, each: dict[str, Any]) -> int:
    request = urllib.request.Request(f"{url}/{each['name']}/api/v1/items")  # noqa: S310 - loopback
    credentials = base64.b64encode(f"{each['username']}:{each['secret']}".encode()).decode()
    request.add_header("Authorization", f"Basic {credentials}")
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return int(answer.status)


def _move_fleet(fleet: Fleet, data_dir: Path) -> None:
    """Put the instances of an older wops beside those that the platform has made."""
    with closing(sqlite3.connect(fleet.folder / "platform.db")) as old:
        rows = old.execute("SELECT * FROM instance").fetchall()
        names = [each[1] for each in old.execute("PRAGMA table_info(instance)")]
    with closing(sqlite3.connect(data_dir / "platform.db")) as platform, platform:
        places = ", ".join("?" for _ in names)
        platform.executemany(f"INSERT INTO instance ({', '.join(names)}) VALUES ({places})", rows)
    (data_dir / "instances").mkdir(exist_ok=True)
    for instance_id in fleet.ids:
        fleet.file(instance_id).rename(data_dir / "instances" / f"{instance_id}.db")


def _revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _set_back(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0036'")
        # Callers here know no pause.
        connection.execute("UPDATE api_client SET rate_per_second = 10000, burst = 10000")


def test_lines_answer_without_an_error_while_all_instances_are_migrated(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--demo") as first:
        served = [each for each in first.printed["instances"] if each["edition"] != "datacenter"]
        own = sorted((tmp_path / "data").rglob("ins_*.db"))
    _move_fleet(Fleet(tmp_path / "old", BEHIND), tmp_path / "data")
    # The served ones are behind as well: opened by a line and migrated by the run at the same moment.
    for path in own:
        _set_back(path)
    ended = threading.Event()

    def call_on(address: str) -> int:
        calls = 0
        while not ended.is_set() or calls < 10:
            for each in served:
                assert _call(address, each) == 200
                calls += 1
        return calls

    with running(tmp_path / "data") as platform, ThreadPoolExecutor(4) as threads:
        callers = [threads.submit(call_on, platform.address) for _ in range(3)]
        try:
            done = wops("migrate", "--all", "--json", "--data-dir", str(tmp_path / "data"))
        finally:
            ended.set()
        calls = sum(each.result() for each in callers)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["instances"], report["failed"]) == (BEHIND + len(own), 0)
    # The platform opens instances by itself as well, and whoever opens one that is behind migrates it.
    assert report["migrated"] + report["current"] == BEHIND + len(own)
    assert report["migrated"] > 0
    assert calls >= 30
    found = {path.stem: _revision(path) for path in (tmp_path / "data").rglob("ins_*.db")}
    assert len(found) == BEHIND + len(own)
    assert set(found.values()) == {head("instance")} != {OLD_INSTANCE}
