"""Exports: verified without wops, complete, and without a word about others."""

from __future__ import annotations

import json
import tracemalloc
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from app.core.clock import to_us
from app.operations.audit import repository
from app.operations.audit.about import is_about
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.export import ExportWish
from app.operations.audit.reading import NEWEST
from app.operations.audit.repository import EntryFilter
from app.operations.audit.verify_audit import entry_digest, link_digest
from tests.integration.app.operations.audit.conftest import OTHER, AuditWorld


def read(lines: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


@pytest.fixture
def busy(world: AuditWorld) -> AuditWorld:
    """An instance's life over three hours; the platform's chain has entries about it and about others."""
    for _ in range(3):
        world.write(world.instance, 2, events=2)
        world.write(world.platform, 1, subject=world.instance_id)
        world.write(world.platform, 2, subject=OTHER)
        world.audit.sign()
        world.clock.advance(timedelta(hours=1))
    return world


def test_export_of_an_instance_verifies_and_tells_nothing_about_others(busy: AuditWorld) -> None:
    lines = list(busy.audit.export(ExportWish(instance_id=busy.instance_id)))
    check = busy.check(lines)
    assert check.findings == []
    assert [(each.chain, each.entries, each.vouched) for each in check.chains] == [
        (busy.instance_id, 12, 12),
        (PLATFORM_CHAIN, 9, 9),
    ]
    assert OTHER not in b"".join(lines).decode()
    shown = [each["entry"][3] for each in read(lines) if each["kind"] == "entry"]
    assert shown == ["sub"] * 12 + [busy.instance_id] * 3
    assert read(lines)[-1] == {"kind": "end", "entry": 15, "digest": 6, "checkpoint": 6}


def test_newest_entries_are_signed_by_the_export_itself(busy: AuditWorld) -> None:
    busy.write(busy.instance)
    lines = list(busy.audit.export(ExportWish(instance_id=busy.instance_id)))
    assert busy.check(lines).chains[0].vouched == 13


def test_range_of_time_is_exact_and_covered_by_a_signature(busy: AuditWorld) -> None:
    middle = busy.clock.now() - timedelta(hours=2)
    wish = ExportWish(instance_id=busy.instance_id, since=middle, until=middle + timedelta(minutes=30))
    lines = list(busy.audit.export(wish))
    check = busy.check(lines)
    assert check.findings == []
    shown = [tuple(each["entry"][0:1]) for each in read(lines) if each["kind"] == "entry"]
    assert shown == [(5,), (6,), (7,), (8,), (4,)]
    assert [(each.first, each.vouched) for each in check.chains] == [(4, 8), (3, 6)]


def test_range_that_ends_between_checkpoints_is_drawn_out_by_digests(world: AuditWorld) -> None:
    for _ in range(4):
        world.write(world.instance, 2)
        world.clock.advance(timedelta(hours=1))
    world.write(world.platform)
    world.audit.sign()
    until = world.clock.now() - timedelta(hours=2)
    lines = list(world.audit.export(ExportWish(instance_id=world.instance_id, until=until)))
    kinds = [each["kind"] for each in read(lines)]
    assert kinds[1:11] == ["chain", *["entry"] * 4, *["digest"] * 4, "checkpoint"]
    check = world.check(lines)
    assert (check.findings, check.chains[0].vouched) == ([], 8)


def test_untouched_range_is_no_alarm_for_checkpoints_from_later(busy: AuditWorld) -> None:
    until = busy.clock.now() - timedelta(hours=2)
    lines = list(busy.audit.export(ExportWish(instance_id=busy.instance_id, until=until)))
    assert busy.check(lines, busy.checkpoints()).findings == []
    whole = list(busy.audit.export(ExportWish(instance_id=busy.instance_id)))
    busy.clock.advance(timedelta(minutes=1))
    busy.write(busy.instance)
    busy.audit.sign()
    assert busy.check(whole, busy.checkpoints()).findings == [], "nor for what was written since"


def test_rewritten_export_without_checkpoints_is_found_out(busy: AuditWorld) -> None:
    lines, previous, counts = [], "", {"entry": 0, "digest": 0, "checkpoint": 0}
    for each in read(list(busy.audit.export(ExportWish(instance_id=busy.instance_id)))):
        if each["kind"] == "chain":
            previous = each["previous"]
        elif each["kind"] == "entry":
            each["entry"][2] = "nothing.happened"
            previous = each["hash"] = link_digest(previous, entry_digest(each["entry"]))
        elif each["kind"] == "digest":
            previous = each["hash"] = link_digest(previous, each["digest"])
        elif each["kind"] == "checkpoint":
            continue
        if each["kind"] in counts:
            counts[each["kind"]] += 1
        lines.append({**each, **counts} if each["kind"] == "end" else each)
    check = busy.check([json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in lines])
    assert [(each.code, each.chain, each.sequence) for each in check.findings] == [
        ("unsigned", busy.instance_id, 1),
        ("unsigned", PLATFORM_CHAIN, 1),
    ]


@pytest.mark.parametrize("skew", [0, 20, -20])
def test_range_is_found_by_halving_even_if_times_overlap(world: AuditWorld, skew: int) -> None:
    """A long transaction has an older time than the ones that overtook it."""
    begin = world.clock.now()
    for number in range(40):
        late = skew if number % 7 == 3 else 0
        world.clock.set(begin + timedelta(seconds=10 * number + late))
        world.write(world.instance)
    with world.instance.engine.connect() as connection:
        query = "SELECT sequence, occurred_at_us FROM outbox_event ORDER BY sequence"
        rows = connection.exec_driver_sql(query).fetchall()
    for since in range(-10, 450, 45):
        for until in range(since, 460, 55):
            borders = [to_us(begin + timedelta(seconds=each)) for each in (since, until)]
            first = next((row[0] for row in rows if row[1] >= borders[0]), None)
            last = next((row[0] for row in reversed(rows) if row[1] < borders[1]), None)
            expected = None if first is None or last is None or last < first else (first, last)
            found = world.instance.read(
                partial(repository.find_range, since_us=borders[0], until_us=borders[1])
            )
            assert found == expected


def test_range_without_entries_and_chain_without_entries_are_empty_exports(world: AuditWorld) -> None:
    now = world.clock.now()
    for wish in (
        ExportWish(instance_id=world.instance_id),
        ExportWish(instance_id=None, since=now + timedelta(days=1)),
        ExportWish(instance_id=None, since=now, until=now),
    ):
        lines = list(world.audit.export(wish))
        assert world.check(lines).findings == []
        assert read(lines)[-1]["entry"] == 0


def test_export_of_a_tampered_chain_shows_it(busy: AuditWorld) -> None:
    busy.tamper(busy.instance, "UPDATE outbox_event SET reason = 'Lies.' WHERE sequence = 6")
    check = busy.check(list(busy.audit.export(ExportWish(instance_id=busy.instance_id))))
    assert [(each.code, each.sequence) for each in check.findings] == [("changed", 6)]
    busy.recompute(busy.instance, 6)
    check = busy.check(list(busy.audit.export(ExportWish(instance_id=busy.instance_id))))
    assert (check.findings[0].code, check.findings[0].sequence) == ("rewritten", 5)


def test_cut_off_chain_shows_in_its_export(busy: AuditWorld) -> None:
    busy.tamper(
        busy.instance, "DELETE FROM outbox_event WHERE sequence > 9", "UPDATE outbox_sequence SET last = 9"
    )
    check = busy.check(list(busy.audit.export(ExportWish(instance_id=busy.instance_id))))
    assert [(each.code, each.sequence) for each in check.findings] == [("truncated", 10)]


def test_memory_does_not_grow_with_the_chain(world: AuditWorld) -> None:
    world.write(world.instance, 50, events=200)
    lines = world.audit.export(ExportWish(instance_id=world.instance_id))
    tracemalloc.start()
    size = sum(len(line) for line in lines)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 3_500_000
    assert peak < size / 2


def test_entry_that_names_two_instances_is_nobodys() -> None:
    from tests.unit.app.core.test_chain import PLAIN  # noqa: PLC0415

    mine, other = "ins_" + "1" * 32, "ins_" + "2" * 32
    assert is_about(PLAIN._replace(subject=mine), mine)
    assert is_about(PLAIN._replace(data=f'{{"instance_id":"{mine}"}}'), mine)
    assert is_about(PLAIN._replace(before_change=f'["{mine}"]'), mine)
    assert not is_about(PLAIN, mine)
    assert not is_about(PLAIN._replace(subject=mine, data=f'{{"beside":"{other}"}}'), mine)


def test_reading_finds_entries_by_everything_newest_first(world: AuditWorld) -> None:
    world.write(world.instance, 3)
    world.clock.advance(timedelta(hours=1))
    world.write(world.instance, 2, subject="other")
    find = world.audit.reader.find
    chain = world.instance_id

    def numbers(**wanted: Any) -> list[int]:
        return [each.sequence for each in find(chain, EntryFilter(**wanted)).entries]

    assert numbers() == [5, 4, 3, 2, 1]
    assert numbers(subject="other") == [5, 4]
    assert numbers(type="test.done", action="doTest", actor_id="stk_1", request_id="req-12345678") == [
        5,
        4,
        3,
        2,
        1,
    ]
    for nothing in (
        {"actor_id": "stk"},
        {"action": "do"},
        {"type": "test"},
        {"request_id": "x"},
        {"about": "ins_x"},
    ):
        assert numbers(**nothing) == []
    then = 1_773_133_200_000_000 + 1
    assert (numbers(since_us=then), numbers(until_us=then)) == ([5, 4], [3, 2, 1])
    entry = find(chain, EntryFilter(), limit=1).entries[0]
    assert (entry.actor.kind, entry.actor.actor_id, entry.actor.person, entry.actor.name) == (
        "staff", "stk_1", "per_1", None,
    )  # fmt: skip
    assert (entry.data, entry.before, entry.reason) == ({"n": 0}, {"n": -1}, "Because.")


def test_pages_follow_each_other_without_gap(world: AuditWorld) -> None:
    world.write(world.instance, 7)
    seen, before = [], NEWEST
    while True:
        page = world.audit.reader.find(world.instance_id, EntryFilter(), before=before, limit=3)
        seen += [each.sequence for each in page.entries]
        if page.next_before is None:
            break
        before = page.next_before
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_names_are_opened_by_whoever_can(world: AuditWorld) -> None:
    world.write(world.platform)
    world.audit.reader._name_of = lambda person, sealed: f"{person}:{sealed}"
    assert world.audit.reader.find(PLATFORM_CHAIN, EntryFilter()).entries[0].actor.name == "per_1:sealed"
