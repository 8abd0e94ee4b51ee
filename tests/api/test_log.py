"""What the process writes down and answers about one customer says nothing of another, however many call at once."""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.core.ids import InstanceId, new_id
from app.core.logging import configure_logging
from tests.api.site import ITEM, Instance, Site, good
from tests.service.log import log_to_output

THREADS = 8
ROUNDS = 12
KINDS = (200, 401, 404, 409, 422, 500)
"""Statuses that each round provokes at both instances."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged while the test runs, written as in production."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logging("INFO", stream=written)
    yield written
    log_to_output()
    root.handlers[:] = handlers
    root.setLevel(level)


def words_of(instance: Instance) -> set[str]:
    """What names an instance: its names, its ids and those of its clients."""
    clients = good(instance.admin("GET", "/clients"))
    return {
        instance.name,
        instance.instance_id,
        instance.customer_id,
        *(str(each[name]) for each in clients for name in ("client_id", "username")),
    }


def break_orders(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every look at one order fail, with words of the instance in the error."""

    def fail(*_given: object, **_more: object) -> None:
        raise RuntimeError(f"{instance.name} {instance.instance_id} {instance.auth[0]} is broken")

    runtime = instance.site.platform.runtime(InstanceId(instance.instance_id))
    monkeypatch.setattr(runtime.orders, "get_order", fail)


def call_all_ways(instance: Instance, stranger: Instance) -> list[tuple[int, str]]:
    """Status and whole answer of calls that are served, refused, and fail."""
    site, sku = instance.site, new_id("sku")[-20:]
    calls: list[dict[str, Any]] = [
        {"method": "GET", "path": "/items"},
        {"method": "POST", "path": "/items", "json": {"sku": sku, **ITEM}},
        {"method": "POST", "path": "/items", "json": {"sku": sku, **ITEM, "name": "Another"}},
        {"method": "POST", "path": "/items", "json": {}},
        {"method": "GET", "path": f"/items/{sku}x"},
        {"method": "GET", "path": "/items", "auth": (instance.auth[0], "wrong")},
        {"method": "GET", "path": "/items", "auth": stranger.auth},
        {"method": "GET", "path": "/orders/any"},
    ]
    answers = [instance.call(source=site.new_address(), **each) for each in calls]
    answers.append(instance.gate("GET", "/template"))
    return [(each.status_code, f"{dict(each.headers)} {each.text}") for each in answers]


def test_nothing_about_one_customer_is_logged_or_answered_at_another(
    log: io.StringIO, own_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (own_site.add_instance("dedicated", name) for name in ("aurora-works", "borealis-tools"))
    words = {one.name: words_of(one), other.name: words_of(other)}
    foreign = {one.name: words[other.name], other.name: words[one.name]}
    for instance in (one, other):
        break_orders(instance, monkeypatch)
    with ThreadPoolExecutor(THREADS) as pool:
        pairs = [(one, other), (other, one)] * ROUNDS
        answers = list(pool.map(lambda pair: (pair[0].name, call_all_ways(*pair)), pairs))
    own_site.stop()

    for name, told in answers:
        assert {status for status, _ in told} >= set(KINDS)
        assert [text for _, text in told if any(word in text for word in foreign[name])] == []
    lines = log.getvalue().splitlines()
    seen = Counter[tuple[str, str, Any]]()
    for line in lines:
        record = json.loads(line)
        name = record.get("instance")
        if name in words:
            seen[name, record["event"], record.get("status")] += 1
            assert [word for word in foreign[name] if word in line] == [], line
    for name in words:
        assert all(seen[name, "request", status] >= ROUNDS for status in KINDS), seen
        assert seen[name, "request failed", None] >= ROUNDS, seen
