from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from app.cmcontainer import (
    ContainerFileDamaged,
    ContainerFileExists,
    ContainerFileMissing,
    FirmCodeUnknown,
    Template,
    TemplateConflict,
    TemplateInvalid,
    UpdateAlreadyApplied,
    UpdateTooNew,
    UpdateTooOld,
    add_template,
    apply_to_file,
    create_container,
    make_context,
    make_receipt,
    read_template,
    show_container,
    verify_for_file,
    write_template,
)
from app.core.errors import DomainError, InputInvalid
from fsb_gateway import (
    FileMalformed,
    HeldItem,
    ProgrammingStep,
    UpdateForOtherContainer,
    UpdateTampered,
    UpdateUntrusted,
    read_context,
)
from fsb_gateway.file_format.armour import read_armour, write_armour
from fsb_gateway.file_format.update import write_update
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import (
    FIRM_CODE,
    INSTANCE,
    Authority,
    add_item,
    delete_item,
    make_authority,
    make_job,
    make_steps,
)

AUTHORITY = make_authority()


def template_of(authority: Authority, *, firm_code: int = FIRM_CODE, instance: str = INSTANCE) -> Template:
    pem = authority.root.certificate.public_bytes(Encoding.PEM).decode()
    return Template(firm_code=firm_code, instance=instance, root_certificate=pem)


TEMPLATE = template_of(AUTHORITY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "container.json"
    create_container(path, TEMPLATE, serial="130-0000000001")
    return path


def make_update(
    path: Path,
    clock: FakeClock,
    steps: tuple[ProgrammingStep, ...],
    *,
    job_id: str = "trf_1",
    authority: Authority = AUTHORITY,
    firm_code: int = FIRM_CODE,
) -> str:
    context = read_context(make_context(path, firm_code, clock=clock))
    job = make_job(
        job_id,
        container_key=context.encryption_key,
        container_serial=context.serial,
        base_fuc=steps[0].fuc - 1,
        firm_code=firm_code,
        steps=steps,
    )
    return write_update(job, header=authority.header, sign=authority.sign, at=clock.now())


def refuse(path: Path, update: str, clock: FakeClock, kind: type[DomainError]) -> None:
    before = path.read_bytes()
    with pytest.raises(DomainError) as caught:
        apply_to_file(path, update, clock=clock)
    assert type(caught.value) is kind
    assert path.read_bytes() == before, "a refused update changes nothing"


def test_new_container_has_a_serial_private_keys_and_an_empty_drawer(
    tmp_path: Path, clock: FakeClock
) -> None:
    path = tmp_path / "container.json"
    summary = create_container(path, TEMPLATE)
    assert summary.serial.startswith("130-")
    assert len(summary.serial) == 14
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [(item.template, item.fuc, item.items) for item in summary.firm_items] == [(TEMPLATE, 0, ())]
    context = read_context(make_context(path, FIRM_CODE, clock=clock))
    assert (context.kind, context.serial, context.fuc, context.items) == ("context", summary.serial, 0, ())


def test_update_is_applied_and_the_receipt_says_so(path: Path, clock: FakeClock) -> None:
    update = make_update(path, clock, make_steps(0, (add_item("lic_1", code=7), add_item("lic_2", code=8))))
    assert verify_for_file(path, update, clock=clock).seq == 1
    report = apply_to_file(path, update, clock=clock)
    assert (report.fuc_before, report.fuc_after, report.deleted, report.skipped_steps) == (0, 1, (), 0)
    assert [item.license_id for item in report.added] == ["lic_1", "lic_2"]
    receipt = read_context(make_receipt(path, FIRM_CODE, clock=clock))
    assert (receipt.kind, receipt.fuc) == ("receipt", 1)
    assert receipt.items == (
        HeldItem(license_id="lic_1", product_code=7),
        HeldItem(license_id="lic_2", product_code=8),
    )


def test_licence_is_replaced_and_taken_away(path: Path, clock: FakeClock) -> None:
    apply_to_file(path, make_update(path, clock, make_steps(0, (add_item("a"), add_item("b")))), clock=clock)
    changes = make_steps(1, (delete_item("a"), add_item("b", generation=2), delete_item("never there")))
    report = apply_to_file(path, make_update(path, clock, changes, job_id="trf_2"), clock=clock)
    assert [(item.license_id, item.generation) for item in report.added] == [("b", 2)]
    assert report.deleted == ("a",)
    (drawer,) = show_container(path).firm_items
    assert [(item.license_id, item.generation) for item in drawer.items] == [("b", 2)]
    assert drawer.applied == ("trf_1", "trf_2")


def test_lost_update_comes_again_inside_the_next_one(path: Path, clock: FakeClock) -> None:
    first = make_update(path, clock, make_steps(0, (add_item("a"),)))
    both = make_update(path, clock, make_steps(0, (add_item("a"),), (add_item("b"),)), job_id="trf_2")
    apply_to_file(path, first, clock=clock)
    report = apply_to_file(path, both, clock=clock)
    assert (report.fuc_before, report.fuc_after, report.skipped_steps) == (1, 2, 1)
    assert [item.license_id for item in report.added] == ["b"]


def test_same_update_twice_is_refused(path: Path, clock: FakeClock) -> None:
    update = make_update(path, clock, make_steps(0, (add_item(),)))
    apply_to_file(path, update, clock=clock)
    refuse(path, update, clock, UpdateAlreadyApplied)


def test_update_behind_and_ahead_of_the_counter_is_refused(path: Path, clock: FakeClock) -> None:
    old = make_update(path, clock, make_steps(0, ()), job_id="trf_old")
    apply_to_file(path, make_update(path, clock, make_steps(0, (), ())), clock=clock)
    refuse(path, old, clock, UpdateTooOld)
    refuse(path, make_update(path, clock, make_steps(3, ()), job_id="trf_new"), clock, UpdateTooNew)


def test_update_of_another_container_is_refused(path: Path, tmp_path: Path, clock: FakeClock) -> None:
    other = tmp_path / "other.json"
    create_container(other, TEMPLATE, serial="130-0000000001")  # even under the same serial
    refuse(path, make_update(other, clock, make_steps(0, ())), clock, UpdateForOtherContainer)


def test_update_for_another_serial_under_this_key_is_refused(path: Path, clock: FakeClock) -> None:
    key = read_context(make_context(path, FIRM_CODE, clock=clock)).encryption_key
    job = make_job(container_key=key, container_serial="130-9999999999")
    update = write_update(job, header=AUTHORITY.header, sign=AUTHORITY.sign, at=clock.now())
    refuse(path, update, clock, UpdateForOtherContainer)


def test_tampered_untrusted_and_malformed_updates_are_refused(path: Path, clock: FakeClock) -> None:
    update = make_update(path, clock, make_steps(0, ()))
    segments = read_armour(update, "UPDATE")[1].split(".")
    segments[4] = segments[4][:5] + ("A" if segments[4][5] != "A" else "B") + segments[4][6:]
    refuse(path, write_armour("UPDATE", ".".join(segments)), clock, UpdateTampered)
    foreign = make_authority(root="foreign root")
    refuse(path, make_update(path, clock, make_steps(0, ()), authority=foreign), clock, UpdateUntrusted)
    other_instance = make_authority(instance_id="ins_2")
    job = make_job(
        instance_id="ins_2",
        container_serial="130-0000000001",
        container_key=read_context(make_context(path, FIRM_CODE, clock=clock)).encryption_key,
    )
    stolen = write_update(job, header=other_instance.header, sign=other_instance.sign, at=clock.now())
    refuse(path, stolen, clock, UpdateUntrusted)
    refuse(path, make_context(path, FIRM_CODE, clock=clock), clock, FileMalformed)
    clock.advance(timedelta(days=3700))
    refuse(path, update, clock, UpdateUntrusted)


def test_two_vendors_share_a_container_with_a_counter_each(path: Path, clock: FakeClock) -> None:
    second = make_authority(instance_id="ins_2", firm_code=20, root="other platform")
    template = template_of(second, firm_code=20, instance="ins_2")
    add_template(path, template)
    assert len(add_template(path, template).firm_items) == 2
    apply_to_file(path, make_update(path, clock, make_steps(0, (add_item("a"),), ())), clock=clock)
    context = read_context(make_context(path, 20, clock=clock))
    job = make_job(
        "trf_9",
        instance_id="ins_2",
        firm_code=20,
        container_serial=context.serial,
        container_key=context.encryption_key,
        steps=make_steps(0, (add_item("b"),)),
    )
    apply_to_file(
        path, write_update(job, header=second.header, sign=second.sign, at=clock.now()), clock=clock
    )
    assert [(item.template.firm_code, item.fuc) for item in show_container(path).firm_items] == [
        (FIRM_CODE, 2),
        (20, 1),
    ]


def test_firm_code_of_a_vendor_on_another_platform_cannot_be_taken_over(path: Path, clock: FakeClock) -> None:
    """The second vendor's platform is trusted for its own firm code only."""
    add_template(path, template_of(make_authority(root="other platform"), firm_code=20, instance="ins_2"))
    thief = make_authority(root="other platform")  # claims the first vendor's instance and firm code
    refuse(path, make_update(path, clock, make_steps(0, ()), authority=thief), clock, UpdateUntrusted)


def test_template_that_contradicts_the_drawer_is_refused(path: Path) -> None:
    with pytest.raises(TemplateConflict):
        add_template(path, template_of(AUTHORITY, instance="ins_2"))


def test_unknown_firm_code_is_refused(path: Path, clock: FakeClock) -> None:
    with pytest.raises(FirmCodeUnknown):
        make_context(path, 99, clock=clock)
    other = make_authority(firm_code=99)
    context = read_context(make_context(path, FIRM_CODE, clock=clock))
    job = make_job(firm_code=99, container_key=context.encryption_key, container_serial=context.serial)
    update = write_update(job, header=other.header, sign=other.sign, at=clock.now())
    refuse(path, update, clock, FirmCodeUnknown)


def test_template_survives_as_text() -> None:
    assert read_template(write_template(TEMPLATE)) == TEMPLATE


@pytest.mark.parametrize(
    "change",
    [
        {"firm_code": 0},
        {"firm_code": "6000010"},
        {"instance": ""},
        {"instance": "a/b"},
        {"root_certificate": "x"},
        {"root_certificate": "ü"},
        {"extra": 1},
    ],
)
def test_bad_template_is_refused(change: dict[str, object]) -> None:
    text = json.dumps({**json.loads(write_template(TEMPLATE)), **change})
    with pytest.raises(TemplateInvalid):
        read_template(text)


def test_container_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ContainerFileExists):
        create_container(path, TEMPLATE)
    assert path.read_bytes() == before


def test_serial_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid):
        create_container(tmp_path / "c", TEMPLATE, serial="../1")
    assert list(tmp_path.iterdir()) == []


def test_missing_container_is_said(tmp_path: Path, clock: FakeClock) -> None:
    for path in (tmp_path / "none", tmp_path / "no folder" / "none"):
        with pytest.raises(ContainerFileMissing):
            show_container(path)
        with pytest.raises(ContainerFileMissing):
            apply_to_file(path, "", clock=clock)


def test_changed_container_file_is_noticed(path: Path) -> None:
    whole = path.read_text()
    for damaged in (
        "",
        "{}",
        whole[:-10],
        whole.replace('"fuc":0', '"fuc":1'),
        whole.replace("container/1", "x"),
    ):
        path.write_text(damaged)
        with pytest.raises(ContainerFileDamaged):
            show_container(path)


def test_one_of_many_at_once_applies_the_update(path: Path, clock: FakeClock) -> None:
    update = make_update(path, clock, make_steps(0, (add_item(),)))

    def apply(_: int) -> str:
        try:
            apply_to_file(path, update, clock=clock)
        except UpdateAlreadyApplied as error:
            return error.code
        return "applied"

    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(threads.map(apply, range(8)))
    assert outcomes == ["applied", *["update_already_applied"] * 7]
    assert show_container(path).firm_items[0].fuc == 1
