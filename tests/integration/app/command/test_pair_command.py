"""Setting up one of two load balancers from the command line; needs no platform."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.app.command.platform_process import wops, wops_json

NODES = ("--node", "lb1=192.0.2.11", "--node", "lb2=192.0.2.12")
REST = ("--address", "192.0.2.10/24", "--interface", "eth0", "--runtime-socket", "/run/admin.sock")


def test_files_of_one_of_the_two_are_written_and_handed_over(tmp_path: Path) -> None:
    directory = tmp_path / "pair"
    written = wops_json("pair", "write", str(directory), "--name", "lb2", *NODES, *REST)
    assert "unicast_src_ip 192.0.2.12" in Path(written["configuration"]).read_text()
    assert Path(written["check"]).stat().st_mode & 0o777 == 0o755
    assert "ExecStopPost" in Path(written["unit"]).read_text()
    assert wops("pair", "aside", str(directory)).returncode == 0
    assert (directory / "aside").read_text() == "1\n"
    assert wops("pair", "back", str(directory)).returncode == 0
    assert (directory / "aside").read_text() == "0\n"


def test_folders_are_open_for_who_asks_haproxy_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "wops" / "pair"
    before = os.umask(0o077)
    try:
        wops_json("pair", "write", str(directory), "--name", "lb1", *NODES, *REST)
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in (directory, directory.parent)} == {0o755}


@pytest.mark.parametrize("word", ["aside", "back"])
def test_hand_over_where_no_pair_lies_is_refused(tmp_path: Path, word: str) -> None:
    done = wops("pair", word, str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("input_invalid: No pair lies in")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--name", "lb3", *NODES, *REST), "pair_node_unknown"),
        (("--name", "lb1", *NODES[:2], *REST), "input_invalid"),
        (("--name", "lb1", *NODES[:2], "--node", "lb2", *REST), "input_invalid"),
        (("--name", "lb1", *NODES, *REST, "--address", "everywhere"), "input_invalid"),
        (("--name", "lb1", *NODES, *REST, "--user", "haproxy\n}"), "pair_settings_unfit"),
        (("--name", "lb1", *NODES, *REST, "--router-id", "256"), "pair_settings_unfit"),
        (("--name", "lb1", *NODES, *REST, "--advert-ms", "205"), "pair_settings_unfit"),
    ],
)
def test_what_no_pair_can_be_is_refused_and_nothing_is_written(
    tmp_path: Path, options: tuple[str, ...], code: str
) -> None:
    done = wops("pair", "write", str(tmp_path / "pair"), *options)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{code}: ")
    assert not (tmp_path / "pair").exists()
