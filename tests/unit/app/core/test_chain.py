"""The audit chain as numbers: its format stands, and one changed character changes every later hash."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from app.core.chain import GENESIS, ChainEntry, entry_digest, link_digest, link_hash
from app.core.outbox_chain import ChainEnd, Link
from app.operations.audit import verify_audit

texts = st.text(max_size=30)
entries = st.builds(
    ChainEntry,
    sequence=st.integers(1, 2**53),
    event_id=texts,
    type=texts,
    subject=texts,
    data=texts,
    op_id=texts,
    occurred_at_us=st.integers(0, 2**53),
    actor=st.none() | texts,
    action=st.none() | texts,
    request_id=st.none() | texts,
    reason=st.none() | texts,
    before_change=st.none() | texts,
)
ACTOR = '{"id":"cli_1","kind":"client"}'
PLAIN = ChainEntry(
    1, "evt_1", "item.created", "ü", '{"a":1}', "op_1", 5, ACTOR, "createItem", "req", "", None
)


def test_format_is_the_published_one() -> None:
    """Written out by hand: exports of years ago have to verify."""
    text = (
        '[1,"evt_1","item.created","ü","{\\"a\\":1}","op_1",5,'
        '"{\\"id\\":\\"cli_1\\",\\"kind\\":\\"client\\"}","createItem","req","",null]'
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert entry_digest(PLAIN) == digest
    linked = hashlib.sha256(f"{'0' * 64}:{digest}".encode()).hexdigest()
    assert link_hash(GENESIS, PLAIN) == link_digest(GENESIS, digest) == linked


@given(entries, st.integers(0, len(ChainEntry._fields) - 1))
def test_every_field_is_hashed(entry: ChainEntry, place: int) -> None:
    old = entry[place]
    new = old + 1 if isinstance(old, int) else "x" if old is None else f"{old}."
    changed = ChainEntry._make([*entry[:place], new, *entry[place + 1 :]])
    assert entry_digest(changed) != entry_digest(entry)


@given(entries, texts)
def test_content_cannot_move_from_one_field_to_the_next(entry: ChainEntry, text: str) -> None:
    one = entry._replace(type=entry.type + text, subject=entry.subject)
    other = entry._replace(type=entry.type, subject=text + entry.subject)
    assert (entry_digest(one) == entry_digest(other)) is (one == other)


@given(entries)
def test_verifier_hashes_as_the_writer_does(entry: ChainEntry) -> None:
    as_exported = json.loads(json.dumps(list(entry)))
    assert verify_audit.entry_digest(as_exported) == entry_digest(entry)
    assert verify_audit.link_digest(GENESIS, entry_digest(entry)) == link_hash(GENESIS, entry)
    assert verify_audit.GENESIS == GENESIS


def test_end_of_a_chain_never_goes_back() -> None:
    end = ChainEnd()
    for link in (Link(2, "b"), Link(1, "a"), Link(3, "c"), Link(3, "other")):
        end.note(link)
    assert end.link == Link(3, "c")
    assert end.take_unsure() is False


def test_doubt_about_the_end_is_told_once() -> None:
    end = ChainEnd()
    end.note_unsure()
    assert [end.take_unsure(), end.take_unsure()] == [True, False]
