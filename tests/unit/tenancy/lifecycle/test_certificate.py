from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from app.core.ids import InstanceId, OperationId
from app.core.json import JsonObject, dump_json
from tenancy.lifecycle.certificate import (
    CERTIFICATE_FORMAT,
    Decided,
    Export,
    Inventory,
    describe_erasure,
    describe_inventory,
    sign,
)
from tenancy.lifecycle.plan import ERASE_INSTANCE
from tenancy.operation.plan import plan_operation
from tests.fake.clock import START
from tests.unit.tenancy.lifecycle.test_state import ACME

EXPORT = Export(
    instance_id=ACME.instance_id,
    export_id="opn_1",
    final=True,
    file_name="opn_1.zip",
    sha256="0" * 64,
    size_bytes=1,
    manifest="{}",
    created_at=START,
)
INVENTORY = Inventory(
    instance=replace(ACME, state="ended"),
    tables={"license": 2, "item": 1},
    database_name="wops_1",
    servers=["local-shared"],
    exports=[EXPORT],
    chain_head={"sequence": 7, "hash": "ab"},
    chain_closed=True,
    kept_chain=None,
)
OPERATION = plan_operation(
    OperationId("opn_2"), ERASE_INSTANCE, object_id="ins_1", now=START, parameters={"early": False}
)


class Signer:
    key_id = "aud_1"

    def sign(self, message: bytes) -> bytes:
        return sha256(message).digest()


def text(inventory: Inventory = INVENTORY, skipped: Sequence[JsonObject] = ()) -> str:
    return describe_erasure(
        describe_inventory(inventory),
        operation=OPERATION,
        people=Decided(requested_by="per_1", approved_by="per_2"),
        skipped=skipped,
        erased_at=START + timedelta(minutes=1),
    )


def test_document_is_canonical_and_says_what_was_erased_by_whom_and_when() -> None:
    said = json.loads(text())
    assert dump_json(said) == text()
    assert said["format"] == CERTIFICATE_FORMAT
    assert said["database"] == {
        "name": "wops_1",
        "servers": ["local-shared"],
        "rows": {"item": 1, "license": 2},
    }
    assert (said["requested_by"], said["approved_by"]) == ("per_1", "per_2")
    assert said["skipped"] == []
    assert (said["operation_id"], said["requested"]) == ("opn_2", {"early": False})
    assert said["exports"][0]["manifest_sha256"] == sha256(b"{}").hexdigest()
    assert (said["began_at"], said["erased_at"]) == (
        "2026-03-10T09:00:00.000000Z",
        "2026-03-10T09:01:00.000000Z",
    )


def test_document_names_what_was_not_erased() -> None:
    own = replace(INVENTORY, instance=replace(ACME, pool="acme"))
    shared = replace(INVENTORY, instance=replace(ACME, pool="shared"))
    skipped: JsonObject = {"step": "remove_firm_key", "reason": "box stolen"}
    assert json.loads(text(own))["box_journals"] == "removed"
    assert json.loads(text(shared))["box_journals"] == "remain"
    said = json.loads(text(own, [skipped]))
    assert (said["box_journals"], said["skipped"]) == ("remain", [skipped])


def test_signature_is_of_the_text_byte_for_byte() -> None:
    certificate = sign(InstanceId("ins_1"), text(), Signer())
    assert certificate.is_signed
    assert certificate.key_id == "aud_1"
    assert bytes.fromhex(certificate.signature) == sha256(certificate.document.encode()).digest()
    assert not replace(certificate, signature="").is_signed
