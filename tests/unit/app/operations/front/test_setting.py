from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.front.setting import read_fronts
from lb.front.error import FrontSettingsUnfit
from lb.front.settings import FrontBind, FrontPeer

FOLDER = Path("/srv/wops/front")


def test_nothing_said_is_no_load_balancer() -> None:
    assert read_fronts("", folder=FOLDER) == read_fronts(" ; ", folder=FOLDER) == ()


def test_two_of_a_pair_know_each_other() -> None:
    first, second = read_fronts("lb1=10.0.0.21:443; lb2=[2001:db8::2]:8443;", folder=FOLDER)
    assert (first.name, first.directory) == ("lb1", FOLDER / "lb1")
    assert first.binds == (FrontBind(address="10.0.0.21:443"),)
    assert (first.health, second.health) == ("10.0.0.21:444", "[2001:db8::2]:8444")
    assert first.peers == second.peers
    assert first.peers == (
        FrontPeer(name="lb1", address="10.0.0.21:445"),
        FrontPeer(name="lb2", address="[2001:db8::2]:8445"),
    )


def test_one_alone_has_no_peers_and_says_where_else_it_listens() -> None:
    text = "lb1=*:443 redirect=*:80 plain=127.0.0.1:8080 health=127.0.0.1:8404 peer=127.0.0.1:10000 calls=50"
    (alone,) = read_fronts(text, folder=FOLDER)
    assert [(each.kind, each.address) for each in alone.binds] == [
        ("tls", "*:443"),
        ("redirect", "*:80"),
        ("plain", "127.0.0.1:8080"),
    ]
    assert (alone.health, alone.peers, alone.limits.address_calls) == ("127.0.0.1:8404", (), 50)


@pytest.mark.parametrize(
    "text",
    [
        "lb1",
        "lb1=",
        "=127.0.0.1:443",
        "lb1=127.0.0.1",
        "lb1=127.0.0.1:65535",
        "lb1=127.0.0.1:443; lb1=127.0.0.2:443",
        "LB1=127.0.0.1:443",
        "lb1=127.0.0.1:443 colour=red",
        "lb1=127.0.0.1:443 health=127.0.0.1:1 health=127.0.0.1:2",
        "lb1=127.0.0.1:443\n  bind=*:1",
        "lb/../1=127.0.0.1:443",
        "lb1=127.0.0.1:443 health=$HOME",
        "lb1=127.0.0.1:443'",
        "lb1=127.0.0.1:443 calls=0",
        "lb1=127.0.0.1:443 calls=٣",
        "lb1=127.0.0.1:443 calls=5}",
    ],
)
def test_what_is_not_written_like_that_is_refused(text: str) -> None:
    with pytest.raises(FrontSettingsUnfit):
        read_fronts(text, folder=FOLDER)


@given(st.text(alphabet="lb1=.:;0127*[] \n'\"$%{}/", max_size=60))
def test_nothing_else_than_names_and_addresses_comes_through(text: str) -> None:
    try:
        found = read_fronts(text, folder=FOLDER)
    except FrontSettingsUnfit:
        return
    said = "".join(f"{each.name}{each.health}{each.binds[0].address}" for each in found)
    assert not set(said) & set(" \n'\"${};")
