"""The pages that explain problems."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.core.language import choose_language
from app.http.problem_catalog import PROBLEM_BY_CODE, PROBLEM_KINDS
from app.http.problem_catalog_kind import ProblemKind
from app.web import create_problem_router
from app.web.problem_page import STATUS_MEANINGS


def make_client(*kinds: ProblemKind) -> TestClient:
    app = FastAPI()
    app.include_router(create_problem_router(kinds))
    return TestClient(app)


@pytest.fixture(scope="module")
def client() -> TestClient:
    return make_client(*PROBLEM_KINDS)


@pytest.mark.parametrize("kind", PROBLEM_KINDS, ids=lambda kind: kind.code)
def test_every_code_has_a_page_in_both_languages(client: TestClient, kind: ProblemKind) -> None:
    answer = client.get(f"/problems/{kind.slug}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text = unescape(answer.text)
    for wanted in (kind.code, kind.title_de, kind.title_en, kind.hotline_de, kind.hotline_en):
        assert wanted in text
    for meaning in STATUS_MEANINGS[kind.status]:
        assert meaning in text
    assert str(kind.status) in text


@pytest.mark.parametrize(
    ("query", "header", "first"),
    [
        ("", None, "en"),
        ("", "de-DE,de;q=0.9,en;q=0.8", "de"),
        ("", "fr,en;q=0.5,de;q=0.4", "en"),
        ("?lang=de", "en", "de"),
        ("?lang=en", "de", "en"),
        ("?lang=fr", "de", "de"),
    ],
)
def test_wanted_language_comes_first(client: TestClient, query: str, header: str | None, first: str) -> None:
    headers = {"accept-language": header} if header is not None else {"accept-language": ""}
    answer = client.get(f"/problems/ticket-unknown{query}", headers=headers)
    assert re.findall(r'<section lang="(..)">', answer.text) == [first, "en" if first == "de" else "de"]
    assert f'<html lang="{first}">' in answer.text
    assert answer.headers["vary"] == "Accept-Language"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("*", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("de;q=0", "en"),
        ("de;q=x", "en"),
        ("de;q=nan", "en"),
        ("en;q=0.1, de;q=0.2", "de"),
        (",;,;;q=,", "en"),
        ("x," * 10_000 + "de", "en"),
    ],
)
def test_accept_language_is_read_with_patience(header: str, language: str) -> None:
    assert choose_language(None, header) == language


def test_page_loads_its_style_sheet_and_nothing_else(client: TestClient) -> None:
    for path in ("/problems", "/problems/ticket-unknown", "/problems/no-such"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "unsafe" not in policy
        assert re.findall(r'(?:src|<link[^>]*href)="([^"]*)"', answer.text) == ["/problems/style.css"]
        assert not re.search(r"<script|<style|style=|\son\w+=|https?://", answer.text)
    style = client.get("/problems/style.css")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert not re.search(r"@import|url\(", style.text)


def test_list_links_to_every_page(client: TestClient) -> None:
    text = client.get("/problems?lang=de").text
    assert set(re.findall(r'href="/problems/([a-z0-9-]+)\?lang=de"', text)) == {
        kind.slug for kind in PROBLEM_KINDS
    }


@pytest.mark.parametrize("slug", ["no-such", "ticket_unknown", "%3Cscript%3E", "key-damaged", "x" * 5000])
def test_unknown_code_is_a_page_with_404_that_repeats_nothing(client: TestClient, slug: str) -> None:
    answer = client.get(f"/problems/{slug}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "Seite nicht gefunden" in answer.text
    assert "Page not found" in answer.text
    assert slug not in answer.text
    assert "<script" not in answer.text


def test_head_is_answered_without_a_body(client: TestClient) -> None:
    answer = client.head("/problems/ticket-unknown")
    assert (answer.status_code, answer.content) == (200, b"")


def test_texts_are_escaped() -> None:
    kind = replace(PROBLEM_BY_CODE["ticket_unknown"], title_en="<b>&", hotline_de="<i>'\"")
    for path in ("/problems", "/problems/ticket-unknown"):
        text = make_client(kind).get(path).text
        assert "&lt;b&gt;&amp;" in text
        assert "<b>" not in text
        assert "<i>" not in text


def test_pages_are_no_part_of_the_description() -> None:
    app = FastAPI()
    app.include_router(create_problem_router(PROBLEM_KINDS))
    assert app.openapi()["paths"] == {}
