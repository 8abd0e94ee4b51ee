"""What a front's files hold, and what never gets into them."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from app.core.ids import InstanceId
from lb.front.error import FrontCertificateUnfit, FrontSettingsUnfit, FrontStateUnfit
from lb.front.model import FrontFiles
from lb.front.render import render
from lb.front.safe_text import read_map
from lb.front.settings import FrontBind, FrontPeer, FrontSettings
from lb.front.state import FrontHost, FrontInstance, FrontState, LineSet
from lb.rule.rule import Match, Rule, RuleSet, ToLines
from tests.unit.lb.front.front_state import SETTINGS, instance, line, pem, random_state, rules, state

HOSTILE = (
    "a;show info",
    "a\nset server x/y state maint",
    "a\r\nb",
    'a"b',
    "a'b",
    "a\\b",
    "$HOME",
    "%[env(HOME)]",
    "a b",
    "a#b",
    "a\x00b",
    "a`b",
    "ä",
    "x" * 10_000_000,
    "",
)
_SAFE_MAP_LINE = re.compile(r"[\x21-\x7e]+ [\x21-\x7e]+")


def names_of(files: FrontFiles) -> set[str]:
    return set(files.files)


@pytest.mark.parametrize("bad", HOSTILE, ids=lambda each: repr(each[:12]))
def test_a_hostile_name_is_refused(bad: str) -> None:
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), known=instance(name=bad)), SETTINGS)


@pytest.mark.parametrize("bad", HOSTILE, ids=lambda each: repr(each[:12]))
def test_a_hostile_instance_id_is_refused(bad: str) -> None:
    known = replace(instance(line_set="ins_acme"), instance_id=InstanceId(bad))
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), known=known), SETTINGS)


@pytest.mark.parametrize("bad", HOSTILE, ids=lambda each: repr(each[:12]))
def test_a_hostile_line_set_is_refused(bad: str) -> None:
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), known=instance(line_set=bad)), SETTINGS)


@pytest.mark.parametrize("taken", ["control", "front", "health", "sticky", "no_lines", "redirect", "pair"])
def test_a_line_set_cannot_be_called_like_a_part_of_the_configuration(taken: str) -> None:
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), known=instance(line_set=taken)), SETTINGS)


@pytest.mark.parametrize("bad", HOSTILE, ids=lambda each: repr(each[:12]))
@pytest.mark.parametrize("field", ["host_id", "host"])
def test_a_hostile_host_is_refused(field: str, bad: str) -> None:
    values: dict[str, Any] = {"host_id": "hst_1", "host": "a.example", field: bad}
    host = FrontHost(instance_id=InstanceId("ins_acme"), pem=pem(1), **values)
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), hosts={"hst_1": host}), SETTINGS)


@pytest.mark.parametrize("bad", [*HOSTILE, "unix@/a b", "unix@relative", "127.0.0.1", "unix@/a;b", "a:b:c"])
def test_a_hostile_address_is_refused(bad: str) -> None:
    with pytest.raises(FrontStateUnfit):
        render(state(line(1, address=bad)), SETTINGS)
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), control=bad), SETTINGS)


@pytest.mark.parametrize("bad", HOSTILE, ids=lambda each: repr(each[:12]))
def test_a_hostile_value_of_a_rule_is_refused(bad: str) -> None:
    rule = Rule(name=bad, match=Match(path_prefix=f"/{bad}"), action=ToLines(weights={line(1).line_id: 1}))
    known = instance(rules=RuleSet(rules=(rule,)), client_certificates={bad: ("ab" * 32,)})
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), line(2), known=known), SETTINGS)


@pytest.mark.parametrize("weight", [-1, 257])
def test_a_weight_out_of_range_is_refused(weight: int) -> None:
    with pytest.raises(FrontStateUnfit):
        render(state(line(1, weight=weight)), SETTINGS)


def test_two_lines_of_one_number_are_refused() -> None:
    with pytest.raises(FrontStateUnfit):
        render(state(line(1), line(1)), SETTINGS)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "no pem",
        pem(1).partition("-----BEGIN EC")[0],
        pem(1) + pem(2),
        pem(1).partition("-----BEGIN EC")[2],
    ],
    ids=["nothing", "no pem", "no key", "two keys", "no certificate"],
)
def test_a_certificate_without_its_one_key_is_refused(bad: str) -> None:
    with pytest.raises(FrontCertificateUnfit):
        render(state(line(1), default_pem=bad), SETTINGS)


def test_a_key_of_another_certificate_is_refused() -> None:
    mixed = pem(1).partition("-----BEGIN EC")[0] + "-----BEGIN EC" + pem(2).partition("-----BEGIN EC")[2]
    with pytest.raises(FrontCertificateUnfit, match="another"):
        render(state(line(1), default_pem=mixed), SETTINGS)


@pytest.mark.parametrize("field", ["authorities", "revocation_lists"])
@pytest.mark.parametrize("bad", ["", "rubbish", pem(1).partition("-----BEGIN EC")[0].replace("M", "N")])
def test_an_authority_or_a_list_that_cannot_be_read_is_refused(field: str, bad: str) -> None:
    values: dict[str, Any] = {field: {"a": bad}}
    with pytest.raises(FrontCertificateUnfit):
        render(state(line(1), **values), SETTINGS)


def test_what_stands_between_the_blocks_of_a_certificate_is_left_out() -> None:
    padded = f"Bag Attributes\n  friendlyName: x;y\n{pem(1)}trailing\n"
    assert (
        render(state(line(1), default_pem=padded), SETTINGS).files
        == render(state(line(1), default_pem=pem(1)), SETTINGS).files
    )


@pytest.mark.parametrize("seed", range(10))
def test_the_order_in_which_things_are_listed_means_nothing(seed: int) -> None:
    wanted = random_state(random.Random(seed))
    shuffled = replace(
        wanted,
        line_sets={
            key: LineSet(key=key, lines=tuple(reversed(wanted.line_sets[key].lines)))
            for key in reversed(list(wanted.line_sets))
        },
        instances=dict(reversed(list(wanted.instances.items()))),
        hosts=dict(reversed(list(wanted.hosts.items()))),
        authorities=dict(reversed(list(wanted.authorities.items()))),
        denied=tuple(reversed(wanted.denied)),
    )
    first, second = render(wanted, SETTINGS), render(shuffled, SETTINGS)
    assert first.configuration == second.configuration
    assert first.files == second.files


@pytest.mark.parametrize("seed", range(10))
def test_generated_files_hold_nothing_but_what_they_should(seed: int) -> None:
    files = render(random_state(random.Random(seed)), SETTINGS)
    assert_clean(files)
    for name, entries in files.model.maps.items():
        assert read_map(files.files[f"maps/{name}"]) == entries


def assert_clean(files: FrontFiles) -> None:
    """Maps: two words a line, none with a byte that means something; the configuration: one line each, ASCII."""
    for name, text in files.files.items():
        if name.startswith("maps/"):
            for entry in text.splitlines():
                assert _SAFE_MAP_LINE.fullmatch(entry)
                assert not set(entry) & set(";\"'\\$#%`")
    assert re.fullmatch(r"[\x20-\x7e\n]+", files.configuration)


def test_nothing_that_people_type_is_in_the_configuration() -> None:
    host = FrontHost(host_id="hst_1", host="typed.example", instance_id=InstanceId("ins_acme"), pem=pem(1))
    known = FrontInstance(
        instance_id=InstanceId("ins_acme"),
        name="typed-name",
        line_set="ins_acme",
        rules=rules("typed-rule"),
        client_certificates={"typed-user": ("ab" * 32,)},
        networks=(ip_network("198.51.100.0/24"),),
    )
    files = render(state(line(1), line(2), known=known, hosts={"hst_1": host}), SETTINGS)
    assert "typed" not in files.configuration
    assert "198.51.100" not in files.configuration
    assert "typed-name" in files.files["maps/instance.map"]


def test_only_the_owner_of_a_network_around_may_call_from_a_narrower_one_that_somebody_else_has() -> None:
    wide = instance("wide", networks=(ip_network("10.0.0.0/8"),))
    narrow = instance("narrow", networks=(ip_network("10.1.0.0/16"),))
    files = render(
        FrontState(
            line_sets={}, instances={each.instance_id: each for each in (wide, narrow)}, default_pem=pem(0)
        ),
        SETTINGS,
    )
    assert files.model.maps["edge.map"] == {
        "ins_wide|10.0.0.0/8": "1",
        "ins_wide|10.1.0.0/16": "1",
        "ins_narrow|10.1.0.0/16": "1",
    }


def test_an_instance_whose_lines_are_not_there_is_known_and_has_no_backend() -> None:
    files = render(
        FrontState(line_sets={}, instances={InstanceId("ins_acme"): instance()}, default_pem=pem(0)), SETTINGS
    )
    assert files.model.maps["instance.map"] == {"acme": "ins_acme"}
    assert files.model.maps["backend.map"] == {}


@pytest.mark.parametrize(
    "values",
    [
        {"directory": Path("/srv/a b")},
        {"directory": Path("relative")},
        {"directory": Path("/" + "x" * 100)},
        {"directory": Path("/srv/\n")},
        {"health": "127.0.0.1"},
        {"name": "lb;1"},
        {"log": "/dev/log;x"},
        {"binds": ()},
        {"peers": (FrontPeer(name="lb2", address="10.0.0.2:10000"),)},
    ],
)
def test_settings_that_no_configuration_can_hold_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(FrontSettingsUnfit):
        FrontSettings(
            **{"directory": Path("/srv/x"), "binds": SETTINGS.binds, "health": "127.0.0.1:1", **values}  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("bad", ["", "127.0.0.1", "127.0.0.1:80 ssl", "127.0.0.1:80;", "::1:80", "unix@/x"])
def test_an_address_to_listen_at_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(FrontSettingsUnfit):
        FrontBind(address=bad)


def test_both_load_balancers_get_the_same_text_but_their_own_names() -> None:
    peers = (FrontPeer(name="lb1", address="10.0.0.1:10000"), FrontPeer(name="lb2", address="10.0.0.2:10000"))
    texts = {
        name: render(state(line(1)), replace(SETTINGS, name=name, peers=peers)).configuration
        for name in ("lb1", "lb2")
    }
    first, second = (text.splitlines() for text in texts.values())
    assert [(a, b) for a, b in zip(first, second, strict=True) if a != b] == [
        ("  localpeer lb1", "  localpeer lb2")
    ]
