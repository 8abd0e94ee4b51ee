"""Lines as real processes that freeze, crash and come back, and a healer that looks after them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio.lowlevel
import pytest

from app.container import Platform
from app.core.ids import LineId
from app.core.net import NetError
from app.operations.reconcile.healer import Healer
from app.operations.reconcile.past import Rails
from tenancy.line_file import LINES_DIRECTORY
from tests.api.site import Instance, good, refused
from tests.integration.app.line_site import LineSite, ServedLine
from tests.service.gateway import ServedGateway
from tests.service.wait import wait_until

SOON = timedelta(seconds=150)
RAILS = Rails(
    patience=timedelta(seconds=1),
    recovery=timedelta(seconds=90),
    settled=timedelta(seconds=1),
    warm_up=timedelta(seconds=1),
)
"""A busy machine needs long for the start of a line."""
IMPATIENT = replace(RAILS, healing_patience=timedelta(seconds=2), healing_most=timedelta(seconds=6))
"""With a line that never starts."""
_ASK_EVERY_SECONDS = 0.1
T = TypeVar("T")
pytestmark = pytest.mark.timeout(400)


def now_and_then(look: Callable[[], T | None]) -> Callable[[], T | None]:
    """Whoever asks this process all the time keeps it from healing."""
    asked_at = 0.0

    def ask() -> T | None:
        nonlocal asked_at
        if time.monotonic() - asked_at < _ASK_EVERY_SECONDS:
            return None
        asked_at = time.monotonic()
        return look()

    return ask


class QuickPlatform(Platform):
    """Heals sooner than others: a test does not wait for half a minute."""

    def make_rails(self) -> Rails:
        return RAILS


class HealedSite(LineSite):
    """A site whose lines are processes, and healed."""

    def lines(self, instance: Instance) -> dict[str, dict[str, Any]]:
        return {each["line_id"]: each for each in good(instance.admin("GET", "/lines"))}

    def until(self, instance: Instance, line: str, **wanted: Any) -> dict[str, Any]:
        """The line as staff see it, once it is like that."""

        def look() -> dict[str, Any] | None:
            found = self.lines(instance).get(line, {})
            return found if all(found.get(name) == value for name, value in wanted.items()) else None

        return wait_until(now_and_then(look), f"{line} to be {wanted}", deadline=SOON)

    def healer(self) -> dict[str, Any]:
        return dict(good(self.admin("GET", "/reconcile")))

    def part(self, key: str) -> dict[str, Any]:
        found = self.healer()
        return next((each for each in [*found["parts"], *found["kinds"]] if each["part"] == key), {})

    def until_part(self, key: str, **wanted: Any) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.part(key)
            return found if all(found.get(name) == value for name, value in wanted.items()) else None

        return wait_until(now_and_then(look), f"{key} to be {wanted}", deadline=SOON)

    def journal(self, part: str) -> list[dict[str, Any]]:
        """Oldest first."""
        query = {"part": part, "limit": 100}
        return list(reversed(good(self.admin("GET", "/reconcile/decisions", params=query))["data"]))

    def actions(self, part: str) -> list[tuple[str, str, str | None]]:
        found = [each for each in self.journal(part) if each["action"] != "none"]
        return [(each["action"], each["reason"], each["outcome"]) for each in found]

    def until_ended(self, part: str, *actions: str, after: int = 0) -> None:
        """Until these have been done, and it is known what came of them."""

        def look() -> bool:
            found = self.actions(part)[after:]
            return [action for action, _, _ in found] == [*actions] and all(
                outcome != "open" for _, _, outcome in found
            )

        wait_until(now_and_then(look), f"{part} to have seen {actions}", deadline=SOON)

    def freeze(self, instance: Instance, line: str) -> int:
        pid = int(self.until(instance, line, state="ready")["process_id"])
        os.kill(pid, signal.SIGSTOP)
        return pid

    def release(self, part: str) -> None:
        good(self.admin("POST", "/reconcile:release", {"part": part}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HealedSite]:
    with ServedGateway(tmp_path_factory.mktemp("gateway")) as gateway:
        boxes = f"unix:{gateway.data_dir}/boxes/gateway.sock"
        folder = tmp_path_factory.mktemp("healed")
        with HealedSite(folder, boxes=boxes, lines="processes", make_platform=QuickPlatform) as site:
            try:
                yield site
            finally:
                _end_lines(site)


def _end_lines(site: HealedSite) -> None:
    """Nothing is left of a test, and nobody starts it anew."""
    site.stop()
    for socket in (site.settings.data_dir / LINES_DIRECTORY).glob("*/line.sock"):
        with suppress(NetError, ProcessLookupError):
            os.kill(ServedLine(socket.parent).private.status().process_id, signal.SIGKILL)


@pytest.fixture(scope="module")
def twin(site: HealedSite) -> Instance:
    twin = site.add_instance("high_availability", "twin")
    for line in ("twin-1", "twin-2"):
        site.until(twin, line, state="ready")
        site.until_part(f"line:{line}", verdict="ok", reason="healthy")
    return twin


@contextmanager
def impatient(healer: Healer) -> Iterator[None]:
    """It waits for no runner."""
    healer._rails = IMPATIENT
    try:
        yield
    finally:
        healer._rails = RAILS


@contextmanager
def thawed(pid: int) -> Iterator[None]:
    """Whatever happens, nothing stays frozen."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_frozen_line_is_taken_out_restarted_and_put_back(site: HealedSite, twin: Instance) -> None:
    site.line = None
    before = len(site.journal("line:twin-1")), len(site.actions("line:twin-1"))
    twins = site.actions("line:twin-2")
    pid = site.freeze(twin, "twin-1")
    with thawed(pid):
        out = site.until(twin, "twin-1", in_service=False)
        assert (out["out_by"], out["out_reason"]) == ("reconciler", "sick")
        back = site.until(twin, "twin-1", in_service=True, state="ready")
        assert back["process_id"] != pid
        site.until_ended("line:twin-1", "take_out", "restart", "put_back", after=before[1])
    assert site.actions("line:twin-1")[before[1] :] == [
        ("take_out", "sick", "met"),
        ("restart", "sick", "met"),
        ("put_back", "healthy_again", "met"),
    ]
    journal = site.journal("line:twin-1")[before[0] :]
    taken = next(each for each in journal if each["action"] == "take_out")
    said = {each["witness"]: (each["verdict"], each["detail"]) for each in taken["evidence"]}
    assert said["runner"] == ("bad", "frozen")
    assert said["readiness"][0] == "bad"
    assert taken["words"]["de"] == "außer Betrieb genommen: es ist sicher krank"
    assert taken["token"] == site.healer()["token"] == 1
    assert site.actions("line:twin-2") == twins
    reasons = [each["reason"] for each in journal if each["action"] == "none"]
    assert "not_long_enough" in reasons


def test_paused_line_is_watched_and_not_touched(site: HealedSite, twin: Instance) -> None:
    before = site.actions("line:twin-2")
    paused = good(site.admin("PUT", "/reconcile/pauses/line:twin-2", {"reason": "a memory leak"}))
    assert paused["scope"] == "line:twin-2"
    pid = site.freeze(twin, "twin-2")
    with thawed(pid):
        found = site.until_part("line:twin-2", reason="paused", verdict="bad", wanted="take_out")
        assert found["action"] == "none"
        assert site.lines(twin)["twin-2"]["process_id"] == pid
    site.until(twin, "twin-2", state="ready", process_id=pid)
    site.until_part("line:twin-2", reason="healthy")
    assert site.admin("DELETE", "/reconcile/pauses/line:twin-2").status_code == 204
    refused(site.admin("DELETE", "/reconcile/pauses/line:twin-2"), 404, "pause_not_found")
    assert site.actions("line:twin-2") == before
    assert "paused" in [each["reason"] for each in site.journal("line:twin-2")]


def test_both_lines_frozen_stop_everything_and_a_person_is_called(site: HealedSite, twin: Instance) -> None:
    pids = [site.freeze(twin, line) for line in ("twin-1", "twin-2")]
    before = {line: len(site.actions(f"line:{line}")) for line in ("twin-1", "twin-2")}
    with thawed(pids[0]), thawed(pids[1]):
        site.until_part("line:twin-1", reason="too_many_sick")
        site.until_part("line:twin-2", reason="too_many_sick")
        site.until_part("line:*", reason="frozen")
        (alarm,) = site.healer()["alarms"]
        assert (alarm["part"], alarm["reason"]) == ("line:*", "too_many_sick")
        assert [each["process_id"] for each in site.lines(twin).values()] == pids
    for line in ("twin-1", "twin-2"):
        site.until_part(f"line:{line}", reason="healthy")
        assert len(site.actions(f"line:{line}")) == before[line]
    site.release("line:*")
    assert site.healer()["alarms"] == []
    refused(site.admin("POST", "/reconcile:release", {"part": "line:*"}), 409, "part_not_frozen")


def test_line_in_a_crash_loop_is_left_to_its_runner_and_then_to_a_person(
    site: HealedSite, twin: Instance
) -> None:
    """Its directory is broken from outside, in a way that its keeper cannot mend: every process ends at once."""
    before = site.until(twin, "twin-1", state="ready")
    count = len(site.actions("line:twin-1"))
    directory = site.settings.data_dir / LINES_DIRECTORY / "twin-1"
    in_the_way = directory / ".front.sock"
    in_the_way.mkdir()
    with impatient(site.platform.healer):
        os.kill(before["process_id"], signal.SIGKILL)
        site.until_part("line:twin-1", reason="frozen")
    done = site.actions("line:twin-1")[count:]
    assert ("restart", "sick", "open") not in done
    assert [action for action, _, _ in done] == ["take_out", "call_human"]
    assert done[-1][1] == "healed_in_vain"
    line = site.lines(twin)["twin-1"]
    assert line["restarts"] > before["restarts"] + 1
    assert line["in_service"] is False
    # The person sees to it, and says so.
    in_the_way.rmdir()
    site.until(twin, "twin-1", state="ready")
    site.release("line:twin-1")
    site.until(twin, "twin-1", in_service=True)
    site.until_part("line:twin-1", reason="healthy")


def test_replaced_line_has_a_new_process_and_what_it_serves(site: HealedSite, twin: Instance) -> None:
    before = site.until(twin, "twin-2", state="ready")
    keeper = site.platform.line_keeper
    assert keeper is not None
    marker = site.settings.data_dir / LINES_DIRECTORY / "twin-2" / "left-over"
    marker.write_text("x")
    site.run(keeper.replace(LineId("twin-2"), anyio.lowlevel.checkpoint))
    wait_until(lambda: site.lines(twin)["twin-2"]["process_id"] not in (None, before["process_id"]), "it")
    site.until(twin, "twin-2", state="ready")
    assert not marker.exists()
    site.line = ServedLine(marker.parent)
    assert good(twin.call("GET", "/licenses"))["data"] == []
    site.line = None


def test_next_control_keeps_the_rates_and_has_a_higher_token(
    site: HealedSite, twin: Instance, tmp_path: Path
) -> None:
    healer = site.platform.healer
    first = healer.report.token
    tried = healer._past["line:twin-1"].tried
    site.run(healer.close())

    def look() -> int | None:
        token = healer.report.token
        return token if token not in (None, first) else None

    assert wait_until(look, "the lease to be taken anew", deadline=SOON) == (first or 0) + 1
    assert healer._past["line:twin-1"].tried == tried
    assert site.healer()["warm_until"] > site.healer()["watching_since"]
