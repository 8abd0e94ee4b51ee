"""Where a cluster lies and what it remembers, also when two people start it at once."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from app.cluster.place import (
    DEFAULT_FRONTS,
    ClusterDamaged,
    ClusterMissing,
    ClusterRunning,
    DataDirUnfit,
    held,
    open_place,
    plan_place,
)
from lb.front.error import FrontSettingsUnfit
from tests.service.binary import require_binary

OTHER_FRONTS = "lb1=127.0.0.11:9443; lb2=127.0.0.12:9443"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_cluster_keeps_its_passwords_to_itself(data_dir: Path) -> None:
    with held(data_dir):
        place = plan_place(data_dir)
        place.remember()

    assert place.memory.fronts == DEFAULT_FRONTS
    assert place.memory.admin_password != place.memory.platform_password
    assert place.memory.admin_password not in repr(place.settings)
    assert place.memory.platform_password not in repr(place.settings)
    assert _mode(place.directory / "cluster.json") == 0o600
    assert {_mode(each) for each in (data_dir, place.directory, place.log_file("x").parent)} == {0o700}


def test_ports_of_a_new_cluster_differ_and_are_none_that_the_system_gives_away(data_dir: Path) -> None:
    with held(data_dir):
        memory = plan_place(data_dir).memory

    assert memory.control_port != memory.database_port
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(memory.control_port, memory.database_port) < max(lowest, 30_000)


def test_cluster_remembers_what_it_was_given_and_its_passwords(data_dir: Path) -> None:
    with held(data_dir):
        first = plan_place(data_dir, fronts=OTHER_FRONTS, control_port=18_080)
        first.remember()
        again = plan_place(data_dir).memory

    assert again == first.memory
    assert (again.fronts, again.control_port) == (OTHER_FRONTS, 18_080)
    assert open_place(data_dir) == first


def test_what_is_planned_is_remembered_only_when_told_so(data_dir: Path) -> None:
    with held(data_dir):
        plan_place(data_dir, fronts=OTHER_FRONTS)
        with pytest.raises(ClusterMissing):
            open_place(data_dir)
        place = plan_place(data_dir)
        place.remember()
        assert plan_place(data_dir, fronts=OTHER_FRONTS).memory.fronts == OTHER_FRONTS

    assert open_place(data_dir) == place


@pytest.mark.parametrize("fronts", ["lb1", "lb1=127.0.0.11:8443; lb1=127.0.0.12:8443"])
def test_load_balancers_that_are_not_written_as_they_should_be_are_refused(
    data_dir: Path, fronts: str
) -> None:
    with held(data_dir), pytest.raises(FrontSettingsUnfit):
        plan_place(data_dir, fronts=fronts)


def test_one_at_a_time_looks_after_a_cluster(data_dir: Path) -> None:
    with held(data_dir), pytest.raises(ClusterRunning) as refused, held(data_dir):
        pass

    assert "wops cluster down" in refused.value.message
    with held(data_dir):
        pass


def test_addresses_stay_while_parts_run_that_a_killed_supervisor_has_left(data_dir: Path) -> None:
    with held(data_dir):
        before = plan_place(data_dir)
        before.remember()
        with socket.socket(socket.AF_UNIX) as control:
            control.bind(str(data_dir / "control.sock"))
            control.listen()
            with pytest.raises(ClusterRunning):
                plan_place(data_dir, fronts=OTHER_FRONTS)
            assert plan_place(data_dir) == before
        assert plan_place(data_dir, fronts=OTHER_FRONTS).memory.fronts == OTHER_FRONTS


@pytest.mark.parametrize("name", ["x" * 60, "my cluster", "a;b", "ä"])
def test_directory_in_which_no_socket_or_configuration_can_lie_is_refused_and_not_made(
    data_dir: Path, name: str
) -> None:
    with pytest.raises(DataDirUnfit), held(data_dir / name):
        pass

    assert not data_dir.exists()


def test_directory_of_a_platform_in_one_process_is_refused(data_dir: Path) -> None:
    with held(data_dir):
        (data_dir / "platform.db").touch()
        with pytest.raises(DataDirUnfit):
            plan_place(data_dir)

    with pytest.raises(ClusterMissing):
        open_place(data_dir)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"fronts": 1}'])
def test_damaged_memory_is_named_and_left_as_it_is(data_dir: Path, content: bytes) -> None:
    with held(data_dir):
        path = data_dir / "cluster" / "cluster.json"
        path.write_bytes(content)
        with pytest.raises(ClusterDamaged) as refused:
            plan_place(data_dir)

    assert str(path) in refused.value.message
    assert path.read_bytes() == content


def test_haproxy_is_found_though_servers_are_not_in_the_search_path(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_binary("haproxy")
    monkeypatch.setenv("PATH", "/nowhere")
    with held(data_dir):
        found = plan_place(data_dir).settings.haproxy

    assert Path(found).is_absolute()


def test_control_of_a_cluster_hears_how_much_is_to_be_logged(data_dir: Path) -> None:
    with held(data_dir):
        place = plan_place(data_dir, log_level="debug")
        place.remember()

    assert place.settings.log_level == "debug"
    assert open_place(data_dir, log_level="warning").settings.log_level == "warning"
