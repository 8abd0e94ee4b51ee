"""Whatever a database administrator does to a chain is found and located, on both engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.core.db import Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.outbox import close_outbox
from app.core.outbox_chain import ChainEnd
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.repository import EntryFilter
from app.operations.audit.verify_audit import Finding
from tests.integration.app.operations.audit.conftest import AuditWorld

MARKS = (4, 8, 12)


@pytest.fixture
def chain(world: AuditWorld) -> AuditWorld:
    """Twelve entries in the instance's chain, signed at 4, 8 and 12; one in the platform's."""
    world.write(world.platform)
    for _ in MARKS:
        world.write(world.instance, 2, events=2)
        world.audit.sign()
    assert world.findings == []
    return world


def test_untouched_chain_is_sound_and_signed_to_its_end(chain: AuditWorld) -> None:
    report = chain.audit.verifier.verify_chain(chain.instance_id)
    assert (report.entries, report.last, report.vouched_until, report.complete) == (12, 12, 12, True)
    chain.write(chain.instance)
    report = chain.audit.verifier.verify_chain(chain.instance_id)
    assert (report.last, report.vouched_until, report.findings) == (13, 12, ())


@pytest.mark.parametrize("sequence", [1, 6, 12])
@pytest.mark.parametrize(
    "column", ["data", "actor", "before_change", "reason", "action", "subject", "occurred_at_us"]
)
def test_rewritten_entry_is_found(chain: AuditWorld, sequence: int, column: str) -> None:
    chain.tamper(chain.instance, f"UPDATE outbox_event SET {column} = '7' WHERE sequence = {sequence}")
    assert chain.findings == [("changed", sequence)]


@pytest.mark.parametrize("sequence", [1, 5, 8, 11])
def test_removed_entry_is_found(chain: AuditWorld, sequence: int) -> None:
    chain.tamper(chain.instance, f"DELETE FROM outbox_event WHERE sequence = {sequence}")
    assert chain.findings == [("missing", sequence)]


def test_removed_and_renumbered_entry_is_found(chain: AuditWorld) -> None:
    renumber = [f"UPDATE outbox_event SET sequence = {n - 1} WHERE sequence = {n}" for n in range(6, 13)]
    chain.tamper(
        chain.instance,
        "DELETE FROM outbox_event WHERE sequence = 5",
        *renumber,
        "UPDATE outbox_sequence SET last = 11",
    )
    assert chain.findings[0] == ("changed", 5)
    chain.recompute(chain.instance, 5)
    assert chain.findings[0] == ("rewritten", 5)


def test_entry_put_in_between_is_found(chain: AuditWorld) -> None:
    renumber = [f"UPDATE outbox_event SET sequence = {n + 1} WHERE sequence = {n}" for n in range(12, 6, -1)]
    copied = (
        "INSERT INTO outbox_event SELECT 7, 'evt_forged', type, subject, op_id, data, occurred_at_us, delivery,"
        " actor, action, request_id, reason, before_change, hash FROM outbox_event WHERE sequence = 6"
    )
    chain.tamper(chain.instance, *renumber, copied, "UPDATE outbox_sequence SET last = 13")
    assert chain.findings[0] == ("changed", 7)
    chain.recompute(chain.instance, 7)
    assert chain.findings[0] == ("rewritten", 5)


def test_swapped_entries_are_found(chain: AuditWorld) -> None:
    move = "UPDATE outbox_event SET sequence = {} WHERE sequence = {}"
    chain.tamper(chain.instance, move.format(99, 6), move.format(6, 7), move.format(7, 99))
    assert chain.findings[0] == ("changed", 6)


@pytest.mark.parametrize("last", [11, 8, 5, 0])
def test_cut_off_end_is_found_whether_the_counter_is_put_back_or_not(chain: AuditWorld, last: int) -> None:
    chain.tamper(chain.instance, f"DELETE FROM outbox_event WHERE sequence > {last}")
    assert chain.findings == [("truncated", last + 1)]
    chain.tamper(chain.instance, f"UPDATE outbox_sequence SET last = {last}")
    assert chain.findings == [("truncated", last + 1)]
    # Even if the checkpoints are removed as well: the file has them.
    chain.tamper(chain.platform, "DELETE FROM audit_checkpoint")
    assert ("truncated", last + 1) in chain.findings
    assert "checkpoint_missing" in {code for code, _ in chain.findings}


@pytest.mark.parametrize("first", [1, 4, 5, 12])
def test_rewritten_history_with_all_hashes_recomputed_is_caught_by_any_one_old_checkpoint(
    chain: AuditWorld, first: int
) -> None:
    chain.tamper(chain.instance, f"UPDATE outbox_event SET reason = 'Lies.' WHERE sequence = {first}")
    chain.recompute(chain.instance, first)
    before = max((mark for mark in (0, *MARKS) if mark < first), default=0)
    assert chain.findings[0] == ("rewritten", before + 1)
    for kept in MARKS:
        if kept < first:
            continue
        lines = chain.file.read_bytes().splitlines(keepends=True)
        only = [line for line in lines if b'aa",%d,' % kept in line]
        chain.tamper(chain.platform, "DELETE FROM audit_checkpoint")
        chain.file.write_bytes(b"".join(only))
        assert chain.found(chain.instance_id)[0] == ("rewritten", 1)
        chain.file.write_bytes(b"".join(lines))


def test_signing_goes_on_after_a_rewriting_and_cannot_hide_it(chain: AuditWorld) -> None:
    chain.tamper(chain.instance, "UPDATE outbox_event SET data = '{}' WHERE sequence = 6")
    chain.recompute(chain.instance, 6)
    chain.instance.chain_end = ChainEnd()
    chain.restart().sign()
    chain.write(chain.instance)
    chain.audit.sign()
    assert chain.findings[0] == ("rewritten", 5)


def test_checkpoints_changed_forged_or_removed_are_found(chain: AuditWorld) -> None:
    chain.tamper(
        chain.platform, "UPDATE audit_checkpoint SET links = REPLACE(links, 'aaaa', 'bbbb') WHERE number = 3"
    )
    assert ("checkpoint_changed", 3) in chain.findings
    assert "forged" in {code for code, _ in chain.findings}
    chain.tamper(chain.platform, "DELETE FROM audit_checkpoint WHERE number = 3")
    assert ("checkpoint_missing", 3) in chain.findings
    assert chain.found(chain.instance_id) == [], "the file still has it, and it fits"
    chain.file.write_bytes(b"".join(chain.file.read_bytes().splitlines(keepends=True)[:2]) + b"nonsense\n")
    assert ("malformed", 0) in chain.findings


def test_checkpoint_signed_with_another_key_is_no_proof(chain: AuditWorld) -> None:
    (chain.folder / "signing.key").write_bytes(bytes(32))
    (chain.folder / "audit.pub").unlink()
    chain.restart()
    assert {code for code, _ in chain.findings} == {"key_unknown"}


def test_entry_put_behind_the_end_is_found(chain: AuditWorld) -> None:
    chain.tamper(
        chain.instance,
        "INSERT INTO outbox_event SELECT 13, 'evt_forged', type, subject, op_id, data, occurred_at_us, delivery,"
        " actor, action, request_id, reason, before_change, hash FROM outbox_event WHERE sequence = 12",
    )
    chain.recompute(chain.instance, 13)
    assert chain.findings == [("out_of_order", 13)]


def test_verification_in_parts_finds_what_the_whole_one_finds(chain: AuditWorld) -> None:
    chain.tamper(chain.instance, "UPDATE outbox_event SET data = '{}' WHERE sequence = 6")
    found, after, turns = [], 0, 0
    while True:
        report = chain.audit.verifier.verify_chain(chain.instance_id, after=after, most=5)
        found += [(each.code, each.sequence) for each in report.findings]
        after, turns = report.last, turns + 1
        assert report.entries <= 5
        if report.complete:
            break
    assert (found, after, turns) == ([("changed", 6)], 12, 3)


def test_copy_that_cannot_be_written_is_made_up_for_later(chain: AuditWorld) -> None:
    whole = chain.file.read_bytes()
    chain.file.unlink()
    chain.file.mkdir()
    chain.write(chain.platform)
    with pytest.raises(IsADirectoryError):
        chain.audit.sign()
    chain.file.rmdir()
    chain.file.write_bytes(whole)
    chain.write(chain.platform)
    assert chain.audit.sign() == 1
    assert [each.sequence for each in chain.checkpoints() if each.chain == PLATFORM_CHAIN] == [1, 2, 3]
    assert chain.findings == []


def test_verification_beside_signing_finds_nothing_missing(world: AuditWorld) -> None:
    def sign() -> None:
        for _ in range(40):
            world.write(world.platform)
            world.audit.sign()

    findings: list[Finding] = []
    with ThreadPoolExecutor(1) as threads:
        signing = threads.submit(sign)
        while not signing.done():
            findings += world.audit.verifier.verify_checkpoints().findings
        signing.result()
    assert findings == []
    assert world.audit.verifier.verify_checkpoints().entries == 40


def test_chain_that_was_closed_is_sound_and_read_as_before(chain: AuditWorld) -> None:
    def body(tx: Tx) -> JsonObject:
        close_outbox(tx)
        return {}

    chain.instance.run_tx(new_id("op"), body)
    with pytest.raises(RuntimeError, match="closed"):
        chain.write(chain.instance)
    assert chain.findings == []
    page = chain.audit.reader.find(chain.instance_id, EntryFilter(), limit=100)
    assert [each.sequence for each in page.entries] == list(range(12, 0, -1))
