"""What came back from a front, looked at."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.service.front_site import Answer


def echoed(answer: Answer) -> dict[str, Any]:
    """What reached the line."""
    assert answer.status == 200, answer
    said: dict[str, Any] = json.loads(answer.text)
    return said


def header(said: dict[str, Any], name: str) -> list[str]:
    return [value for each, value in said["headers"] if each == name]


def problem(answer: Answer) -> str:
    """Its code; the answer is whole."""
    said = json.loads(answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["status"] == answer.status
    assert said["instance"] == f"urn:wops:request:{answer.headers['request-id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert ("retry_after_s" in said) == ("retry-after" in answer.headers)
    code: str = said["code"]
    return code


def exchange(address: str, request: bytes) -> bytes:
    """Send bytes as they are, and read until the front closes."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def read_raw(answered: bytes) -> Answer:
    return Answer.read(answered.decode(), "")
