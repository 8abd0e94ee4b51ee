"""A chain, its checkpoints and its export, made by hand: what the verifier is to be tested with, without a database."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.operations.audit.verify_audit import (
    GENESIS,
    Checkpoint,
    CheckpointCheck,
    ExportCheck,
    Round,
    check_ed25519,
    entry_digest,
    key_id_of,
    link_digest,
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
KEYS = {key_id_of(PUBLIC): PUBLIC}
CHAIN = "ins_1"
Lines = list[dict[str, Any]]
# The same few checkpoints stand in hundreds of exports; the pure Python of a signature takes milliseconds.
check_once = cache(check_ed25519)


def entry(sequence: int, what: str = "done") -> list[Any]:
    """The fields of an entry."""
    return [sequence, f"evt_{sequence}", what, "sub", "{}", "op", 1, None, None, None, None, None]


def chained(entries: Sequence[list[Any]], previous: str = GENESIS) -> Lines:
    """Lines of entries with their right hashes."""
    lines = []
    for fields in entries:
        previous = link_digest(previous, entry_digest(fields))
        lines.append({"kind": "entry", "entry": fields, "hash": previous})
    return lines


def checkpoint(
    number: int, line: dict[str, Any], previous: str = GENESIS, *, chain: str = CHAIN
) -> Checkpoint:
    """A signed one about the entry of a line."""
    other = ("ins_other", 7, "7" * 64)
    made = signed(number, ((chain, line["entry"][0], line["hash"]), other), previous)
    return made.checkpoints(chain)[0]


def signed(
    number: int,
    links: tuple[tuple[str, int, str], ...],
    previous: str = GENESIS,
    *,
    anchor: str | None = None,
    day: int = 0,
) -> Round:
    """A round with its signature; an anchor, if the one before is named."""
    at_us = day * 86_400_000_000 + number * 60_000_000
    key_id = key_id_of(PUBLIC)
    draft = Round(number, links, at_us, int(anchor is not None), previous, anchor or GENESIS, key_id)
    return resigned(draft)


def resigned(draft: Round) -> Round:
    """With the signature of what it says."""
    signature = base64.urlsafe_b64encode(PRIVATE.sign(draft.message)).decode().rstrip("=")
    return draft._replace(signature=signature)


def export(
    entries: Lines, checkpoints: Sequence[Checkpoint] = (), *, after: int = 0, previous: str = GENESIS
) -> Lines:
    """An export of one chain."""
    last = entries[-1]["entry"][0] if entries else after
    lines: Lines = [
        {"kind": "head", "format": "wops-audit-1", "chains": [CHAIN]},
        {"kind": "chain", "chain": CHAIN, "after": after, "last": last, "previous": previous},
    ]
    for each in entries:
        lines.append(each)
        sequence = each["entry"][0] if "entry" in each else each["sequence"]
        lines += [{"kind": "checkpoint", **c._asdict()} for c in checkpoints if c.sequence == sequence]
    return [*lines, end(lines)]


def end(lines: Lines) -> dict[str, Any]:
    """The last line for these."""
    kinds = [each["kind"] for each in lines]
    return {"kind": "end", **{kind: kinds.count(kind) for kind in ("entry", "digest", "checkpoint")}}


def to_bytes(lines: Lines) -> list[bytes]:
    """As a file has them."""
    return [json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in lines]


def verify(lines: Lines, older: Sequence[Checkpoint] = ()) -> ExportCheck:
    """Let the verifier read them."""
    check = ExportCheck(CheckpointCheck(KEYS, check_once), older)
    check.run(to_bytes(lines))
    return check


def found(lines: Lines, older: Sequence[Checkpoint] = ()) -> list[tuple[str, int]]:
    """Codes and places of what is wrong."""
    return [(each.code, each.sequence) for each in verify(lines, older).findings]
