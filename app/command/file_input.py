"""What commands read from files, because it is secret or long."""

from __future__ import annotations

from pathlib import Path

from app.core.errors import InputInvalid


def secret_in(path: Path) -> str:
    """The first line of a file: a token or a password, which as an option would be seen by everybody.

    Raises:
        OSError: the file cannot be read.
        InputInvalid: there is no text in it.
    """
    try:
        found = path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{path} is no text file.", field="file") from error
    if not found:
        raise InputInvalid(f"The first line of {path} is empty.", field="file")
    return found


def pem_in(path: Path) -> str:
    """The text of a PEM file; the platform says whether it is one.

    Raises:
        OSError: the file cannot be read.
    """
    return path.read_text("ascii", "replace")
