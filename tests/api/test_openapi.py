"""The descriptions of all APIs: complete, sound, and what is committed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from tests.api.openapi_snapshot import FOLDER, NAMES, describe, to_text
from tests.api.routes import Operation, admin_operations, instance_operations, portal_operations
from tests.api.site import Site

METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})
TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
DECLARED: dict[str, Callable[[Site], list[Operation]]] = {
    "instance": instance_operations,
    "admin": admin_operations,
    "portal": portal_operations,
}
WRITES = ("post", "put", "patch", "delete")


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def document(site: Site, name: str) -> dict[str, Any]:
    return describe(site, name)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        assert set(methods) <= METHODS
        for method, operation in methods.items():
            yield method, path, operation


def walk(value: Any) -> Iterator[Any]:
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from walk(each)


def test_description_is_the_committed_one(document: dict[str, Any], name: str) -> None:
    committed = (FOLDER / f"{name}.json").read_text()
    assert json.loads(committed) == document, "changed: run python -m tests.api.openapi_snapshot"
    assert committed == to_text(document)


def test_every_route_is_described(site: Site, document: dict[str, Any], name: str) -> None:
    declared = DECLARED[name](site)
    described = {operation["operationId"] for _, _, operation in operations(document)}
    assert described == {each.name for each in declared}
    assert len(described) == sum(len(methods) for methods in document["paths"].values())


def test_every_operation_says_what_it_does_and_shows_its_answer(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        named = operation["operationId"]
        assert re.fullmatch(r"[a-z][A-Za-z]+", named)
        assert operation["tags"], named
        assert 5 < len(operation["summary"]) < 80, named
        assert len(operation["description"]) > 10, named
        assert operation["description"] != operation["summary"], named
        good = {status: each for status, each in operation["responses"].items() if status < "300"}
        assert good, named
        for status, each in good.items():
            contents = each.get("content", {})
            assert (contents == {}) is (status == "204"), (named, status)
            for kind, content in contents.items():
                assert "example" in content, (named, status, kind)
                assert content["schema"], (named, status, kind)


def test_every_operation_documents_its_refusals_as_problems(document: dict[str, Any], name: str) -> None:
    for method, path, operation in operations(document):
        refusals = {status: each for status, each in operation["responses"].items() if status >= "400"}
        for status, each in refusals.items():
            assert set(each["content"]) == {"application/problem+json"}, (operation["operationId"], status)
            content = each["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert content["example"]["status"] == int(status)
        wanted = {"503"}
        if name != "instance" or "/api/v1/" in path:
            wanted |= {"401", "403"}
            assert operation["security"] == [{"bearer" if name == "admin" else "basic": []}]
        if method in WRITES:
            wanted |= {"400", "413", "415"}
        if "{" in path.replace("{instance}", ""):
            wanted |= {"404", "422"}
        if "/api/v1/" in path:
            wanted |= {"429"}
        assert wanted <= set(refusals), operation["operationId"]


def test_idempotency_key_is_described_where_it_is_read(document: dict[str, Any], name: str) -> None:
    for method, _, operation in operations(document):
        found = [each for each in operation.get("parameters", []) if each["name"] == "Idempotency-Key"]
        assert len(found) == (1 if method in WRITES else 0)
        if found and name != "instance":
            assert found[0]["required"] is (method == "post")
        if found and name == "instance":
            demanded = operation["operationId"] in ("blockContainer", "restoreContainer")
            assert found[0]["required"] is demanded


def test_reason_is_described_where_staff_can_give_one(document: dict[str, Any], name: str) -> None:
    for method, _, operation in operations(document):
        found = [each for each in operation.get("parameters", []) if each["name"] == "Wops-Reason"]
        assert len(found) == (1 if method in WRITES and name == "admin" else 0), operation["operationId"]
        for each in found:
            assert (each["in"], each["required"]) == ("header", False)
            assert unquote(each["example"]) != each["example"]
            assert "500" in each["description"]


def test_rate_is_described_where_it_is_told(document: dict[str, Any], name: str) -> None:
    for _, path, operation in operations(document):
        has_rate = name == "portal" or "/api/v1/" in path
        for status, each in operation["responses"].items():
            told = {header for header in each.get("headers", {}) if header.startswith("RateLimit")}
            shown = has_rate and (status < "300" or status == "429")
            assert told == ({"RateLimit", "RateLimit-Policy"} if shown else set()), operation["operationId"]


def test_every_number_and_time_that_is_sent_has_bounds(document: dict[str, Any]) -> None:
    """Without an upper one the database, or the calendar, refuses it, and that is our own failure."""
    sent = [
        (f"{operation['operationId']} {each['name']}", each["schema"])
        for _, _, operation in operations(document)
        for each in operation.get("parameters", [])
    ]
    schemas = document["components"]["schemas"]
    sent += [(name, schemas[name]) for name in bodies(document)]
    for where, schema in sent:
        for each in walk(schema):
            if isinstance(each, dict) and each.get("type") in ("integer", "number"):
                assert each["maximum"] <= 2**62, where
                assert each["minimum"] >= 0, where


def bodies(document: dict[str, Any]) -> set[str]:
    """Names of all schemas that request bodies are made of."""
    pending = [operation.get("requestBody", {}) for _, _, operation in operations(document)]
    found: set[str] = set()
    while pending:
        for each in walk(pending.pop()):
            name = each.get("$ref", "").rpartition("/")[2] if isinstance(each, dict) else ""
            if name and name not in found:
                found.add(name)
                pending.append(document["components"]["schemas"][name])
    return found


def test_description_is_kept_and_not_sent_twice(site: Site, name: str) -> None:
    path = f"/openapi/{name}.json"
    first, again = site.call("GET", path), site.call("GET", path)
    assert (first.content, first.headers["ETag"]) == (again.content, again.headers["ETag"])
    assert re.fullmatch(r'"[0-9a-f]{32}"', first.headers["ETag"])
    for known in (first.headers["ETag"], f'"x", W/{first.headers["ETag"]}'):
        answer = site.call("GET", path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == first.headers["ETag"]
    assert site.call("GET", path, headers={"If-None-Match": '"x"'}).content == first.content


def test_description_is_sound(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert all(document["info"][each] for each in ("title", "version", "description"))
    schemas = document["components"]["schemas"]
    references = {each["$ref"] for each in walk(document) if isinstance(each, dict) and "$ref" in each}
    described = {
        f"#/components/{kind}/{each}"
        for kind, all_of_it in document["components"].items()
        if kind != "securitySchemes"
        for each in all_of_it
    }
    assert references == described
    for schema in walk(schemas):
        if isinstance(schema, dict) and isinstance(schema.get("type"), str) and "properties" in schema:
            assert schema["type"] in TYPES
            assert set(schema.get("required", [])) <= set(schema["properties"])
    for method, path, operation in operations(document):
        parameters = operation.get("parameters", [])
        in_path = {each["name"] for each in parameters if each["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path)), path
        assert len({(each["in"], each["name"]) for each in parameters}) == len(parameters)
        for each in parameters:
            assert each["in"] in ("path", "query", "header")
            assert each["schema"]
            assert each["in"] != "path" or each["required"] is True
        if "requestBody" in operation:
            assert method in WRITES
            assert set(operation["requestBody"]["content"]) == {"application/json"}
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status)
            assert response["description"]
    used = {
        scheme for _, _, each in operations(document) for one in each.get("security", []) for scheme in one
    }
    assert used == set(document["components"]["securitySchemes"])
