from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.licensing.errors import TicketMalformed
from app.licensing.order.ticket_code import (
    ALPHABET,
    GROUP,
    LENGTH,
    check_character,
    format_ticket,
    new_ticket,
    parse_ticket,
)

drawn = st.text(ALPHABET, min_size=LENGTH - 1, max_size=LENGTH - 1)


def plain(drawn_characters: str) -> str:
    return drawn_characters + check_character(drawn_characters)


def is_ticket(characters: str) -> bool:
    try:
        parse_ticket(format_ticket(characters))
    except TicketMalformed:
        return False
    return True


def test_alphabet_leaves_out_what_people_confuse() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 31
    assert not set("01OIL") & set(ALPHABET)
    assert "".join(sorted(ALPHABET)) == ALPHABET


def test_new_ticket_is_five_groups_of_five_and_reads_itself() -> None:
    tickets = {new_ticket() for _ in range(200)}
    assert len(tickets) == 200
    for ticket in tickets:
        groups = ticket.split("-")
        assert [len(group) for group in groups] == [GROUP] * 5
        assert set("".join(groups)) <= set(ALPHABET)
        assert parse_ticket(ticket) == ticket


@given(drawn)
@example("2" * 24)
@example("Z" * 24)
def test_every_single_wrong_character_is_noticed(characters: str) -> None:
    ticket = plain(characters)
    assert is_ticket(ticket)
    for place in range(LENGTH):
        for other in ALPHABET:
            if other != ticket[place]:
                assert not is_ticket(ticket[:place] + other + ticket[place + 1 :])


@given(drawn)
def test_every_exchange_of_two_characters_is_noticed(characters: str) -> None:
    ticket = plain(characters)
    for first in range(LENGTH):
        for second in range(first + 1, LENGTH):
            if ticket[first] != ticket[second]:
                swapped = list(ticket)
                swapped[first], swapped[second] = swapped[second], swapped[first]
                assert not is_ticket("".join(swapped))


@given(drawn, st.sampled_from(["", "-", " ", "  ", " - "]), st.booleans())
def test_ticket_is_read_as_people_type_it(characters: str, between: str, small: bool) -> None:
    ticket = format_ticket(plain(characters))
    typed = between.join(ticket.split("-"))
    assert parse_ticket(f" {typed.lower() if small else typed}\n") == ticket


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----",
        "ABCDE",
        "2" * 24,
        "2" * 26,
        "2" * 65,
        "0" * 25,
        "22222-22222-22222-22222-2222I",
        "22222-22222-22222-22222-2222ß",
        "\N{FULLWIDTH DIGIT TWO}" * 25,
        "22222_22222_22222_22222_22222",
    ],
)
def test_something_else_is_no_ticket(text: str) -> None:
    with pytest.raises(TicketMalformed):
        parse_ticket(text)


@given(st.text(max_size=70))
def test_any_text_is_a_ticket_or_refused(text: str) -> None:
    try:
        ticket = parse_ticket(text)
    except TicketMalformed:
        return
    assert parse_ticket(ticket) == ticket
