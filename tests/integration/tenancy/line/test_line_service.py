"""Lines taken out, put back and weighed; on SQLite and MariaDB."""

from __future__ import annotations

import pytest

from app.core.errors import DomainError
from app.core.ids import InstanceId, LineId
from tenancy.errors import InstanceNotFound
from tenancy.line.errors import (
    LineLast,
    LineNotFound,
    LineShared,
    LineVersionConflict,
    LineWeightUnfit,
)
from tenancy.line.record import ServedLine
from tests.integration.tenancy.line.track import Track
from tests.service.crowd import at_once

FIRST, SECOND = LineId("acme-1"), LineId("acme-2")


def test_instance_has_the_lines_of_its_edition_before_anybody_has_said_anything(track: Track) -> None:
    acme, beta = track.instance("acme"), track.instance("beta", "datacenter")
    gamma = track.instance("gamma", "datacenter")
    by_name = {each.name: each for each in track.lines.list_served()}
    assert by_name["acme"].line_set == acme.instance_id
    assert by_name["acme"].lines == (
        ServedLine(line_id=FIRST, number=1, weight=100, in_service=True),
        ServedLine(line_id=SECOND, number=2, weight=100, in_service=True),
    )
    shared = (ServedLine(line_id=LineId("shared-1"), number=1, weight=100, in_service=True),)
    for each in (beta, gamma):
        assert by_name[each.name].line_set == "shared"
        assert by_name[each.name].lines == shared == track.lines.front_lines(each.instance_id)


def test_line_that_is_taken_out_is_out_until_it_is_put_back(track: Track) -> None:
    acme = track.instance()
    done = track.lines.drain_line(acme.instance_id, FIRST, by="staff", reason="new memory", version=1)
    assert (done.value.out_by, done.value.out_reason, done.value.version) == ("staff", "new memory", 2)
    assert done.value.out_since == track.world.clock.now()
    assert {name: each.in_service for name, each in track.front(acme).items()} == {FIRST: False, SECOND: True}
    back = track.lines.restore_line(acme.instance_id, FIRST, version=2)
    assert (back.value.out_by, back.value.out_since, back.value.version) == (None, None, 3)
    assert all(each.in_service for each in track.front(acme).values())
    drained, restored = track.line_events(acme)
    assert (drained.type, drained.data) == (
        "instance.line_drained",
        {"line": FIRST, "out_by": "staff", "out_reason": "new memory"},
    )
    assert restored.type == "instance.line_restored"
    assert restored.data == {"line": FIRST, "out_by": None, "out_reason": None}


def test_change_that_is_based_on_an_old_version_is_refused(track: Track) -> None:
    acme = track.instance()
    track.lines.weigh_line(acme.instance_id, FIRST, 50, version=1)
    with pytest.raises(LineVersionConflict):
        track.lines.weigh_line(acme.instance_id, FIRST, 70, version=1)
    assert track.front(acme)[FIRST].weight == 50
    track.lines.weigh_line(acme.instance_id, FIRST, 70, version=2)
    assert track.front(acme)[FIRST].weight == 70


def test_same_again_changes_nothing(track: Track) -> None:
    acme = track.instance()
    track.lines.weigh_line(acme.instance_id, FIRST, 100)
    track.lines.restore_line(acme.instance_id, FIRST)
    assert track.lines.get_line(acme.instance_id, FIRST).version == 1
    assert track.line_events(acme) == []


def test_last_line_that_takes_requests_stays(track: Track) -> None:
    acme = track.instance()
    track.lines.drain_line(acme.instance_id, FIRST, by="staff")
    with pytest.raises(LineLast):
        track.lines.drain_line(acme.instance_id, SECOND, by="reconciler")
    with pytest.raises(LineLast):
        track.lines.weigh_line(acme.instance_id, SECOND, 0)
    assert track.front(acme)[SECOND] == ServedLine(line_id=SECOND, number=2, weight=100, in_service=True)
    # Somebody else takes it over; nothing is lost by that.
    track.lines.drain_line(acme.instance_id, FIRST, by="reconciler", reason="sick")
    assert track.lines.get_line(acme.instance_id, FIRST).out_by == "reconciler"


def test_line_without_weight_stands_in_for_nobody(track: Track) -> None:
    acme = track.instance()
    track.lines.weigh_line(acme.instance_id, FIRST, 0)
    with pytest.raises(LineLast):
        track.lines.drain_line(acme.instance_id, SECOND, by="staff")
    track.lines.drain_line(acme.instance_id, FIRST, by="staff")


def test_only_line_of_an_instance_stays(track: Track) -> None:
    acme = track.instance("acme", "dedicated")
    with pytest.raises(LineLast):
        track.lines.drain_line(acme.instance_id, FIRST, by="staff")


@pytest.mark.parametrize("attempt", range(3))
def test_of_two_drains_of_the_two_lines_at_once_one_wins(track: Track, attempt: int) -> None:
    acme = track.instance(f"acme{attempt}")
    names = [line.line_id for line in track.lines.list_lines(acme.instance_id)]

    def drain(place: int) -> object:
        return track.lines.drain_line(acme.instance_id, names[place % 2], by="staff")

    answers = at_once(2, drain)
    refused = [each for each in answers if isinstance(each, DomainError)]
    assert [each.code for each in refused] == ["line_last"]
    assert [each.in_service for each in track.front(acme).values()].count(True) == 1


def test_changes_of_one_version_at_once_are_carried_out_once(track: Track) -> None:
    acme = track.instance()
    answers = at_once(4, lambda place: track.lines.weigh_line(acme.instance_id, FIRST, place + 1, version=1))
    refused = [each for each in answers if isinstance(each, DomainError)]
    assert [each.code for each in refused] == ["line_version_conflict"] * 3
    assert track.lines.get_line(acme.instance_id, FIRST).version == 2


def test_shared_line_is_not_changed_for_one_of_its_instances(track: Track) -> None:
    beta = track.instance("beta", "datacenter")
    shared = LineId("shared-1")
    with pytest.raises(LineShared):
        track.lines.drain_line(beta.instance_id, shared, by="staff")
    with pytest.raises(LineShared):
        track.lines.restore_line(beta.instance_id, shared)
    with pytest.raises(LineShared):
        track.lines.weigh_line(beta.instance_id, shared, 7)


@pytest.mark.parametrize("weight", [-1, 257, 10**9])
def test_weight_out_of_range_is_refused(track: Track, weight: int) -> None:
    acme = track.instance()
    with pytest.raises(LineWeightUnfit):
        track.lines.weigh_line(acme.instance_id, FIRST, weight)
    assert track.front(acme)[FIRST].weight == 100


def test_line_of_somebody_else_is_not_found(track: Track) -> None:
    acme = track.instance()
    track.instance("beta", "dedicated")
    for line_id in ("beta-1", "acme-3", "shared-1", "", "x" * 10_000, "acme-1\n"):
        with pytest.raises(LineNotFound):
            track.lines.drain_line(acme.instance_id, LineId(line_id), by="staff")
    with pytest.raises(InstanceNotFound):
        track.lines.drain_line(InstanceId("ins_0"), FIRST, by="staff")


def test_lines_keep_their_names_when_the_instance_gets_another(track: Track) -> None:
    acme = track.instance()
    track.lines.drain_line(acme.instance_id, FIRST, by="staff")
    service = track.lifecycle()
    service.rename_instance(acme.instance_id, "zenith", expected_version=acme.version)
    assert set(track.front(acme)) == {FIRST, SECOND}
    assert not track.front(acme)[FIRST].in_service
    assert [each.name for each in track.lines.list_served()] == ["zenith"]
