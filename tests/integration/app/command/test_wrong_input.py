"""What a person can mistype is one line that names the option or the variable; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.app.command.platform_process import wops


def _check_one_line(arguments: tuple[str, ...], *, status: int, named: str) -> None:
    done = wops(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert named in done.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--port", "99999"), ("--log-level", "loud"), ("--operation-time-ms", "-1")]
)
def test_option_out_of_range_is_named(tmp_path: Path, option: str, value: str) -> None:
    arguments = ("up", option, value, "--data-dir", str(tmp_path / "data"))
    _check_one_line(arguments, status=2, named=f"{option}: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WOPS_PORT", "abc"), ("WOPS_LOG_LEVEL", "loud"), ("WOPS_PROBE_EVERY_SECONDS", "-1")],
)
def test_variable_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    for command in (("up",), ("migrate",), ("admin", "customer", "list")):
        _check_one_line((*command, "--data-dir", str(tmp_path)), status=2, named=f"{variable}: ")


def test_place_of_boxes_that_is_none_is_told_in_our_own_words(tmp_path: Path) -> None:
    arguments = ("up", "--boxes", "foo", "--data-dir", str(tmp_path / "data"))
    words = "--boxes: must be embedded, processes, unix:/path or https://host:port\n"
    _check_one_line(arguments, status=2, named=f": {words}")


@pytest.mark.parametrize("option", [("--person", "z\udcff"), ("--person=z\udcff",)])
def test_option_that_is_not_utf8_is_named(tmp_path: Path, option: tuple[str, ...]) -> None:
    arguments = ("admin", "token", "add", "x", *option, "--data-dir", str(tmp_path))
    _check_one_line(arguments, status=2, named="--person: ")


@pytest.mark.parametrize("url", ["ftp://x", "", "nonsense", "http://", "http://[::1", "http://a\x07b"])
def test_url_that_is_none_is_called_wrong(tmp_path: Path, url: str) -> None:
    arguments = ("admin", "customer", "list", "--url", url, "--data-dir", str(tmp_path))
    _check_one_line(arguments, status=1, named="URL")


def test_token_that_cannot_be_one_is_called_wrong(tmp_path: Path) -> None:
    arguments = ("admin", "customer", "list", "--url", "http://127.0.0.1:1", "--data-dir", str(tmp_path))
    file = tmp_path / "token"
    for content in ("ü".encode(), b"\xff", b"", b"\nwops_staff_x"):
        file.write_bytes(content)
        _check_one_line((*arguments, "--token-file", str(file)), status=1, named="token")
    _check_one_line((*arguments, "--token-file", f"{file}s"), status=1, named="No such file")


def test_token_is_never_an_argument_that_others_on_the_machine_see(tmp_path: Path) -> None:
    done = wops("admin", "customer", "list", "--token", "wops_staff_x", "--data-dir", str(tmp_path))
    assert (done.returncode, "No such option" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["[/x]", "[delete all]", "x\x1b[2Jy", "x\ny"])
@pytest.mark.parametrize("offline", [(), ("--offline",)])
def test_audit_of_an_instance_with_an_odd_name_is_unverified_and_not_wrong(
    tmp_path: Path, name: str, offline: tuple[str, ...]
) -> None:
    arguments = ("audit", "verify", "--instance", name, *offline, "--data-dir", str(tmp_path))
    _check_one_line(arguments, status=2, named="not verified: ")


def test_id_with_control_characters_is_no_traceback(tmp_path: Path) -> None:
    arguments = ("admin", "operation", "show", "op\x01x", "--data-dir", str(tmp_path))
    _check_one_line(arguments, status=1, named="op")


def test_token_is_looked_at_without_an_address_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("admin", "customer", "list", "--data-dir", str(tmp_path))
    for token in ("", " ", "ü"):
        monkeypatch.setenv("WOPS_STAFF_TOKEN", token)
        _check_one_line(arguments, status=1, named="staff token")
