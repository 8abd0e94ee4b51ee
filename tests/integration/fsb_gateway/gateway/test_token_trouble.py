"""What is wrong with a token box's PIN file, label or library: told apart, and taken up by itself once it is mended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pkcs11
import pytest

from app.core.clock import SystemClock
from fsb_gateway import BoxReport, BoxSpec, FsbClient, ProgrammingResult
from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.driver import token_key
from tests.service.gateway import ServedGateway
from tests.service.softhsm import PIN, SoftHsm
from tests.service.wait import until
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job

CLOCK = SystemClock()
WRONG_PIN = "271828"
# It looks every second; the rest is for a busy machine. Before, nothing happened however long one waited.
MENDED = timedelta(seconds=15)


async def report(control: FsbClient, name: str) -> BoxReport:
    (found,) = [box for box in await control.boxes() if box.name == name]
    return found


async def put(control: FsbClient, name: str, token: TokenSpec) -> None:
    await control.ensure_box(BoxSpec(name=name, pool="shared", driver="pkcs11", token=token))


async def becomes(control: FsbClient, name: str, wanted: str) -> None:
    async def is_so() -> bool:
        return (await report(control, name)).condition == wanted

    await until(is_so, f"box {name} to be {wanted}", deadline=MENDED)


def test_box_whose_pin_file_is_mended_comes_up_by_itself_and_gets_the_key_that_it_is_owed(
    softhsm: SoftHsm, tmp_path: Path
) -> None:
    token = softhsm.make_token("token-1")
    pin_file = Path(token.pin_file)

    def write_pin(pin: str) -> None:
        pin_file.write_text(pin)

    async def main(gateway: ServedGateway) -> None:
        async with gateway.clients() as (control, line):
            await control.ensure_box(BoxSpec(name="box-1", pool="shared"))
            await becomes(control, "box-1", "ready")
            await control.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
            write_pin(WRONG_PIN)
            await put(control, "box-2", token)
            await becomes(control, "box-2", "token_pin_wrong")
            held = await control.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
            assert held.boxes == ("box-1",)

            write_pin(PIN)
            await becomes(control, "box-2", "ready")

            async def has_its_key() -> bool:
                return (await report(control, "box-2")).firm_codes == (FIRM_CODE,)

            await until(has_its_key, "the key to be delivered")
            await control.drop_firm_key(FIRM_CODE, box="box-1")
            job = make_job(deadline_at=CLOCK.now() + timedelta(hours=1))
            answer = await line.program(job, wait=timedelta(seconds=20))
            assert isinstance(answer, ProgrammingResult)
            assert answer.box == "box-2"

    with ServedGateway(tmp_path / "data", environment=softhsm.environment) as gateway:
        asyncio.run(main(gateway))


def misled(softhsm: SoftHsm, wrong: str) -> tuple[TokenSpec, Callable[[], object]]:
    """A token with one mistake, and what mends it."""
    token = softhsm.make_token("token-1")
    pin_file, module = Path(token.pin_file), softhsm.folder / "module.so"
    if wrong == "no module":
        return replace(token, module=str(module)), lambda: module.symlink_to(token.module)
    if wrong == "no library":
        module.write_text("this is none")
        return replace(token, module=str(module)), lambda: replace_by(module, token.module)
    if wrong == "label":
        return replace(token, label="token-2"), lambda: softhsm.make_token("token-2")
    if wrong == "exposed":
        pin_file.chmod(0o644)
        return token, lambda: pin_file.chmod(0o600)
    kept = pin_file.rename(pin_file.with_suffix(".kept"))
    return token, lambda: kept.rename(pin_file)


def replace_by(path: Path, target: str) -> None:
    new = path.with_suffix(".new")
    new.symlink_to(target)
    new.rename(path)


@pytest.mark.parametrize(
    ("wrong", "condition", "error", "said"),
    [
        ("no module", "token_absent", "token_library_unusable", "library of token token-1 is not there"),
        ("no library", "token_absent", "token_library_unusable", "library of token token-1 is not there"),
        ("label", "token_absent", "token_absent", "no token with the label token-2"),
        ("exposed", "token_pin_wrong", "token_pin_exposed", "others can read the PIN file of token token-1"),
        ("no PIN", "token_pin_wrong", "token_pin_unreadable", "PIN file of token token-1 cannot be opened"),
    ],
)
def test_mistake_with_a_token_is_named_in_the_report_and_once_in_the_log_until_it_is_mended(
    softhsm: SoftHsm,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    wrong: str,
    condition: str,
    error: str,
    said: str,
) -> None:
    token, mend = misled(softhsm, wrong)

    async def main(gateway: ServedGateway) -> None:
        async with gateway.clients() as (control, _):
            await put(control, "box-1", token)
            await becomes(control, "box-1", condition)
            # It looks once more, and says the same.
            await control.ensure_box(
                BoxSpec(name="box-1", pool="shared", driver="pkcs11", token=token, version=1)
            )
            assert (await report(control, "box-1")).error == error
            mend()
            await becomes(control, "box-1", "ready")

    with ServedGateway(tmp_path / "data", environment=softhsm.environment) as gateway:
        asyncio.run(main(gateway))
    logged = capfd.readouterr().err
    assert logged.count(said) == 1, logged
    assert PIN not in logged


@contextmanager
def inside(token: TokenSpec) -> Iterator[pkcs11.Session]:
    """The token as another process sees it that knows the PIN."""
    library = pkcs11.lib(os.path.realpath(token.module))
    try:
        with library.get_token(token_label=token.label).open(rw=True, user_pin=PIN) as session:
            yield session
    finally:
        library.finalize()


def test_key_that_vanished_from_its_token_is_no_longer_held(
    softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in softhsm.environment.items():
        monkeypatch.setenv(name, value)
    token = softhsm.make_token("token-1")

    def destroy_key() -> None:
        with inside(token) as session:
            for item in token_key.find_objects(session, FIRM_CODE).popitem()[1]:
                item.destroy()

    async def main(gateway: ServedGateway) -> None:
        async with gateway.clients() as (control, line):
            await put(control, "box-1", token)
            await becomes(control, "box-1", "ready")
            await control.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
            destroy_key()
            job = make_job(deadline_at=CLOCK.now() + timedelta(hours=1))
            await line.program(job, wait=timedelta(0))

            async def is_told() -> bool:
                box = await report(control, "box-1")
                return (box.condition, box.error, box.firm_codes) == ("ready", "token_key_lost", ())

            await until(is_told, "the box to say what it lacks", deadline=MENDED)

    with ServedGateway(tmp_path / "data") as gateway:
        asyncio.run(main(gateway))
