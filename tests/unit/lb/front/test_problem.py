"""The front answers as lines do."""

from __future__ import annotations

import json

import pytest

from app.http.problem_catalog import PROBLEM_BY_CODE
from lb.front.problem import FRONT_PROBLEMS, answer


@pytest.mark.parametrize("code", sorted(FRONT_PROBLEMS))
def test_a_problem_of_the_front_is_that_of_the_catalogue(code: str) -> None:
    ours, kind = FRONT_PROBLEMS[code], PROBLEM_BY_CODE[code]
    assert (ours.code, ours.status) == (kind.code, kind.status)
    assert (ours.title_en, ours.hotline_en) == (kind.title_en, kind.hotline_en)
    assert (ours.title_de, ours.hotline_de) == (kind.title_de, kind.hotline_de)
    assert ours.retry_after_s == kind.retry_after_s


@pytest.mark.parametrize("code", sorted(FRONT_PROBLEMS))
def test_its_content_is_json_whatever_haproxy_puts_in(code: str) -> None:
    text = FRONT_PROBLEMS[code].body.replace("%[var(txn.rid)]", "req_1").replace("%[var(txn.retry)]", "60")
    assert "%" not in text
    problem = json.loads(text)
    assert problem["code"] == code
    assert problem["type"] == f"/problems/{code.replace('_', '-')}"
    assert problem["instance"] == "urn:wops:request:req_1"
    assert problem["retryable"] == ("retry_after_s" in problem)


def test_a_rule_names_its_own_time_to_come_back() -> None:
    assert "hdr Retry-After %[var(txn.retry)]" in answer("/x", "rule_maintenance")
