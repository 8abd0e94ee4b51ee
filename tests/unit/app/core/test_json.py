"""JSON has one form for one value."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.json import JsonValue, dump_json, load_json, load_object

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_value_survives_and_its_text_written_again_is_the_same_text(value: JsonValue) -> None:
    text = dump_json(value)
    assert load_json(text) == value
    assert dump_json(load_json(text)) == text


@given(st.dictionaries(st.text(), st.integers()), st.randoms(use_true_random=False))
def test_order_of_members_makes_no_difference(value: dict[str, int], shuffler: random.Random) -> None:
    members = list(value.items())
    shuffler.shuffle(members)
    assert dump_json(dict(members)) == dump_json(value)


def test_form_is_compact_sorted_and_keeps_letters() -> None:
    assert (
        dump_json({"b": [1, 2.5, None, True], "a": {"ü": "ß€"}}) == '{"a":{"ü":"ß€"},"b":[1,2.5,null,true]}'
    )


def test_text_stays_on_one_line() -> None:
    assert "\n" not in dump_json({"a": "x\r\ny"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_does_not_know_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump_json({"n": value})


def test_object_is_an_object() -> None:
    assert load_object('{"a":1}') == {"a": 1}
    with pytest.raises(TypeError, match="list"):
        load_object("[1]")
    with pytest.raises(json.JSONDecodeError):
        load_object("{")
