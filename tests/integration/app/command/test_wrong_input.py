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


@pytest.mark.parametrize("option", [("--person", "z\udcff"), ("--person=z\udcff",)])
def test_option_that_is_not_utf8_is_named(tmp_path: Path, option: tuple[str, ...]) -> None:
    arguments = ("admin", "token", "add", "x", *option, "--data-dir", str(tmp_path))
    _check_one_line(arguments, status=2, named="--person: ")


@pytest.mark.parametrize("url", ["ftp://x", "", "nonsense", "http://", "http://[::1", "http://a\x07b"])
def test_url_that_is_none_is_called_wrong(tmp_path: Path, url: str) -> None:
    arguments = ("admin", "customer", "list", "--url", url, "--data-dir", str(tmp_path))
    _check_one_line(arguments, status=1, named="URL")


def test_token_that_cannot_be_one_is_called_wrong(tmp_path: Path) -> None:
    arguments = ("admin", "customer", "list", "--url", "http://127.0.0.1:1", "--token", "ü")
    _check_one_line((*arguments, "--data-dir", str(tmp_path)), status=1, named="token")


def test_id_with_control_characters_is_no_traceback(tmp_path: Path) -> None:
    arguments = ("admin", "operation", "show", "op\x01x", "--data-dir", str(tmp_path))
    _check_one_line(arguments, status=1, named="op")
