"""A PKCS#11 box at work: gateway and box as real processes, a SoftHSM2 token, 16 clients, 10,000 jobs."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from joserfc.jwk import ECKey, OKPKey

from app.core.clock import SystemClock
from fsb_gateway import (
    Algorithm,
    BoxSpec,
    FsbClient,
    FsbUnavailable,
    JobPending,
    ProgrammingJob,
    ProgrammingResult,
)
from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.error import FirmKeyUnfit
from fsb_gateway.file_format.armour import read_armour
from fsb_gateway.file_format.base64url import decode_base64url
from fsb_gateway.file_format.certificate import FirmIdentity, verify_chain
from fsb_gateway.file_format.jose import decrypt_token, signature_holds
from fsb_gateway.file_format.key import jose_key
from tests.service.gateway import ServedGateway
from tests.service.softhsm import SoftHsm
from tests.service.wait import until
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, add_item, make_job, make_steps, p256

CLOCK = SystemClock()
CLIENTS = 16
JOBS = 10_000
# Each client has so many jobs waiting at once, as a line has: fewer than an instance may have, taken together.
AT_ONCE = 8
WAIT = timedelta(seconds=20)
ALGORITHMS: dict[int, Algorithm] = {FIRM_CODE: "ES256", FIRM_CODE + 1: "Ed25519"}


def make(number: int) -> ProgrammingJob:
    """Every eighth job has two operations; the two firm keys take turns."""
    operations = (add_item("lic_1"), add_item("lic_2")) if number % 8 == 0 else (add_item(),)
    return make_job(
        f"trf_{number}",
        firm_code=FIRM_CODE + number % 2,
        steps=make_steps(0, operations),
        deadline_at=CLOCK.now() + timedelta(hours=1),
    )


class Crowd:
    """Clients that take numbers off one list until every job has its result."""

    def __init__(self, jobs: list[ProgrammingJob]) -> None:
        self._jobs = iter(jobs)
        self.results: dict[str, ProgrammingResult] = {}
        self.was_told_to_wait = 0

    async def work(self, client: FsbClient) -> None:
        await asyncio.gather(*(self._work(client) for _ in range(AT_ONCE)))

    async def _work(self, client: FsbClient) -> None:
        for job in self._jobs:
            self.results[job.job_id] = await self._finish(client, job)

    async def _finish(self, client: FsbClient, job: ProgrammingJob) -> ProgrammingResult:
        """As a line does: the same job again until there is a result."""
        while True:
            try:
                answer = await client.program(job, wait=WAIT)
            except FsbUnavailable:
                self.was_told_to_wait += 1
                continue
            if isinstance(answer, JobPending):
                self.was_told_to_wait += 1
                continue
            return answer


async def set_up(control: FsbClient, token: TokenSpec) -> x509.Certificate:
    await control.ensure_box(BoxSpec(name="box-1", pool="shared", driver="pkcs11", token=token))
    await until(lambda: condition(control, "ready"), "the box to be ready")
    for firm_code, algorithm in ALGORITHMS.items():
        await control.ensure_firm_key(INSTANCE, firm_code, pool="shared", algorithm=algorithm)
    return x509.load_pem_x509_certificate((await control.root_certificate()).encode())


async def condition(control: FsbClient, wanted: str) -> bool:
    (box,) = await control.boxes()
    return box.condition == wanted


def check(results: dict[str, ProgrammingResult], root: x509.Certificate) -> None:
    """Every signature is verified by joserfc, with the key of a certificate that leads to the platform root."""
    container, firm_keys = ECKey.import_key(p256("container")), FirmKeys(root)
    for job_id, result in results.items():
        _, sealed = read_armour(result.update, "UPDATE")
        token = decrypt_token(sealed, container)
        assert token is not None
        header, claims = (json.loads(decode_base64url(part)) for part in token.split(".")[:2])
        firm_code = FIRM_CODE + int(job_id.removeprefix("trf_")) % 2
        key = firm_keys.find(firm_code, header["x5c"])
        assert (claims["jti"], claims["iss"], claims["firm_code"]) == (job_id, INSTANCE, firm_code)
        assert signature_holds(token, key, ALGORITHMS[firm_code])


class FirmKeys:
    """The keys of certificates that lead to the root; each chain is followed once."""

    def __init__(self, root: x509.Certificate) -> None:
        self._root = root
        self._keys: dict[tuple[str, ...], tuple[FirmIdentity, ECKey | OKPKey]] = {}

    def find(self, firm_code: int, x5c: list[str]) -> ECKey | OKPKey:
        if tuple(x5c) not in self._keys:
            chain = [x509.load_der_x509_certificate(base64.b64decode(text)) for text in x5c]
            signer = verify_chain(chain, self._root, at=CLOCK.now())
            self._keys[tuple(x5c)] = signer, jose_key(signer.public_key)
        signer, key = self._keys[tuple(x5c)]
        assert (signer.instance_id, signer.firm_code) == (INSTANCE, firm_code)
        assert signer.algorithm == ALGORITHMS[firm_code]
        return key


@pytest.mark.timeout(300)
def test_ten_thousand_jobs_of_sixteen_clients_with_the_token_taken_out_and_put_back_in_the_middle(
    softhsm: SoftHsm, tmp_path: Path
) -> None:
    jobs = [make(number) for number in range(JOBS)]
    crowd = Crowd(jobs)

    async def take_out_and_put_back(control: FsbClient) -> None:
        async def some_are_done() -> bool:
            return len(crowd.results) >= JOBS // 3

        await until(some_are_done, "a third of the jobs")
        softhsm.take_out()
        await until(lambda: condition(control, "token_absent"), "the box to notice")
        done = len(crowd.results)
        assert JOBS // 3 <= done < JOBS
        (pool,) = await control.pools()
        assert (pool.ready_boxes, pool.reason) == (0, "token_absent")
        softhsm.put_back()
        await until(lambda: condition(control, "ready"), "the box to be back")

    async def main(gateway: ServedGateway) -> None:
        async with AsyncExitStack() as stack:
            pairs = [await stack.enter_async_context(gateway.clients()) for _ in range(CLIENTS)]
            control, clients = pairs[0][0], [line for _, line in pairs]
            root = await set_up(control, softhsm.make_token("token-1"))
            await asyncio.gather(*(crowd.work(client) for client in clients), take_out_and_put_back(control))
            again = [await clients[0].program(job, wait=WAIT) for job in jobs[:: JOBS // 100]]
            assert again == [crowd.results[result.job_id] for result in again]
            (box,) = await control.boxes()
            assert box.jobs_done == JOBS, "each job was programmed once"
            assert box.operations_done == sum(job.cost for job in jobs)
            await asyncio.to_thread(check, crowd.results, root)

    with ServedGateway(tmp_path / "data", environment=softhsm.environment) as gateway:
        asyncio.run(main(gateway))
    assert set(crowd.results) == {job.job_id for job in jobs}
    assert len({result.update for result in crowd.results.values()}) == JOBS


def test_keys_are_rotated_in_the_token_and_moved_between_it_and_a_software_box(
    softhsm: SoftHsm, tmp_path: Path
) -> None:
    async def programmed(line: FsbClient, number: int, firm_code: int) -> ProgrammingResult:
        job = replace(make(number), job_id=f"trf_{number}", firm_code=firm_code)
        answer = await line.program(job, wait=WAIT)
        assert isinstance(answer, ProgrammingResult)
        return answer

    async def main(gateway: ServedGateway) -> None:
        async with gateway.clients() as (control, line):
            root = await set_up(control, softhsm.make_token("token-1"))
            before = {key.firm_code: key for key in await control.firm_keys()}
            old = {code: await programmed(line, 100 + code % 2, code) for code in ALGORITHMS}
            for code in ALGORITHMS:
                for _ in range(2):
                    report = await control.rotate_firm_key(code, key_id=f"key_new_{code}")
                assert report.fingerprint != before[code].fingerprint
                assert [former.fingerprint for former in report.former] == [before[code].fingerprint]
            new = {code: await programmed(line, 200 + code % 2, code) for code in ALGORITHMS}

            await control.ensure_box(BoxSpec(name="box-2", pool="shared"))
            await until(lambda: all_ready(control), "the second box to be ready")
            moved = await control.copy_firm_key(FIRM_CODE, to="box-2")
            assert moved.boxes == ("box-1", "box-2")
            await control.drop_firm_key(FIRM_CODE, box="box-1")
            in_software = await programmed(line, 300, FIRM_CODE)
            assert in_software.box == "box-2"
            await control.copy_firm_key(FIRM_CODE, to="box-1")
            await control.drop_firm_key(FIRM_CODE, box="box-2")
            in_token = await programmed(line, 302, FIRM_CODE)
            assert in_token.box == "box-1"

            with pytest.raises(FirmKeyUnfit):
                await control.copy_firm_key(FIRM_CODE + 1, to="box-2")
            stayed = await programmed(line, 303, FIRM_CODE + 1)
            assert stayed.box == "box-1"
            results = [*old.values(), *new.values(), in_software, in_token, stayed]
            check({result.job_id: result for result in results}, root)

    with ServedGateway(tmp_path / "data", environment=softhsm.environment) as gateway:
        asyncio.run(main(gateway))


async def all_ready(control: FsbClient) -> bool:
    return all(box.condition == "ready" for box in await control.boxes())
