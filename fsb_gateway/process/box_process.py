"""What runs in the process of one box: the engine, and a Unix socket at which its gateway speaks to it.

The socket is there while the journal is this process's own. Whoever connects is told who listens; the one that
attaches is the gateway, and replaces an earlier one. Jobs at hand go on when a gateway goes away, and are recorded.
"""

from __future__ import annotations

import logging
import os
import select
import socket
from pathlib import Path
from typing import Final, NoReturn

from app.core.clock import Clock
from app.core.lock import PRIVATE
from app.core.process_identity import start_ticks
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.carrier.socket_path import short_path
from fsb_gateway.engine.box_engine import BoxEngine
from fsb_gateway.engine.box_keys import OpenDriver
from fsb_gateway.error import FsbError
from fsb_gateway.process.conversation import Conversation
from fsb_gateway.process.frame import PROTOCOL, Identity, socket_path
from fsb_gateway.process.private_memory import keep_memory_private, prctl
from fsb_gateway.wire import decode_spec, encode_spec

_log = logging.getLogger(__name__)

STOPPED: Final = 0
NO_SUCH_BOX: Final = 66
"""**Source:** sysexits.h: EX_NOINPUT, and below EX_TEMPFAIL, EX_CONFIG and EX_UNAVAILABLE."""
HELD_ELSEWHERE: Final = 75
KEYS_CLOSED: Final = 78
POWER_LOST: Final = 69

# As long as a gateway may take to be started again by hand; then nobody needs the box.
_ALONE_SECONDS: Final = 60.0
# A token on the network may take some seconds to log in to, a large journal on a slow disk to be read.
_START_SECONDS: Final = 60.0
_RECEIVE_BYTES: Final = 256 * 1024
# One gateway, its successor, and those that only ask who is there.
_CONNECTIONS_MAX: Final = 16
# **Source:** linux/prctl.h.
_PR_SET_TIMERSLACK: Final = 29


class BoxProcess:
    """One box in its own process. `run` belongs to the main thread; `stop` may be called by a signal's handler."""

    def __init__(self, name: str, directory: Path, *, open_driver: OpenDriver, clock: Clock) -> None:
        """Not at work before `run`.

        Args:
            directory: of everything that belongs to boxes.
        """
        self._name = name
        self._directory = directory
        self._open_driver = open_driver
        self._clock = clock
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._conversations: dict[int, Conversation] = {}
        self._gateway: Conversation | None = None
        self._alone_since = clock.monotonic()

    def stop(self) -> None:
        """Finish what the box has, and end."""
        os.eventfd_write(self._stop, 1)

    def run(self) -> int:
        """Work until stopped, or until no gateway has been there for a minute; gives the exit status."""
        keep_memory_private()
        # Threads inherit it. The usual 50 µs late for each operation would be time in which a box does nothing.
        prctl(_PR_SET_TIMERSLACK, 1)
        spec = self._read_spec()
        if spec is None:
            return NO_SUCH_BOX
        engine = BoxEngine(
            spec,
            self._open_driver,
            journal_path=self._directory / "journals" / f"{self._name}.journal",
            clock=self._clock,
            changed=self._tell_change,
            power_lost=_lose_power,
        )
        engine.start()
        if not engine.wait_started(_START_SECONDS):
            self._give_up()
        try:
            return self._refuse(engine) or self._listen(engine)
        finally:
            engine.close()

    def _give_up(self) -> NoReturn:
        """End at once: the thread in which the keys hang cannot be ended. Nothing has been begun yet."""
        _log.error("box %s cannot open its keys: they do not answer; its process ends", self._name)
        os._exit(KEYS_CLOSED)

    def _read_spec(self) -> BoxSpec | None:
        path = self._directory / "box" / f"{self._name}.json"
        try:
            return decode_spec(path.read_bytes(), name=self._name)
        except (OSError, FsbError) as error:
            _log.error("box %s cannot start: its specification cannot be read: %s", self._name, error)
            return None

    def _refuse(self, engine: BoxEngine) -> int:
        """Why the process is of no use; 0 if it is."""
        if engine.is_held_elsewhere:
            _log.error("box %s is at work in another process", self._name)
            return HELD_ELSEWHERE
        if engine.state in {"starting", "disconnected"}:
            _log.error("box %s cannot open its keys", self._name)
            return KEYS_CLOSED
        return 0

    def _listen(self, engine: BoxEngine) -> int:
        path = socket_path(self._directory, self._name)
        path.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        # Whoever had it is dead: the journal is ours.
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(short_path(path))
            path.chmod(0o600)
            listener.listen(_CONNECTIONS_MAX)
            listener.setblocking(False)
            _log.info("box %s is at work", self._name)
            try:
                self._serve(engine, listener)
            finally:
                path.unlink(missing_ok=True)
                # What is at hand is finished while its gateway can still be told.
                engine.close()
                for conversation in self._conversations.values():
                    conversation.close()
        return STOPPED

    def _serve(self, engine: BoxEngine, listener: socket.socket) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while not self._is_abandoned():
            for descriptor, _ in poll.poll(self._patience_ms()):
                if descriptor == self._stop:
                    return
                if descriptor == listener.fileno():
                    self._accept(engine, listener, poll)
                else:
                    self._hear(descriptor, poll)

    def _accept(self, engine: BoxEngine, listener: socket.socket, poll: select.poll) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if len(self._conversations) >= _CONNECTIONS_MAX:
            connection.close()
            return
        conversation = Conversation(connection, engine, attached=self._attach)
        self._conversations[connection.fileno()] = conversation
        poll.register(connection, select.POLLIN)
        conversation.send(
            Identity(PROTOCOL, self._name, os.getpid(), start_ticks(os.getpid()), encode_spec(engine.spec))
        )

    def _hear(self, descriptor: int, poll: select.poll) -> None:
        conversation = self._conversations.get(descriptor)
        if conversation is None or conversation.hear(_RECEIVE_BYTES):
            return
        poll.unregister(descriptor)
        del self._conversations[descriptor]
        conversation.close()
        if conversation is self._gateway:
            _log.info("the gateway of box %s has gone away", self._name)
            self._gateway = None
            self._alone_since = self._clock.monotonic()

    def _attach(self, conversation: Conversation) -> None:
        former, self._gateway = self._gateway, conversation
        if former is not None and former is not conversation:
            former.hang_up()

    def _tell_change(self) -> None:
        gateway = self._gateway
        if gateway is not None:
            gateway.tell_change()

    def _is_abandoned(self) -> bool:
        return self._gateway is None and self._left_alone() <= 0

    def _left_alone(self) -> float:
        return self._alone_since + _ALONE_SECONDS - self._clock.monotonic()

    def _patience_ms(self) -> int | None:
        return None if self._gateway is not None else max(1, int(self._left_alone() * 1000))


def _lose_power() -> None:
    """End as a box does that is unplugged: nothing is written, nobody is told."""
    os._exit(POWER_LOST)
