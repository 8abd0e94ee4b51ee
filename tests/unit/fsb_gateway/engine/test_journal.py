from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import struct
import zlib
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway.engine import journal_total
from fsb_gateway.engine.journal import Finished, Journal, remove_journal
from fsb_gateway.error import BoxJournalDamaged, BoxJournalUnwritable, JobIdReused
from tests.fake.clock import FakeClock


def result(number: int) -> bytes:
    return b'{"update":"%d"}' % number


def finished(number: int, *, transactions: int = 0) -> Finished:
    return Finished(
        job_id=f"job-{number}", request=f"digest-{number}", result=result(number), transactions=transactions
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "box.journal"


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of journals, one after the other: what is read back is the same, and no disk is waited for."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda descriptor: None)


def fill(path: Path, clock: FakeClock, count: int = 3) -> list[int]:
    """Write some records; returns the file's size after each."""
    journal = Journal(path, clock=clock)
    sizes = []
    for number in range(count):
        journal.append([finished(number)])
        sizes.append(path.stat().st_size)
    journal.close()
    return sizes


def test_result_is_found_byte_for_byte_after_a_restart(path: Path, clock: FakeClock) -> None:
    fill(path, clock)
    journal = Journal(path, clock=clock)
    assert [journal.find(f"job-{number}", f"digest-{number}") for number in range(3)] == [
        *map(result, range(3))
    ]
    assert journal.find("job-1") == result(1)
    assert journal.find("job-9", "x") is None
    journal.close()


def test_same_id_with_other_content_is_refused(path: Path, clock: FakeClock) -> None:
    fill(path, clock)
    journal = Journal(path, clock=clock)
    with pytest.raises(JobIdReused):
        journal.find("job-1", "digest-2")
    journal.close()


@pytest.mark.usefixtures("unsynced")
def test_last_record_cut_at_any_byte_is_forgotten_and_the_rest_kept(
    path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = fill(path, clock)
    whole = path.read_bytes()
    for end in range(sizes[1], sizes[2]):
        path.write_bytes(whole[:end])
        with caplog.at_level(logging.WARNING):
            journal = Journal(path, clock=clock)
        assert journal.find("job-1") == result(1), end
        assert journal.find("job-2") is None, end
        assert path.stat().st_size == sizes[1]
        journal.append([finished(2)])
        assert journal.find("job-2") == result(2)
        journal.close()
        assert ("torn" in caplog.text) == (end > sizes[1])
        caplog.clear()


@pytest.mark.parametrize("zeros", [1, 39, 40, 41, 5000])
def test_zeros_after_the_last_record_are_cut_off(path: Path, clock: FakeClock, zeros: int) -> None:
    sizes = fill(path, clock)
    path.write_bytes(path.read_bytes() + bytes(zeros))
    Journal(path, clock=clock).close()
    assert path.stat().st_size == sizes[2]


@pytest.mark.usefixtures("unsynced")
def test_any_damaged_byte_before_the_last_record_stops_the_box(path: Path, clock: FakeClock) -> None:
    sizes = fill(path, clock)
    whole = path.read_bytes()
    for position in range(sizes[1]):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(BoxJournalDamaged):
            Journal(path, clock=clock)
        assert path.stat().st_size == sizes[2], "evidence is left as it was"


def test_older_generation_is_kept_until_it_is_an_hour_old(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock=clock, generation_bytes=1)
    journal.append([finished(0)])
    journal.append([finished(1)])
    clock.advance(timedelta(hours=1) - timedelta(microseconds=1))
    journal.append([finished(2)])
    assert [journal.find(f"job-{number}") for number in range(3)] == [*map(result, range(3))]
    clock.advance(timedelta(microseconds=1))
    journal.append([finished(3)])
    assert [journal.find(f"job-{number}") for number in range(4)] == [None, *map(result, range(1, 4))]
    journal.close()
    reopened = Journal(path, clock=clock, generation_bytes=1)
    assert [reopened.find(f"job-{number}") for number in range(4)] == [None, *map(result, range(1, 4))]
    reopened.close()
    assert sorted(item.name for item in path.parent.iterdir()) == [
        "box.journal",
        "box.journal.1",
        "box.journal.lock",
    ]


def test_full_disk_is_said_and_a_reopened_journal_goes_on(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path, clock=clock)
    journal.append([finished(0)])
    real = os.pwrite

    def half_written(descriptor: int, content: bytes, offset: int) -> int:
        return real(descriptor, content[: len(content) // 2], offset)

    monkeypatch.setattr(os, "pwrite", half_written)
    with pytest.raises(BoxJournalUnwritable):
        journal.append([finished(1)])
    monkeypatch.undo()
    journal.close()
    reopened = Journal(path, clock=clock)
    assert (reopened.find("job-0"), reopened.find("job-1")) == (result(0), None)
    reopened.close()


def test_failed_sync_is_said(path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path, clock=clock)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(BoxJournalUnwritable):
        journal.append([finished(0)])
    assert journal.find("job-0") is None
    journal.close()


def test_second_box_on_the_same_journal_is_refused(path: Path, clock: FakeClock) -> None:
    first = Journal(path, clock=clock)
    with pytest.raises(BoxJournalUnwritable) as refused:
        Journal(path, clock=clock)
    assert refused.value.detail["held"] is True
    first.append([finished(0)])
    first.close()
    second = Journal(path, clock=clock)
    assert second.find("job-0") == result(0)
    second.close()


def test_journal_that_cannot_be_opened_is_said(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "box.journal").mkdir()
    with pytest.raises(BoxJournalUnwritable) as refused:
        Journal(tmp_path / "box.journal", clock=clock)
    assert refused.value.detail["held"] is False


def test_group_is_synced_once_and_each_job_of_it_is_found(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal = Journal(path, clock=clock)
    journal.append([finished(number) for number in range(5)])
    assert len(synced) == 1
    journal.append([finished(5)])
    journal.close()
    reopened = Journal(path, clock=clock)
    assert [reopened.find(f"job-{number}", f"digest-{number}") for number in range(6)] == [
        *map(result, range(6))
    ]
    reopened.close()


@pytest.mark.usefixtures("unsynced")
def test_group_cut_at_any_byte_is_forgotten_as_a_whole(path: Path, clock: FakeClock) -> None:
    sizes = fill(path, clock, 2)
    journal = Journal(path, clock=clock)
    journal.append([finished(number) for number in range(2, 5)])
    journal.close()
    whole = path.read_bytes()
    for end in range(sizes[1], len(whole)):
        path.write_bytes(whole[:end])
        journal = Journal(path, clock=clock)
        assert [f"job-{number}" in journal for number in range(5)] == [True, True, False, False, False], end
        journal.close()


def test_part_of_a_group_that_the_disk_never_got_is_a_torn_end_and_no_damage(
    path: Path, clock: FakeClock
) -> None:
    sizes = fill(path, clock, 1)
    journal = Journal(path, clock=clock)
    journal.append([finished(1), finished(2)])
    journal.close()
    whole = path.read_bytes()
    middle = (sizes[0] + len(whole)) // 2
    path.write_bytes(whole[: middle - 20] + bytes(20) + whole[middle:])
    journal = Journal(path, clock=clock)
    assert ("job-0" in journal, "job-1" in journal, "job-2" in journal) == (True, False, False)
    journal.close()


def test_records_of_before_transactions_were_counted_are_read_and_count_nothing(
    path: Path, clock: FakeClock
) -> None:
    payload = json.dumps(["job-0", "digest-0", 1, {"update": "0"}], separators=(",", ":")).encode()
    length = struct.pack(">I", len(payload))
    head = length + struct.pack(">I", zlib.crc32(length)) + hashlib.sha256(payload).digest()
    path.write_bytes(head + payload)
    journal = Journal(path, clock=clock)
    assert journal.find("job-0", "digest-0") == result(0)
    assert journal.spent == 0
    journal.append([finished(1, transactions=2)])
    assert journal.spent == 2
    journal.close()


def test_transactions_spent_survive_a_restart_and_the_end_of_both_generations(
    path: Path, clock: FakeClock
) -> None:
    journal = Journal(path, clock=clock, generation_bytes=1)
    journal.append([finished(0, transactions=3), finished(1, transactions=4)])
    for number in range(2, 6):
        clock.advance(timedelta(hours=2))
        journal.append([finished(number)])
        journal.close()
        journal = Journal(path, clock=clock, generation_bytes=1)
        assert journal.spent == 7
    assert "job-0" not in journal
    journal.append([finished(6, transactions=1)])
    assert journal.spent == 8
    journal.close()


def test_record_whose_sync_failed_is_not_found_later_although_its_bytes_were_written(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path, clock=clock)
    journal.append([finished(0, transactions=1)])

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(BoxJournalUnwritable):
        journal.append([finished(1, transactions=1)])
    monkeypatch.undo()
    journal.close()
    reopened = Journal(path, clock=clock)
    assert ("job-0" in reopened, "job-1" in reopened, reopened.spent) == (True, False, 1)
    reopened.close()


def test_newest_jobs_are_named_the_oldest_of_them_first(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock=clock, generation_bytes=1)
    for number in range(4):
        journal.append([finished(number)])
    assert journal.newest(10) == ["job-0", "job-1", "job-2", "job-3"]
    assert journal.newest(2) == ["job-2", "job-3"]
    journal.close()


def set_aside(path: Path) -> None:
    for each in (path, path.with_name(path.name + ".1")):
        if each.exists():
            each.rename(each.with_name("aside " + each.name))


@pytest.mark.usefixtures("unsynced")
def test_total_outlives_a_journal_that_was_damaged_anywhere_and_set_aside(
    tmp_path: Path, clock: FakeClock
) -> None:
    """All but the damaged group says what was spent; the last one has it all."""
    first = tmp_path / "first.journal"
    journal = Journal(first, clock=clock)
    for number in range(3):
        journal.append([finished(number, transactions=2), finished(number + 10, transactions=1)])
    size = first.stat().st_size
    journal.close()
    whole = first.read_bytes()
    for position in range(0, size * 2 // 3 - 1):
        path = tmp_path / str(position) / "box.journal"
        path.parent.mkdir()
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(BoxJournalDamaged):
            Journal(path, clock=clock)
        set_aside(path)
        again = Journal(path, clock=clock)
        assert again.spent == 9
        again.append([finished(20, transactions=1)])
        assert again.spent == 10
        again.close()


def test_total_of_the_last_start_outlives_a_journal_that_is_gone(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock=clock)
    journal.append([finished(0, transactions=3)])
    journal.close()
    Journal(path, clock=clock).close()
    set_aside(path)
    journal = Journal(path, clock=clock)
    assert journal.spent == 3
    journal.close()
    remove_journal(path)
    journal = Journal(path, clock=clock)
    assert journal.spent == 0, "a box of the same name is another one"
    journal.close()


def test_total_that_cannot_be_read_or_written_stops_the_box_only_if_nobody_else_knows_it(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path, clock=clock)
    journal.append([finished(0, transactions=3)])
    journal.close()
    beside = path.with_name("box.journal.spent")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(journal_total, "replace_file", full)
        journal = Journal(path, clock=clock)
        assert (journal.spent, "job-0" in journal) == (3, True)
        journal.close()
    beside.write_text("?")
    Journal(path, clock=clock).close()
    assert beside.read_text() == "3"
    beside.write_text("?")
    set_aside(path)
    with pytest.raises(BoxJournalDamaged):
        Journal(path, clock=clock)


def test_total_of_the_newer_file_counts_when_the_older_one_is_damaged(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock=clock, generation_bytes=1)
    for number in range(2):
        journal.append([finished(number, transactions=1)])
    journal.append([finished(2, transactions=1), finished(3, transactions=1)])
    journal.close()
    older = path.with_name("box.journal.1")
    older.write_bytes(b"?" + older.read_bytes()[1:])
    with pytest.raises(BoxJournalDamaged):
        Journal(path, clock=clock)
    set_aside(path)
    journal = Journal(path, clock=clock)
    assert journal.spent == 4
    journal.close()
