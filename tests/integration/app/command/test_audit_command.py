"""`wops audit` from end to end: verified while it runs, after kill -9 and without wops; one altered row is found."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.command.audit import sum_up, write_export
from app.core.net import NetUnavailable
from app.operations.audit import verify_audit
from tests.integration.app.command.platform_process import PlatformProcess, running, start, wops


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with running(tmp_path_factory.mktemp("audited") / "data", "--demo") as filled:
        yield filled


def verify(platform: PlatformProcess, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = wops("audit", "verify", "--json", "--data-dir", str(platform.data_dir), *arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def database(platform: PlatformProcess, instance_id: str) -> Path:
    (found,) = platform.data_dir.rglob(f"{instance_id}.db")
    return found


def test_audit_survives_kill_and_tampering_is_found_by_everybody(
    platform: PlatformProcess, tmp_path: Path
) -> None:
    where = ["--data-dir", str(platform.data_dir)]
    assert wops("demo", *where).returncode == 0
    status, online = verify(platform)
    assert (status, online["sound"]) == (0, True)
    names = [each["chain"] for each in online["chains"]]
    assert (names[:2], len(names)) == (["checkpoints", "platform"], 6)
    assert sum(each["entries"] for each in online["chains"]) > 40

    key, export = tmp_path / "audit.pub", tmp_path / "export.jsonl"
    key.write_text(wops("audit", "key", *where).stdout)
    victim = next(each["chain"] for each in online["chains"][2:] if each["entries"] > 5)
    written = wops("audit", "export", "--instance", victim, "-o", str(export), *where)
    assert written.returncode == 0, written.stderr
    assert wops("audit", "export", "--instance", victim, "-o", str(export), *where).returncode == 1, (
        "never over"
    )
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.pub", "export.jsonl"], (
        "no draft is left"
    )
    assert wops("audit", "verify-export", str(export), "--key", str(key)).returncode == 0
    alone = [sys.executable, "-I", "-S", verify_audit.__file__, str(export), "--key", str(key)]
    assert subprocess.run(alone, capture_output=True, timeout=60, check=False).returncode == 0

    assert wops("demo", *where).returncode == 0
    platform.kill()
    status, offline = verify(platform, "--offline", "--key", str(key))
    assert (status, offline["sound"]) == (0, True)
    with closing(sqlite3.connect(database(platform, victim))) as connection, connection:
        connection.execute("UPDATE outbox_event SET subject = 'another' WHERE sequence = 3")
    status, offline = verify(platform, "--offline")
    wrong = [
        (each["chain"], each["code"], each["sequence"]) for r in offline["chains"] for each in r["findings"]
    ]
    assert (status, wrong) == (1, [(victim, "changed", 3)])
    told = wops("audit", "verify", "--offline", "--instance", victim, *where)
    assert told.returncode == 1
    assert "entry 3 is not the one that was hashed here" in told.stdout

    again = start(platform.data_dir)
    try:
        status, online = verify(again)
        wrong = [
            (each["chain"], each["code"], each["sequence"])
            for r in online["chains"]
            for each in r["findings"]
        ]
        assert (status, wrong) == (1, [(victim, "changed", 3)])
        assert again.terminate() == 0
    finally:
        if again.process.poll() is None:
            again.kill()
    status, offline = verify(platform, "--offline", "--instance", victim)
    assert status == 1
    ends = {each["chain"]: each for each in offline["chains"]}
    assert ends[victim]["vouched_until"] == ends[victim]["last"], (
        "what kill -9 left unsigned is signed by now"
    )


def findings_of(reports: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["chain"], found["code"]) for each in reports["chains"] for found in each["findings"]}


def test_one_database_that_cannot_be_read_and_one_that_is_hidden_say_nothing_about_the_others(
    tmp_path: Path,
) -> None:
    platform = start(tmp_path / "data", "--demo")
    assert wops("demo", "--data-dir", str(platform.data_dir)).returncode == 0
    platform.kill()
    again = start(platform.data_dir)
    assert again.terminate() == 0, "everything is signed by now"
    status, offline = verify(platform, "--offline")
    chains = [each["chain"] for each in offline["chains"][2:]]
    assert (status, len(chains)) == (0, 4)
    broken, hidden, lost, _ = chains

    database(platform, broken).write_bytes(b"this is no database" * 1000)
    status, offline = verify(platform, "--offline")
    assert (status, offline["sound"]) == (2, False)
    assert [each["chain"] for each in offline["chains"] if "unverified" in each] == [broken]
    assert sum(each["sound"] for each in offline["chains"]) == 5
    told = wops("audit", "verify", "--offline", "--data-dir", str(platform.data_dir))
    assert (told.returncode, f"{broken}: unverified" in told.stdout) == (2, True)

    with closing(sqlite3.connect(platform.data_dir / "platform.db")) as connection, connection:
        connection.execute("UPDATE instance SET state = 'erased' WHERE instance_id IN (?, ?)", (hidden, lost))
    with closing(sqlite3.connect(database(platform, hidden))) as connection, connection:
        connection.execute("DELETE FROM outbox_event WHERE sequence = 2")
    for each in platform.data_dir.rglob(f"{lost}.db*"):
        each.unlink()
    status, offline = verify(platform, "--offline")
    assert status == 1, "what is wrong weighs more than what is unknown"
    assert findings_of(offline) == {(hidden, "missing"), (lost, "chain_missing")}

    served = start(platform.data_dir)
    try:
        status, online = verify(served)
        assert (status, findings_of(online)) == (1, {(hidden, "missing"), (lost, "chain_missing")})
        assert [each["chain"] for each in online["chains"] if "unverified" in each] == [broken]
    finally:
        served.terminate()


def test_export_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    lines = [b'{"kind":"head"}\n', b'{"entry":0,"kind":"e', b'nd"}\n']
    write_export(whole, lines)
    assert whole.read_bytes() == b"".join(lines)
    for parts in (lines[:1], lines[:2], []):
        with pytest.raises(NetUnavailable):
            write_export(torn, parts)
    with pytest.raises(FileExistsError):
        write_export(whole, lines)
    assert list(tmp_path.iterdir()) == [whole]


def test_reports_of_many_parts_are_summed_up() -> None:
    parts = [
        {"entries": 3, "last": 3, "vouched_until": 2, "complete": False, "findings": [], "chains": ["a"]},
        {"entries": 2, "last": 5, "vouched_until": 0, "complete": True, "findings": [], "chains": ["b"]},
    ]
    asked: list[int] = []

    def take(after: int) -> dict[str, Any]:
        asked.append(after)
        return parts[len(asked) - 1]

    report = sum_up(take)
    assert asked == [0, 3]
    assert (report["entries"], report["last"], report["vouched_until"]) == (5, 5, 2)
    assert (report["chains"], report["sound"]) == (["a", "b"], True)


def test_what_cannot_be_verified_is_neither_sound_nor_wrong(tmp_path: Path) -> None:
    for arguments in (["--offline"], [], ["--key", "nowhere"], ["--offline", "--key", "nowhere"]):
        done = wops("audit", "verify", "--data-dir", str(tmp_path / "nothing"), *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "not verified" in done.stderr
