from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InputInvalid
from tenancy.credential import CredentialKey
from tenancy.staff.errors import PersonLocal
from tenancy.staff.person import PersonKeys, check_person

KEYS = PersonKeys(CredentialKey(bytes(range(32))))
OTHER = PersonKeys(CredentialKey(bytes(range(1, 33))))


@pytest.mark.parametrize("text", ["Mona@Wops.example", " mona@wops.example\t", "MONA@WOPS.EXAMPLE"])
def test_a_person_is_named_in_one_way(text: str) -> None:
    assert check_person(text) == "mona@wops.example"


@given(st.text())
def test_names_are_short_visible_ascii_or_refused(text: str) -> None:
    try:
        name = check_person(text)
    except (InputInvalid, PersonLocal):
        return
    assert check_person(name) == name
    assert name.isascii()
    assert name.isprintable()
    assert 2 <= len(name) <= 120
    assert name == name.lower()
    assert " " not in name


def test_name_opens_with_its_own_key_of_its_own_person_under_the_right_wrapping() -> None:
    wrapped, sealed = KEYS.make("per_1", "mona")
    assert KEYS.open_name("per_1", sealed, wrapped) == "mona"
    other_wrapped, other_sealed = KEYS.make("per_1", "mona")
    assert other_sealed != sealed
    for person, name, key in (
        ("per_2", sealed, wrapped),
        ("per_1", sealed, other_wrapped),
        ("per_1", other_sealed, wrapped),
        ("per_1", sealed[:-8] + "AAAAAAA=", wrapped),
        ("per_1", "x", wrapped),
        ("per_1", "", wrapped),
        ("per_1", sealed, "é"),
        ("per_1", sealed, None),
    ):
        assert KEYS.open_name(person, name, key) is None
    assert OTHER.open_name("per_1", sealed, wrapped) is None
