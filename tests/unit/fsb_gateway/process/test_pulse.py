"""When the other end counts as silent, and when not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fsb_gateway.process import pulse as pulse_module
from fsb_gateway.process.pulse import Pulse
from tests.service.wait import wait_until_async

BEAT = 0.01


class Peer:
    """The other end.

    Attributes:
        asked: how often it was asked.
        found_silent: how often it was said to be silent.
        answers: whether it answers, as soon as the loop gets round to it.
    """

    def __init__(self, *, answers: bool) -> None:
        self.asked = 0
        self.found_silent = 0
        self.answers = answers
        self.pulse = Pulse(self._ask, silent=self._note_silence)

    def _ask(self) -> None:
        self.asked += 1
        if self.answers:
            asyncio.get_running_loop().call_soon(self.pulse.heard)

    def _note_silence(self) -> None:
        self.found_silent += 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_module, "_BEAT_SECONDS", BEAT)


def test_peer_that_never_answers_is_silent_after_five_questions_and_told_so_once() -> None:
    async def body() -> None:
        peer, other = Peer(answers=False), Peer(answers=True)
        await wait_until_async(lambda: peer.found_silent, "silence to be noticed")
        asked = other.asked
        await wait_until_async(lambda: other.asked >= asked + 10, "time in which it could be told again")
        assert (peer.asked, peer.found_silent) == (5, 1)
        other.pulse.stop()

    asyncio.run(body())


def test_peer_that_answers_is_asked_on_and_on_and_counts_as_silent_when_it_stops() -> None:
    async def body() -> None:
        peer = Peer(answers=True)
        await wait_until_async(lambda: peer.asked >= 20, "questions")
        assert peer.found_silent == 0
        peer.answers = False
        await wait_until_async(lambda: peer.found_silent, "silence to be noticed")

    asyncio.run(body())


def test_peer_is_not_silent_because_whoever_asks_stood_still() -> None:
    async def body() -> None:
        peer = Peer(answers=True)
        await wait_until_async(lambda: peer.asked, "a question")
        for _ in range(3):
            stand_still(20 * BEAT)
            await is_asked_again(peer)
        assert peer.found_silent == 0
        peer.pulse.stop()

    asyncio.run(body())


async def is_asked_again(peer: Peer) -> None:
    asked = peer.asked
    await wait_until_async(lambda: peer.asked >= asked + 2, "more questions")


def stand_still(seconds: float) -> None:
    """Hold up the whole event loop."""
    threading.Event().wait(seconds)


def test_stopped_pulse_asks_and_tells_nothing_more() -> None:
    async def body() -> None:
        peer, other = Peer(answers=False), Peer(answers=True)
        await wait_until_async(lambda: peer.asked, "a question")
        peer.pulse.stop()
        asked = peer.asked
        await wait_until_async(lambda: other.asked >= 20, "time to be silent")
        assert (peer.asked, peer.found_silent) == (asked, 0)
        other.pulse.stop()

    asyncio.run(body())
