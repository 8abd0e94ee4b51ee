"""Every decision can be read, in both languages."""

from __future__ import annotations

from typing import get_args

from app.operations.reconcile.past import Action, Reason
from app.operations.reconcile.words import ACTIONS, REASONS


def test_every_action_and_reason_has_its_words() -> None:
    assert set(REASONS) == set(get_args(Reason))
    assert set(ACTIONS) == set(get_args(Action))
    for english, german in (*REASONS.values(), *ACTIONS.values()):
        assert english
        assert german
        assert english != german
