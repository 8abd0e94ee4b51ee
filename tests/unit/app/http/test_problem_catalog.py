"""The catalogue is whole: every error of the product has a row, every row has its texts."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from app.core.errors import DomainError
from app.http.problem_catalog import (
    INTERNAL_ERROR,
    PROBLEM_BY_CODE,
    PROBLEM_KINDS,
    WITHHELD,
    problem_kind_of,
)
from app.http.problem_catalog_kind import ProblemKind
from app.licensing.errors import ItemNotFound
from tests.architecture.source import iter_modules, module_name, relative

HTTP_ONLY = {
    "request_invalid": 422,
    "json_malformed": 422,
    "body_too_large": 413,
    "media_type_unsupported": 415,
    "route_not_found": 404,
    "method_not_allowed": 405,
    "idempotency_key_missing": 400,
    "idempotency_key_invalid": 400,
    "if_match_missing": 428,
    "cursor_invalid": 422,
    "internal_error": 500,
    "request_refused": 400,
    # What the load balancer answers itself.
    "caller_too_fast": 429,
    "front_failed": 500,
    "line_failed": 502,
    "control_unavailable": 503,
    "line_too_slow": 504,
}
DECIDED = {
    "caller_denied": 403,
    "request_too_slow": 408,
    "caller_too_fast": 429,
    "item_version_conflict": 412,
    "policy_version_conflict": 412,
    "edition_feature_unavailable": 403,
    "network_not_allowed": 403,
    "access_closed": 403,
    "scope_missing": 403,
    "credentials_missing": 401,
    "credentials_invalid": 401,
    "staff_token_invalid": 401,
    "quota_exceeded": 429,
    "box_queue_full": 429,
    "database_unavailable": 503,
    "commit_outcome_unknown": 503,
    "fsb_unavailable": 503,
    "transfer_rolled_back": 503,
    "instance_not_ready": 503,
    "operation_in_progress": 409,
    "context_wrong_container": 409,
    "context_wrong_firm_code": 409,
    "instance_not_found": 404,
    "ticket_unknown": 404,
    "ticket_malformed": 422,
    "quantity_out_of_range": 422,
    "file_malformed": 422,
    "context_untrusted": 422,
}


@cache
def domain_errors() -> tuple[type[DomainError], ...]:
    """Every subclass in the product's modules, by code."""
    for path in iter_modules():
        if path.name != "__main__.py":
            importlib.import_module(module_name(relative(path)))
    ours = {kind for kind in _subclasses(DomainError) if not kind.__module__.startswith("tests.")}
    return tuple(sorted(ours, key=lambda kind: (kind.code, kind.__module__)))


def _subclasses(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def test_every_error_of_the_product_has_a_row() -> None:
    missing = {
        f"{kind.__module__}.{kind.__name__}" for kind in domain_errors() if kind.code not in PROBLEM_BY_CODE
    }
    assert missing == set()


def test_every_row_is_of_an_error_or_of_http_itself() -> None:
    raised = {kind.code for kind in domain_errors()} | set(HTTP_ONLY)
    assert set(PROBLEM_BY_CODE) - raised == set()


def test_codes_are_unique() -> None:
    own = Counter(kind.code for kind in domain_errors() if "code" in vars(kind))
    assert {code for code, count in own.items() if count > 1} == set()
    assert len({kind.code for kind in PROBLEM_KINDS}) == len(PROBLEM_KINDS)


def test_only_withheld_codes_are_told_as_another_one() -> None:
    renamed = {code for code, kind in PROBLEM_BY_CODE.items() if kind.code != code}
    assert renamed == WITHHELD
    assert {PROBLEM_BY_CODE[code] for code in WITHHELD} == {INTERNAL_ERROR}


@pytest.mark.parametrize("kind", PROBLEM_KINDS, ids=lambda kind: kind.code)
def test_row_has_texts_in_both_languages(kind: ProblemKind) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", kind.code)
    assert kind.slug == kind.code.replace("_", "-")
    for title in (kind.title_en, kind.title_de):
        assert 3 <= len(title) <= 60
        assert not title.endswith(".")
    for hotline in (kind.hotline_en, kind.hotline_de):
        assert hotline == " ".join(hotline.split())
        assert hotline.endswith(".")
        assert 1 <= len(re.findall(r"\.(?: |$)", hotline)) <= 2
    assert kind.title_en != kind.title_de
    assert kind.hotline_en != kind.hotline_de


@pytest.mark.parametrize("kind", PROBLEM_KINDS, ids=lambda kind: kind.code)
def test_pause_is_given_where_coming_back_helps(kind: ProblemKind) -> None:
    if kind.status in (429, 503):
        assert kind.retryable
    if kind.retryable:
        assert kind.status in (409, 429, 503)
        assert kind.retry_after_s is not None
        assert kind.retry_after_s > 0


@pytest.mark.parametrize(("code", "status"), sorted({**HTTP_ONLY, **DECIDED}.items()))
def test_status_is_the_decided_one(code: str, status: int) -> None:
    assert PROBLEM_BY_CODE[code].status == status


def test_no_line_of_a_text_was_joined_with_a_stray_blank() -> None:
    stray = re.compile(r"\w- (?!und |oder |and |or )|  |\s$|^\s")
    texts = [
        text
        for kind in PROBLEM_KINDS
        for text in (kind.title_de, kind.title_en, kind.hotline_de, kind.hotline_en)
    ]
    assert [text for text in texts if stray.search(text)] == []


def test_titles_of_different_kinds_differ() -> None:
    for titles in ([kind.title_en for kind in PROBLEM_KINDS], [kind.title_de for kind in PROBLEM_KINDS]):
        assert [title for title, count in Counter(titles).items() if count > 1] == []


def test_nothing_is_said_about_keys_of_ours() -> None:
    for kind in domain_errors():
        if kind.__name__.startswith(("Key", "CredentialKey")) and kind.__module__ != "app.licensing.errors":
            assert PROBLEM_BY_CODE[kind.code] is INTERNAL_ERROR


def test_error_without_a_row_is_told_as_its_nearest_ancestor() -> None:
    # Made without a class statement that would add to what the other tests find.
    orphan = ItemNotFound("There is no item X.")
    orphan.__class__ = type("Orphan", (ItemNotFound,), {"code": "orphan", "__module__": "tests.orphan"})
    assert problem_kind_of(orphan).code == "item_not_found"


@pytest.mark.parametrize("kind", PROBLEM_KINDS, ids=lambda kind: kind.code)
def test_german_texts_say_linie(kind: ProblemKind) -> None:
    assert not re.search(r"\bLines?\b", f"{kind.title_de} {kind.hotline_de}")
