"""The program by which keepalived asks HAProxy whether it serves. Pure.

It is text for another program, run by itself every second: none of our code is loaded for it, so it starts within ten
milliseconds, and its one line to HAProxy's socket is its own instead of `lb.haproxy_stats`'.
"""

from __future__ import annotations

from typing import Final

from lb.pair.settings import PairSettings

_TEMPLATE: Final = """\
#!{python} -IS
# Made by wops. Status 0: the worker of HAProxy that takes new connections has answered, and is not about to end.
# A process alone proves nothing: it may be frozen, or a master without workers.
import _socket
import sys
import time

END = time.monotonic() + {within}


def left():
    return max(END - time.monotonic(), 0.001)


def ask():
    asking = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    answer = b""
    try:
        asking.settimeout(left())
        asking.connect("{socket}")
        asking.send(b"show info\\n")
        while part := asking.recv(65536):
            answer += part
            asking.settimeout(left())
    except OSError:
        pass
    finally:
        asking.close()
    return b"\\nStopping: 0\\n" in answer


def serves():
    if ask():
        return True
    # A worker that is being replaced may have gone with the question.
    time.sleep(min(0.1, left()))
    return ask()


sys.exit(not serves())
"""


def check_text(settings: PairSettings) -> str:
    """The program, as it lies on both."""
    return _TEMPLATE.format(
        python=settings.python,
        within=f"{settings.times.check_within.total_seconds():g}",
        socket=settings.runtime_socket,
    )
