"""Of old checkpoints one a day is kept, about every chain, and taking one of those out is found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.operations.audit.checkpoint import PLATFORM_CHAIN
from tests.integration.app.operations.audit.conftest import AuditWorld

DAYS = 12


@pytest.fixture
def old(world: AuditWorld) -> AuditWorld:
    """Twelve days with four checkpoints each; the instance writes only on the first two of them."""
    world.clock.set(datetime(2026, 3, 11, tzinfo=UTC))
    for day in range(DAYS):
        for turn in range(4):
            world.write(world.platform)
            if day < 2 and turn > 0:
                world.write(world.instance)
            world.audit.sign()
            world.clock.advance(timedelta(hours=6))
    return world


def test_a_week_is_kept_and_of_the_days_before_their_anchors(old: AuditWorld) -> None:
    kept = old.rounds()
    first_day = kept[0].signed_at_us
    days = [(each.signed_at_us - first_day) // 86_400_000_000 for each in kept]
    assert [days.count(day) for day in range(DAYS)] == [1, 1, 1, 1, *[4] * 8]
    assert [each.anchor for each in kept[:4]] == [1, 1, 1, 1]
    with old.platform.engine.connect() as connection:
        stored = connection.exec_driver_sql("SELECT number FROM audit_checkpoint ORDER BY number").fetchall()
    assert [row[0] for row in stored] == [each.number for each in kept]
    assert old.findings == []
    assert old.restart().sign() == 0, "nothing is signed twice"
    assert old.findings == []


def test_chain_that_is_silent_for_long_is_still_vouched_for_to_its_end(old: AuditWorld) -> None:
    report = old.audit.verifier.verify_chain(old.instance_id)
    assert (report.last, report.vouched_until, report.findings) == (6, 6, ())
    old.tamper(old.instance, "UPDATE outbox_event SET reason = 'Lies.' WHERE sequence = 6")
    old.recompute(old.instance, 6)
    assert old.findings[0][0] == "rewritten"


def test_anchor_or_young_checkpoint_taken_out_of_both_places_is_found(old: AuditWorld) -> None:
    lines = old.file.read_bytes().splitlines(keepends=True)
    for gone in (1, 3, 6, len(lines) - 2):
        number = old.rounds()[gone].number
        old.tamper(
            old.platform,
            "CREATE TABLE kept AS SELECT * FROM audit_checkpoint",
            f"DELETE FROM audit_checkpoint WHERE number = {number}",
        )
        old.file.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        assert {code for code, _ in old.findings} >= {"checkpoint_missing"}
        old.tamper(
            old.platform,
            "DELETE FROM audit_checkpoint",
            "INSERT INTO audit_checkpoint SELECT * FROM kept",
            "DROP TABLE kept",
        )
        old.file.write_bytes(b"".join(lines))
    assert old.findings == []


def test_thinning_that_was_killed_between_table_and_file_is_no_finding(old: AuditWorld) -> None:
    whole = old.file.read_bytes()
    for _ in range(8):
        old.write(old.platform)
        old.audit.sign()
        old.clock.advance(timedelta(hours=6))
    added = old.rounds()[-8:]
    thinned = old.file.read_bytes()
    behind = b"".join(thinned.splitlines(keepends=True)[-8:])
    assert len(added) == 8
    old.file.write_bytes(whole + behind)
    assert old.findings == []
    old.restart().sign()
    assert old.file.read_bytes() == thinned


def test_checkpoints_are_verified_in_parts(old: AuditWorld) -> None:
    verifier = old.audit.verifier
    after, seen = 0, 0
    chains: set[str] = set()
    while True:
        part = verifier.verify_checkpoints(after=after, most=7)
        assert part.findings == ()
        assert part.entries <= 7
        after, seen, chains = part.last, seen + part.entries, chains | set(part.chains)
        if part.complete:
            break
    assert (seen, chains) == (len(old.rounds()), {PLATFORM_CHAIN, old.instance_id})


def test_findings_are_told_up_to_a_bound(world: AuditWorld) -> None:
    for _ in range(120):
        world.write(world.platform)
        world.audit.sign()
    world.tamper(world.platform, "DELETE FROM audit_checkpoint")
    assert len(world.audit.verifier.verify_checkpoints().findings) == 100
