from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

import anyio
import pytest
from cryptography.exceptions import InvalidSignature

from app.core.chain import GENESIS, link_digest
from app.core.db import Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject, dump_json
from app.core.outbox import last_sequence
from fsb_gateway.error import FsbUnavailable
from tenancy import InstanceCreate
from tenancy.box.errors import BoxStateUnfit
from tenancy.errors import FirmCodeTaken, InstanceDatabaseMissing, NameTaken, OperationRunning
from tenancy.lifecycle import repository
from tenancy.lifecycle.errors import (
    ErasureCertificateNotFound,
    ExportNotFound,
    InstanceErased,
    InstanceStateUnfit,
    LegalReasonMissing,
    RetentionRunning,
)
from tenancy.lifecycle.plan import ERASE_INSTANCE
from tenancy.lifecycle.service import start_end, start_erase
from tenancy.record import Instance
from tests.integration.tenancy.box.rack import Rack
from tests.integration.tenancy.lifecycle.life import Life, killed_in


def ended(life: Life, name: str = "acme", *, days: int = 0, edition: str = "dedicated") -> Instance:
    instance = life.world.ready_instance(name, edition)

    def body(tx: Tx) -> JsonObject:
        tx.emit("test.noted", subject="sub_1", data={"text": "a customer's own"})
        return {}

    life.world.databases.open(instance.instance_id).run_tx(new_id("op"), body)
    return life.end(instance, days=days)


def check_gone(life: Life, acme: Instance) -> dict[str, Any]:
    """That nothing is left of an erased instance but what has to be; returns what its certificate says."""
    found = life.get(acme)
    assert (found.state, found.name, found.database_url) == ("erased", acme.name, None)
    with pytest.raises(InstanceDatabaseMissing):
        life.world.databases.open(acme.instance_id)
    assert acme.firm_code not in life.world.fsb.keys
    assert list((life.data_dir / "exports").iterdir()) == []
    assert life.lines.forgotten[-1] == acme.instance_id
    assert life.world.platform.read(lambda r: repository.list_server_names(r, acme.instance_id)) == []

    certificate = life.eraser.get_certificate(acme.instance_id)
    assert certificate.key_id == life.signer.key_id
    life.signer.public_key.verify(bytes.fromhex(certificate.signature), certificate.document.encode())
    document: dict[str, Any] = json.loads(certificate.document)
    assert dump_json(document) == certificate.document
    return document


def test_erased_instance_leaves_a_certificate_of_what_it_was(life: Life) -> None:
    acme = ended(life, edition="high_performance")
    (export,) = life.exporter.list_exports(acme.instance_id)
    db = life.world.databases.open(acme.instance_id)
    head = db.read(repository.find_chain_head)
    servers = life.world.platform.read(lambda reader: repository.list_server_names(reader, acme.instance_id))
    assert [spec.pool for spec in life.world.fsb.specs.values()] == ["acme"]

    operation = life.erase(acme)
    assert operation.state == "succeeded"
    said = check_gone(life, acme)
    assert said["format"] == "wops-erasure-certificate-1"
    assert said["instance"]["instance_id"] == acme.instance_id
    assert said["database"]["servers"] == servers
    assert len(servers) == 1
    rows = said["database"]["rows"]
    assert (rows["instance_profile"], rows["contract"]) == (1, 1)
    assert said["firm_key"] == {"firm_code": acme.firm_code, "pool": "acme"}
    (listed,) = said["exports"]
    assert (listed["export_id"], listed["sha256"]) == (export.export_id, export.sha256)
    assert listed["manifest_sha256"] == sha256(export.manifest.encode()).hexdigest()
    assert said["audit_chain"]["head"] == head
    assert said["operation_id"] == operation.operation_id
    assert life.world.fsb.specs == {}
    assert life.world.events("firm_key.removed") == [acme.instance_id]
    assert life.world.events("instance.erased") == [acme.instance_id]
    with pytest.raises(InstanceErased):
        life.world.clients.list_clients(acme.instance_id)


def test_certificate_with_one_letter_changed_is_none(life: Life) -> None:
    acme = ended(life)
    life.erase(acme)
    certificate = life.eraser.get_certificate(acme.instance_id)
    forged = certificate.document.replace("acme", "acmf", 1)
    with pytest.raises(InvalidSignature):
        life.signer.public_key.verify(bytes.fromhex(certificate.signature), forged.encode())


def test_audit_chain_of_an_erased_instance_verifies_and_tells_no_contents(life: Life) -> None:
    acme = ended(life)
    life.erase(acme)
    said = check_gone(life, acme)
    content = life.files.chain(acme.instance_id).read_bytes()
    chain = said["audit_chain"]
    assert chain["kept"]["sha256"] == sha256(content).hexdigest()
    assert b"customer's own" not in content
    assert life.files.chain(acme.instance_id).stat().st_mode & 0o777 == 0o600
    _, _, *lines, last = (json.loads(line) for line in content.splitlines())
    previous = GENESIS
    for number, line in enumerate(lines, 1):
        assert line["sequence"] == number
        previous = link_digest(previous, line["digest"])
        assert line["hash"] == previous
    assert chain["head"] == {"sequence": len(lines), "hash": previous}
    assert last == {"kind": "end", "entry": 0, "digest": len(lines), "checkpoint": 0}


def test_what_is_written_meanwhile_stands_in_what_is_kept_or_fails(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = ended(life)
    db = life.world.databases.open(acme.instance_id)
    last = db.read(last_sequence)
    forget, drop = life.lines.forget, life.world.databases.drop

    def write() -> None:
        def body(tx: Tx) -> JsonObject:
            tx.emit("test.noted", subject="sub_1", data={})
            return {}

        db.run_tx(new_id("op"), body)

    async def write_late(instance_id: InstanceId) -> None:
        write()
        await forget(instance_id)

    def write_too_late(instance_id: InstanceId) -> None:
        with pytest.raises(RuntimeError, match="closed"):
            write()
        assert db.read(last_sequence) == last + 1
        drop(instance_id)

    monkeypatch.setattr(life.lines, "forget", write_late)
    monkeypatch.setattr(life.world.databases, "drop", write_too_late)
    assert life.erase(acme).state == "succeeded"
    chain = check_gone(life, acme)["audit_chain"]
    assert (chain["head"]["sequence"], chain["closed"]) == (last + 1, True)
    kept = life.files.chain(acme.instance_id).read_bytes().splitlines()
    assert json.loads(kept[-2])["hash"] == chain["head"]["hash"]


def test_name_and_firm_code_of_an_erased_instance_are_nobody_elses(life: Life) -> None:
    acme = ended(life)
    life.erase(acme)
    with pytest.raises(NameTaken):
        life.world.order("acme")
    fresh = life.world.ready_instance("fresh")
    assert fresh.firm_code != acme.firm_code
    with pytest.raises(NameTaken):
        life.service.rename_instance(fresh.instance_id, "acme", expected_version=fresh.version)
    customer = life.world.customers.list_customers()[0].customer_id
    taken = InstanceCreate(customer_id=customer, edition="dedicated", name="third", firm_code=acme.firm_code)
    with pytest.raises(FirmCodeTaken):
        life.world.instances.create_instance(taken)


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("step", ERASE_INSTANCE.names)
def test_erasure_killed_in_a_step_is_finished_by_the_next_process(
    life: Life, step: str, *, after_effect: bool
) -> None:
    acme, other = ended(life), life.world.ready_instance("other")
    operation = life.start(start_erase, acme)
    action = life.eraser.operation_kind().actions[step]
    with pytest.raises(BaseExceptionGroup):
        life.run(operation, life.runner(killing=(step, killed_in(action, after_effect=after_effect))))
    if (step, after_effect) != ("certify", True):
        with pytest.raises(ErasureCertificateNotFound):
            life.eraser.get_certificate(acme.instance_id)
    reborn = life.runner()
    assert anyio.run(reborn.take_over) == 1
    assert life.run(operation, reborn).state == "succeeded"
    said = check_gone(life, acme)
    assert said["audit_chain"]["head"] is not None
    assert life.world.events("instance.erased") == [acme.instance_id]
    assert life.world.clients.list_clients(other.instance_id) == []
    assert other.firm_code in life.world.fsb.keys


def test_erasure_waits_for_boxes_that_are_away_and_staff_see_what_is_missing(life: Life) -> None:
    acme = ended(life)
    life.world.fsb.failures = [FsbUnavailable("away")] * 3
    operation = life.erase(acme)
    assert (operation.state, operation.error_code, operation.step.name) == (
        "failed",
        "fsb_unavailable",
        "remove_firm_key",
    )
    with pytest.raises(ErasureCertificateNotFound):
        life.eraser.get_certificate(acme.instance_id)
    # Past the point of no return it only goes forward.
    life.clock.set(operation.deadline_at)
    life.sweeper.sweep()
    assert life.look(operation.operation_id).state == "fatal"
    life.operations.retry(operation.operation_id)
    assert life.run(operation).state == "succeeded"
    check_gone(life, acme)


def test_erasure_goes_on_without_boxes_that_are_gone_for_good_and_its_certificate_says_so(life: Life) -> None:
    acme = ended(life)
    life.world.fsb.failures = [FsbUnavailable("away")] * 3
    operation = life.erase(acme)
    assert operation.step.name == "remove_firm_key"
    life.operations.skip(operation.operation_id, reason="the box is destroyed")
    assert life.run(operation).state == "succeeded"
    said = json.loads(life.eraser.get_certificate(acme.instance_id).document)
    assert said["skipped"] == [{"step": "remove_firm_key", "reason": "the box is destroyed"}]
    assert said["box_journals"] == "remain"


def test_erasure_cancelled_before_anything_is_lost_leaves_everything(life: Life) -> None:
    acme = ended(life)
    operation = life.start(start_erase, acme)
    action = life.eraser.operation_kind().actions["inventory"]
    with pytest.raises(BaseExceptionGroup):
        life.run(operation, life.runner(killing=("inventory", killed_in(action, after_effect=True))))
    anyio.run(life.runner().take_over)
    assert life.files.chain(acme.instance_id).exists()
    life.operations.cancel(operation.operation_id, reason="they stay")
    assert life.run(operation).state == "recovered"
    assert life.get(acme).state == "ended"
    assert not life.files.chain(acme.instance_id).exists()
    assert life.world.platform.read(lambda r: repository.find_certificate(r, acme.instance_id)) is None
    assert len(life.exporter.list_exports(acme.instance_id)) == 1
    assert life.erase(acme).state == "succeeded"


def test_database_that_was_lost_before_is_certified_without_rows(life: Life) -> None:
    acme = ended(life)
    life.world.databases.drop(acme.instance_id)
    assert life.erase(acme).state == "succeeded"
    said = check_gone(life, acme)
    assert said["database"]["rows"] == {}


def test_data_that_are_retained_are_erased_early_for_a_legal_reason_only(life: Life) -> None:
    acme = ended(life, days=30)
    with pytest.raises(RetentionRunning):
        life.start(start_erase, acme)
    for reason in ("", "  "):
        with pytest.raises(LegalReasonMissing):
            life.start(start_erase, acme, early=True, legal_reason=reason)
    assert life.get(acme).state == "ended"
    operation = life.run(life.start(start_erase, acme, early=True, legal_reason="Art. 17 GDPR, file 12"))
    assert operation.state == "succeeded"
    said = check_gone(life, acme)
    assert said["requested"] == {"early": True, "legal_reason": "Art. 17 GDPR, file 12"}


def test_data_are_erased_when_the_retention_is_over(life: Life) -> None:
    acme = ended(life, days=30)
    life.clock.advance(timedelta(days=30))
    assert life.erase(acme).state == "succeeded"
    with pytest.raises(ExportNotFound):
        life.exporter.find_file(acme.instance_id, life.exporter.list_exports(acme.instance_id)[0].export_id)


@pytest.mark.parametrize("state", ["ready", "frozen", "provisioning"])
def test_instance_whose_contract_has_not_ended_is_not_erased(life: Life, state: str) -> None:
    if state == "provisioning":
        life.world.order("acme")
        acme = life.world.instances.get_instance_by_name("acme")
    else:
        acme = life.world.ready_instance("acme")
    if state == "frozen":
        life.service.freeze_instance(acme.instance_id, expected_version=acme.version)
    with pytest.raises(InstanceStateUnfit):
        life.start(start_erase, acme, early=True, legal_reason="none")
    with pytest.raises(ErasureCertificateNotFound):
        life.eraser.get_certificate(acme.instance_id)


def test_erased_instance_stays_erased(life: Life) -> None:
    acme = ended(life)
    life.erase(acme)
    erased = life.get(acme)
    with pytest.raises(InstanceStateUnfit):
        life.start(start_erase, acme)
    with pytest.raises(InstanceStateUnfit):
        life.service.reinstate_instance(acme.instance_id, expected_version=erased.version)
    with pytest.raises(InstanceStateUnfit):
        life.service.request_export(acme.instance_id)
    assert life.world.contracts.push_due() == 0


def test_instance_whose_box_helps_others_does_not_end_before_the_box_is_back(life: Life) -> None:
    rack = Rack(life.world)
    acme, beta = life.world.ready_instance("acme", "high_availability"), life.world.ready_instance("beta")
    assert rack.lend("acme-box-1", "shared").state == "succeeded"
    with pytest.raises(BoxStateUnfit) as lent:
        life.start(start_end, acme)
    assert lent.value.detail == {"box": "acme-box-1", "lent_to": "shared"}
    ending = rack.service.return_box("acme-box-1").value
    assert rack.end(ending.operation_id).state == "succeeded"
    life.end(acme, days=0)
    assert rack.lend("acme-box-1", "shared").state == "succeeded"
    with pytest.raises(BoxStateUnfit):
        life.start(start_erase, acme)
    ending = rack.service.return_box("acme-box-1").value
    with pytest.raises(BoxStateUnfit):
        life.start(start_erase, acme)
    assert rack.end(ending.operation_id).state == "succeeded"
    changing = rack.start("removeBox", "acme-box-1", {"firm_codes": []})
    with pytest.raises(OperationRunning) as running:
        life.start(start_erase, acme)
    assert running.value.detail["operation_id"] == changing
    rack.operations.cancel(changing, reason="not now")
    rack.end(changing)
    assert life.erase(acme).state == "succeeded"
    assert set(life.world.fsb.specs) == {"shared-box-1"}
    assert rack.holders(beta) == {"shared-box-1"}


def test_loan_that_begins_while_its_lender_is_erased_ends_first(life: Life) -> None:
    rack = Rack(life.world)
    acme, beta = life.world.ready_instance("acme", "high_availability"), life.world.ready_instance("beta")
    life.end(acme, days=0)
    erasing = life.start(start_erase, acme)
    assert rack.lend("acme-box-1", "shared").state == "succeeded"
    held = life.run(erasing)
    assert (held.state, held.error_code, held.step.name) == ("failed", "box_state_unfit", "remove_firm_key")
    assert rack.holders(acme) == {"acme-box-1", "acme-box-2"}
    assert rack.holders(beta) == {"shared-box-1", "acme-box-1"}
    rack.end(rack.service.return_box("acme-box-1").value.operation_id)
    life.operations.retry(erasing.operation_id)
    assert life.run(erasing).state == "succeeded"
    assert rack.holders(beta) == {"shared-box-1"}


def test_key_that_a_loan_has_left_in_a_box_goes_with_it_and_its_customer_is_told(life: Life) -> None:
    rack = Rack(life.world)
    acme, beta = ended(life, edition="high_performance"), life.world.ready_instance("beta")
    life.world.fsb.held[beta.firm_code]["acme-box-1"] = f"key_{beta.firm_code}"
    erased = life.erase(acme)
    assert erased.state == "succeeded"
    (told,) = rack.told("firm_key.dropped", beta)
    assert told.data["operation_id"] == erased.operation_id
    (staff,) = rack.told("firm_key.dropped")
    assert (staff.data["from"], staff.data["boxes"]) == ("acme-box-1", ["shared-box-1"])
    assert rack.holders(beta) == {"shared-box-1"}


def test_box_with_the_last_key_of_somebody_else_is_not_destroyed(life: Life) -> None:
    rack = Rack(life.world)
    acme, beta = ended(life, edition="high_performance"), life.world.ready_instance("beta")
    life.world.fsb.held[beta.firm_code] = {"acme-box-1": f"key_{beta.firm_code}"}
    held = life.erase(acme)
    assert (held.state, held.error_code) == ("failed", "box_last")
    assert rack.holders(beta) == {"acme-box-1"}
    assert rack.service.get_box("acme-box-1").state == "active"
