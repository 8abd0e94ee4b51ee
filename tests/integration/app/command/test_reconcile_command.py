"""Self-healing from the command line."""

from __future__ import annotations

from tests.integration.app.command.platform_process import wops, wops_json

RECONCILE = ("admin", "reconcile")


def test_pause_is_seen_and_ended_and_nothing_is_healed_in_one_process(at: tuple[str, str]) -> None:
    paused = wops_json(*RECONCILE, "pause", "line:*", "--reason", "a leak", "--hours", "2", *at)
    assert (paused["scope"], paused["reason"]) == ("line:*", "a leak")
    status = wops(*RECONCILE, "status", *at)
    assert "Nothing to heal" in status.stderr
    assert "paused: line:* (a leak) by local" in status.stderr
    assert f"until {paused['until']}" in status.stderr
    assert wops_json(*RECONCILE, "status", *at)["is_watching"] is False
    assert wops_json(*RECONCILE, "resume", "line:*", *at) == {"resumed": "line:*"}
    again = wops(*RECONCILE, "resume", "line:*", *at)
    assert (again.returncode, "pause_not_found" in again.stderr) == (1, True)


def test_journal_is_empty_and_nothing_waits_for_a_person(at: tuple[str, str]) -> None:
    assert wops(*RECONCILE, "decisions", *at).returncode == 0
    refused = wops(*RECONCILE, "release", "line:acme-1", *at)
    assert (refused.returncode, "part_not_frozen" in refused.stderr) == (1, True)
    unfit = wops(*RECONCILE, "pause", "acme", "--reason", "x", *at)
    assert "pause_scope_unfit" in unfit.stderr
    assert "line:*" in unfit.stderr
