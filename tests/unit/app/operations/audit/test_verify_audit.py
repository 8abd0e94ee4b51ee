"""The verifier of one file: what is untouched passes, every touch is found and located, and it needs nothing else."""

from __future__ import annotations

import ast
import base64
import json
import subprocess  # noqa: TID251 - the file alone is what auditors run
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from app.operations.audit import verify_audit
from app.operations.audit.verify_audit import (
    GENESIS,
    CheckpointCheck,
    NotAnExport,
    Round,
    check_ed25519,
    key_id_of,
    read_keys,
)
from tests.unit.app.operations.audit.paper import (
    CHAIN,
    KEYS,
    PUBLIC,
    Lines,
    chained,
    checkpoint,
    end,
    entry,
    export,
    found,
    resigned,
    signed,
    to_bytes,
    verify,
)

FILE = Path(verify_audit.__file__)
# RFC 8032 §7.1: TEST 1, TEST 2, TEST 3, TEST SHA(abc).
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
        "454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
        "3dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_signatures_of_rfc_8032_are_right_and_nothing_near_them_is(
    key: str, message: str, signature: str
) -> None:
    public, text, signed = (bytes.fromhex(each) for each in (key, message, signature))
    assert check_ed25519(public, text, signed)
    assert not check_ed25519(public, text + b"x", signed)
    for place in (0, 31, 32, 63):
        bent = bytearray(signed)
        bent[place] ^= 1
        assert not check_ed25519(public, text, bytes(bent))
    assert not check_ed25519(public, text, signed[:-1])
    assert not check_ed25519(public[:-1], text, signed)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 511))
def test_every_signature_of_the_library_is_right_here_and_bent_ones_are_wrong_in_both(
    seed: bytes, message: bytes, bit: int
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert check_ed25519(public, message, signature)
    bent = bytearray(signature)
    bent[bit // 8] ^= 1 << bit % 8
    assert not check_ed25519(public, message, bytes(bent))
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(public).verify(bytes(bent), message)


def test_scalar_above_the_order_is_refused() -> None:
    """The same signature a second time, malleable in naive implementations (RFC 8032 §5.1.7, step 1)."""
    public, _, signature = (bytes.fromhex(each) for each in VECTORS[0])
    raised = int.from_bytes(signature[32:], "little") + verify_audit._ORDER
    assert not check_ed25519(public, b"", signature[:32] + raised.to_bytes(32, "little"))


def test_file_needs_python_3_9_and_its_standard_library_only() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 9))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [each.name for each in node.names] if isinstance(node, ast.Import) else [str(node.module)]
        )
    }
    assert imported - {"__future__"} <= set(sys.stdlib_module_names)
    # Names and calls that came after 3.9.
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"UTC", "file_digest", "pairwise", "batched"}
    assert not [
        keyword.arg
        for keyword in ast.walk(tree)
        if isinstance(keyword, ast.keyword) and keyword.arg == "strict"
    ]


@pytest.fixture
def lines() -> Lines:
    """Twelve entries; checkpoints at 4, 8 and 12."""
    entries = chained([entry(number) for number in range(1, 13)])
    first = checkpoint(1, entries[3])
    second = checkpoint(2, entries[7], first.hash)
    return export(entries, [first, second, checkpoint(3, entries[11], second.hash)])


def place_of(lines: Lines, sequence: int) -> int:
    return next(place for place, each in enumerate(lines) if each.get("entry", [0])[0] == sequence)


def test_untouched_export_passes_and_says_how_far_it_is_signed(lines: Lines) -> None:
    check = verify(lines)
    assert check.findings == []
    assert [(each.chain, each.sequence, each.vouched, each.entries) for each in check.chains] == [
        (CHAIN, 12, 12, 12)
    ]


@pytest.mark.parametrize("sequence", range(1, 13))
@pytest.mark.parametrize("field", range(1, 12))
def test_rewritten_entry_is_found_at_its_place(lines: Lines, sequence: int, field: int) -> None:
    lines[place_of(lines, sequence)]["entry"][field] = "other"
    assert found(lines) == [("changed", sequence)]


@pytest.mark.parametrize("sequence", range(1, 12))
def test_rewritten_entry_with_its_own_hash_made_anew_is_found_at_the_next(
    lines: Lines, sequence: int
) -> None:
    line = lines[place_of(lines, sequence)]
    line["entry"][2] = "other"
    before = lines[place_of(lines, sequence - 1)]["hash"] if sequence > 1 else "0" * 64
    line["hash"] = verify_audit.link_digest(before, verify_audit.entry_digest(line["entry"]))
    codes = found(lines)
    expected = ("rewritten", sequence - 3) if sequence % 4 == 0 else ("changed", sequence + 1)
    assert codes[0] == expected


@pytest.mark.parametrize("sequence", range(2, 12))
def test_removed_entry_is_found_by_its_number(lines: Lines, sequence: int) -> None:
    del lines[place_of(lines, sequence)]
    assert found(lines)[0] == ("missing", sequence)


@pytest.mark.parametrize("sequence", range(2, 12))
def test_removed_and_renumbered_entries_are_found_where_they_begin(lines: Lines, sequence: int) -> None:
    del lines[place_of(lines, sequence)]
    for each in lines:
        if each["kind"] == "entry" and each["entry"][0] > sequence:
            each["entry"][0] -= 1
    assert found(lines)[0] == ("changed", sequence)


@pytest.mark.parametrize("sequence", range(2, 12))
def test_entry_put_in_twice_is_found(lines: Lines, sequence: int) -> None:
    place = place_of(lines, sequence)
    lines.insert(place, dict(lines[place]))
    assert found(lines)[0] == ("out_of_order", sequence)


@pytest.mark.parametrize("sequence", range(1, 11))
def test_swapped_entries_are_found_at_the_first(lines: Lines, sequence: int) -> None:
    one, other = place_of(lines, sequence), place_of(lines, sequence + 1)
    lines[one], lines[other] = lines[other], lines[one]
    assert found(lines)[0] == ("missing", sequence)
    assert ("out_of_order", sequence) in found(lines)


def recomputed(first: int) -> Lines:
    """The chain rewritten from an entry on, with all later hashes made anew by somebody without the key."""
    return chained([entry(number, "other" if number == first else "done") for number in range(1, 13)])


@pytest.mark.parametrize("first", range(1, 13))
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_rewritten_history_is_caught_by_any_one_old_checkpoint(lines: Lines, first: int, kept: int) -> None:
    old = [each for each in lines if each["kind"] == "checkpoint"][kept - 1]
    forged = export(recomputed(first))
    older = list(verify_audit.read_checkpoints(to_bytes([old])))
    if first <= kept * 4:
        assert found(forged, older) == [("rewritten", 1)]
    else:
        assert found(forged, older) == ([("unsigned", kept * 4 + 1)] if kept < 3 else [])


@pytest.mark.parametrize("first", range(1, 13))
def test_export_that_nothing_vouches_for_is_no_proof(first: int) -> None:
    """Rewritten, all hashes made anew, the checkpoints left out."""
    assert found(export(recomputed(first))) == [("unsigned", 1)]


def test_entries_behind_the_newest_checkpoint_are_unsigned(lines: Lines) -> None:
    last = max(place for place, each in enumerate(lines) if each["kind"] == "checkpoint")
    rest = [*lines[:last], end(lines[:last])]
    assert found(rest) == [("unsigned", 9)]


def test_chain_that_is_promised_has_to_be_there(lines: Lines) -> None:
    for promised in ([CHAIN, "platform"], ["platform", CHAIN, "ins_2"]):
        lines[0]["chains"] = promised
        assert ("chain_missing", 1) in found(lines)
    nothing: Lines = [{"kind": "head", "format": "wops-audit-1", "chains": ["platform"]}, end([])]
    assert found(nothing) == [("chain_missing", 1)]
    nothing[0]["chains"] = []
    assert found(nothing) == [("chain_missing", 1)]
    lines[0].update(chains=[CHAIN], instance_id=CHAIN)
    assert found(lines) == [("chain_missing", 1)], "an instance's export has the platform's chain, too"
    lines[0].update(chains=["platform"], instance_id=None)
    assert {code for code, _ in found(lines)} == {"malformed"}, "a chain that was not promised"


def test_chain_that_ends_before_it_should_is_incomplete(lines: Lines) -> None:
    marks = list(
        verify_audit.read_checkpoints(to_bytes([each for each in lines if each["kind"] == "checkpoint"]))
    )
    short = export(chained([entry(number) for number in range(1, 9)]), marks[:2])
    assert found(short) == []
    short[1]["last"] = 12
    assert found(short) == [("incomplete", 9)]


def test_checkpoints_kept_from_later_than_the_export_are_no_alarm(lines: Lines) -> None:
    marks = list(
        verify_audit.read_checkpoints(to_bytes([each for each in lines if each["kind"] == "checkpoint"]))
    )
    short = export(chained([entry(number) for number in range(1, 9)]), marks[:2])
    assert found(short, marks) == [("truncated", 9)]
    short[0].update(until="1970-01-01T00:02:30Z")
    assert found(short, marks) == []
    short[0].update(until=None, made_at_us=marks[1].signed_at_us)
    assert found(short, marks) == []
    short[0].update(made_at_us=marks[2].signed_at_us)
    assert found(short, marks) == [("truncated", 9)]
    short[0].update(until="1970-01-01T00:02:30Z")
    short[2]["entry"][2] = "other"
    assert found(short, marks)[0] == ("changed", 1), "what the range holds is compared all the same"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31])
def test_each_chain_of_a_round_has_its_own_proof_and_no_other(count: int) -> None:
    links = tuple((f"ins_{number}", number + 1, f"{number:064x}") for number in range(count))
    made = signed(1, links)
    checks = CheckpointCheck(KEYS)
    each = made.checkpoints()
    assert [(mark.chain, mark.sequence, mark.chain_hash) for mark in each] == list(links)
    assert {mark.message for mark in each} == {made.message}
    assert len(each[0].path) == (count - 1).bit_length()
    for mark in each:
        assert checks.signature(mark) is None
        assert "ins_" not in "".join(mark.path)
    if count > 1:
        assert checks.signature(each[0]._replace(path=each[1].path)) is not None
        assert checks.signature(each[0]._replace(sequence=9)) is not None


def test_rewriting_is_narrowed_down_to_between_two_checkpoints(lines: Lines) -> None:
    marks = list(
        verify_audit.read_checkpoints(to_bytes([each for each in lines if each["kind"] == "checkpoint"]))
    )
    assert found(export(recomputed(7), marks))[0] == ("rewritten", 5)


def test_cut_off_end_is_caught_by_a_later_checkpoint(lines: Lines) -> None:
    marks = list(
        verify_audit.read_checkpoints(to_bytes([each for each in lines if each["kind"] == "checkpoint"]))
    )
    short = export(chained([entry(number) for number in range(1, 11)]), marks[:2])
    assert found(short) == [("unsigned", 9)]
    assert found(short, marks) == [("truncated", 11)]


def test_checkpoint_with_another_content_or_another_key_is_no_checkpoint(lines: Lines) -> None:
    for name, value in (
        ("chain_hash", "1" * 64),
        ("signed_at_us", 1),
        ("sequence", 5),
        ("chain", "ins_2"),
        ("number", 9),
    ):
        bent = [dict(each) for each in lines]
        mark = next(each for each in bent if each["kind"] == "checkpoint")
        mark[name] = value
        assert found(bent)[0][0] == "forged", name
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    check = verify_audit.ExportCheck(CheckpointCheck({key_id_of(stranger): stranger}))
    check.run(to_bytes(lines))
    assert {each.code for each in check.findings} == {"key_unknown"}
    signed_by_other = [
        {**each, "signature": "A" * 86} if each["kind"] == "checkpoint" else each for each in lines
    ]
    assert {code for code, _ in found(signed_by_other)} == {"forged"}


def test_true_checkpoint_of_another_chain_is_no_use_here(lines: Lines) -> None:
    other = checkpoint(1, lines[place_of(lines, 4)], chain="ins_2")
    place = next(place for place, each in enumerate(lines) if each["kind"] == "checkpoint")
    lines[place] = {"kind": "checkpoint", **other._asdict()}
    assert found(lines) == [("forged", 4)]


def rounds_of(days: int, each_day: int = 3) -> list[Round]:
    """Some rounds a day, the first of them its anchor."""
    made: list[Round] = []
    anchor = GENESIS
    for number in range(1, days * each_day + 1):
        is_anchor = number % each_day == 1
        previous = made[-1].hash if made else GENESIS
        day = (number - 1) // each_day
        links = ((CHAIN, number, f"{number:064x}"),)
        found = signed(number, links, previous, anchor=anchor if is_anchor else None, day=day)
        if not is_anchor:
            found = resigned(found._replace(anchor_hash=anchor))
        else:
            anchor = found.hash
        made.append(found)
    return made


def followed(given: list[Round], kept_since_us: int = 0) -> list[tuple[str, int]]:
    checks = CheckpointCheck(KEYS)
    told = [checks.follow(each, kept_since_us) for each in given]
    return [(each.code, each.sequence) for each in told if each is not None]


def test_missing_and_changed_checkpoints_are_found() -> None:
    marks = rounds_of(2)
    assert followed(marks) == []
    assert followed([*marks[:2], *marks[3:]]) == [("checkpoint_missing", 3)]
    changed = [*marks[:2], marks[2]._replace(signed_at_us=7), *marks[3:]]
    assert followed(changed) == [("checkpoint_changed", 4)]
    assert followed([marks[0]._replace(anchor=0), *marks[1:]])[0] == ("checkpoint_changed", 2)


def test_of_old_days_only_the_anchors_have_to_be_there_and_all_of_them() -> None:
    marks = rounds_of(6)
    limit = marks[9].signed_at_us
    anchors = [each for each in marks[:9] if each.anchor]
    assert followed([*anchors, *marks[9:]], limit) == []
    assert followed([*marks[:5], *anchors[2:], *marks[9:]], limit) == [], "half thinned"
    assert followed([*anchors, *marks[9:]], limit - 1) == [("checkpoint_missing", 8)]
    assert followed([*anchors, *marks[9:10], *marks[11:]], limit) == [("checkpoint_missing", 11)]
    for gone in range(3):
        rest = [*anchors[:gone], *anchors[gone + 1 :]]
        assert followed([*rest, *marks[9:]], limit)[0][0] == "checkpoint_missing"


def test_digests_stand_for_entries_that_are_not_shown(lines: Lines) -> None:
    hidden: Lines = []
    for each in lines[:-1]:
        if each["kind"] == "entry" and each["entry"][0] % 3:
            digest = verify_audit.entry_digest(each["entry"])
            line = {"kind": "digest", "sequence": each["entry"][0], "digest": digest, "hash": each["hash"]}
            hidden.append(line)
        else:
            hidden.append(each)
    hidden.append(end(hidden))
    assert found(hidden) == []
    place = next(place for place, each in enumerate(hidden) if each["kind"] == "digest")
    hidden[place]["digest"] = "1" * 64
    assert found(hidden) == [("changed", 1)]


def test_range_begins_behind_the_hash_it_names(lines: Lines) -> None:
    part = [each for each in lines if each["kind"] == "entry"][4:]
    marks = list(
        verify_audit.read_checkpoints(to_bytes([each for each in lines if each["kind"] == "checkpoint"]))
    )
    before = lines[place_of(lines, 4)]["hash"]
    assert found(export(part, marks[1:], after=4, previous=before)) == []
    assert found(export(part, marks[1:], after=4, previous="1" * 64)) == [("changed", 5)]
    assert ("missing", 4) in found(export(part, marks[1:], after=3, previous=before))


def test_export_that_breaks_off_is_incomplete(lines: Lines) -> None:
    for length in range(1, len(lines)):
        assert ("incomplete") in {code for code, _ in found(lines[:length])}
    assert found([*lines[:-3], lines[-1]])[0][0] in ("incomplete", "missing")
    torn = to_bytes(lines)
    torn[5] = torn[5][:20]
    check = verify_audit.ExportCheck(CheckpointCheck(KEYS))
    check.run(torn)
    assert [(each.code, each.line) for each in check.findings] == [("malformed", 6)]


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"{", b"[]", b"1", b'{"kind":"entry"}', b'{"kind":"head","format":"other"}', b"\xff", b"null"],
)
def test_something_else_is_no_export(nonsense: bytes) -> None:
    with pytest.raises(NotAnExport):
        verify_audit.ExportCheck(CheckpointCheck(KEYS)).run([nonsense] if nonsense else [])


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": "entry", "entry": [], "hash": "x"},
        {"kind": "entry", "entry": {"a": 1}, "hash": "x"},
        {"kind": "entry", "hash": "x"},
        {"kind": "head", "format": "wops-audit-1"},
        {"kind": "other"},
        {"kind": ["head"]},
        {"kind": "checkpoint", "number": "1"},
        {},
        [],
        "text",
        {"kind": "digest", "sequence": "x", "digest": 1, "hash": 2},
    ],
)
def test_line_that_makes_no_sense_is_named(lines: Lines, odd: Any) -> None:
    lines.insert(4, odd)
    findings = verify(lines).findings
    assert (findings[-1].code, findings[-1].line) == ("malformed", 5)


def test_public_keys_are_read_with_and_without_their_id() -> None:
    text = base64.urlsafe_b64encode(PUBLIC).decode().rstrip("=")
    assert read_keys(text) == read_keys(f"# ours\n\n{key_id_of(PUBLIC)} {text}\n") == KEYS
    for bad in ("", "# nothing", "abc", f"aud_0 {text}", text[:-4]):
        with pytest.raises(ValueError, match="key"):
            read_keys(bad)


def run_alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As an auditor runs it: a copy of the file, an interpreter that finds nothing else."""
    copy = folder / "verify_audit.py"
    copy.write_text(FILE.read_text())
    command = [sys.executable, "-I", "-S", str(copy), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_file_alone_verifies_and_ends_with_the_status_it_promises(tmp_path: Path, lines: Lines) -> None:
    key, sound, bent = tmp_path / "audit.pub", tmp_path / "sound.jsonl", tmp_path / "bent.jsonl"
    key.write_text(base64.urlsafe_b64encode(PUBLIC).decode())
    sound.write_bytes(b"".join(to_bytes(lines)))
    lines[place_of(lines, 6)]["entry"][2] = "other"
    bent.write_bytes(b"".join(to_bytes(lines)))
    given = ["--key", key.name]
    passed = run_alone(tmp_path, *given, sound.name)
    assert (passed.returncode, passed.stderr) == (0, "")
    assert passed.stdout.splitlines() == [
        "ins_1: 12 entries, the last is 12; signed up to entry 12",
        "nothing is wrong",
    ]
    failed = run_alone(tmp_path, *given, bent.name, "--json")
    assert failed.returncode == 1
    assert [(each["code"], each["sequence"]) for each in json.loads(failed.stdout)["findings"]] == [
        ("changed", 6)
    ]
    older = run_alone(tmp_path, *given, sound.name, "--checkpoints", bent.name)
    assert older.returncode == 0
    for arguments in (
        [*given, "nowhere"],
        [*given, key.name],
        ["--key", sound.name, sound.name],
        [sound.name],
    ):
        assert run_alone(tmp_path, *arguments).returncode == 2
