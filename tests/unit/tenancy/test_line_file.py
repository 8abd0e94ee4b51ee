from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.core.ids import InstanceId, LineId
from tenancy.database.home import DatabaseHome, ServerPlace
from tenancy.line_file import (
    INSTANCES_FILE,
    LINE_FILE,
    GatewayTls,
    LineFile,
    LineFileDamaged,
    LineFileError,
    LineFileExposed,
    LineInstance,
    read_instances,
    read_line,
    write_instances,
    write_line,
)
from tenancy.runner.port import LineLimits
from tenancy.server.record import ServerId

LINE = LineFile(
    line_id=LineId("acme-1"),
    gateway="https://boxes.example:8443",
    gateway_tls=GatewayTls(certificate="/c.pem", key="/k.pem", ca="/a.pem"),
    limits=LineLimits(threads=7, memory_mb=300, open_files=99),
    check_key=bytes(range(32)),
    cursor_key=bytes(range(32, 64)),
    program_wait_seconds=1.5,
)


def listed(number: int, *, kind: str = "mariadb", tls_ca: str | None = "PEM") -> LineInstance:
    instance_id = InstanceId(f"ins_{number:032x}")
    if kind == "sqlite":
        place = ServerPlace(server_id=None, kind="sqlite", address="/data/instances")
        return LineInstance(
            instance_id=instance_id,
            name=f"name-{number}",
            home=DatabaseHome(instance_id=instance_id, place=place, database_name=instance_id),
        )
    place = ServerPlace(server_id=ServerId("srv_1"), kind="mariadb", address="db:3306", tls_ca=tls_ca)
    home = DatabaseHome(
        instance_id=instance_id, place=place, database_name="wops_x", user_name="wops_x", password="geheim"
    )
    return LineInstance(instance_id=instance_id, name=f"name-{number}", home=home)


def test_line_is_read_as_it_was_written_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    write_line(tmp_path, LINE)
    assert read_line(tmp_path) == LINE
    assert (tmp_path / LINE_FILE).stat().st_mode & 0o777 == 0o600


def test_instances_are_read_as_they_were_written_and_a_server_stands_there_once(tmp_path: Path) -> None:
    instances = (listed(1), listed(2), listed(3, kind="sqlite"), listed(4, tls_ca=None))
    assert write_instances(tmp_path, instances, connections=5) == 1
    found = read_instances(tmp_path)
    assert (found.version, found.connections, found.instances) == (1, 5, instances)
    assert (tmp_path / INSTANCES_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / INSTANCES_FILE).read_text().count('"PEM"') == 1


def test_same_instances_are_not_written_again_and_every_change_is_newer(tmp_path: Path) -> None:
    write_instances(tmp_path, [listed(1), listed(2)], connections=5)
    before = (tmp_path / INSTANCES_FILE).stat().st_ino
    assert write_instances(tmp_path, [listed(2), listed(1)], connections=5) == 1
    assert (tmp_path / INSTANCES_FILE).stat().st_ino == before
    assert write_instances(tmp_path, [listed(1), listed(2)], connections=6) == 2
    assert write_instances(tmp_path, [listed(1)], connections=6) == 3


def test_file_that_was_lost_or_put_back_gets_a_version_that_the_line_has_not_seen(tmp_path: Path) -> None:
    write_instances(tmp_path, [listed(1)], connections=5)
    assert write_instances(tmp_path, [listed(1)], connections=5, newer_than=1) == 1
    assert write_instances(tmp_path, [listed(1)], connections=5, newer_than=40) == 41
    (tmp_path / INSTANCES_FILE).write_text("{")
    assert write_instances(tmp_path, [listed(1)], connections=5, newer_than=41) == 42
    (tmp_path / INSTANCES_FILE).unlink()
    assert write_instances(tmp_path, [listed(1)], connections=5, newer_than=42) == 43


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    write_line(tmp_path, LINE)
    (tmp_path / LINE_FILE).chmod(mode)
    with pytest.raises(LineFileExposed) as refused:
        read_line(tmp_path)
    assert refused.value.detail == {"file": LINE_FILE}


@pytest.mark.parametrize("made", ["link", "directory", "pipe", "nothing"])
def test_what_is_no_plain_file_is_refused_and_nobody_waits_for_it(tmp_path: Path, made: str) -> None:
    path = tmp_path / LINE_FILE
    if made == "link":
        (tmp_path / "other").write_text("{}")
        path.symlink_to(tmp_path / "other")
    elif made == "directory":
        path.mkdir()
    elif made == "pipe":
        os.mkfifo(path, 0o600)
    with pytest.raises(LineFileError):
        read_line(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"check_key": "AAAA"},
        {"cursor_key": "no base64!"},
        {"line_id": None},
        {"limits": {"threads": "many"}},
    ],
)
def test_damaged_line_is_refused_without_a_word_of_its_content(
    tmp_path: Path, change: dict[str, object]
) -> None:
    write_line(tmp_path, LINE)
    path = tmp_path / LINE_FILE
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **change}))
    with pytest.raises(LineFileDamaged) as refused:
        read_line(tmp_path)
    assert content["check_key"] not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": 1.5},
        {"servers": []},
        {"servers": [{"kind": "oracle", "address": "x"}]},
        {"instances": [{"instance_id": "ins_1"}]},
        {"connections": "all"},
    ],
)
def test_damaged_instances_are_refused_without_a_word_of_their_content(
    tmp_path: Path, change: dict[str, object]
) -> None:
    write_instances(tmp_path, [listed(1)], connections=5)
    path = tmp_path / INSTANCES_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(LineFileDamaged) as refused:
        read_instances(tmp_path)
    assert "geheim" not in str(refused.value)


def test_no_representation_holds_a_secret() -> None:
    shown = repr((LINE, listed(1)))
    assert "geheim" not in shown
    assert repr(LINE.check_key) not in shown
    assert repr(LINE.cursor_key) not in shown
