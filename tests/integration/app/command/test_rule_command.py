"""Rules of an instance from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.app.command.platform_process import wops, wops_json

NAME: Final = "acme-rules"


@pytest.fixture(scope="module")
def instance(at: tuple[str, str], customer: str) -> str:
    order = ("--customer", customer, "--edition", "high_availability")
    wops_json("admin", "instance", "add", NAME, *order, *at)
    return NAME


def _write(file: Path, line: str) -> Path:
    action = {"kind": "lines", "weights": {line: 1}}
    match = {"path_prefix": "/api/", "source": "office"}
    rules: dict[str, Any] = {
        "rules": [{"name": "office", "match": match, "action": action}],
        "sources": {"office": ["192.0.2.0/24"]},
    }
    file.write_text(json.dumps(rules), "utf-8")
    return file


def test_rules_are_set_from_a_file_shown_tried_out_and_undone(
    instance: str, at: tuple[str, str], tmp_path: Path
) -> None:
    rule = ("admin", "rule")
    assert wops_json(*rule, "show", instance, *at)["rules"] == []
    file = _write(tmp_path / "rules.json", f"{NAME}-2")
    done = wops_json(*rule, "set", instance, str(file), "--reason", "line 1 is slow", *at)
    assert (done["version"], done["reason"]) == (2, "line 1 is slow")
    shown = wops(*rule, "show", instance, *at)
    assert f"office: path_prefix /api/; source office → kind lines; weights {NAME}-2: 1" in shown.stdout
    assert "office = 192.0.2.0/24" in shown.stdout

    asked = ("--path", "/api/v1/items", "--header", "X-Client-Class: batch", "--address")
    inside = wops(*rule, "dry-run", instance, *asked, "192.0.2.7", *at)
    assert f"This request would go to line {NAME}-2, because rule “office” holds" in inside.stdout
    assert "  office: decides" in inside.stdout
    outside = wops(*rule, "dry-run", instance, *asked, "198.51.100.1", *at)
    assert "  office: fails: source office, not 198.51.100.1" in outside.stdout
    other = _write(tmp_path / "other.json", f"{NAME}-1")
    told = wops_json(*rule, "dry-run", instance, *asked, "192.0.2.7", "--rules", str(other), *at)
    assert (told["version"], told["line"]) == (None, f"{NAME}-1")

    # What `show --json` prints can be set again: nothing has changed, so there is no new version.
    file.write_text(wops(*rule, "show", instance, "--json", *at).stdout, "utf-8")
    assert wops_json(*rule, "set", instance, str(file), *at)["version"] == 2
    undone = wops_json(*rule, "undo", instance, *at)
    assert (undone["version"], undone["restored"], undone["rules"]) == (3, 1, [])
    assert wops_json(*rule, "undo", instance, "--to", "2", *at)["rule_names"] == ["office"]
    assert wops_json(*rule, "show", instance, "--version", "3", *at)["rules"] == []
    history = wops(*rule, "history", instance, *at).stdout.splitlines()
    assert [each.split()[0] for each in history] == ["version", "4", "3", "2", "1"]
    assert "line 1 is slow" in history[3]


def test_what_is_wrong_is_said_with_its_code(instance: str, at: tuple[str, str], tmp_path: Path) -> None:
    foreign = _write(tmp_path / "foreign.json", "shared-1")
    refused = wops("admin", "rule", "set", instance, str(foreign), *at)
    assert (refused.returncode, "rule_line_foreign" in refused.stderr) == (1, True)
    assert refused.stderr.endswith("\n  rules[0].action.weights[shared-1]\n"), "where"
    text = tmp_path / "text.json"
    for content in ("rules", "[]", "[" * 100_000):
        text.write_text(content, "utf-8")
        unread = wops("admin", "rule", "set", instance, str(text), *at)
        assert (unread.returncode, "input_invalid" in unread.stderr) == (1, True), unread.stderr
    with text.open("wb") as file:
        file.truncate(10_000_000)
    large = wops("admin", "rule", "set", instance, str(text), *at)
    assert (large.returncode, "more than 1048576 bytes" in large.stderr) == (1, True)
    gone = wops("admin", "rule", "set", instance, str(tmp_path / "nowhere.json"), *at)
    assert (gone.returncode, "nowhere.json" in gone.stderr) == (1, True)
