"""Where would this request go, and why: asked without sending it."""

from __future__ import annotations

import pytest

from tests.api.rule.rule_scene import FACTS, PAUSE, Ask, pin, put
from tests.api.site import USED, Instance, good, refused


def test_dry_run_says_why_in_both_languages_and_changes_nothing(ask: Ask, ruled: Instance) -> None:
    header = {"name": "x-client-class", "value": "batch"}
    put(
        ask,
        [
            pin("ruled-1", name="orders", path_prefix="/api/v1/orders"),
            pin("ruled-2", name="batch", header=header),
            pin("ruled-1", name="rest"),
        ],
    )
    with ruled.site.nothing_changes(but=USED):
        said = good(ask("POST", "/rules:dryRun", {**FACTS, "headers": {"X-Client-Class": "batch"}}))
    assert (said["outcome"], said["rule"], said["line"], said["by"]) == ("line", "batch", "ruled-2", "rule")
    assert said["sentence"] == {
        "en": "This request would go to line ruled-2, because rule “batch” holds (the header x-client-class: batch).",
        "de": "Diese Anfrage ginge an Linie ruled-2, weil die Regel „batch“ zutrifft "
        "(die Kopfzeile x-client-class: batch).",
    }
    assert [(each["rule"], each["outcome"], each["condition"]) for each in said["verdicts"]] == [
        ("orders", "fails", "path_prefix"),
        ("batch", "decides", None),
        ("rest", "not_reached", None),
    ]
    assert (said["verdicts"][0]["wanted"], said["verdicts"][0]["seen"]) == (
        ["/api/v1/orders"],
        "/api/v1/items",
    )


def test_dry_run_by_rules_that_are_stored_nowhere(ask: Ask, ruled: Instance) -> None:
    with ruled.site.nothing_changes(but=USED):
        given = {"rules": [PAUSE], "sources": {}}
        said = good(ask("POST", "/rules:dryRun", {**FACTS, "rules": given}))
        assert (said["version"], said["outcome"], said["code"]) == (None, "maintenance", "rule_maintenance")
        assert said["retry_after_seconds"] == 7
        assert "Retry-After: 7" in said["sentence"]["de"]
        bad = {"rules": [pin("shared-1")]}
        refused(ask("POST", "/rules:dryRun", {**FACTS, "rules": bad}), 422, "rule_line_foreign")
        without = good(ask("POST", "/rules:dryRun", FACTS))
    assert (without["rule"], without["by"], len(without["candidates"])) == (None, "no_rule", 2)
    assert sum(each["share"] for each in without["candidates"]) == pytest.approx(1)
    assert "no rules" in without["sentence"]["en"]


def test_request_that_cannot_be_is_not_tried(ask: Ask, ruled: Instance) -> None:
    with ruled.site.nothing_changes(but=USED):
        for wrong in (
            {"method": ""},
            {"method": "GET\r\n"},
            {"path": "api"},
            {"path": "/a b"},
            {"path": "/\x00"},
            {"path": "/ä"},
            {"headers": {"x client": "a"}},
            {"headers": {"x-client-class": "a\nb"}},
            {"headers": ["x"]},
            {"source": "nowhere"},
            {"client": "a:b"},
            {"certificate_fingerprint": "ff"},
            {"more": 1},
        ):
            refused(ask("POST", "/rules:dryRun", {**FACTS, **wrong}), 422, "request_invalid")
