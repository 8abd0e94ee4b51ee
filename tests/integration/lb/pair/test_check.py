"""The program by which keepalived asks HAProxy, run as keepalived runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lb.pair import check_text, keepalived_text
from tests.service.binary import require_binary
from tests.service.haproxy import ServedHaproxy, running_haproxy
from tests.service.wait import wait_until
from tests.unit.lb.pair.pair_settings import make_pair

FRONT = """\
defaults
  mode http
  timeout client 30s
  timeout connect 1s
  timeout server 30s
frontend front
  bind unix@{dir}/front.sock
  http-request return status 200
"""
_LONGEST_SECONDS = 1.5
"""0.6 s by the settings, and what this machine adds."""


def make_check(folder: Path, runtime_socket: Path) -> Path:
    settings = make_pair(runtime_socket=runtime_socket, python=Path(sys.executable).resolve())
    path = folder / "check"
    path.write_text(check_text(settings))
    path.chmod(0o755)
    return path


def run(check: Path) -> int:
    """Its exit status; it says nothing, and is done in time."""
    started = time.monotonic()
    done = subprocess.run([str(check)], capture_output=True, timeout=10, check=False)
    assert time.monotonic() - started < _LONGEST_SECONDS
    assert (done.stdout, done.stderr) == (b"", b"")
    return done.returncode


def checked(haproxy: ServedHaproxy) -> int:
    return run(make_check(haproxy.directory, haproxy.runtime_path))


def test_haproxy_that_serves_is_well() -> None:
    with running_haproxy(FRONT) as haproxy:
        assert checked(haproxy) == 0


def test_haproxy_without_worker_or_master_is_lost() -> None:
    with running_haproxy(FRONT) as haproxy:
        haproxy.kill()
        assert haproxy.runtime_path.exists()
        assert checked(haproxy) == 1


def test_frozen_haproxy_is_lost() -> None:
    with running_haproxy(FRONT) as haproxy:
        worker = haproxy.worker_pid()
        os.kill(worker, signal.SIGSTOP)
        try:
            assert checked(haproxy) == 1
        finally:
            os.kill(worker, signal.SIGCONT)


def test_haproxy_that_is_about_to_end_is_lost() -> None:
    with running_haproxy(FRONT) as haproxy, socket.socket(socket.AF_UNIX) as caller:
        # A request under way keeps the worker while it ends.
        caller.connect(str(haproxy.directory / "front.sock"))
        caller.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        assert checked(haproxy) == 0
        haproxy.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: checked(haproxy) == 1, "HAProxy to say that it ends")


def test_haproxy_is_well_whenever_it_is_reloaded() -> None:
    with running_haproxy(FRONT) as haproxy:
        check = make_check(haproxy.directory, haproxy.runtime_path)
        for _ in range(5):
            haproxy.master.reload()
            assert [run(check) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("name", ["lb1", "lb2"])
def test_keepalived_takes_the_configuration(tmp_path: Path, name: str) -> None:
    settings = make_pair(directory=tmp_path, runtime_socket=tmp_path / "admin.sock", user="root")
    make_check(tmp_path, tmp_path / "admin.sock").rename(settings.check)
    settings.configuration.write_text(keepalived_text(settings, name))
    command = (require_binary("keepalived"), f"--config-test={tmp_path}/said", "-f", settings.configuration)
    # In a session of its own: it ends its whole group when it finds something.
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, (tmp_path / "said").read_text() + done.stderr
