"""HTTP out, for the command line and probes: JSON requests to a platform's own API.

NetError
├── NetUnavailable      no answer; try again
├── NetRejected         a problem came back; `code` is theirs
└── NetProtocolError    an answer that is no JSON of ours
"""

from __future__ import annotations

import socket as connection
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast
from urllib.parse import quote

import httpx

from app.core.errors import DomainError, InputInvalid
from app.core.ids import new_id
from app.core.json import JsonObject, JsonValue

_TIMEOUT_SECONDS = 30.0
_EXCERPT = 200
_REASON: Final = "Wops-Reason"
"""Header of a change by staff: why, percent-encoded UTF-8."""


class NetError(DomainError):
    """Root of this module's errors."""

    code = "net_error"


class NetUnavailable(NetError):
    """Nobody answered."""

    code = "net_unavailable"


class NetRejected(NetError):
    """The other side refused; `status` and `reason` (their code) say why, `faults` which fields of the request."""

    code = "net_rejected"

    def __init__(self, message: str, *, status: int, reason: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message, status=status, reason=reason, faults=list(faults))
        self.status = status
        self.reason = reason


class NetProtocolError(NetError):
    """The other side does not speak this API."""

    code = "net_protocol_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that was no refusal.

    Attributes:
        body: None for an answer without content.
    """

    status: int
    headers: Mapping[str, str]
    body: JsonValue

    def object(self) -> JsonObject:
        """The body, when it is an object.

        Raises:
            NetProtocolError: it is something else.
        """
        if not isinstance(self.body, dict):
            raise NetProtocolError("The answer is not a JSON object.")
        return cast(JsonObject, self.body)

    def list(self) -> list[JsonObject]:
        """The body, when it is a list of objects or a page of one.

        Raises:
            NetProtocolError: it is something else.
        """
        found = self.body.get("data") if isinstance(self.body, Mapping) else self.body
        if not isinstance(found, list):
            raise NetProtocolError("The answer is not a list.")
        return cast(list[JsonObject], found)


class ApiSession:
    """Requests to one platform. Not thread-safe.

    Args:
        base_url: for example `http://127.0.0.1:8080`.
        socket: a Unix socket to go through instead of the address.
        bearer: staff token.
        basic: user name and secret of an API client.
        timeout_seconds: how long to wait for each step of an answer.
        authority: PEM file of who certifies the platform's address; the operating system's authorities without it.

    Raises:
        InputInvalid: that is no address, the token has other than ASCII characters, or the file holds no certificate.
        OSError: the file cannot be read.
    """

    def __init__(
        self,
        base_url: str,
        *,
        socket: Path | None = None,
        bearer: str | None = None,
        basic: tuple[str, str] | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        authority: Path | None = None,
    ) -> None:
        _check_address(base_url)
        # Without TLS there is nobody to trust; loading the system's authorities takes 30 ms [measured].
        transport = (
            httpx.HTTPTransport(uds=str(socket), verify=base_url.startswith("https:"))
            if socket is not None
            else None
        )
        if bearer is not None and not (bearer.isascii() and bearer.isprintable()):
            raise InputInvalid("A staff token has letters, digits, `-` and `_` only.", field="token")
        headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
        self.reason: str | None = None
        """Why things are changed; goes with every request that is not a reading one."""
        self._where = base_url if socket is None else str(socket)
        self._socket = socket
        self._client = httpx.Client(
            base_url=base_url,
            transport=transport,
            headers=headers,
            auth=basic,
            timeout=timeout_seconds,
            verify=True if authority is None else _trusting(authority),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def get(self, path: str, **query: str | int) -> Reply:
        """Read something."""
        return self._send("GET", path, query=query)

    def stream(self, path: str, **query: str | int) -> Iterator[bytes]:
        """Read something long, piece by piece.

        Raises:
            NetUnavailable: nobody answered, or the answer broke off.
            NetRejected: the other side refused.
        """
        try:
            with self._client.stream("GET", path, params=query or None) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _rejected(answer.status_code, _content(answer))
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise NetUnavailable(f"{self._where} does not answer, or stopped in the middle.") from error

    def get_all(self, path: str, **query: str | int) -> list[JsonObject]:
        """Read all pages of a list."""
        found: list[JsonObject] = []
        cursor: dict[str, str | int] = {"limit": 100, **query}
        while True:
            reply = self.get(path, **cursor)
            found += reply.list()
            page = reply.object().get("page")
            following = page.get("next") if isinstance(page, Mapping) else None
            if not isinstance(following, str):
                return found
            cursor["cursor"] = following

    def post(
        self, path: str, body: JsonObject, *, key: str | None = None, if_match: str | None = None
    ) -> Reply:
        """Change something, once: the request carries an idempotency key, a new one unless one is given.

        Args:
            if_match: the version that the change is based on, where one is asked for.
        """
        headers = {"Idempotency-Key": key or new_id("key")}
        if if_match is not None:
            headers["If-Match"] = if_match
        return self._send("POST", path, body=body, headers=headers)

    def put(self, path: str, body: JsonObject, *, if_match: str | None = None) -> Reply:
        """Replace something, or the version of it where one is asked for."""
        headers = {} if if_match is None else {"If-Match": if_match}
        return self._send("PUT", path, body=body, headers=headers)

    def patch(self, path: str, body: JsonObject, *, if_match: str) -> Reply:
        """Change parts of a version of something."""
        return self._send("PATCH", path, body=body, headers={"If-Match": if_match})

    def delete(self, path: str, *, if_match: str | None = None, **query: str | int) -> Reply:
        """Remove something, or the version of it where one is asked for."""
        headers = {} if if_match is None else {"If-Match": if_match}
        return self._send("DELETE", path, query=query, headers=headers)

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        sent = dict(headers or {})
        if self.reason and method != "GET":
            sent[_REASON] = quote(self.reason, safe="")
        try:
            request = self._client.build_request(method, path, json=body, params=query or None, headers=sent)
            self._knock()
            answer = self._client.send(request)
        except httpx.InvalidURL as error:
            raise InputInvalid(f"{path[:_EXCERPT]!r} cannot be asked for.", field="path") from error
        except httpx.HTTPError as error:
            raise NetUnavailable(_why(error, self._where)) from error
        content = _content(answer)
        if answer.status_code >= 400:
            raise _rejected(answer.status_code, content)
        return Reply(status=answer.status_code, headers=answer.headers, body=content)

    def _knock(self) -> None:
        """Look whether anybody listens at the socket: httpcore 1.0 leaves its own open when nobody does."""
        if self._socket is None:
            return
        with connection.socket(connection.AF_UNIX) as caller:
            caller.settimeout(self._client.timeout.connect)
            try:
                caller.connect(str(self._socket))
            except OSError as error:
                raise NetUnavailable(_nobody_at(self._where)) from error


def _trusting(authority: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        raise InputInvalid(f"{authority} holds no certificate in PEM.", field="authority") from error
    except OSError as error:
        raise InputInvalid(f"{authority} cannot be read: {error.strerror}.", field="authority") from error


def _why(error: httpx.HTTPError, where: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"The certificate of {where} is not trusted here; name the PEM file of its authority in WOPS_AUTHORITY."
    return _nobody_at(where)


def _nobody_at(where: str) -> str:
    return f"Nobody answers at {where}. Is `wops up`, or `wops cluster up`, running?"


def _check_address(base_url: str) -> None:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InputInvalid(
            f"The URL {base_url[:_EXCERPT]!r} is wrong: one like http://127.0.0.1:8080 is needed.",
            field="url",
        )


def _content(answer: httpx.Response) -> JsonValue:
    if not answer.content:
        return None
    try:
        return cast(JsonValue, answer.json())
    except ValueError as error:
        excerpt = answer.text[:_EXCERPT]
        raise NetProtocolError(f"The answer is not JSON: {excerpt!r}", status=answer.status_code) from error


def _rejected(status: int, content: JsonValue) -> NetRejected:
    problem = content if isinstance(content, Mapping) else {}
    message = problem.get("detail") or problem.get("title") or f"status {status}"
    return NetRejected(
        str(message),
        status=status,
        reason=str(problem.get("code", "unknown")),
        faults=_faults(problem.get("errors")) or _place(problem.get("context")),
    )


def _place(context: object) -> list[str]:
    """Where something is wrong, if a refusal that has no list of faults names it."""
    field = context.get("field") if isinstance(context, Mapping) else None
    return [str(field)] if field else []


def _faults(errors: object) -> list[str]:
    """What is wrong with each field, as `pointer: text`; a field outside the body says where it stands."""
    found: list[str] = []
    for each in errors if isinstance(errors, list) else ():
        if isinstance(each, Mapping):
            place = str(each.get("in", "body"))
            where = str(each.get("pointer", "")) or "/"
            found.append(f"{where if place == 'body' else f'{place} {where}'}: {each.get('detail', '')}")
    return found
