from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from app.core.errors import DatabaseUnavailable
from app.operations.denied_book import DeniedBook, PlatformDenials, ToldDenials
from tenancy.front.denied import Denial
from tenancy.front.denied_file import DENIED_FILE, read_denials, write_denials
from tenancy.front.errors import CallerDenied
from tenancy.line_file import LineFileDamaged
from tests.fake.clock import FakeClock

DENIAL = Denial(network=ip_network("192.0.2.0/24"))


class Platform:
    """The platform database."""

    def __init__(self) -> None:
        self.change = 1
        self.denials: tuple[Denial, ...] = ()
        self.reads = 0
        self.is_away = False

    def last_change(self) -> int:
        if self.is_away:
            raise DatabaseUnavailable("away")
        return self.change

    def list_denials(self) -> tuple[Denial, ...]:
        self.reads += 1
        return self.denials

    def set(self, *denials: Denial) -> None:
        self.denials = denials
        self.change += 1


def is_denied(book: DeniedBook) -> bool:
    try:
        book.refuse(ip_address("192.0.2.7"))
    except CallerDenied:
        return True
    return False


def book_of(platform: Platform, clock: FakeClock, lines: Path | None = None) -> DeniedBook:
    denials = PlatformDenials(platform.last_change, platform.list_denials, clock=clock)
    return DeniedBook(denials, clock=clock, lines=lines)


def test_change_is_taken_over_and_nothing_is_read_without_one() -> None:
    platform, clock = Platform(), FakeClock()
    book = book_of(platform, clock)
    for _ in range(3):
        book.look()
    assert (is_denied(book), platform.reads) == (False, 1)
    platform.set(DENIAL)
    book.look()
    assert (is_denied(book), platform.reads) == (True, 2)
    clock.advance(timedelta(seconds=10))
    book.look()
    assert platform.reads == 3, "whatever events say"


def test_denial_ends_while_the_database_is_away() -> None:
    platform, clock = Platform(), FakeClock()
    book = book_of(platform, clock)
    platform.set(Denial(network=DENIAL.network, until=clock.now() + timedelta(minutes=1)))
    book.look()
    platform.is_away = True
    clock.advance(timedelta(seconds=59))
    with pytest.raises(DatabaseUnavailable):
        book.look()
    assert is_denied(book)
    clock.advance(timedelta(seconds=1))
    assert not is_denied(book)


def test_lines_are_told_and_told_again_if_the_file_was_lost(tmp_path: Path) -> None:
    platform, clock = Platform(), FakeClock()
    book = book_of(platform, clock, tmp_path)
    platform.set(DENIAL)
    book.look()
    assert read_denials(tmp_path) == (DENIAL,)
    (tmp_path / DENIED_FILE).unlink()
    clock.advance(timedelta(seconds=10))
    book.look()
    assert read_denials(tmp_path) == (DENIAL,)


def test_network_is_denied_here_though_lines_cannot_be_told_and_they_are_with_the_next_look(
    tmp_path: Path,
) -> None:
    platform = Platform()
    book = book_of(platform, FakeClock(), tmp_path)
    platform.set(DENIAL)
    in_the_way = tmp_path / f"{DENIED_FILE}.new"
    in_the_way.mkdir()
    with pytest.raises(OSError, match=DENIED_FILE):
        book.look()
    assert is_denied(book)
    in_the_way.rmdir()
    book.look()
    assert read_denials(tmp_path) == (DENIAL,)


def test_line_follows_the_file_and_keeps_what_it_knows_when_that_is_broken_or_gone(tmp_path: Path) -> None:
    book = DeniedBook(ToldDenials(tmp_path), clock=FakeClock())
    book.look()
    assert not is_denied(book)
    write_denials(tmp_path, [DENIAL])
    book.look()
    assert is_denied(book)
    path = tmp_path / DENIED_FILE
    path.write_bytes(b"rubbish")
    for _ in range(2):
        with pytest.raises(LineFileDamaged):
            book.look()
    path.unlink()
    book.look()
    assert is_denied(book)
    write_denials(tmp_path, [])
    book.look()
    assert not is_denied(book)
