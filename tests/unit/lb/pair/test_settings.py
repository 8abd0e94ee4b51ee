from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from lb.pair import PairError, PairNodeUnknown, PairSettingsUnfit, PairTimes
from tests.unit.lb.pair.pair_settings import make_node, make_pair

HOSTILE = ("", "a b", "a\nb", "a}b", "a{b", 'a"b', "a;b", "$a", "a\0b", "a" * 10_000, "-a", "ä")


def test_each_has_the_other_as_its_peer() -> None:
    pair = make_pair()
    assert [pair.peer(name).name for name in ("lb1", "lb2")] == ["lb2", "lb1"]


def test_name_of_neither_is_refused() -> None:
    with pytest.raises(PairNodeUnknown) as refused:
        make_pair().node("lb3")
    assert refused.value.code == "pair_node_unknown"


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["directory", "runtime_socket", "python", "ip", "keepalived"])
def test_path_that_could_say_more_than_a_path_is_refused(field: str, text: str) -> None:
    with pytest.raises(PairSettingsUnfit) as refused:
        make_pair(**{field: Path(text)})
    assert (refused.value.code, refused.value.detail) == ("pair_settings_unfit", {"field": field})


@pytest.mark.parametrize("text", HOSTILE)
def test_name_interface_or_user_that_could_say_more_is_refused(text: str) -> None:
    for make in (
        lambda: make_node(text, "192.0.2.11"),
        lambda: make_node("lb1", "192.0.2.11", interface=text),
        lambda: make_pair(user=text),
    ):
        with pytest.raises(PairSettingsUnfit):
            make()


@pytest.mark.parametrize(
    "changes",
    [
        {"router_id": 0},
        {"router_id": 256},
        {"addresses": ()},
        {"addresses": (ip_interface("2001:db8::10/64"),)},
        {"addresses": (ip_interface("192.0.2.10/24"), ip_interface("192.0.2.10/32"))},
        {"addresses": (ip_interface("192.0.2.11/24"),)},
        {"nodes": (make_node("lb1", "192.0.2.11"), make_node("lb1", "192.0.2.12"))},
        {"nodes": (make_node("lb1", "192.0.2.11"), make_node("lb2", "192.0.2.11"))},
    ],
)
def test_pair_that_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PairError):
        make_pair(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"advert": timedelta(0)},
        {"advert": timedelta(milliseconds=205)},
        {"advert": timedelta(seconds=41)},
        {"check_every": timedelta(milliseconds=500)},
        {"check_every": timedelta(seconds=1.5)},
        {"check_within": timedelta(0)},
        {"check_within": timedelta(seconds=1)},
    ],
)
def test_time_that_keepalived_would_round_is_refused(changes: dict[str, timedelta]) -> None:
    with pytest.raises(PairSettingsUnfit):
        PairTimes(**changes)
