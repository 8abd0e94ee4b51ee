"""What rules may not say is refused and changes nothing; what is odd is taken with a warning."""

from __future__ import annotations

from typing import Any

from tests.api.rule.rule_scene import FACTS, PAUSE, Ask, pin, put, send
from tests.api.site import USED, Instance, Site, good, refused


def test_change_needs_the_version_it_is_based_on(ask: Ask, ruled: Instance) -> None:
    put(ask, [pin("ruled-1")])
    with ruled.site.nothing_changes(but=USED):
        changes: list[tuple[str, str, Any]] = [("PUT", "/rules", {"rules": []}), ("POST", "/rules:undo", {})]
        for method, path, body in changes:
            refused(ask(method, path, body), 428, "if_match_missing")
            refused(ask(method, path, body, headers={"If-Match": '"1"'}), 412, "rule_version_conflict")
            refused(ask(method, path, body, headers={"If-Match": "nonsense"}), 412, "if_match_stale")


def test_undo_to_nowhere_and_of_nothing_is_refused(site: Site, ruled: Instance) -> None:
    fresh = site.add_instance("dedicated", "unruled")
    nothing = fresh.admin("POST", "/rules:undo", headers={"If-Match": '"1"'})
    refused(nothing, 409, "rules_nothing_to_undo")
    etag = ruled.admin("GET", "/rules").headers["ETag"]
    missing = ruled.admin("POST", "/rules:undo", {"version": 4711}, headers={"If-Match": etag})
    refused(missing, 404, "rule_version_not_found")
    refused(ruled.admin("GET", "/rules/versions/4711"), 404, "rule_version_not_found")
    for odd in ("0", "-1", "x", str(2**31), str(10**30)):
        refused(ruled.admin("GET", f"/rules/versions/{odd}"), 422, "request_invalid")


HOSTILE = ("a;b", "a\nb", "a\r\nb", 'a"b', "a'b", "a\\b", "a%[b]", "a$b", "a\x00b", "a b", "a#b", "ä", "")


def _rules(**changed: Any) -> dict[str, Any]:
    return {"rules": [{**pin("ruled-1"), **changed}]}


def _match(**match: Any) -> dict[str, Any]:
    return _rules(match=match)


def _to(**action: Any) -> dict[str, Any]:
    return _rules(action={"kind": "lines", "weights": {"ruled-1": 1}, **action})


REFUSED: list[tuple[dict[str, Any], str]] = [
    *((_rules(name=each), "rule_name_invalid") for each in (*HOSTILE, "Großes", "n" * 41)),
    *((_match(path_prefix="/" + each), "rule_path_invalid") for each in HOSTILE if each),
    (_match(path_prefix="api/"), "rule_path_invalid"),
    (_match(path_prefix="/../admin"), "rule_path_invalid"),
    (_match(path_prefix="/" + "p" * 1000), "rule_path_invalid"),
    *((_match(methods=[each]), "rule_method_unknown") for each in (*HOSTILE, "get", "TRACE")),
    *(
        (_match(header={"name": each, "value": "x"}), "rule_header_unknown")
        for each in (*HOSTILE, "host", "authorization")
    ),
    *(
        (_match(header={"name": "x-client-class", "value": each}), "rule_header_value_invalid")
        for each in ("a\nb", "a\r\nb", "a\x00b", "v" * 1000)
    ),
    *((_match(source=each), "rule_source_unknown") for each in HOSTILE),
    *((_match(clients=[each]), "rule_client_invalid") for each in HOSTILE),
    *((_to(weights={each: 1}), "rule_line_foreign") for each in (*HOSTILE, "shared-1", "dedicated-1")),
    *((_to(weights={"ruled-1": each}), "rule_weight_invalid") for each in (0, 257, 10**12)),
    (_to(weights={}), "rule_lines_missing"),
    *(
        (_rules(action={"kind": "maintenance", "retry_after_seconds": each}), "rule_retry_after_invalid")
        for each in (0, 86401, 10**12)
    ),
    ({"rules": [PAUSE, PAUSE]}, "rule_name_taken"),
    ({"rules": [{**PAUSE, "name": f"r-{n}"} for n in range(63)]}, "rules_too_many"),
    *(
        ({"rules": [], "sources": {"office": [each]}}, "rule_network_invalid")
        for each in (*HOSTILE, "192.0.2.1/24", "fe80::1%eth0", "::ffff:192.0.2.1", "192.0.2.0/33")
    ),
    *(({"rules": [], "sources": {each: ["192.0.2.0/24"]}}, "rule_source_invalid") for each in HOSTILE),
    ({"rules": [], "sources": {"office": []}}, "rule_source_invalid"),
]
MISSHAPEN: list[Any] = [
    {},
    [],
    {"rules": None},
    {"rules": [{}]},
    {"rules": [{"name": "x"}]},
    {"rules": [{"name": "x", "action": {}}]},
    {"rules": [{"name": "x", "action": {"kind": "deny"}}]},
    {"rules": [{"name": "x", "action": {"kind": "lines"}}]},
    _to(weights={"ruled-1": True}),
    _to(weights={"ruled-1": 1.5}),
    _to(otherwise="maybe"),
    _to(retry_after_seconds=5),
    _rules(note="x"),
    _match(path_regex=".*"),
    {"rules": [], "sources": {"office": "192.0.2.0/24"}},
    {"rules": [], "reason": "x" * 501},
    {"rules": [PAUSE] * 1001},
    _rules(name="x" * 1025),
    {"rules": [], "sources": {f"g-{n}": [] for n in range(1001)}},
]


def test_what_no_rule_may_say_is_refused_by_its_code_and_changes_nothing(ruled: Instance) -> None:
    put(ruled.admin, [pin("ruled-1")])
    wrong = []
    with ruled.site.nothing_changes(but=USED):
        for body, code in REFUSED:
            answer = send(ruled.admin, body)
            if (answer.status_code, answer.json().get("code")) != (422, code):
                wrong.append((body, code, answer.status_code, answer.json().get("code")))
            else:
                assert refused(answer, 422, code)["context"]["field"]
    assert wrong == []


def test_what_has_not_the_shape_of_rules_is_refused(ask: Ask, ruled: Instance) -> None:
    with ruled.site.nothing_changes(but=USED):
        for body in MISSHAPEN:
            refused(send(ask, body), 422, "request_invalid")


def test_ten_megabytes_are_not_read(ask: Ask, ruled: Instance) -> None:
    etag = ask("GET", "/rules").headers["ETag"]
    huge = {"rules": [], "reason": "x" * 10_000_000}
    with ruled.site.nothing_changes(but=USED):
        refused(ask("PUT", "/rules", huge, headers={"If-Match": etag}), 413, "body_too_large")
        refused(
            ask("POST", "/rules:dryRun", {**FACTS, "path": "/" + "x" * 10_000_000}), 413, "body_too_large"
        )


def test_edition_with_a_shared_line_has_no_rules(instances: dict[str, Instance]) -> None:
    shared = instances["datacenter"]
    version = {"If-Match": '"1"'}
    with shared.site.nothing_changes(but=USED):
        for ask in (shared.admin, shared.portal):
            refused(ask("GET", "/rules"), 409, "rules_not_offered")
            refused(ask("PUT", "/rules", {"rules": []}, headers=version), 409, "rules_not_offered")
            refused(ask("POST", "/rules:undo", headers=version), 409, "rules_not_offered")
            refused(ask("GET", "/rules/versions"), 409, "rules_not_offered")
            refused(ask("GET", "/rules/versions/1"), 409, "rules_not_offered")
            refused(ask("POST", "/rules:dryRun", FACTS), 409, "rules_not_offered")


def test_odd_rules_are_taken_with_warnings_in_both_languages(ask: Ask, ruled: Instance) -> None:
    everything, later = pin("ruled-1", name="everything"), pin("ruled-2", name="later", path_prefix="/api/")
    told = put(ask, [everything, later], sources={"nobody": ["192.0.2.0/24"]})
    found = {each["code"]: each for each in told["warnings"]}
    assert set(found) >= {"rule_unreachable", "rule_source_unused"}
    assert "everything" in found["rule_unreachable"]["text"]["en"]
    assert "everything" in found["rule_unreachable"]["text"]["de"]
    assert good(ask("GET", "/rules"))["warnings"] == told["warnings"]
