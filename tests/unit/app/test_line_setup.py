from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InputInvalid
from app.core.ids import LineId
from app.core.lock import locked
from app.line_part import connect_gateway
from app.line_setup import LinesRunning, check_lines, clear_lines, line_file, line_gateway
from app.settings import Settings
from lb.front.settings import FrontTimes
from tenancy.credential import CredentialKey
from tenancy.line_file import LineFileDamaged, line_directory
from tenancy.runner.port import LineLimits

KEY = CredentialKey(bytes(range(32)))


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(data_dir=tmp_path, lines="processes", **given)


@pytest.mark.parametrize(
    ("boxes", "chosen", "expected"),
    [
        ("processes", None, "unix:{here}/boxes/jobs.sock"),
        ("unix:/run/boxes/gateway.sock", None, "unix:/run/boxes/jobs.sock"),
        ("unix:/run/own.sock", None, "unix:/run/own.sock"),
        ("https://boxes.example:8443", None, "https://boxes.example:8443"),
        ("https://boxes.example:8443", "https://boxes.example:9443", "https://boxes.example:9443"),
    ],
)
def test_lines_reach_the_gateway_beside_control(
    tmp_path: Path, boxes: str, chosen: str | None, expected: str
) -> None:
    found = line_gateway(settings(tmp_path, boxes=boxes, line_gateway=chosen))
    assert found == expected.format(here=tmp_path)


def test_boxes_of_this_process_are_refused_for_lines_in_others(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid):
        check_lines(settings(tmp_path, boxes="embedded"))
    check_lines(settings(tmp_path, boxes="processes"))
    check_lines(Settings(data_dir=tmp_path, lines="embedded", boxes="embedded"))


def test_line_is_told_keys_and_times_of_its_platform(tmp_path: Path) -> None:
    made = line_file(settings(tmp_path, boxes="processes", drive_lease_seconds=3), KEY, LineId("acme-1"))
    assert (made.line_id, made.drive_lease_seconds, made.gateway_tls) == ("acme-1", 3, None)
    # A line hides from its front for less than one check.
    assert made.check_interval_seconds == FrontTimes().check_every.total_seconds()
    checking = CredentialKey(made.check_key)
    assert checking.matches("s", KEY.hash_secret("s", owner="o"), owner="o")
    assert made.cursor_key == KEY.derive("cursor")


@pytest.mark.parametrize("gateway", ["", "http://boxes.example", "https://boxes.example:1", "/run/jobs.sock"])
def test_gateway_that_a_line_cannot_reach_is_refused(tmp_path: Path, gateway: str) -> None:
    made = line_file(settings(tmp_path, boxes="processes"), KEY, LineId("acme-1"))
    with pytest.raises(LineFileDamaged):
        connect_gateway(replace(made, gateway=gateway))


@pytest.mark.parametrize("address", ["jobs.sock", "http://x", "https://", "unix:relative"])
def test_address_of_the_gateway_for_lines_is_checked(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValueError, match="unix:/path or https://host:port"):
        settings(tmp_path, boxes="processes", line_gateway=address)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", LineLimits()),
        (" ; ", LineLimits()),
        ("threads=16 memory_mb=256 open_files=99", LineLimits(threads=16, memory_mb=256, open_files=99)),
        ("acme-1: memory_mb=4096; threads=16", LineLimits(threads=16, memory_mb=4096)),
        ("threads=16; acme-1: threads=32; acme-10: threads=64", LineLimits(threads=32)),
        ("acme-2: threads=16", LineLimits()),
    ],
)
def test_each_line_has_the_limits_that_are_said_of_all_and_of_itself(
    tmp_path: Path, said: str, expected: LineLimits
) -> None:
    chosen = settings(tmp_path, boxes="processes", line_limits=said)
    assert line_file(chosen, KEY, LineId("acme-1")).limits == expected


@pytest.mark.parametrize(
    "said",
    [
        "16",
        "threads",
        "threads=",
        "threads=-1",
        "threads=²",
        "cpus=2",
        "threads=1",
        "memory_mb=16",
        "open_files=9999999",
        "acme-9: memory_mb=0",
        "threads=16, memory_mb=256",
        ": threads=16",
    ],
)
def test_limits_that_are_none_are_refused_at_the_start(tmp_path: Path, said: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        check_lines(settings(tmp_path, boxes="processes", line_limits=said))
    assert refused.value.detail["field"] == "line_limits"


def test_lines_that_live_are_not_served_beside_and_what_dead_ones_left_is_removed(tmp_path: Path) -> None:
    alive, dead = (line_directory(tmp_path, LineId(name)) for name in ("acme-1", "acme-2"))
    for each in (alive, dead):
        each.mkdir(parents=True)
        (each / "instances.json").write_text("{}")
    embedded = Settings(data_dir=tmp_path, lines="embedded")
    with locked(alive), pytest.raises(LinesRunning) as refused:
        clear_lines(embedded)
    assert refused.value.detail["lines"] == ["acme-1"]
    assert dead.exists(), "nothing has changed"
    clear_lines(settings(tmp_path, boxes="processes"))
    assert alive.exists(), "they are to run"
    clear_lines(embedded)
    assert not alive.exists()
    assert not dead.exists()
    clear_lines(Settings(data_dir=tmp_path / "new", lines="embedded"))
