"""Errors carry a code, a message and facts."""

from __future__ import annotations

import re

from app.core import errors
from app.core.errors import DatabaseUnavailable, DomainError, InputInvalid

KERNEL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DomainError)]


def test_codes_are_stable_words_and_each_is_used_once() -> None:
    codes = [error.code for error in KERNEL]
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not re.fullmatch(r"[a-z][a-z_]+", code)] == []


def test_error_carries_its_facts() -> None:
    error = InputInvalid("Too large.", field="quantity", most=100)
    assert (error.code, error.message, str(error)) == ("input_invalid", "Too large.", "Too large.")
    assert error.detail == {"field": "quantity", "most": 100}


def test_unknown_outcome_is_answered_like_an_absent_database() -> None:
    assert issubclass(errors.CommitOutcomeUnknown, DatabaseUnavailable)
