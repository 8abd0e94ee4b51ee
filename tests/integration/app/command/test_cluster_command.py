"""What `wops cluster` says when nothing can be started, ended or shown."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cluster.place import held, open_place, plan_place
from tests.integration.app.command.platform_process import WOPS, wops
from tests.service.binary import require_binary


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A socket's path is at most 107 bytes, hence no folder of pytest's. Source: unix(7)."""
    folder = Path(tempfile.mkdtemp(prefix="wops-"))
    yield folder / "d"
    shutil.rmtree(folder)


def test_status_of_a_directory_without_a_cluster_says_what_to_do(data_dir: Path) -> None:
    done = wops("cluster", "status", "--data-dir", str(data_dir))

    assert done.returncode == 1
    assert "cluster_missing" in done.stderr
    assert "wops cluster up" in done.stderr


def test_second_supervisor_is_refused_and_changes_nothing(data_dir: Path) -> None:
    with held(data_dir):
        place = plan_place(data_dir)
        place.remember()
        done = wops("cluster", "up", "--data-dir", str(data_dir), "--port", "18080")
        assert open_place(data_dir) == place

    assert done.returncode == 1
    assert "cluster_running" in done.stderr


def test_address_that_is_taken_ends_a_start_before_anything_is_touched(data_dir: Path) -> None:
    for program in ("mariadbd", "mariadb-install-db", "haproxy"):
        require_binary(program)
    with socket.create_server(("127.0.0.33", 0)) as other:
        port = other.getsockname()[1]
        fronts = f"lb1=127.0.0.33:{port} health=127.0.0.34:18404"
        done = wops("cluster", "up", "--data-dir", str(data_dir), "--fronts", fronts)

    assert done.returncode == 1
    assert f"address_not_free: lb1 cannot listen at 127.0.0.33:{port}" in done.stderr
    assert "--fronts" in done.stderr
    assert not (data_dir / "mariadb").exists()
    assert not (data_dir / "front").exists()
    assert not (data_dir / "cluster" / "cluster.json").exists()


def test_start_that_is_refused_leaves_what_is_remembered_as_it_was(data_dir: Path) -> None:
    for program in ("mariadbd", "mariadb-install-db", "haproxy"):
        require_binary(program)
    with held(data_dir):
        place = plan_place(data_dir, fronts="lb1=127.0.0.35:18443")
        place.remember()
    with socket.create_server(("127.0.0.33", 0)) as other:
        fronts = f"lb1=127.0.0.33:{other.getsockname()[1]} health=127.0.0.34:18404"
        done = wops("cluster", "up", "--data-dir", str(data_dir), "--fronts", fronts, "--port", "18081")

    assert "address_not_free" in done.stderr
    assert open_place(data_dir) == place


def test_machine_without_the_programs_is_told_what_to_install_before_anything_is_made(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPS_HAPROXY", "haproxy-of-nobody")
    done = wops("cluster", "up", "--data-dir", str(data_dir))

    assert done.returncode == 1
    assert done.stderr == "program_missing: haproxy-of-nobody is not installed.\n"
    assert not data_dir.exists()


@pytest.mark.parametrize("command", [("migrate",), ("audit", "verify", "--offline")])
def test_command_that_needs_the_databases_says_how_those_of_a_cluster_are_started(
    data_dir: Path, command: tuple[str, ...]
) -> None:
    with held(data_dir):
        plan_place(data_dir).remember()
    done = wops(*command, "--data-dir", str(data_dir))

    assert done.returncode in (1, 2)
    assert "does not run; `wops cluster up` starts it" in done.stderr
    assert not (data_dir / "platform.db").exists()


def test_end_goes_on_when_nobody_reads_what_it_tells(data_dir: Path) -> None:
    with held(data_dir):
        plan_place(data_dir).remember()
    left = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()", "app.cli", "fsb", "serve", str(data_dir)]
    )
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*WOPS, "cluster", "down", "--data-dir", str(data_dir)], stderr=writing, timeout=60, check=False
        )
        assert left.wait(10) < 0
        assert done.returncode == 0
    finally:
        os.close(writing)
        left.kill()
        left.wait()


@pytest.mark.parametrize("option", [("--port", "99999"), ("--fronts", "lb1"), ("--log-level", "loud")])
def test_option_that_cannot_be_is_refused_and_not_remembered(data_dir: Path, option: tuple[str, str]) -> None:
    done = wops("cluster", "up", "--data-dir", str(data_dir), *option)

    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert not (data_dir / "cluster" / "cluster.json").exists()


def test_platform_of_one_process_stays_out_of_the_directory_of_a_cluster(data_dir: Path) -> None:
    with held(data_dir):
        plan_place(data_dir).remember()
    done = wops("up", "--port", "0", "--data-dir", str(data_dir))

    assert done.returncode == 1
    assert "data_dir_unfit" in done.stderr
    assert "wops cluster up" in done.stderr
    assert not (data_dir / "platform.db").exists()
