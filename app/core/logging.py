"""Logs: one JSON object a line on standard output, with who and where, without secrets.

    logging.getLogger(…) ─┐                          ┌─ what was bound: request_id, instance, principal, line
    uvicorn, sqlalchemy  ─┼─► extra= fields kept ─► ─┤
    structlog            ─┘                          └─► secrets removed ─► everything made JSON ─► one line

Secrets go by the name of their field, and by their look wherever they stand, also in exception text. Output is
ASCII: no value can end a line, forge one or steer a terminal.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict

from app.core.clock import from_us, to_text

_CONTEXT: Final = ("request_id", "instance", "principal", "line")
_OURS: Final = frozenset({"timestamp", "level", "event", "logger", "exception", "stack", "stack_info"})
_NOT_KEPT: Final = frozenset({"_record", "color_message"})
"""The second is the event once more, with escape sequences for a terminal. **Source:** uvicorn's `logging.py`."""
_QUIET: Final = ("sqlalchemy", "alembic", "httpx", "httpcore")
"""They log statements with their values, or every request a second time, below WARNING."""
_BRIDGED: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", *_QUIET)
"""Loggers that may have got handlers of their own before."""

_REMOVED: Final = "[removed]"
_LONGEST_TEXT: Final = 8_192
"""Characters of one value: above the longest traceback of ours, below what line-based collectors cut (16 KiB)."""
_LONGEST_LOOKED_AT: Final = 65_536
_DEEPEST: Final = 8
_MOST_MEMBERS: Final = 200

_SECRET_WORDS: Final = frozenset(
    {
        *(
            "authorization",
            "cookie",
            "credential",
            "credentials",
            "jwk",
            "kek",
            "passphrase",
            "passwd",
            "password",
        ),
        *("passwords", "pem", "pwd", "secret", "secrets", "seed", "token", "tokens"),
    }
)
_SECRET_KEYS: Final = frozenset(
    f"{kind}_key"
    for kind in (
        *("api", "box", "credential", "encryption", "firm", "master"),
        *("private", "secret", "session", "signing", "wrapped", "wrapping"),
    )
) | {"key", "keys", "key_material"}
"""The last two words of a name. Keys that are no secret stay: `natural_key`, `idempotency_key`, `key_thumbprint`."""
_NAMES_ONLY: Final = frozenset({"id", "ids", "count", "type", "name", "at", "us", "expires"})
"""What ends on one of these tells about a secret, it is none: `token_id`, `secret_count`."""
_JWK_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Private members of a JSON Web Key. **Source:** RFC 7518 §6."""

_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_LOOKS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(
            r"-----BEGIN[ A-Z]{0,32} PRIVATE KEY-----.*?(?:-----END[ A-Z]{0,32} PRIVATE KEY-----|\Z)", re.S
        ),
        _REMOVED,
    ),
    # The prefix of a secret that wops made may stay: it says what was removed.
    (re.compile(r"\b(wops_[a-z]{1,32}_)[\w-]{8,}"), rf"\1{_REMOVED}"),
    (re.compile(r"\b(basic|bearer)(?:\s|%20|\+)+[\w.~+/=-]{4,}", re.I), rf"\1 {_REMOVED}"),
    # To the last @ of the word: passwords that nobody has percent-encoded may hold / and @.
    (re.compile(r"(://[^\s:/@'\"]{0,128}):[^\s'\"]{0,256}@"), rf"\1:{_REMOVED}@"),
    (re.compile(r"\b(identified\s+by\s+(?:password\s+)?)'[^']*'", re.I), rf"\1{_REMOVED}"),
    # name=value, name: value, 'name': 'value', "name":"value"; escaped quotes as in JSON within JSON.
    (
        re.compile(
            r"((?:authorization|cookie|passphrase|passwd|password|pwd|secret|token|api[_-]?key|private[_-]?key)"
            r"\\?['\"]?\s*[=:]\s*(?:b?\\?['\"])?)(?!\[removed\]|(?:basic|bearer) \[)[^\s'\"\\&,;)}\]]+",
            re.I,
        ),
        rf"\1{_REMOVED}",
    ),
    (re.compile(r"""(\\?["'](?:d|p|q|dp|dq|qi|k)\\?["']\s*:\s*\\?["'])[\w-]{16,}"""), rf"\1{_REMOVED}"),
    # A ticket is worth its licences. Its first group is enough to find it.
    (
        re.compile(
            r"(?<![A-Za-z0-9])([2-9A-HJKMNP-Z]{5})(?:(?:-|%2D|%20|[ +])?[2-9A-HJKMNP-Z]{5}){4}(?![A-Za-z0-9])",
            re.I,
        ),
        r"\1-…",
    ),
)


def configure_logging(level: str | int = "INFO", *, stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process to one stream, from now on. May be repeated.

    Servers with a logging configuration of their own are to be started without it (uvicorn: `log_config=None`).

    Args:
        level: below this, nothing is written.
        stream: standard output unless told otherwise.
    """
    handler = _LineHandler(sys.stdout if stream is None else stream)
    handler.setFormatter(_LineFormatter(foreign_pre_chain=[_add_extra], processors=_STEPS))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _LineHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _BRIDGED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING if name in _QUIET else logging.NOTSET)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def bind(
    *,
    request_id: str | None = None,
    instance: str | None = None,
    principal: str | None = None,
    line: str | None = None,
) -> None:
    """Have every further line of this task or thread say these; what is None stays as it was."""
    given = zip(_CONTEXT, (request_id, instance, principal, line), strict=True)
    structlog.contextvars.bind_contextvars(**{name: value for name, value in given if value is not None})


def clear() -> None:
    """Forget what was bound: at the start of every request and every turn of a worker."""
    structlog.contextvars.clear_contextvars()


def redact_text(text: str) -> str:
    """Remove what looks like a secret from a text, and the end of a very long one. Pure."""
    looked_at = text[:_LONGEST_LOOKED_AT]
    for look, instead in _LOOKS:
        looked_at = look.sub(instead, looked_at)
    if len(looked_at) > _LONGEST_TEXT or len(text) > _LONGEST_LOOKED_AT:
        return f"{looked_at[:_LONGEST_TEXT]}… [{len(text)} characters]"
    return looked_at


def redact(value: object, *, name: str = "", depth: int = 0) -> object:
    """Make any value JSON without secrets: text, numbers, lists and dictionaries only. Pure.

    Args:
        value: anything; what JSON does not know becomes the text of its `str`.
        name: the field it stands in.
        depth: how deep it is nested; what is deeper than 8 becomes a mark, so that cycles end.
    """
    if value is None or isinstance(value, bool):
        return value
    if _is_secret_name(name):
        return _REMOVED
    if isinstance(value, (int, float)):
        return _redact_number(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"[{len(value)} bytes]"
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return "[nested too deep]" if depth >= _DEEPEST else _redact_members(value, depth=depth + 1)
    return _shorten_ticket(redact_text(_text_of(value)), name)


def _redact_number(value: int | float) -> int | float | str:
    """Numbers that every JSON reader takes; JSON has no infinity, and other languages no large integers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if abs(value) < 2**63 else "[number too large]"


def _redact_members(
    value: Mapping[Any, Any] | Collection[Any], *, depth: int
) -> dict[str, object] | list[object]:
    if isinstance(value, Mapping):
        is_jwk = "kty" in value
        return {
            redact_text(_text_of(key)): _REMOVED
            if is_jwk and key in _JWK_PRIVATE
            else redact(member, name=_text_of(key), depth=depth)
            for key, member in islice(value.items(), _MOST_MEMBERS)
        }
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (str, bytes)):
        # A header, as ASGI and HTTP clients hand them over.
        key = value[0].decode("latin-1") if isinstance(value[0], bytes) else value[0]
        return [redact_text(key), redact(value[1], name=key, depth=depth)]
    return [redact(member, depth=depth) for member in islice(value, _MOST_MEMBERS)]


def _is_secret_name(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _NAMES_ONLY:
        return False
    return "_".join(words[-2:]) in _SECRET_KEYS or not _SECRET_WORDS.isdisjoint(words)


def _shorten_ticket(text: str, name: str) -> str:
    """A mistyped ticket has lost its look but is still nearly a ticket."""
    is_ticket = name.lower().endswith(("ticket", "ticket_code")) and len(text) > 5
    return f"{text[:5]}-…" if is_ticket else text


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"[{type(value).__name__} that cannot be shown]"


def _add_extra(logger: Any, method: str, event: EventDict) -> EventDict:
    """Keep `extra=` fields; one that is named like a part of the line keeps its value under another name."""
    extra = structlog.stdlib.ExtraAdder()(logger, method, {"_record": event["_record"]})
    for name, value in extra.items():
        if name not in _NOT_KEPT:
            event[f"extra_{name}" if name in _OURS else name] = value
    return event


def _to_line(_logger: Any, _method: str, event: EventDict) -> str:
    """Order, redact and write. The last step for every record, whoever made it."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog", None)
    line: dict[str, object] = {
        "timestamp": to_text(from_us(int(record.created * 1_000_000))),
        "level": record.levelname.lower(),
        "event": redact(event.pop("event", "")),
    }
    line |= {name: redact(event.pop(name), name=name) for name in _CONTEXT if name in event}
    line["logger"] = record.name
    line |= {redact_text(name): redact(value, name=name) for name, value in event.items()}
    return _dump(line)


def _dump(line: Mapping[str, object]) -> str:
    # DEL is the one control character that ASCII JSON leaves as it is.
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")


_STEPS: Final = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    _to_line,
)


class _LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Always gives one line, also for a record whose arguments do not fit its message."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:
            return _dump(
                {
                    "timestamp": to_text(from_us(int(record.created * 1_000_000))),
                    "level": "error",
                    "event": "log_record_not_written",
                    "logger": record.name,
                    "message": redact(record.msg),
                    "error": type(error).__name__,
                }
            )


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines; a stream that is gone or full must not stop a licence from being issued."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Stay silent: the inherited report would show the record, secrets included, on standard error."""
