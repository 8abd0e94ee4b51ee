from __future__ import annotations

import errno
import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway.error import BoxJournalDamaged, BoxJournalUnwritable, JobIdReused
from fsb_gateway.journal import Journal
from tests.fake.clock import FakeClock


def result(number: int) -> bytes:
    return b'{"update":"%d"}' % number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "box.journal"


def fill(path: Path, clock: FakeClock, count: int = 3) -> list[int]:
    """Write some records; returns the file's size after each."""
    journal = Journal(path, clock=clock)
    sizes = []
    for number in range(count):
        journal.append(f"job-{number}", f"digest-{number}", result(number))
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
        journal.append("job-2", "digest-2", result(2))
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
    journal.append("job-0", "d", result(0))
    journal.append("job-1", "d", result(1))
    clock.advance(timedelta(hours=1) - timedelta(microseconds=1))
    journal.append("job-2", "d", result(2))
    assert [journal.find(f"job-{number}") for number in range(3)] == [*map(result, range(3))]
    clock.advance(timedelta(microseconds=1))
    journal.append("job-3", "d", result(3))
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
    journal.append("job-0", "d", result(0))
    real = os.pwrite

    def half_written(descriptor: int, content: bytes, offset: int) -> int:
        return real(descriptor, content[: len(content) // 2], offset)

    monkeypatch.setattr(os, "pwrite", half_written)
    with pytest.raises(BoxJournalUnwritable):
        journal.append("job-1", "d", result(1))
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
        journal.append("job-0", "d", result(0))
    assert journal.find("job-0") is None
    journal.close()


def test_second_box_on_the_same_journal_is_refused(path: Path, clock: FakeClock) -> None:
    first = Journal(path, clock=clock)
    with pytest.raises(BoxJournalUnwritable):
        Journal(path, clock=clock)
    first.append("job-0", "d", result(0))
    first.close()
    second = Journal(path, clock=clock)
    assert second.find("job-0") == result(0)
    second.close()


def test_journal_that_cannot_be_opened_is_said(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "box.journal").mkdir()
    with pytest.raises(BoxJournalUnwritable):
        Journal(tmp_path / "box.journal", clock=clock)
