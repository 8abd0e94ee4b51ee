"""`wops cluster`: a whole platform of processes, used through its load balancers while its parts are killed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.cluster.place import open_place
from app.cluster.status import PartState, cluster_status
from app.core.process_identity import running, words_of
from tests.integration.app.command.platform_process import WOPS, wops, wops_json
from tests.service.binary import require_binary
from tests.service.open_loop import Ask, Load, LoadPlan, open_loop
from tests.service.wait import wait_until

_STARTS_WITHIN = timedelta(seconds=100)
_INSTANCE = "demo-availability"

pytestmark = pytest.mark.timeout(240)


@dataclass
class Cluster:
    """A cluster and the supervisor that looks after it."""

    data_dir: Path
    fronts: str
    process: subprocess.Popen[str]
    printed: dict[str, Any]

    @property
    def at(self) -> tuple[str, str]:
        return ("--data-dir", str(self.data_dir))

    @property
    def authority(self) -> str:
        return str(self.printed["authority"])

    def front(self, number: int) -> str:
        """`host:port` of a load balancer."""
        return str(self.printed["addresses"][number]).removeprefix("https://")

    def basic(self, instance: str) -> str:
        access = next(each for each in self.printed["instances"] if each["name"] == instance)
        return base64.b64encode(f"{access['username']}:{access['secret']}".encode()).decode()

    def parts(self) -> dict[str, PartState]:
        return {each.part: each for each in cluster_status(open_place(self.data_dir))}

    def is_fine(self) -> bool:
        return all(each.is_fine for each in self.parts().values())

    def wait_fine(self) -> None:
        wait_until(self.is_fine, "every part to be as it should be", deadline=timedelta(seconds=60))

    def kill(self, part: str) -> int:
        """kill -9; returns the number of the process that was."""
        pid = self.parts()[part].process_id
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def load(self, front: int) -> Iterator[Load]:
        """Requests to the highly available instance through one load balancer; a read may be repeated once."""
        ask = Ask(
            path=f"/{_INSTANCE}/api/v1/items", headers=(("Authorization", f"Basic {self.basic(_INSTANCE)}"),)
        )
        plan = LoadPlan(
            address=self.front(front),
            server_name="localhost",
            authority=self.authority,
            rate=15,
            asks=(ask,),
            kinds=("keep_alive", "fresh", "http2"),
        )
        with open_loop(plan) as load:
            load.wait_for(10)
            yield load


def _start(data_dir: Path, fronts: str, *more: str) -> Cluster:
    printed, told = data_dir.parent / "printed.json", data_dir.parent / "told"
    with printed.open("w") as sink, told.open("w") as progress:
        process = subprocess.Popen(
            [*WOPS, "cluster", "up", "--json", "--data-dir", str(data_dir), "--fronts", fronts, *more],
            stdout=sink,
            stderr=progress,
            text=True,
        )

    def is_told() -> bool:
        assert process.poll() is None, told.read_text()
        return printed.read_text().endswith("\n")

    wait_until(is_told, "the cluster to be up", deadline=_STARTS_WITHIN)
    return Cluster(data_dir=data_dir, fronts=fronts, process=process, printed=json.loads(printed.read_text()))


def _free_ports(host: str) -> int:
    """A port that is free there, with the two behind it."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.create_server((host, 0)))
            port = int(first.getsockname()[1])
            try:
                for distance in (1, 2):
                    stack.enter_context(socket.create_server((host, port + distance)))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    for program in ("mariadbd", "mariadb-install-db", "haproxy"):
        require_binary(program)
    # A socket's path is at most 107 bytes, hence no folder of pytest's. Source: unix(7).
    folder = Path(tempfile.mkdtemp(prefix="wops-cl-"))
    fronts = "; ".join(
        f"{name}={host}:{_free_ports(host)}" for name, host in (("lb1", "127.0.0.11"), ("lb2", "127.0.0.12"))
    )
    data_dir, started = folder / "d", None
    try:
        started = _start(data_dir, fronts, "--demo")
        yield started
    finally:
        if _processes_of(data_dir):
            wops("cluster", "down", "--data-dir", str(data_dir))
        if started is not None:
            started.process.kill()
            started.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_everything_is_up_and_the_status_says_so(cluster: Cluster) -> None:
    assert cluster.printed["fine"], cluster.printed["parts"]
    done = wops("cluster", "status", "--json", *cluster.at)
    parts = {each["part"]: each for each in json.loads(done.stdout)["parts"]}

    assert done.returncode == 0
    assert {"supervisor", "database", "gateway", "control", "lb1", "lb2", "line shared-1"} <= parts.keys()
    assert {f"line {_INSTANCE}-1", f"line {_INSTANCE}-2", f"box {_INSTANCE}-box-2"} <= parts.keys()
    assert all(each["process_id"] for each in parts.values())


def test_whole_story_holds_through_a_load_balancer(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    token = cluster.data_dir.parent / "token"
    token.write_text(cluster.printed["staff_token"])
    monkeypatch.setenv("WOPS_AUTHORITY", cluster.authority)

    done = wops("demo", "--url", f"https://{cluster.front(1)}", "--token-file", str(token))

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_command_that_works_on_the_databases_finds_those_of_the_cluster(cluster: Cluster) -> None:
    migrated = wops_json("migrate", "--dry-run", *cluster.at)
    assert (migrated["current"], migrated["failed"]) == (len(cluster.printed["instances"]), 0), migrated
    assert not (cluster.data_dir / "platform.db").exists()


def test_killed_parts_come_back_and_no_request_through_the_other_load_balancer_is_lost(
    cluster: Cluster,
) -> None:
    parts = ("control", "gateway", f"line {_INSTANCE}-1", "lb1")
    with cluster.load(1) as two:
        before = {part: cluster.kill(part) for part in parts}
        cluster.wait_fine()

    assert not two.failed, two.story()
    after = {part: cluster.parts()[part].process_id for part in parts}
    assert {part for part in parts if after[part] in (None, before[part])} == set()


def test_killed_supervisor_leaves_everything_serving_and_the_next_one_finds_it(cluster: Cluster) -> None:
    before = {name: each.process_id for name, each in cluster.parts().items() if name != "supervisor"}
    with cluster.load(0) as one:
        cluster.process.kill()
        cluster.process.wait()
        assert cluster.parts()["supervisor"].state == "absent"
        printed = cluster.printed
        again = _start(cluster.data_dir, cluster.fronts)

    assert not one.failed, one.story()
    assert {name: each.process_id for name, each in again.parts().items() if name != "supervisor"} == before
    cluster.process, cluster.printed = again.process, {**printed, "staff_token": None}


def test_end_finishes_everything_also_what_nobody_looks_after(cluster: Cluster) -> None:
    cluster.process.kill()
    cluster.process.wait()
    # Its boxes go on without it.
    cluster.kill("gateway")

    done = wops("cluster", "down", *cluster.at)

    assert done.returncode == 0, done.stderr
    assert _processes_of(cluster.data_dir) == []
    assert not cluster.is_fine()


def test_start_whose_terminal_is_closed_leaves_nothing_running(cluster: Cluster) -> None:
    """After the end above: what there is to make has been made."""
    told = cluster.data_dir.parent / "told-again"
    command = [*WOPS, "cluster", "up", *cluster.at]
    with told.open("w") as progress, subprocess.Popen(command, stderr=progress) as process:
        try:
            wait_until(lambda: "starting gateway" in told.read_text(), "its start", deadline=_STARTS_WITHIN)
            process.send_signal(signal.SIGHUP)
            assert process.wait(_STARTS_WITHIN.total_seconds()) == 0, told.read_text()
        finally:
            process.kill()
    assert "starting control" not in told.read_text()
    assert _processes_of(cluster.data_dir) == []


def _processes_of(data_dir: Path) -> list[str]:
    def is_of(words: Sequence[str]) -> bool:
        return any(word == str(data_dir) or f"{data_dir}/" in word for word in words)

    return [" ".join(words_of(pid)) for pid in running(is_of)]
