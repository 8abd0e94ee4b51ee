"""A chain cannot be hidden: it is there, or it was erased with a proof of that, or its absence is found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.core.chain import GENESIS
from app.core.db import Tx
from app.core.ids import new_id
from app.core.json import JsonObject, dump_json
from app.operations.audit.export import ExportWish
from tenancy.lifecycle import repository as lifecycle
from tenancy.lifecycle.certificate import sign
from tenancy.lifecycle.file_store import FileStore
from tests.integration.app.operations.audit.conftest import AuditWorld


@pytest.fixture
def gone(world: AuditWorld) -> AuditWorld:
    """An instance with nine entries whose database is not there any more."""
    world.write(world.platform)
    for _ in range(3):
        world.write(world.instance, 3)
        world.audit.sign()
    world.is_gone = True
    return world


def keep(world: AuditWorld) -> JsonObject:
    return FileStore(world.folder.parent).keep_chain(
        world.instance_id, world.instance.read(lambda reader: list(lifecycle.read_chain(reader)))
    )


def certify(world: AuditWorld, kept: JsonObject | None, *, instance_id: str | None = None) -> None:
    document = dump_json(
        {
            "instance": {"instance_id": instance_id or world.instance_id},
            "audit_chain": {"head": None, "kept": kept},
        }
    )

    def body(tx: Tx) -> JsonObject:
        lifecycle.put_draft(tx, world.instance_id, "{}")
        lifecycle.sign_certificate(tx, sign(world.instance_id, document, world.audit.key))
        return {}

    world.platform.run_tx(new_id("op"), body)


def emit_erased(world: AuditWorld) -> None:
    def body(tx: Tx) -> JsonObject:
        tx.emit("instance.erased", subject=world.instance_id, data={})
        return {}

    world.platform.run_tx(new_id("op"), body)


def test_database_that_is_gone_without_a_word_is_found(gone: AuditWorld) -> None:
    assert gone.instance_id in gone.audit.verifier.verify_checkpoints().chains
    assert gone.audit.verifier.knows(gone.instance_id)
    assert gone.found(gone.instance_id) == [("chain_missing", 1)]
    keep(gone)
    assert gone.found(gone.instance_id) == [("chain_missing", 1)], "a file alone is no proof of an erasure"


def test_erased_chain_is_verified_by_what_is_kept_of_it(gone: AuditWorld) -> None:
    kept = keep(gone)
    emit_erased(gone)
    for is_certified in (False, True):
        if is_certified:
            certify(gone, kept)
        report = gone.audit.verifier.verify_chain(gone.instance_id)
        assert (report.entries, report.last, report.vouched_until, report.findings) == (9, 9, 9, ())


def test_what_is_kept_of_an_erased_chain_cannot_be_changed(gone: AuditWorld) -> None:
    certify(gone, keep(gone))
    path = FileStore(gone.folder.parent).chain(gone.instance_id)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2] + lines[-1:]))
    assert gone.found(gone.instance_id) == [("changed", 1), ("truncated", 9)]
    path.write_bytes(whole.replace(b"doTest", b"notest"))
    assert gone.found(gone.instance_id) == [("changed", 1)], "what no hash covers, the certificate does"
    path.write_bytes(b"".join(lines[:5]) + b"nonsense\n")
    assert {code for code, _ in gone.found(gone.instance_id)} == {"changed", "malformed", "truncated"}
    path.unlink()
    assert gone.found(gone.instance_id) == [("chain_missing", 1)]


def test_certificate_of_another_or_with_another_signature_is_none(gone: AuditWorld) -> None:
    kept = keep(gone)
    certify(gone, kept, instance_id="ins_" + "b" * 32)
    assert gone.found(gone.instance_id)[0] == ("forged", 1)


def test_certificate_that_says_the_database_was_lost_is_taken(gone: AuditWorld) -> None:
    certify(gone, None)
    report = gone.audit.verifier.verify_chain(gone.instance_id)
    assert (report.entries, report.findings) == (0, ())


def test_export_of_an_erased_instance_has_its_digests_and_verifies(gone: AuditWorld) -> None:
    certify(gone, keep(gone))
    lines = list(gone.audit.export(ExportWish(instance_id=gone.instance_id)))
    check = gone.check(lines, gone.checkpoints())
    assert check.findings == []
    assert (check.chains[0].chain, check.chains[0].sequence, check.chains[0].vouched) == (
        gone.instance_id,
        9,
        9,
    )
    told: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert told[1] == {
        "kind": "chain",
        "chain": gone.instance_id,
        "after": 0,
        "last": 9,
        "previous": GENESIS,
    }
    assert [each["kind"] for each in told[2:7]] == ["digest", "digest", "digest", "checkpoint", "digest"]


def test_signing_goes_on_without_the_chain_that_is_gone(gone: AuditWorld) -> None:
    gone.restart()
    gone.write(gone.platform)
    assert gone.audit.sign() == 1
    gone.write(gone.platform)
    assert gone.audit.sign() == 1
