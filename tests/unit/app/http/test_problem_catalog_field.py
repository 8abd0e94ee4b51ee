"""Faults of single fields: stable codes, and nothing of what was sent."""

from __future__ import annotations

import json
import string
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core.core_schema import ErrorType

from app.http.problem_catalog_field import FIELD_TEXTS, FIELDS_MAX, field_code, field_problems


class Position(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    sku: Annotated[str, Field(pattern=r"^[a-z]+$", max_length=8)]
    quantity: Annotated[int, Field(ge=1, le=100)]


class Draft(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: str
    action: Literal["activate", "deactivate"] = "activate"
    positions: Annotated[list[Position], Field(max_length=50)] = []
    price: Annotated[Decimal, Field(max_digits=4)] | None = None
    features: dict[str, int] = {}

    @field_validator("number")
    @classmethod
    def check_number(cls, value: str) -> str:
        if not value.isdigit():
            raise ValueError(f"{value} is no number")
        return value


def faults_of(content: object) -> list[dict[str, Any]]:
    try:
        Draft.model_validate(content)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        return [dict(each) for each in field_problems(found)]
    return []


@pytest.mark.parametrize(
    ("content", "pointer", "code"),
    [
        ({}, "/number", "field_missing"),
        ({"number": "1", "color": 1}, "/color", "unknown_field"),
        ({"number": 1}, "/number", "type_wrong"),
        ({"number": "x"}, "/number", "value_invalid"),
        ({"number": "1", "action": "x"}, "/action", "value_not_offered"),
        ({"number": "1", "positions": {}}, "/positions", "type_wrong"),
        ({"number": "1", "positions": [{}] * 51}, "/positions", "length_out_of_range"),
        (
            {"number": "1", "positions": [{"sku": "a", "quantity": 0}]},
            "/positions/0/quantity",
            "value_out_of_range",
        ),
        (
            {"number": "1", "positions": [{"sku": "a", "quantity": "1"}]},
            "/positions/0/quantity",
            "type_wrong",
        ),
        ({"number": "1", "positions": [{"sku": "A", "quantity": 1}]}, "/positions/0/sku", "format_wrong"),
        ({"number": "1", "price": "12345"}, "/price", "value_out_of_range"),
        ("no object", "", "type_wrong"),
    ],
)
def test_fault_has_a_pointer_and_a_stable_code(content: object, pointer: str, code: str) -> None:
    fault = faults_of(content)[0]
    assert (fault["in"], fault["pointer"], fault["code"]) == ("body", pointer, code)
    assert str(fault["detail"]).startswith(FIELD_TEXTS[code])


def test_bounds_of_the_schema_are_told() -> None:
    position = {"sku": "a", "quantity": 0}
    assert faults_of({"number": "1", "positions": [position]})[0]["detail"].endswith("Allowed: at least 1.")
    told = faults_of({"number": "1", "action": "x"})[0]["detail"]
    assert told.endswith("Allowed: one of 'activate' or 'deactivate'.")


def test_parameters_have_their_place_and_name() -> None:
    errors: list[dict[str, object]] = [
        {"type": "missing", "loc": ("header", "idempotency-key")},
        {"type": "less_than_equal", "loc": ("query", "limit"), "ctx": {"le": 100}},
        {"type": "extra_forbidden", "loc": ("query", "NFGSX-VWNYJ-T74CD-48H5B-7NEEJ")},
        {"type": "int_parsing", "loc": ()},
    ]
    told = [(each["in"], each["pointer"], each["code"]) for each in field_problems(errors)]
    assert told == [
        ("header", "/idempotency-key", "field_missing"),
        ("query", "/limit", "value_out_of_range"),
        ("query", "", "unknown_field"),
        ("body", "", "type_wrong"),
    ]


def test_number_of_faults_and_depth_of_pointers_are_bounded() -> None:
    many = [{"type": "missing", "loc": ("body", f"field_{number}")} for number in range(100)]
    assert len(field_problems(many)) == FIELDS_MAX
    deep = field_problems([{"type": "missing", "loc": ("body", *["a"] * 1000)}])
    assert len(str(deep[0]["pointer"])) < 100


def test_context_of_a_foreign_type_is_not_told() -> None:
    error = {"type": "made_up", "loc": ("body", "a"), "ctx": {"expected": "hunter2", "ge": "hunter2"}}
    assert "hunter2" not in json.dumps(field_problems([error]))


@pytest.mark.parametrize("pydantic_type", get_args(ErrorType))
def test_every_type_of_pydantic_has_a_code(pydantic_type: str) -> None:
    code = field_code(pydantic_type)
    assert code in FIELD_TEXTS
    # What cannot come from a JSON document stays general; nothing else does.
    if pydantic_type.endswith(("_type", "_parsing")):
        assert code in ("type_wrong", "format_wrong")


@given(secret=st.text(string.ascii_letters + string.digits + "-_", min_size=43, max_size=60), data=st.data())
def test_secret_is_never_told_wherever_it_slipped_in(secret: str, data: st.DataObject) -> None:
    content = data.draw(
        st.sampled_from(
            [
                secret,
                {secret: "1"},
                {"number": secret},
                {"number": "1", secret: secret},
                {"number": "1", "action": secret},
                {"number": "1", "price": secret},
                {"number": "1", "positions": [secret]},
                {"number": "1", "positions": [{"sku": secret, "quantity": secret, secret: 1}]},
                {"number": "1", "features": {secret: "x"}},
                {"number": "1", "features": {secret: {secret: secret}}},
            ]
        )
    )
    told = faults_of(content)
    assert told
    assert secret not in json.dumps(told)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(Draft.model_fields)), inner)
        ),
    )
)
def test_whatever_is_sent_the_answer_is_small_and_made_of_our_words(content: object) -> None:
    for fault in faults_of(content):
        assert set(fault) == {"in", "pointer", "code", "detail"}
        assert len(fault["pointer"]) <= 12 * 41
        text = FIELD_TEXTS[fault["code"]]
        assert fault["detail"] == text or fault["detail"].startswith(f"{text} Allowed: ")
