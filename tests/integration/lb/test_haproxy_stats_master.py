"""The master's socket against a real HAProxy: who runs, and reloads that go well or are refused."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from lb.errors import HaproxyArgumentInvalid, HaproxyReloadFailed, HaproxyUnavailable
from lb.haproxy_stats import MasterSocket, RuntimeSocket
from tests.integration.lb.stats_site import StatsSite
from tests.service.wait import wait_until


def test_master_and_worker_are_told_apart(site: StatsSite) -> None:
    processes = site.master.show_proc()
    assert processes.master.pid == site.served.process.pid
    assert [worker.pid for worker in processes.workers] == [site.runtime.show_info().pid]
    assert (processes.old_workers, processes.failed_reloads, processes.master.reloads) == ((), 0, 0)
    assert processes.master.version == site.master.show_version()
    assert processes.master.uptime < timedelta(minutes=5)


def test_reload_brings_a_new_worker_with_the_new_configuration(site: StatsSite) -> None:
    before = site.master.show_proc()
    site.served.reconfigure(
        f"{site.served.configuration.read_text()}backend later\n  server l1 127.0.0.1:9\n"
    )
    after = site.master.reload()
    assert (after.master.pid, after.master.reloads, after.failed_reloads) == (before.master.pid, 1, 0)
    assert before.workers[0].pid not in {worker.pid for worker in after.workers}
    wait_until(lambda: site.runtime.show_info().pid == after.workers[0].pid, "the new worker to answer")
    assert "later" in {each.name for each in site.runtime.show_stat().backends}
    wait_until(lambda: not site.master.show_proc().old_workers, "the old worker to end")


def test_refused_configuration_is_said_and_the_worker_goes_on_as_it_was(site: StatsSite) -> None:
    good = site.served.configuration.read_text()
    before = site.snapshot()
    for attempt in (1, 2):
        site.served.reconfigure(f"{good}nonsense here\n")
        with pytest.raises(HaproxyReloadFailed) as refused:
            site.master.reload()
        assert refused.value.code == "haproxy_reload_failed"
        assert site.master.show_proc().failed_reloads == attempt
    assert site.snapshot() == before
    site.served.reconfigure(good)
    assert site.master.reload().failed_reloads == 0


def test_old_worker_is_listed_until_its_connections_have_ended(site: StatsSite) -> None:
    old = site.runtime.show_info().pid
    with site.held_connection():
        after = site.master.reload()
        assert [worker.pid for worker in after.old_workers] == [old]
    wait_until(lambda: not site.master.show_proc().old_workers, "the old worker to end")


def test_check_of_a_configuration_leaves_what_runs_alone(site: StatsSite) -> None:
    before = site.snapshot()
    assert site.served.check().returncode == 0
    site.served.reconfigure("nonsense here\n")
    assert site.served.check().returncode != 0
    assert site.snapshot() == before
    assert site.master.show_proc().master.pid == site.served.process.pid


def test_process_that_is_gone_is_unavailable(site: StatsSite) -> None:
    site.served.kill()
    for attempt in (
        site.master.show_proc,
        site.master.reload,
        site.runtime.show_info,
        site.runtime.maps.files,
    ):
        with pytest.raises(HaproxyUnavailable) as gone:
            attempt()
        assert gone.value.code == "haproxy_unavailable"


def test_frozen_worker_is_unavailable_within_the_time_limit(site: StatsSite) -> None:
    worker = site.runtime.show_info().pid
    os.kill(worker, signal.SIGSTOP)
    try:
        with pytest.raises(HaproxyUnavailable):
            RuntimeSocket(site.served.runtime_path, timeout=timedelta(milliseconds=200)).show_info()
    finally:
        os.kill(worker, signal.SIGCONT)
    assert site.runtime.show_info().pid == worker


@pytest.mark.parametrize("path", ["/" + "x" * 107, "/a\0b"])
def test_path_that_no_socket_can_have_is_refused(path: str) -> None:
    for socket in (MasterSocket, RuntimeSocket):
        with pytest.raises(HaproxyArgumentInvalid):
            socket(Path(path))


def test_socket_that_never_was_is_unavailable() -> None:
    with pytest.raises(HaproxyUnavailable):
        RuntimeSocket(Path("/nowhere/admin.sock")).show_info()
