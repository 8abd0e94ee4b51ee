"""Bodies that boxes and firm keys are asked for with have an example that is accepted; answers are described."""

from __future__ import annotations

from typing import Any

import pytest

from app.http.schema import box, box_example, firm_key, pool, queue, staff
from app.http.schema.model import AnswerModel, RequestModel
from tenancy.box.record import MOST_LOADED

BODIES: tuple[type[RequestModel], ...] = (
    box.BoxCreateBody,
    box.BoxChangeBody,
    box.BoxLoanBody,
    box.TransactionLoadBody,
    firm_key.KeyCopyBody,
    firm_key.KeyMoveBody,
    staff.GuardedAsk,
)
ANSWERS: tuple[type[AnswerModel], ...] = (
    box.BoxRead,
    box.FaultsRead,
    box.TokenRead,
    pool.PoolRead,
    pool.PoolDetailRead,
    pool.InstanceShareRead,
    pool.QuantilesRead,
    pool.FleetQueueRead,
    queue.QueuedJobRead,
    queue.FinishedJobsRead,
)


def examples_of(model: type[RequestModel]) -> list[dict[str, Any]]:
    """Those of the whole body, else one put together from those of its fields, as tools do it."""
    schema = model.model_json_schema()
    given = schema.get("examples")
    if given:
        return list(given)
    return [{name: each["examples"][0] for name, each in schema["properties"].items()}]


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_body_has_an_example_that_is_accepted(model: type[RequestModel]) -> None:
    for example in examples_of(model):
        model.model_validate(example)


@pytest.mark.parametrize("model", ANSWERS, ids=lambda model: model.__name__)
def test_every_field_of_an_answer_is_described(model: type[AnswerModel]) -> None:
    fields = model.model_json_schema()["properties"]
    assert [name for name, each in fields.items() if not each.get("description")] == []


def test_example_of_pools_shows_every_field_with_a_value() -> None:
    """FastAPI leaves out of an example what is null."""
    shown = (box_example.POOL, box_example.POOL_WITHOUT_BOX)
    assert {name for each in shown for name, value in each.items() if value is not None} == set(
        pool.PoolRead.model_fields
    )
    for each in shown:
        pool.PoolRead.model_validate(each)


def test_box_comes_with_no_more_transactions_than_can_be_loaded() -> None:
    described = box.BoxCreateBody.model_json_schema()["properties"]["transactions_loaded"]
    assert described["maximum"] == MOST_LOADED
