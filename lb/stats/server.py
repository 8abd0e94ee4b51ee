"""Servers of backends: weight, state, coming and going."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lb.errors import HaproxyArgumentInvalid, HaproxyRejected
from lb.stats.argument import MAX_WEIGHT, require_address, require_int, require_ip, require_name, require_time
from lb.stats.channel import Channel, expect_silence, expect_text
from lb.stats.row import ServerTarget

_MAX_COUNT: Final = 1_000_000
_MAX_RISE: Final = 1_000
_MAX_IDENTIFIER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """A server to be added; `default-server` of the configuration does not count for it.

    Attributes:
        address: `unix@/path`, `host:port` or `[v6]:port`.
        weight: 0 to 256.
        identifier: what sticky tables name it by, 1 and up; None: the lowest that is free in its backend.
        check: it has a health check, which runs once `enable_health` was called.
        inter: between checks; `fastinter` while its status is about to change, `downinter` while it is down.
        rise: good checks until it is up; `fall`: bad ones until it is down.
        track: backend and server whose checks count for it; then it has none of its own.
        maxconn: requests at once; more wait in its queue.
        shutdown_when_down: its sessions are ended as soon as it is down.
        pool_purge_delay: how long idle connections to it are kept; `pool_max_conn`: how many.
    """

    address: str
    weight: int = 100
    identifier: int | None = None
    check: bool = False
    inter: timedelta | None = None
    fastinter: timedelta | None = None
    downinter: timedelta | None = None
    rise: int | None = None
    fall: int | None = None
    track: tuple[str, str] | None = None
    maxconn: int | None = None
    maxqueue: int | None = None
    shutdown_when_down: bool = False
    send_proxy_v2: bool = False
    pool_purge_delay: timedelta | None = None
    pool_max_conn: int | None = None

    def words(self) -> tuple[str, ...]:
        """As `add server` takes them.

        Raises:
            HaproxyArgumentInvalid: a value is out of its range, or a server that tracks has a check of its own.
        """
        if self.check and self.track is not None:
            raise HaproxyArgumentInvalid("track", "goes without a check of its own")
        weight = require_int("weight", self.weight, low=0, high=MAX_WEIGHT)
        return (
            require_address("address", self.address),
            *("weight", str(weight)),
            *(("check",) if self.check else ()),
            *self._times(),
            *self._counts(),
            *(() if self.track is None else ("track", server_word(*self.track))),
            *(("on-marked-down", "shutdown-sessions") if self.shutdown_when_down else ()),
            *(("send-proxy-v2",) if self.send_proxy_v2 else ()),
        )

    def _times(self) -> tuple[str, ...]:
        times = {
            "inter": self.inter,
            "fastinter": self.fastinter,
            "downinter": self.downinter,
            "pool-purge-delay": self.pool_purge_delay,
        }
        pairs = [(name, require_time(name, time)) for name, time in times.items() if time is not None]
        return tuple(word for pair in pairs for word in pair)

    def _counts(self) -> tuple[str, ...]:
        counts = {
            "id": (self.identifier, 1, _MAX_IDENTIFIER),
            "rise": (self.rise, 1, _MAX_RISE),
            "fall": (self.fall, 1, _MAX_RISE),
            "maxconn": (self.maxconn, 0, _MAX_COUNT),
            "maxqueue": (self.maxqueue, 0, _MAX_COUNT),
            "pool-max-conn": (self.pool_max_conn, -1, _MAX_COUNT),
        }
        pairs = [
            (name, str(require_int(name, count, low=low, high=high)))
            for name, (count, low, high) in counts.items()
            if count is not None
        ]
        return tuple(word for pair in pairs for word in pair)


def server_word(backend: str, server: str) -> str:
    """A server as commands name it."""
    return f"{require_name('backend', backend)}/{require_name('server', server)}"


@dataclass(frozen=True, slots=True)
class Servers:
    """Servers, each named by its backend and its own name.

    Every method raises `HaproxyRejected` where there is no such server.
    """

    _channel: Channel

    def set_weight(self, backend: str, server: str, *, weight: int) -> None:
        """Its weight, 0 to 256; 0: no new sessions except persistent ones.

        Raises:
            HaproxyRejected: the backend's algorithm is static.
        """
        word = str(require_int("weight", weight, low=0, high=MAX_WEIGHT))
        self._channel.command("set", "server", server_word(backend, server), "weight", word)

    def set_state(self, backend: str, server: str, *, state: ServerTarget) -> None:
        """Take it out, let it finish what it has, or put it back.

        A server stays in maintenance as long as the one that it tracks is, whatever is asked here.
        """
        self._channel.command("set", "server", server_word(backend, server), "state", state.value)

    def set_address(self, backend: str, server: str, *, address: str, port: int) -> None:
        """Another IP address and port; a Unix socket can neither be left nor entered."""
        word = require_ip("address", address)
        number = str(require_int("port", port, low=1, high=65535))
        answer = self._channel.ask(
            "set", "server", server_word(backend, server), "addr", word, "port", number
        )
        if not answer.startswith(("IP changed from ", "no need to change the addr")):
            raise HaproxyRejected("set server addr", answer)

    def enable_health(self, backend: str, server: str) -> None:
        """Run its check. A server that was added has it off."""
        self._channel.command("enable", "health", server_word(backend, server))

    def disable_health(self, backend: str, server: str) -> None:
        """Stop its check; its status stays as it is."""
        self._channel.command("disable", "health", server_word(backend, server))

    def add(self, backend: str, server: str, options: ServerOptions) -> None:
        """Add a server; it is in maintenance, its check off, and it is gone after a reload.

        Raises:
            HaproxyRejected: the name is taken, or the backend's algorithm is static.
        """
        answer = self._channel.ask("add", "server", server_word(backend, server), *options.words())
        expect_text(answer, "add server", "New server registered.")

    def enable(self, backend: str, server: str) -> None:
        """Out of maintenance."""
        self._channel.command("enable", "server", server_word(backend, server))

    def disable(self, backend: str, server: str) -> None:
        """Into maintenance."""
        self._channel.command("disable", "server", server_word(backend, server))

    def shutdown_sessions(self, backend: str, server: str) -> None:
        """End its sessions at once."""
        answer = self._channel.ask("shutdown", "sessions", "server", server_word(backend, server))
        expect_silence(answer, "shutdown sessions server")

    def delete(self, backend: str, server: str) -> None:
        """Remove it.

        Raises:
            HaproxyRejected: it is not in maintenance, still has connections, or the configuration refers to it.
        """
        answer = self._channel.ask("del", "server", server_word(backend, server))
        expect_text(answer, "del server", "Server deleted.")
