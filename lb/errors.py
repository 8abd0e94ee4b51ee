"""What can go wrong with HAProxy's sockets. Pure.

DomainError
└── HaproxyError
├── HaproxyUnavailable          gone, refused, timed out, closed early: what was sent may have been done
├── HaproxyRejected             it said no, in words of its own
│   └── HaproxyReloadFailed     it did not take the new configuration; the old workers go on
├── HaproxyProtocolError        its answer was not understood
└── HaproxyArgumentInvalid      an argument that must not be sent; nothing was
└── HaproxyTooLarge         … because it is longer than HAProxy's buffer (tune.bufsize)
"""

from __future__ import annotations

from typing import Final

from app.core.errors import DomainError

EXCERPT_LENGTH: Final = 400
"""Characters of an answer that an error shows: all of HAProxy's refusals fit, its 9 KB of help do not."""


def excerpt(answer: str) -> str:
    """An answer as it may stand in an error: one line, printable, bounded."""
    text = " ".join(answer[: 4 * EXCERPT_LENGTH].split())
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return clean if len(clean) <= EXCERPT_LENGTH else clean[: EXCERPT_LENGTH - 1] + "…"


class HaproxyError(DomainError):
    """Something about HAProxy's sockets."""

    code = "haproxy_error"


class HaproxyUnavailable(HaproxyError):
    """HAProxy did not answer in time, or not to the end. A command that changes something may have been carried out."""

    code = "haproxy_unavailable"


class HaproxyRejected(HaproxyError):
    """HAProxy said no; `answer` is what it said, bounded."""

    code = "haproxy_rejected"

    def __init__(self, command: str, answer: str) -> None:
        self.command = command
        self.answer = excerpt(answer)
        super().__init__(f"HAProxy refused '{command}': {self.answer}", command=command, answer=self.answer)


class HaproxyReloadFailed(HaproxyRejected):
    """HAProxy did not take the new configuration; the workers there were go on."""

    code = "haproxy_reload_failed"


class HaproxyProtocolError(HaproxyError):
    """HAProxy answered something that is not understood; `answer` is an excerpt."""

    code = "haproxy_protocol_error"

    def __init__(self, command: str, answer: str) -> None:
        self.command = command
        self.answer = excerpt(answer)
        super().__init__(
            f"HAProxy's answer to '{command}' was not understood: {self.answer}",
            command=command,
            answer=self.answer,
        )


class HaproxyArgumentInvalid(HaproxyError):
    """An argument has a form that must not reach HAProxy. Nothing was sent."""

    code = "haproxy_argument_invalid"

    def __init__(self, field: str, rule: str) -> None:
        self.field = field
        super().__init__(f"'{field}' {rule}", field=field)


class HaproxyTooLarge(HaproxyArgumentInvalid):
    """A command with its payload is longer than what this HAProxy reads at once. Nothing was sent."""

    code = "haproxy_too_large"
