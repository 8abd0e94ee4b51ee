"""The lines of HAProxy's configuration that ask the maps which rule decides. Pure.

    txn.i ── rule.map ──► txn.rx: tag of the instance's rules; without one, nothing of what follows is done
    method, path, source, headers, client ── rule_mask.map ──► each a number with a bit for every rule that it allows
    all of them and-ed: txn.r ──► lowest bit: txn.rb ── rule_text.map ──► what to do

Names of files are the only thing that is put into the text.

**Source:** tried on HAProxy 2.6.12. `map_beg` finds the longest key, those added at runtime included. A variable set
from `method` alone reads as OPTIONS for every method that HAProxy does not know (`PURGE`, `get`): hence the empty
`concat`. `http_auth_user` by itself takes `Bas …` for Basic and leaves out what stands behind a comma: hence the form
in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lb.rule.vocabulary import HEADER_VALUE_MAX, HEADERS, PREFIX_MAX

TAG_MAP: Final = "rule.map"
MASK_MAP: Final = "rule_mask.map"
TEXT_MAP: Final = "rule_text.map"

_PROBLEM: Final = (
    "status 503 content-type application/problem+json hdr Retry-After {retry} hdr Cache-Control no-store string "
    '\'{{"type":"/problems/{page}","title":"{title}","status":503,"code":"{code}"}}\''
)
_MAINTENANCE: Final = _PROBLEM.format(
    retry="%[var(txn.retry)]", page="rule-maintenance", title="Maintenance", code="rule_maintenance"
)
_REFUSED: Final = _PROBLEM.format(
    retry="2", page="rule-lines-not-ready", title="Lines not ready", code="rule_lines_not_ready"
)
_BASIC: Final = r"^[\ \t]*basic\ +[a-z0-9+/]{1,512}={0,2}[\ \t]*$"
_TRIMMED: Final = r"ltrim(\ \t),rtrim(\ \t)"


def fragment(maps: str, *, maintenance: str = _MAINTENANCE, refused: str = _REFUSED) -> tuple[str, ...]:
    """What stands in the frontend once the instance and its main backend are known.

    Args:
        maps: the directory of the maps, as it stands in the configuration.
        maintenance: what follows `http-request return` when a rule says to come back; `%[var(txn.retry)]` is in how
            many seconds.
        refused: the same when none of the rule's lines is there and the rule wants no other one.
    """
    lines = (*_masks(maps), *_decision(maps), *_action(maintenance, refused))
    return tuple(f"http-request {line}" for line in lines)


def _masks(maps: str) -> Iterator[str]:
    """Sets `txn.r` to the rules that hold."""
    has = "{ var(txn.rx) -m found }"
    lookup = f"map_beg_int({maps}/{MASK_MAP},0)"
    yield f"set-var(txn.rx) var(txn.i),map_str({maps}/{TAG_MAP})"
    yield f"set-var(txn.rt) method,concat() if {has}"
    yield f"set-var(txn.r) var(txn.rx),concat(|m|,txn.rt,:),{lookup} if {has}"
    yield f"set-var(txn.rp) path,field(3,/,0),bytes(0,{PREFIX_MAX - 1}) if {has}"
    yield f"set-var(txn.r) var(txn.rx),concat(|p|/,txn.rp),{lookup},and(txn.r) if {has}"
    yield f"set-var(txn.rs) src,hex if {has}"
    yield f"set-var(txn.rs) var(txn.rs),bytes(24,8) if {has} {{ var(txn.rs) -m beg 00000000000000000000FFFF }}"
    yield f"set-var(txn.rl) var(txn.rs),length if {has}"
    yield f"set-var(txn.r) var(txn.rx),concat(|s|,txn.rl,|),concat(,txn.rs),{lookup},and(txn.r) if {has}"
    for name in HEADERS:
        value = f"req.fhdr({name}),{_TRIMMED},bytes(0,{HEADER_VALUE_MAX + 1}),hex"
        yield f"unset-var(txn.rh) if {has}"
        yield f"set-var(txn.rh) {value} if {has} {{ req.fhdr_cnt({name}) eq 1 }}"
        yield f"set-var(txn.r) var(txn.rx),concat(|h|{name}|,txn.rh,:),{lookup},and(txn.r) if {has}"
    yield from _client_masks(maps, has, lookup)


def _client_masks(maps: str, has: str, lookup: str) -> Iterator[str]:
    """A client is known by name or by certificate; rules for either of the two hold."""
    decent = f"{{ req.fhdr_cnt(authorization) eq 1 }} {{ req.fhdr(authorization) -m reg -i {_BASIC} }}"
    yield f"set-var(txn.ru) http_auth_user if {has} {decent}"
    yield "unset-var(txn.ru) if { var(txn.ru) -m len 0 }"
    known = "{ var(txn.fp) -m found }"
    yield f"set-var(txn.rn) var(txn.rx),concat(|f|,txn.fp),map_str({maps}/{TEXT_MAP}) if {has} {known}"
    yield f"set-var(txn.rc) var(txn.rx),concat(|c|,txn.rn,:),{lookup} if {has}"
    yield f"set-var(txn.r) var(txn.rx),concat(|c|,txn.ru,:),{lookup},or(txn.rc),and(txn.r) if {has}"


def _decision(maps: str) -> Iterator[str]:
    """Sets `txn.ra` to what the first rule that holds says, and takes it apart."""
    yield "set-var(txn.rb) var(txn.r),neg if { var(txn.r) -m int gt 0 }"
    yield "set-var(txn.rb) var(txn.r),and(txn.rb) if { var(txn.r) -m int gt 0 }"
    found = "{ var(txn.ra) -m found }"
    text = f"var(txn.rx),concat(|a|,txn.rb),map_str({maps}/{TEXT_MAP})"
    yield f"set-var(txn.ra) {text} if {{ var(txn.rb) -m found }}"
    for variable, number in (("rk", 1), ("rule", 2), ("rg", 3), ("ry", 4), ("ro", 5)):
        yield f"set-var(txn.{variable}) var(txn.ra),field({number},|) if {found}"


def _action(maintenance: str, refused: str) -> Iterator[str]:
    pause, lines = "{ var(txn.rk) -m str pause }", "{ var(txn.rk) -m str lines }"
    up = "{ var(txn.re) -m int gt 0 }"
    sticky = f"{lines} {{ var(txn.ry) -m str sticky }}"
    yield f"set-var(txn.retry) var(txn.rg) if {pause}"
    yield f"return {maintenance} if {pause}"
    yield f"set-var(txn.re) var(txn.rg),nbsrv if {lines}"
    yield f"set-var(txn.be) var(txn.rg) if {lines} {up}"
    yield f"return {refused} if {lines} {{ var(txn.ro) -m str refuse }} !{up}"
    yield f"set-var(txn.client) var(txn.rule),concat(|,txn.ru) if {sticky} {{ var(txn.ru) -m found }}"
    other = "!{ var(txn.ru) -m found } { var(txn.rn) -m found }"
    yield f"set-var(txn.client) var(txn.rule),concat(|,txn.rn) if {sticky} {other}"
