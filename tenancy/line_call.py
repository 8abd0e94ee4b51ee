"""What control asks a line, on its private socket. Blocking: call it in a thread.

NetUnavailable: nobody answers there, or not in time. NetRejected, NetProtocolError: it is no line of ours.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from app.core.ids import InstanceId
from app.core.json import JsonObject
from app.core.net import ApiSession, NetProtocolError
from tenancy.line_file import PRIVATE_SOCKET
from tenancy.line_status import LineStatus

_SOON: Final = timedelta(seconds=2)
"""A line answers within milliseconds unless it is frozen or its machine is overloaded."""
_SETTLES_WITHIN: Final = timedelta(seconds=30)
"""As long as a slow box makes callers wait, and some more."""


class LineCaller:
    """A line as control reaches it. Thread-safe; each call has a connection of its own.

    Args:
        directory: the line's.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def status(self, *, within: timedelta = _SOON) -> LineStatus:
        """How the line is."""
        with self._session(within) as session:
            found = session.get("/v1/status").object()
        try:
            return msgspec.convert(found, LineStatus)
        except msgspec.ValidationError as error:
            raise NetProtocolError("That is no line's status.") from error

    def drain(self, *, within: timedelta, answers_within: timedelta = _SOON) -> None:
        """Tell it to be unready, finish what runs and end; returns at once.

        Args:
            within: when it ends all the same.
        """
        body: JsonObject = {"within_seconds": within.total_seconds()}
        with self._session(answers_within) as session:
            session.post("/v1/drain", body)

    def settle(self, instance_id: InstanceId) -> bool:
        """Have counted calls written down and open transfers driven; whether none is under way there."""
        with self._session(_SETTLES_WITHIN) as session:
            return session.post(f"/v1/instances/{instance_id}/settle", {}).object().get("settled") is True

    def forget(self, instance_id: InstanceId) -> None:
        """Have it answer 404 for an instance from now on, and let go of its database."""
        with self._session(_SETTLES_WITHIN) as session:
            session.post(f"/v1/instances/{instance_id}/forget", {})

    def _session(self, within: timedelta) -> ApiSession:
        return ApiSession(
            "http://line", socket=self.directory / PRIVATE_SOCKET, timeout_seconds=within.total_seconds()
        )
