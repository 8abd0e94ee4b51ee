"""`wops fsb serve` and its boxes as real processes."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import stat
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from app.core.clock import SystemClock
from app.gateway_part import GatewayRunning, start_gateway
from app.settings import Settings
from fsb_gateway import (
    BoxSpec,
    FirmCodeNotOwned,
    FsbClient,
    FsbRejected,
    FsbUnavailable,
    JobPending,
    ProgrammingJob,
    ProgrammingResult,
    read_update,
)
from fsb_gateway.carrier.listener import private_socket
from tests.service.gateway import COMMAND, ServedGateway, json_of, processes_of, run_fsb
from tests.service.wait import wait_until, wait_until_async
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job, p256

LONG = timedelta(seconds=40)
CLOCK = SystemClock()


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await main()

    asyncio.run(bounded())


def job(number: int) -> ProgrammingJob:
    return make_job(f"trf_{number}", deadline_at=CLOCK.now() + timedelta(minutes=10))


async def set_up(gateway: ServedGateway, *, operation_time: timedelta = timedelta(0)) -> None:
    """A shared pool with one box that is at work, and the instance's firm key in it."""
    async with gateway.clients() as (control, _):
        await control.ensure_box(BoxSpec(name="box-1", pool="shared", operation_time=operation_time))
        await asyncio.to_thread(wait_until, lambda: conditions(gateway) == ["ready"], "the box")
        await control.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")


def serves(gateway: ServedGateway) -> bool:
    async def ask() -> bool:
        async with gateway.clients() as (_, line):
            try:
                return bool(await line.root_certificate())
            except FsbUnavailable:
                return False

    return asyncio.run(ask())


def conditions(gateway: ServedGateway) -> list[str]:
    """Of all its boxes; none while it does not answer."""

    async def ask() -> list[str]:
        async with gateway.clients() as (control, _):
            try:
                return [box.condition for box in await control.boxes()]
            except FsbUnavailable:
                return []

    return asyncio.run(ask())


def command_of(process: int | None) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def box_process(data_dir: Path) -> int | None:
    """The number of the box's process."""
    return processes_of(data_dir).get("box-1")


def test_jobs_of_many_callers_outlast_a_restart_of_everything(tmp_path: Path) -> None:
    jobs = [job(number) for number in range(32)]

    async def main() -> None:
        with ServedGateway(tmp_path) as gateway:
            async with gateway.clients() as (control, line):
                await set_up(gateway)
                results = await asyncio.gather(*(line.program(each, wait=LONG) for each in jobs + jobs))
                assert results[:32] == results[32:]
                with pytest.raises(FirmCodeNotOwned):
                    await line.program(
                        make_job("trf_x", instance_id="ins_2", deadline_at=jobs[0].deadline_at), wait=LONG
                    )
                root = x509.load_pem_x509_certificate((await line.root_certificate()).encode())
                assert (await control.boxes())[0].jobs_done == 32
                status = json_of(run_fsb("status", "--data-dir", str(tmp_path), "--json"))
                assert [each["name"] for each in status["boxes"]] == ["box-1"]
                assert "box-1" in run_fsb("status", "--data-dir", str(tmp_path)).stdout
                assert "wops_fsb_" in await control.metrics()
                assert gateway.stop() == 0
        assert box_process(tmp_path) is None
        # Nobody sets the box up again: the gateway knows it.
        with ServedGateway(tmp_path) as gateway:
            async with gateway.clients() as (_, line):
                assert await asyncio.gather(*(line.program(each, wait=LONG) for each in jobs)) == results[:32]
        for each, result in zip(jobs, results, strict=False):
            assert isinstance(result, ProgrammingResult)
            update = read_update(result.update, p256("container"), root=root, at=CLOCK.now())
            assert update.job_id == each.job_id

    run(main)


def test_gateway_is_killed_while_callers_wait_and_none_of_them_notices(tmp_path: Path) -> None:
    async def main() -> None:
        with ServedGateway(tmp_path) as gateway:
            async with gateway.clients() as (control, line):
                await set_up(gateway, operation_time=timedelta(milliseconds=100))
                worker = box_process(tmp_path)
                waiting = [asyncio.create_task(line.program(job(number), wait=LONG)) for number in range(8)]
                await wait_until_async(lambda: any(each.done() for each in waiting), "the first result")
                gateway.kill()
                await asyncio.to_thread(gateway.start)
                results = await asyncio.gather(*waiting)
                assert all(isinstance(each, ProgrammingResult) for each in results)
                # The box went on meanwhile, and programmed nothing twice.
                assert box_process(tmp_path) == worker
                assert (await control.boxes())[0].jobs_done == 8

    run(main)


def test_gateway_that_is_told_to_stop_finishes_what_boxes_have(tmp_path: Path) -> None:
    async def main() -> None:
        with ServedGateway(tmp_path) as gateway:
            async with gateway.clients() as (_, line):
                await set_up(gateway, operation_time=timedelta(milliseconds=300))
                waiting = [asyncio.create_task(line.program(job(number), wait=LONG)) for number in range(4)]

                await wait_until_async(lambda: any(each.done() for each in waiting), "the first result")
                done = sum(each.done() for each in waiting)
                assert await asyncio.to_thread(gateway.stop) == 0
                await wait_until_async(
                    lambda: sum(each.done() for each in waiting) > done, "the result of the job at hand"
                )
                assert box_process(tmp_path) is None
                await asyncio.to_thread(gateway.start)
                assert all(isinstance(each, ProgrammingResult) for each in await asyncio.gather(*waiting))

    run(main)


def test_killed_box_is_started_again_and_its_jobs_are_done(tmp_path: Path) -> None:
    async def main() -> None:
        with ServedGateway(tmp_path) as gateway:
            async with gateway.clients() as (_, line):
                await set_up(gateway, operation_time=timedelta(milliseconds=50))
                worker = box_process(tmp_path)
                assert worker is not None
                waiting = [asyncio.create_task(line.program(job(number), wait=LONG)) for number in range(10)]
                await wait_until_async(lambda: any(each.done() for each in waiting), "the first result")
                os.kill(worker, signal.SIGKILL)
                results = await asyncio.gather(*waiting)
                assert all(isinstance(each, ProgrammingResult) for each in results)
                assert box_process(tmp_path) not in (None, worker)

    run(main)


def test_second_gateway_of_the_same_boxes_is_refused(tmp_path: Path) -> None:
    with ServedGateway(tmp_path):
        second = run_fsb("serve", "--data-dir", str(tmp_path))
        assert second.returncode == 1
        assert second.stderr.startswith("gateway_running: Another gateway serves the boxes in")

        async def embedded() -> None:
            with pytest.raises(GatewayRunning):
                await start_gateway(Settings(data_dir=tmp_path), clock=CLOCK)

        run(embedded)


def test_lines_socket_is_for_jobs_only(tmp_path: Path) -> None:
    async def main() -> None:
        with ServedGateway(tmp_path, "--embedded-boxes") as gateway:
            async with gateway.clients() as (control, line):
                await set_up(gateway)
                assert box_process(tmp_path) is None
                assert isinstance(await line.program(job(1), wait=LONG), ProgrammingResult)
                assert (await line.queue(INSTANCE)).instance_id == INSTANCE
                assert (await line.queue("ins_new", pool="shared")).pool == "shared"
                for refused in (
                    line.ensure_box(BoxSpec(name="box-2", pool="shared")),
                    line.remove_box("box-1"),
                    line.ensure_firm_key(INSTANCE, 7, pool="shared"),
                    line.remove_firm_key(INSTANCE, FIRM_CODE),
                    line.rotate_firm_key(FIRM_CODE, key_id="key_2"),
                    line.boxes(),
                    line.pools(),
                    line.firm_keys(),
                    line.metrics(),
                ):
                    with pytest.raises(FsbRejected):
                        await refused
                assert [each.name for each in await control.boxes()] == ["box-1"]
                for name in ("gateway.sock", "jobs.sock"):
                    assert stat.S_IMODE((tmp_path / "boxes" / name).stat().st_mode) == 0o600

    run(main)


def test_directory_with_a_long_name_works(tmp_path: Path) -> None:
    async def main() -> None:
        deep = tmp_path / ("d" * 100) / ("e" * 100)
        with ServedGateway(deep) as gateway:
            async with gateway.clients() as (_, line):
                await set_up(gateway)
                assert isinstance(await line.program(job(1), wait=LONG), ProgrammingResult)

    run(main)


@contextmanager
def machine(data_dir: Path, folder: Path, name: str, role: str, *options: str) -> Iterator[dict[str, str]]:
    """What `wops fsb certificate` writes for a machine."""
    written = json_of(
        run_fsb(
            *("certificate", "--data-dir", str(data_dir), "--name", name, "--role", role),
            *("--out", str(folder), "--json", *options),
        )
    )
    assert stat.S_IMODE(Path(written["key"]).stat().st_mode) == 0o600
    yield written


def test_machines_speak_by_mutual_tls_after_two_commands(tmp_path: Path) -> None:
    async def main() -> None:
        with (
            machine(tmp_path, tmp_path / "g", "127.0.0.1", "gateway") as own,
            machine(tmp_path, tmp_path / "l", "line-1", "line") as line_files,
            machine(tmp_path, tmp_path / "c", "control-1", "control") as control_files,
            ServedGateway(
                tmp_path,
                *("--listen", "127.0.0.1:0", "--lines-ca", own["line-ca"]),
                *("--control-listen", "127.0.0.1:0", "--control-ca", own["control-ca"]),
                *("--certificate", own["certificate"], "--key", own["key"]),
            ) as gateway,
        ):
            lines_url, control_url = gateway.listening["lines_address"], gateway.listening["control_address"]
            await set_up(gateway)
            control = tls_client(control_url, control_files)
            assert [box.name for box in await control.boxes()] == ["box-1"]
            line = tls_client(lines_url, line_files)
            assert isinstance(await line.program(job(1), wait=LONG), ProgrammingResult)
            with pytest.raises(FsbRejected):
                await line.boxes()
            intruder = tls_client(control_url, line_files)
            with pytest.raises(FsbUnavailable):
                await intruder.boxes()
            for client in (control, line, intruder):
                await client.close()

    run(main)


def tls_client(url: str, files: dict[str, str]) -> FsbClient:
    return FsbClient.mutual_tls(
        url,
        certificate=Path(files["certificate"]),
        key=Path(files["key"]),
        ca=Path(files["gateway-ca"]),
    )


def test_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    options = ("--listen", "127.0.0.1:0", "--certificate", "c", "--key", "k", "--lines-ca", "a")
    done = run_fsb("serve", "--data-dir", str(tmp_path), *options)
    assert done.returncode == 1
    assert "--certificate names a file that is not there or cannot be read: c" in done.stderr
    assert "Traceback" not in done.stderr


def test_file_of_mutual_tls_that_does_not_fit_is_named_by_its_option(tmp_path: Path) -> None:
    for name in ("one", "two"):
        json_of(
            run_fsb(
                *("certificate", "--name", name, "--role", "gateway", "--out", str(tmp_path / name)),
                *("--data-dir", str(tmp_path), "--json"),
            )
        )
    own, key, ca = tmp_path / "one/one.crt", tmp_path / "one/one.key", tmp_path / "one/control-ca.crt"
    for files, said in (
        (
            (own, key, tmp_path / "nope.crt"),
            f"--control-ca names a file that is not there or cannot be read: {tmp_path}",
        ),
        ((own, key, key), "--control-ca is no PEM file of a certificate"),
        ((key, key, ca), "--certificate is no PEM file of a certificate"),
        ((own, own, ca), "--key is no PEM file of a private key"),
        (
            (own, tmp_path / "two/two.key", ca),
            "key of --key does not belong to the certificate of --certificate",
        ),
    ):
        given = zip(("--certificate", "--key", "--control-ca"), map(str, files), strict=True)
        options = [word for pair in given for word in pair]
        done = run_fsb("serve", "--data-dir", str(tmp_path), "--control-listen", "127.0.0.1:0", *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert "input_invalid: " in done.stderr, done.stderr
        assert said in done.stderr


def test_status_of_a_gateway_that_has_died_names_its_socket_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "boxes" / "gateway.sock"
    path.parent.mkdir()
    private_socket(path).close()
    done = run_fsb("status", "--data-dir", str(tmp_path))
    said = f"fsb_unavailable: The gateway at {path} cannot be reached: nobody listens there.\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_name_that_no_machine_can_have_is_called_wrong(tmp_path: Path) -> None:
    for name in ("bad name", "bad name/../x", "", "x/y"):
        done = run_fsb(
            *("certificate", "--name", name, "--role", "gateway", "--out", str(tmp_path / "out")),
            *("--data-dir", str(tmp_path)),
        )
        assert (done.returncode, done.stderr.partition(":")[0]) == (1, "input_invalid")
        assert "--name" in done.stderr


def test_certificate_never_takes_the_place_of_another(tmp_path: Path) -> None:
    with machine(tmp_path, tmp_path / "l", "line-1", "line") as first:
        before = Path(first["key"]).read_bytes()
        again = run_fsb(
            *("certificate", "--data-dir", str(tmp_path), "--name", "line-1", "--role", "line"),
            *("--out", str(tmp_path / "l")),
        )
        assert (again.returncode, Path(first["key"]).read_bytes()) == (1, before)
        assert "is there already" in again.stderr
        assert run_fsb("certificate", "--name", "x", "--role", "root", "--out", "o").returncode == 1


def test_key_encryption_key_comes_from_the_environment_and_stays_there(tmp_path: Path) -> None:
    async def main() -> None:
        key = base64.b64encode(bytes(range(32))).decode()
        with ServedGateway(tmp_path, environment={"WOPS_KEY_ENCRYPTION_KEY": key}) as gateway:
            async with gateway.clients() as (_, line):
                await set_up(gateway)
                result = await line.program(job(1), wait=LONG)
                assert isinstance(result, ProgrammingResult)
                for process in (box_process(tmp_path), gateway.process.pid):
                    assert key.encode() not in command_of(process)
        assert not (tmp_path / "boxes" / "keys" / "key-encryption.key").exists()
        other = base64.b64encode(bytes(32)).decode()
        for wrong in (other, "short"):
            refused = run_fsb(
                "serve", "--data-dir", str(tmp_path), environment={"WOPS_KEY_ENCRYPTION_KEY": wrong}
            )
            assert refused.returncode in (1, 2)
            assert wrong not in refused.stderr

    run(main)


def test_gateway_ends_with_the_process_that_looks_after_it(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        # The number of a process that is not its parent: whoever started it has ended.
        gone = run_fsb("serve", "--data-dir", str(tmp_path), "--supervisor", str(stranger.pid))
        stranger.kill()
    assert gone.returncode == 0
    supervisor = subprocess.Popen(
        [
            *("bash", "-c", '"$@" --supervisor $$ & wait', "supervisor"),
            *(*COMMAND, "serve", "--data-dir", str(tmp_path)),
        ]
    )
    gateway = ServedGateway(tmp_path)
    wait_until(lambda: serves(gateway), "the gateway", deadline=timedelta(seconds=30))
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: not serves(gateway), "the end of the gateway", deadline=timedelta(seconds=30))


def test_job_that_nobody_waits_for_is_found_later(tmp_path: Path) -> None:
    async def main() -> None:
        with ServedGateway(tmp_path) as gateway:
            async with gateway.clients() as (_, line):
                await set_up(gateway, operation_time=timedelta(milliseconds=100))
                first = await line.program(job(1), wait=timedelta(0))
                assert isinstance(first, JobPending)
                found = await line.find("trf_1", wait=LONG)
                assert isinstance(found, ProgrammingResult)

    run(main)
