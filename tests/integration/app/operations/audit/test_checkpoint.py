"""Checkpoints: signed where a chain has grown, whoever is killed, and never twice for the same."""

from __future__ import annotations

import logging
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.core.outbox_chain import ChainEnd, Link
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.key import AuditKey, AuditKeyUnfit, audit_key, check_signature, public_keys
from app.operations.audit.verify_audit import CheckpointCheck, check_ed25519
from tests.integration.app.operations.audit.conftest import AuditWorld


def test_grown_chains_are_signed_once_and_idle_ones_not_at_all(world: AuditWorld) -> None:
    world.write(world.platform, 3)
    assert world.audit.sign() == 1
    assert [(each.number, each.chain, each.sequence) for each in world.checkpoints()] == [
        (1, PLATFORM_CHAIN, 3)
    ]
    world.write(world.instance, 2, events=3)
    assert (world.audit.sign(), world.audit.sign()) == (1, 0)
    world.write(world.platform)
    world.write(world.instance)
    assert (world.audit.sign(), world.audit.sign()) == (2, 0)
    assert [(each.number, each.chain, each.sequence) for each in world.checkpoints()] == [
        (1, PLATFORM_CHAIN, 3),
        (2, world.instance_id, 6),
        (3, world.instance_id, 7),
        (3, PLATFORM_CHAIN, 4),
    ], "one signature stands for all that have grown"
    assert world.findings == []


def test_signature_is_ed25519_over_what_is_said_and_both_implementations_agree(world: AuditWorld) -> None:
    world.write(world.platform)
    world.audit.sign()
    (mark,) = world.checkpoints()
    key = world.audit.key
    for check in (check_ed25519, check_signature):
        signature = key.sign(mark.message)
        assert check(key.public_key, mark.message, signature)
        assert not check(key.public_key, mark.message + b" ", signature)
        assert not check(key.public_key, mark.message, b"\0" * 64)
    assert repr(key) == f"AuditKey({key.key_id})"


def test_checkpoint_makes_no_event_and_leaves_no_operation_id(world: AuditWorld) -> None:
    world.write(world.platform)
    end = world.platform.chain_end.link
    world.audit.sign()
    assert world.platform.chain_end.link == end
    with world.platform.engine.connect() as connection:
        (left,) = connection.exec_driver_sql(
            "SELECT count(*) FROM op WHERE op_id LIKE 'checkpoint%%'"
        ).fetchone()  # type: ignore[misc]
    assert left == 0


def test_next_start_signs_what_a_killed_process_left_unsigned(world: AuditWorld) -> None:
    world.write(world.platform, 2)
    world.audit.sign()
    world.write(world.platform, 2)
    world.write(world.instance, 2)
    # Another process, after kill -9: it knows nothing of what was written.
    world.platform.chain_end, world.instance.chain_end = ChainEnd(), ChainEnd()
    world.restart().sign()
    assert [(each.number, each.chain, each.sequence) for each in world.checkpoints()] == [
        (1, PLATFORM_CHAIN, 2),
        (2, world.instance_id, 2),
        (2, PLATFORM_CHAIN, 4),
    ]
    assert world.findings == []


def test_file_that_lacks_checkpoints_or_ends_in_half_a_line_is_mended_from_the_table(
    world: AuditWorld,
) -> None:
    for _ in range(4):
        world.write(world.platform)
        world.audit.sign()
    whole = world.file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damaged in (b"", lines[0], b"".join(lines[:2]) + lines[2][:50], whole[:-1]):
        world.file.write_bytes(damaged)
        world.restart()
        assert world.file.read_bytes() == whole
    world.file.unlink()
    world.restart()
    assert world.file.read_bytes() == whole
    assert stat.S_IMODE(world.file.stat().st_mode) == 0o600


def test_table_put_back_to_an_older_state_shows_and_numbers_go_on_behind_the_file(
    world: AuditWorld, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        world.write(world.platform)
        world.audit.sign()
    world.tamper(world.platform, "DELETE FROM audit_checkpoint WHERE number > 1")
    with caplog.at_level(logging.CRITICAL):
        world.restart()
    assert [record.message for record in caplog.records] == ["audit_checkpoints_lost"]
    world.write(world.platform)
    world.audit.sign()
    assert [each.number for each in world.rounds()] == [1, 2, 3, 4]
    assert {code for code, _ in world.findings} == {"checkpoint_missing"}


def test_unknown_outcome_of_a_commit_makes_the_chain_be_looked_at(world: AuditWorld) -> None:
    world.audit.sign()
    world.write(world.platform)
    world.platform.chain_end = ChainEnd()
    world.audit.notary.watch(PLATFORM_CHAIN, world.platform.chain_end)
    world.platform.chain_end.note_unsure()
    assert world.audit.sign() == 1
    assert world.checkpoints()[-1].sequence == 1


def test_cut_off_chain_is_cried_out_at_the_next_start_and_work_goes_on(
    world: AuditWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.write(world.instance, 5)
    world.audit.sign()
    world.tamper(world.instance, "DELETE FROM outbox_event WHERE sequence > 3")
    world.instance.chain_end = ChainEnd()
    with caplog.at_level(logging.CRITICAL):
        world.restart().sign()
    assert "audit_chain_truncated" in [record.message for record in caplog.records]
    world.write(world.instance)
    world.audit.sign()
    assert world.found(world.instance_id)[0] == ("missing", 4)


def test_two_databases_of_one_chain_are_one_chain(world: AuditWorld) -> None:
    """An instance's database is closed when it is idle and opened again: what the first one wrote is not forgotten."""
    first, second = ChainEnd(), ChainEnd()
    notary = world.audit.notary
    notary.watch("ins_x", first)
    first.note(Link(4, "4" * 64))
    notary.watch("ins_x", second)
    assert notary.sign_grown() == 1
    assert [(each.chain, each.sequence) for each in world.checkpoints()] == [("ins_x", 4)]


def test_many_signing_at_once_make_one_chain_of_checkpoints(world: AuditWorld) -> None:
    def work(_: int) -> None:
        for _ in range(5):
            world.write(world.platform)
            world.write(world.instance)
            world.audit.sign()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    world.audit.sign()
    assert [each.number for each in world.rounds()] == list(range(1, len(world.rounds()) + 1))
    assert max(each.sequence for each in world.checkpoints()) == 20
    assert world.findings == []


def verifier_takes(world: AuditWorld) -> bool:
    """Whether each chain's own checkpoint has a right signature, whatever the number of chains."""
    check = CheckpointCheck(world.audit.keys, check_signature)
    return all(check.signature(each) is None for each in world.checkpoints())


def test_more_chains_than_one_transaction_takes_are_all_signed(world: AuditWorld) -> None:
    for number in range(1_203):
        end = ChainEnd()
        end.note(Link(1, f"{number:064x}"))
        world.audit.notary.watch(f"ins_{number}", end)
    assert world.audit.notary.sign_grown() == 1_203
    assert [len(each.links) for each in world.rounds()] == [400, 400, 400, 3]
    report = world.audit.verifier.verify_checkpoints()
    assert (report.findings, report.entries, len(report.chains)) == ((), 4, 1_203)
    assert verifier_takes(world), "each by itself, by its path"


def test_key_is_private_and_its_loss_does_not_pass_unseen(world: AuditWorld) -> None:
    folder = world.folder
    key = folder / "signing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert audit_key(folder).key_id == world.audit.key.key_id
    seed = key.read_bytes()
    key.chmod(0o640)
    with pytest.raises(AuditKeyUnfit, match="0600"):
        audit_key(folder)
    key.chmod(0o600)
    key.write_bytes(seed[:31])
    with pytest.raises(AuditKeyUnfit, match="damaged"):
        audit_key(folder)
    key.unlink()
    with pytest.raises(AuditKeyUnfit, match="backup"):
        audit_key(folder)
    (folder / "audit.pub").write_text("nonsense")
    with pytest.raises(AuditKeyUnfit):
        public_keys(folder)


def test_new_key_goes_beside_the_old_one(world: AuditWorld) -> None:
    (world.folder / "signing.key").write_bytes(bytes(32))
    audit_key(world.folder)
    assert public_keys(world.folder) == {
        world.audit.key.key_id: world.audit.key.public_key,
        AuditKey(bytes(32)).key_id: AuditKey(bytes(32)).public_key,
    }
