"""Tickets: five groups of five characters that people read out on the phone. Pure.

24 random characters of 31 (119 bits) and one check character. 31 is prime and every place has its own weight
below 31, so every single wrong character and every exchange of two characters is noticed. 0, O, 1, I and L
are left out, because people confuse them.
"""

from __future__ import annotations

import secrets
from typing import Final

from app.licensing.errors import TicketMalformed

ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
LENGTH: Final = 25
GROUP: Final = 5
_VALUE: Final = {character: value for value, character in enumerate(ALPHABET)}
_MODULUS: Final = len(ALPHABET)


def new_ticket() -> str:
    """Draw a ticket that nobody can guess."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
    return format_ticket(drawn + check_character(drawn))


def check_character(characters: str) -> str:
    """The character that makes the weighted sum of a ticket divisible by 31.

    Args:
        characters: the first 24 characters, without dashes.
    """
    weighted = sum((place + 1) * _VALUE[character] for place, character in enumerate(characters))
    # The check character stands at place 25; 5 is the inverse of 25 modulo 31 (25 · 5 = 125 = 4 · 31 + 1).
    return ALPHABET[(-weighted * 5) % _MODULUS]


def format_ticket(characters: str) -> str:
    """Put 25 characters into five groups."""
    return "-".join(characters[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def parse_ticket(text: str) -> str:
    """Read a ticket as people type it: any case, with or without dashes and blanks.

    Raises:
        TicketMalformed: wrong characters, wrong length, or the check character does not fit.
    """
    if len(text) > 64:
        raise TicketMalformed("A ticket has 25 characters in five groups.")
    characters = "".join(text.upper().replace("-", " ").split())
    if len(characters) != LENGTH:
        raise TicketMalformed("A ticket has 25 characters in five groups.")
    unknown = sorted(set(characters) - set(ALPHABET))
    if unknown:
        raise TicketMalformed("A ticket has only digits 2-9 and letters without I, L and O.")
    if check_character(characters[:-1]) != characters[-1]:
        raise TicketMalformed(
            "The check character does not fit; please compare the ticket character by character."
        )
    return format_ticket(characters)
