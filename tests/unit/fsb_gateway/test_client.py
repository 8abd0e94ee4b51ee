"""How the client asks for a job: once, again, in turns, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from fsb_gateway import client, server
from fsb_gateway.carrier import exchange
from fsb_gateway.carrier.exchange import Answer, GatewayAway
from fsb_gateway.client import FsbClient
from fsb_gateway.error import FsbProtocolError, FsbRejected, FsbUnavailable, PoolUnknown
from fsb_gateway.job import JobPending, ProgrammingResult
from fsb_gateway.wire import encode_result
from tests.fake.clock import START
from tests.unit.fsb_gateway.factory import make_job

RESULT = ProgrammingResult(job_id="trf_1", update="text", box="box-1", operations=1, programmed_at=START)
DONE = Answer(status=200, body=encode_result(RESULT))
PENDING = Answer(status=202, body=b'{"job_id":"trf_1","position":0,"expected_wait_seconds":1}')
LONG = timedelta(seconds=20)


class ScriptedExchange:
    """Answers one after the other; None: nobody answers, a number: after so many seconds 202."""

    def __init__(self, *script: Answer | float | None, patience: tuple[float, float] = (50.0, 50.0)) -> None:
        self.asked: list[float] = []
        self._script = list(script)
        self._patience = patience

    async def send(self, method: str, path: str, body: bytes, wait_seconds: float) -> Answer:
        self.asked.append(wait_seconds)
        answer = self._script.pop(0)
        if answer is None:
            raise GatewayAway("nobody answers")
        if isinstance(answer, float):
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), answer)
            return PENDING
        return answer

    def patience(self, *, is_first: bool) -> float:
        return self._patience[0] if is_first else self._patience[1]

    async def close(self) -> None:
        """Nothing is held."""


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def test_waits_are_as_long_as_the_gateway_grants_them() -> None:
    assert exchange.WAIT_LIMIT_SECONDS == server.WAIT_LIMIT_SECONDS


def test_gateway_that_is_away_is_asked_again_within_the_wait() -> None:
    async def main() -> None:
        carrier = ScriptedExchange(None, None, DONE)
        assert await FsbClient(carrier).program(make_job(), wait=LONG) == RESULT
        assert len(carrier.asked) == 3
        assert carrier.asked[0] > carrier.asked[1] > carrier.asked[2] > 0

    run(main)


def test_without_a_wait_nobody_asks_twice() -> None:
    async def main() -> None:
        carrier = ScriptedExchange(None)
        with pytest.raises(FsbUnavailable):
            await FsbClient(carrier).program(make_job(), wait=timedelta(0))
        assert carrier.asked == [0.0]

    run(main)


def test_gateway_that_answers_before_its_time_has_its_say() -> None:
    async def main() -> None:
        carrier = ScriptedExchange(PENDING)
        assert isinstance(await FsbClient(carrier).program(make_job(), wait=LONG), JobPending)
        assert len(carrier.asked) == 1

    run(main)


def test_crowd_sends_its_jobs_at_once_and_waits_in_turns() -> None:
    async def main() -> None:
        carrier = ScriptedExchange(PENDING, 0.02, 0.02, DONE, patience=(0.0, 0.02))
        assert await FsbClient(carrier).program(make_job(), wait=LONG) == RESULT
        assert carrier.asked == [0.0, 0.02, 0.02, 0.02]

    run(main)


def test_caller_does_not_wait_for_a_turn_longer_than_for_his_job() -> None:
    async def main() -> None:
        carrier = ScriptedExchange(PENDING, 30.0, patience=(0.0, 0.02))
        pending = await FsbClient(carrier).program(make_job(), wait=timedelta(seconds=0.1))
        assert isinstance(pending, JobPending)

    run(main)


def test_refusal_is_no_reason_to_ask_again() -> None:
    async def main() -> None:
        for code, kind in (("pool_unknown", PoolUnknown), ("heard_of_later", FsbRejected)):
            body = b'{"title":"no","code":"%s","detail":{}}' % code.encode()
            carrier = ScriptedExchange(Answer(status=404, body=body))
            with pytest.raises(kind):
                await FsbClient(carrier).program(make_job(), wait=LONG)
        with pytest.raises(FsbProtocolError):
            await FsbClient(ScriptedExchange(Answer(status=200, body=b"?"))).program(make_job(), wait=LONG)

    run(main)


def test_gateway_that_takes_a_job_and_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LATE_SECONDS", 0.05)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(FsbUnavailable):
            await FsbClient(ScriptedExchange(30.0)).program(make_job(), wait=timedelta(seconds=0.1))
        assert 0.1 <= loop.time() - begun < 10

    run(main)
