"""The files and the command line of a cluster's database server; nothing is started."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.cluster import mariadb
from app.cluster.place import ClusterPlace, held, plan_place
from app.cluster.program import ProgramMissing, require_program
from tests.service.binary import require_binary


@pytest.fixture
def place(data_dir: Path) -> ClusterPlace:
    with held(data_dir):
        return plan_place(data_dir)


def test_data_directory_has_its_name_only_when_it_is_whole(place: ClusterPlace) -> None:
    killed = mariadb.new_data(place)
    (killed / "ibdata1").touch()
    assert not mariadb.is_made(place)

    attempt = mariadb.new_data(place)
    assert attempt != killed
    assert not killed.exists()
    assert not mariadb.is_made(place)

    (attempt / "ibdata1").touch()
    mariadb.note_made(place, attempt)
    assert mariadb.is_made(place)
    assert (place.database_directory / "data" / "ibdata1").exists()


def test_next_attempt_never_touches_data_that_are_there(place: ClusterPlace) -> None:
    mariadb.note_made(place, mariadb.new_data(place))
    (place.database_directory / "data" / "ibdata1").touch()

    mariadb.new_data(place)

    assert (place.database_directory / "data" / "ibdata1").exists()


def test_everybody_on_the_machine_may_read_the_command_and_finds_no_password(place: ClusterPlace) -> None:
    require_binary("mariadbd")
    mariadb.new_data(place)

    said = " ".join(mariadb.run_command(place))

    memory = place.memory
    assert memory.admin_password not in said
    assert memory.platform_password not in said
    assert "--bind_address=127.0.0.1" in said
    script = place.database_directory / "init.sql"
    assert stat.S_IMODE(script.stat().st_mode) == 0o600
    assert memory.admin_password in script.read_text()


def test_missing_program_is_named_with_the_package_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cluster.program._SEARCHED", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ProgramMissing, match="apt-get install mariadb-server-core"):
        require_program("mariadbd")
