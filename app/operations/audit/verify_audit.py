#!/usr/bin/env python3
"""Verifies an export of the wops audit log. One file, standard library only, Python 3.9 or newer.

    python3 verify_audit.py --key audit.pub export.jsonl [--checkpoints older.jsonl] [--json]

Exit status: 0 nothing wrong, 1 something is wrong (the first place is named), 2 not an export, or not readable.

What is checked: every entry has the hash of its content and of its predecessor's hash; numbers have no gap; each
checkpoint is signed with the key given and has the hash that the chain has there; one of them vouches for the last
entry; all chains that the export promises are there; the file is whole. Checkpoints kept from earlier (`--checkpoints`)
show whether history was rewritten or cut off since they were signed. A chain of which an export shows no entry
is not vouched for by anything.

    hash(n)       = SHA-256(hash(n-1) ":" SHA-256(entry n)), in hexadecimal digits; before the first: 64 zeros
    entry         = its fields as a JSON array, without blanks, letters as they are (UTF-8)
    checkpoint    = Ed25519 over the JSON array of its format's name, number, root, signed_at_us, anchor, previous_hash,
                    anchor_hash, key_id
    root          = of the tree of RFC 6962 §2.1 over the JSON arrays chain, sequence, hash; `path` leads there

wops itself verifies with the classes of this file. **Source:** Ed25519: RFC 8032 §5.1; JSON texts: RFC 8259.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

EXPORT_FORMAT = "wops-audit-1"
CHECKPOINT_FORMAT = "wops-checkpoint-1"
GENESIS = "0" * 64
PLATFORM = "platform"
"""The chain of the platform's own database; an instance's has its id."""
CHECKPOINTS = "checkpoints"
"""Stands for a chain's name where the checkpoints themselves are meant."""
MOST_FINDINGS = 100
"""Told at most; what is wrong after so many is no news."""

CheckSignature = Callable[[bytes, bytes, bytes], bool]
"""Public key, message, signature."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


# Ed25519 (RFC 8032 §5.1): points as (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    left, right = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    c, d = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = right - left, d - c, d + c, right + left
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _times(factor: int, point: _Point) -> _Point:
    result = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _add(result, point)
        point = _add(point, point)
        factor >>= 1
    return result


def _point(encoded: bytes) -> _Point | None:
    """The point that 32 bytes stand for; None if they stand for none."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")) or (0, 1, 1, 0)


def check_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is that of the message (RFC 8032 §5.1.7)."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key, commitment = _point(public_key), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= _ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    left = _times(scalar, _BASE)
    right = _add(commitment, _times(int.from_bytes(digest, "little") % _ORDER, key))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % _P or (left[1] * right[2] - right[1] * left[2]) % _P
    )


def key_id_of(public_key: bytes) -> str:
    """The name of a public key: by its own digest, so that nobody can give another one the same name."""
    return "aud_" + hashlib.sha256(public_key).hexdigest()[:32]


def read_keys(text: str) -> dict[str, bytes]:
    """Public keys by their id: one per line, base64url of 32 bytes, with or without the id before it.

    Raises:
        ValueError: there is none, or one is damaged.
    """
    keys = {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = _from_base64(words[-1])
        if len(key) != 32 or (len(words) > 1 and words[0] != key_id_of(key)):
            raise ValueError("this is no public key of wops: " + line[:80])
        keys[key_id_of(key)] = key
    if not keys:
        raise ValueError("no public key was given")
    return keys


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


class Finding(NamedTuple):
    """Something that is wrong.

    Attributes:
        code: stable: changed, missing, out_of_order, unchained, unsigned, rewritten, truncated, forged, key_unknown,
            chain_missing, checkpoint_missing, checkpoint_changed, malformed, incomplete.
        sequence: the first entry, or checkpoint, that it is about.
        line: of the export; 0 if it was found in a database.
    """

    code: str
    chain: str
    sequence: int
    text: str
    line: int = 0


def _message(  # noqa: PLR0913 - what is signed
    number: int, root: str, signed_at_us: int, anchor: int, previous_hash: str, anchor_hash: str, key_id: str
) -> bytes:
    fields = [CHECKPOINT_FORMAT, number, root, signed_at_us, anchor, previous_hash, anchor_hash, key_id]
    return _encode(fields).encode("utf-8")


def _leaf(chain: str, sequence: int, chain_hash: str) -> bytes:
    return hashlib.sha256(b"\0" + _encode([chain, sequence, chain_hash]).encode("utf-8")).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _tree(leaves: list[bytes]) -> list[list[bytes]]:
    """From the leaves to the root; who has no neighbour goes up as it is (RFC 6962 §2.1)."""
    levels = [leaves or [hashlib.sha256().digest()]]
    while len(levels[-1]) > 1:
        row = levels[-1]
        pairs = [row[place : place + 2] for place in range(0, len(row), 2)]
        levels.append([_node(*pair) if len(pair) > 1 else pair[0] for pair in pairs])
    return levels


def _path(levels: list[list[bytes]], place: int) -> tuple[str, ...]:
    """The neighbours from a leaf to the root, each with its side: `l` or `r`."""
    path = []
    for row in levels[:-1]:
        neighbour = place ^ 1
        if neighbour < len(row):
            path.append(("l" if neighbour < place else "r") + row[neighbour].hex())
        place //= 2
    return tuple(path)


class Checkpoint(NamedTuple):
    """A signed statement about a chain: at that time, its entry of that number had that hash.

    One signature stands for all chains that had grown: `path` leads from this one's leaf to the root that was signed,
    and tells nothing of the others.

    Attributes:
        anchor: 1 for the first of a day, which is kept for ever.
        previous_hash, anchor_hash: of the checkpoint before, and of the anchor before.
    """

    number: int
    chain: str
    sequence: int
    chain_hash: str
    signed_at_us: int
    anchor: int
    previous_hash: str
    anchor_hash: str
    key_id: str
    path: tuple[str, ...] = ()
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        found = _leaf(self.chain, self.sequence, self.chain_hash)
        for step in self.path:
            other = bytes.fromhex(step[1:])
            found = _node(other, found) if step[0] == "l" else _node(found, other)
        return _message(
            self.number,
            found.hex(),
            self.signed_at_us,
            self.anchor,
            self.previous_hash,
            self.anchor_hash,
            self.key_id,
        )

    @property
    def hash(self) -> str:
        """What the next checkpoint names as the one before."""
        return hashlib.sha256(self.message).hexdigest()

    @property
    def signed_at(self) -> str:
        """When, as people write it."""
        return _as_time(self.signed_at_us)


class Round(NamedTuple):
    """A checkpoint with all chains that it is about: as wops keeps it, and nobody else gets it.

    Attributes:
        links: chain, number and hash of its newest entry.
    """

    number: int
    links: tuple[tuple[str, int, str], ...]
    signed_at_us: int
    anchor: int
    previous_hash: str
    anchor_hash: str
    key_id: str
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        root = _tree([_leaf(*link) for link in self.links])[-1][0].hex()
        return _message(
            self.number,
            root,
            self.signed_at_us,
            self.anchor,
            self.previous_hash,
            self.anchor_hash,
            self.key_id,
        )

    @property
    def hash(self) -> str:
        """What the next one names as the one before."""
        return hashlib.sha256(self.message).hexdigest()

    def checkpoints(self, chain: str | None = None) -> list[Checkpoint]:
        """What it says of each chain, or of one."""
        levels = _tree([_leaf(*link) for link in self.links])
        return [
            Checkpoint(
                number=self.number,
                chain=name,
                sequence=sequence,
                chain_hash=chain_hash,
                signed_at_us=self.signed_at_us,
                anchor=self.anchor,
                previous_hash=self.previous_hash,
                anchor_hash=self.anchor_hash,
                key_id=self.key_id,
                path=_path(levels, place),
                signature=self.signature,
            )
            for place, (name, sequence, chain_hash) in enumerate(self.links)
            if chain in (None, name)
        ]


def _as_time(moment_us: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=moment_us)  # noqa: UP017 - Python 3.9
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class CheckpointCheck:
    """Checks checkpoints: their signatures, and, if all that are kept are given in order, that none is missing.

    Of days gone by only the anchors are kept; each names the one before, so that none of them can be taken out.

    Args:
        keys: public keys by their id, from a source that is not the one of the checkpoints.
        check_signature: a faster implementation, if there is one.
    """

    def __init__(self, keys: dict[str, bytes], check_signature: CheckSignature = check_ed25519) -> None:
        self._keys = keys
        self._check = check_signature
        self._last = (0, GENESIS)
        self._anchor = GENESIS
        self._said: tuple[Round, bytes] | None = None

    def go_on_behind(self, found: Round) -> None:
        """The next to come is the one after this."""
        own = hashlib.sha256(self._message_of(found)).hexdigest()
        self._last = (found.number, own)
        self._anchor = own if found.anchor else found.anchor_hash

    def signature(self, found: Checkpoint) -> Finding | None:
        """What is wrong with a checkpoint by itself."""
        place = Finding("", found.chain, found.sequence, f"checkpoint {found.number}")
        return self._signature(place, found.key_id, found.message, found.signature)

    def signature_of(self, found: Round) -> Finding | None:
        """What is wrong with a round by itself."""
        place = Finding("", CHECKPOINTS, found.number, f"checkpoint {found.number}")
        return self._signature(place, found.key_id, self._message_of(found), found.signature)

    def _message_of(self, found: Round) -> bytes:
        """Made once: of many chains it takes longer than the signature."""
        if self._said is None or self._said[0] is not found:
            self._said = (found, found.message)
        return self._said[1]

    def _signature(self, place: Finding, key_id: str, message: bytes, signature: str) -> Finding | None:
        key = self._keys.get(key_id)
        if key is None:
            text = f"{place.text} is signed with the key {key_id}, which was not given"
            return place._replace(code="key_unknown", text=text)
        if not self._check(key, message, _from_base64(signature)):
            return place._replace(
                code="forged", text=place.text + ": the signature is not that of its content"
            )
        return None

    def follow(self, found: Round, kept_since_us: int = 0) -> Finding | None:
        """What is wrong with a round as the successor of the one before.

        Args:
            kept_since_us: before this time only anchors have to be there.
        """
        (number, previous), anchor = self._last, self._anchor
        self.go_on_behind(found)
        # An old anchor follows the one before; what was signed in between is not kept.
        is_old_anchor = found.anchor and found.signed_at_us <= kept_since_us and found.anchor_hash == anchor
        if found.number != number + 1 and not (is_old_anchor and found.number > number):
            text = f"checkpoints {number + 1} to {found.number - 1} are missing"
            return Finding("checkpoint_missing", CHECKPOINTS, number + 1, text)
        if found.anchor_hash != anchor or (found.number == number + 1 and found.previous_hash != previous):
            text = f"checkpoint {found.number} does not follow the one before: one of them was changed"
            return Finding("checkpoint_changed", CHECKPOINTS, found.number, text)
        return None


class ChainCheck:
    """Walks along one chain and finds every place where it is not what it was.

    Args:
        chain: `platform`, or an instance's id.
        after: the number of the entry before the first one that will come.
        previous: that entry's hash.
    """

    def __init__(self, chain: str, after: int = 0, previous: str = GENESIS) -> None:
        self.chain = chain
        self.sequence = after
        self.hash = previous
        self.entries = 0
        self.first = after
        self.vouched = after
        self._expected: dict[int, list[Checkpoint]] = {}
        self.findings: list[Finding] = []
        if after == 0 and previous != GENESIS:
            self._find("changed", 1, "the first entry of a chain follows 64 zeros, and this one does not")

    def entry(self, sequence: int, digest: str | None, stored: str | None) -> None:
        """Take the next entry: its number, the SHA-256 of its content, and the hash that stands beside it.

        The digest is None where the content cannot be read.
        """
        self.entries += 1
        expected = self.sequence + 1
        if sequence < expected:
            text = f"entry {sequence} stands behind entry {self.sequence}: put in, repeated or out of order"
            self._find("out_of_order", sequence, text)
            return
        if sequence > expected:
            gone = (
                f"entry {expected} is"
                if sequence == expected + 1
                else f"entries {expected} to {sequence - 1} are"
            )
            self._find("missing", expected, f"{gone} missing")
        computed = link_digest(self.hash, digest or "")
        if digest is None:
            self._find("changed", sequence, f"entry {sequence} cannot be read: it was changed")
        elif not stored:
            self._find("unchained", sequence, f"entry {sequence} has no hash")
        elif sequence == expected and stored != computed:
            text = f"entry {sequence} is not the one that was hashed here: it, or what stood before it, was changed"
            self._find("changed", sequence, text)
        self.sequence, self.hash = sequence, stored or computed
        for each in self._expected.pop(sequence, ()):
            self._compare(each)

    def checkpoint(self, found: Checkpoint) -> None:
        """Take a checkpoint whose signature is right: before its entry, or directly after."""
        if found.sequence == self.sequence:
            self._compare(found)
        elif found.sequence > self.sequence:
            self._expected.setdefault(found.sequence, []).append(found)

    def _compare(self, found: Checkpoint) -> None:
        if found.chain_hash == self.hash:
            self.vouched = self.sequence
            return
        first = self.vouched + 1
        text = f"entries {first} to {found.sequence}: something was rewritten after {_named(found)}"
        self._find("rewritten", first, text)

    def end(self, last: int | None = None) -> None:
        """There are no more entries. `last` is the number that the database has come to, if it is known."""
        beyond = [each for each in self._expected if each > self.sequence]
        if beyond:
            seen = self._expected[min(beyond)][0]
            text = (
                f"the chain ends at entry {self.sequence}, but {_named(seen)} has seen entry {seen.sequence}"
            )
            self._find("truncated", self.sequence + 1, text)
        elif last is not None and last > self.sequence:
            text = f"the chain ends at entry {self.sequence}, but entry {last} was written"
            self._find("truncated", self.sequence + 1, text)
        elif last is not None and last < self.sequence:
            text = f"entry {self.sequence} is there, but the last one written is {last}: put in afterwards"
            self._find("out_of_order", last + 1, text)

    def _find(self, code: str, sequence: int, text: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(code, self.chain, sequence, text))


def _named(found: Checkpoint) -> str:
    return f"checkpoint {found.number} of {found.signed_at}"


def entry_digest(fields: Iterable[Any]) -> str:
    """SHA-256 of an entry: of its fields, in their order, as JSON."""
    return hashlib.sha256(_encode(list(fields)).encode("utf-8")).hexdigest()


def link_digest(previous: str, digest: str) -> str:
    """The hash of the entry with that digest, after the one with the previous hash."""
    return hashlib.sha256((previous + ":" + digest).encode("utf-8")).hexdigest()


class NotAnExport(Exception):
    """The file is something else."""


class ExportCheck:
    """Reads an export line by line.

    Args:
        checks: checks signatures.
        older: checkpoints kept from earlier.
    """

    def __init__(self, checks: CheckpointCheck, older: Iterable[Checkpoint] = ()) -> None:
        self._checks = checks
        self._chain: ChainCheck | None = None
        self._last_promised: int | None = None
        self._sound_so_far = 0
        self._older: dict[str, list[Checkpoint]] = {}
        self._promised: list[str] = []
        self._counts = {"entry": 0, "digest": 0, "checkpoint": 0}
        self._ended = False
        self._line = 0
        self.head: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self.chains: list[ChainCheck] = []
        for each in older:
            wrong = checks.signature(each)
            if wrong:
                self.findings.append(wrong)
            else:
                self._older.setdefault(each.chain, []).append(each)

    def run(self, lines: Iterable[bytes]) -> None:
        """Read everything.

        Raises:
            NotAnExport: the first line is not an export's.
        """
        for self._line, line in enumerate(lines, 1):
            try:
                self._take(line)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                if self._line == 1:
                    raise NotAnExport("the first line is not that of an audit export") from error
                self._note(Finding("malformed", self._name, self._last, "this line cannot be understood"))
                break
        if self._line == 0:
            raise NotAnExport("the file is empty")
        self._leave_chain()
        if self._ended:
            self._leave_export()
        elif not any(each.code == "malformed" for each in self.findings):
            self._note(
                Finding(
                    "incomplete",
                    self._name,
                    self._last + 1,
                    "the export breaks off: its last line is missing",
                )
            )

    @property
    def _name(self) -> str:
        return self._chain.chain if self._chain else ""

    @property
    def _last(self) -> int:
        return self._chain.sequence if self._chain else 0

    def _take(self, line: bytes) -> None:
        value = json.loads(line.decode("utf-8"))
        kind = value["kind"]
        if (self._line == 1) != (kind == "head") or self._ended:
            raise ValueError(kind)
        takers = {"head": self._take_head, "chain": self._take_chain, "end": self._take_end}
        takers.get(kind, self._take_part)(value)

    def _take_head(self, value: dict[str, Any]) -> None:
        if value["format"] != EXPORT_FORMAT:
            raise ValueError(value["format"])
        self.head = value
        self._promised = [str(each) for each in value["chains"]]
        about = value.get("instance_id")
        if not self._promised or (about is not None and not {about, PLATFORM} <= set(self._promised)):
            text = "the export does not even promise the chains that it has to have"
            self._note(Finding("chain_missing", str(about or PLATFORM), 1, text))

    def _take_chain(self, value: dict[str, Any]) -> None:
        self._leave_chain()
        name, last = str(value["chain"]), value.get("last")
        if name not in self._promised or name in {each.chain for each in self.chains}:
            raise ValueError(name)
        self._chain = ChainCheck(name, int(value["after"]), str(value["previous"]))
        self._last_promised = None if last is None else int(last)
        self._sound_so_far = len(self.findings)
        self.chains.append(self._chain)
        for older in self._older.get(name, []):
            if not self._is_beyond(older):
                self._chain.checkpoint(older)

    def _is_beyond(self, kept: Checkpoint) -> bool:
        """Whether a checkpoint is about something that the export does not claim to have."""
        if self._last_promised is None or kept.sequence <= self._last_promised:
            return False
        made_at_us = self.head.get("made_at_us")
        is_younger = made_at_us is not None and kept.signed_at_us > int(made_at_us)
        return is_younger or self.head.get("until") is not None

    def _take_part(self, value: dict[str, Any]) -> None:
        chain, kind = self._chain, value["kind"]
        if chain is None:
            raise ValueError(kind)
        self._counts[kind] += 1
        if kind == "checkpoint":
            found = read_checkpoint(value)
            wrong = self._checks.signature(found)
            if found.chain != chain.chain:
                wrong = Finding(
                    "forged", chain.chain, found.sequence, "a checkpoint of another chain stands here"
                )
            if wrong:
                self._note(wrong)
            else:
                chain.checkpoint(found)
        else:
            sequence = value["entry"][0] if kind == "entry" else value["sequence"]
            digest = entry_digest(value["entry"]) if kind == "entry" else str(value["digest"])
            chain.entry(int(sequence), digest, value["hash"])
        self._drain()

    def _take_end(self, value: dict[str, Any]) -> None:
        self._ended = True
        for kind, count in self._counts.items():
            if value[kind] != count:
                text = f"the export had {value[kind]} lines of the kind {kind}; {count} are there"
                self._note(Finding("incomplete", self._name, self._last, text))

    def _drain(self) -> None:
        if self._chain and self._chain.findings:
            for each in self._chain.findings:
                self._note(each)
            self._chain.findings.clear()

    def _leave_chain(self) -> None:
        chain = self._chain
        if chain is None:
            return
        chain.end()
        self._drain()
        if len(self.findings) > self._sound_so_far:
            return
        if self._last_promised not in (None, chain.sequence) and chain.entries:
            text = f"the export promises entries up to {self._last_promised}, and has them up to {chain.sequence}"
            self._note(Finding("incomplete", chain.chain, chain.sequence + 1, text))
        elif chain.entries and chain.vouched < chain.sequence:
            text = f"no checkpoint vouches for entries {chain.vouched + 1} to {chain.sequence}"
            self._note(Finding("unsigned", chain.chain, chain.vouched + 1, text))

    def _leave_export(self) -> None:
        there = {each.chain for each in self.chains}
        for each in self._promised:
            if each not in there:
                text = "the export promises this chain, and does not have it"
                self._note(Finding("chain_missing", each, 1, text))

    def _note(self, found: Finding) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(found._replace(line=self._line))


def read_checkpoint(value: dict[str, Any]) -> Checkpoint:
    """A checkpoint as exports have it.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    found = Checkpoint(*(value[name] for name in Checkpoint._fields))
    _require_numbers(found.number, found.sequence, found.signed_at_us, found.anchor)
    return found._replace(path=tuple(_step(each) for each in found.path))


def read_round(value: dict[str, Any]) -> Round:
    """A checkpoint with all its chains, as the file of checkpoints has it.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    found = Round(*(value[name] for name in Round._fields))
    links = tuple((str(chain), sequence, str(link)) for chain, sequence, link in found.links)
    _require_numbers(found.number, found.signed_at_us, found.anchor, *(link[1] for link in links))
    return found._replace(links=links)


def _require_numbers(*values: object) -> None:
    if not all(isinstance(each, int) for each in values):
        raise TypeError("numbers are numbers")


def _step(text: str) -> str:
    if text[:1] not in ("l", "r") or len(bytes.fromhex(text[1:])) != 32:
        raise ValueError(text)
    return text


def read_checkpoints(lines: Iterable[bytes]) -> Iterator[Checkpoint]:
    """The checkpoints among the lines of a file: of an export, or of the file of checkpoints.

    Raises:
        KeyError, TypeError, ValueError: a line is something else.
    """
    for line in lines:
        value = json.loads(line.decode("utf-8"))
        kind = value.get("kind", "checkpoint")
        if kind == "checkpoint":
            yield read_checkpoint(value)
        elif kind == "round":
            yield from read_round(value).checkpoints()


def main(arguments: list[str] | None = None) -> int:
    """Verify a file and say what was found."""
    parser = argparse.ArgumentParser(description="Verifies an export of the wops audit log.")
    parser.add_argument("export")
    parser.add_argument(
        "--key", required=True, help="file with the public key, from another source than the export"
    )
    parser.add_argument("--checkpoints", help="file with checkpoints kept from earlier")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    try:
        with open(given.key, encoding="utf-8") as file:
            checks = CheckpointCheck(read_keys(file.read()))
        older: list[Checkpoint] = []
        if given.checkpoints:
            with open(given.checkpoints, "rb") as lines:
                older = list(read_checkpoints(lines))
        check = ExportCheck(checks, older)
        with open(given.export, "rb") as lines:
            check.run(lines)
    except (OSError, NotAnExport, KeyError, TypeError, ValueError) as error:
        sys.stderr.write(f"cannot be verified: {error}\n")
        return 2
    sys.stdout.write(_as_json(check) if given.json else _as_text(check))
    return 1 if check.findings else 0


def _as_json(check: ExportCheck) -> str:
    chains = [
        {"chain": each.chain, "last": each.sequence, "entries": each.entries, "vouched_until": each.vouched}
        for each in check.chains
    ]
    return _encode({"findings": [each._asdict() for each in check.findings], "chains": chains}) + "\n"


def _as_text(check: ExportCheck) -> str:
    told = [f"WRONG  line {e.line}, {e.chain}: {e.text} ({e.code})" for e in check.findings]
    limits = [(name, check.head.get(name)) for name in ("since", "until", "made_at")]
    if any(value for _, value in limits):
        told.append("the export says: " + ", ".join(f"{name} {value}" for name, value in limits if value))
    for each in check.chains:
        covered = (
            f"signed up to entry {each.vouched}"
            if each.vouched > each.first
            else "no checkpoint vouches for it"
        )
        told.append(f"{each.chain}: {each.entries} entries, the last is {each.sequence}; {covered}")
    told.append(f"{len(check.findings)} findings" if check.findings else "nothing is wrong")
    return "\n".join(told) + "\n"


if __name__ == "__main__":
    sys.exit(main())
