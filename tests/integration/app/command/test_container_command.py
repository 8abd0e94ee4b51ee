"""`wops container`, with real updates from a running platform's gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.app.command.platform_process import wops, wops_json
from tests.integration.app.command.signer import Signer


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("boxes"))


@pytest.fixture
def container(tmp_path: Path, signer: Signer) -> Path:
    template = tmp_path / "vendor.lif"
    template.write_text(signer.template)
    made = wops_json("container", "create", str(tmp_path / "my.wbc"), "--template", str(template))
    assert made["serial"].startswith("130-")
    return tmp_path / "my.wbc"


def test_context_update_and_receipt_go_round(container: Path, signer: Signer) -> None:
    context = wops("container", "context", str(container)).stdout
    update = signer.program(context)
    verified = wops("container", "verify", str(container), "-", "--json", stdin=update)
    assert json.loads(verified.stdout)["valid"] is True
    applied = wops("container", "apply", str(container), "-", "--json", stdin=update)
    assert json.loads(applied.stdout)["fuc_after"] == 1
    receipt = wops("container", "receipt", str(container)).stdout
    assert signer.fuc_of(receipt) == 1
    shown = wops_json("container", "show", str(container))
    assert [each["license_id"] for each in shown["firm_items"][0]["licenses"]] == [signer.license_id]
    assert "key" not in wops("container", "show", str(container)).stdout


def test_update_is_applied_once(container: Path, signer: Signer) -> None:
    update = signer.program(wops("container", "context", str(container)).stdout)
    assert wops("container", "apply", str(container), "-", stdin=update).returncode == 0
    again = wops("container", "apply", str(container), "-", stdin=update)
    assert again.returncode == 1
    assert "update_already_applied" in again.stderr


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda update: update[: len(update) // 2] + "A" + update[len(update) // 2 + 1 :], "update_tampered"),
        (lambda _update: "no update at all", "file_malformed"),
        (lambda _update: "", "file_malformed"),
    ],
    ids=["one_character_changed", "other_text", "nothing"],
)
def test_bad_update_is_refused_and_changes_nothing(
    container: Path, signer: Signer, change: Callable[[str], str], code: str
) -> None:
    update = change(signer.program(wops("container", "context", str(container)).stdout))
    before = container.read_bytes()
    refused = wops("container", "apply", str(container), "-", stdin=update)
    assert refused.returncode == 1
    assert code in refused.stderr
    assert container.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "missing.wbc"), "container_file_missing"),
        (("context", "missing.wbc"), "container_file_missing"),
        (("create", "new.wbc", "--template", "missing.lif"), "input_invalid"),
    ],
)
def test_missing_files_end_with_a_code(tmp_path: Path, arguments: tuple[str, ...], code: str) -> None:
    paths = [str(tmp_path / each) if "." in each else each for each in arguments]
    done = wops("container", *paths)
    assert done.returncode == 1
    assert code in done.stderr
    assert "Traceback" not in done.stderr
