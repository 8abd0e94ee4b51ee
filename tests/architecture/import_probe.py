"""Child process of test_import: imports the modules named as arguments and reports what that did, as JSON.

Audit hooks see every file opened for writing, socket, process and database, whoever opens it; threads are
counted after each import.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading

_EFFECTS = frozenset(
    {
        *("os.chdir", "os.chmod", "os.mkdir", "os.remove", "os.rename", "shutil.rmtree"),
        *("tempfile.mkdtemp", "tempfile.mkstemp", "sqlite3.connect", "os.putenv", "os.unsetenv"),
        *("os.exec", "os.fork", "os.forkpty", "os.kill", "os.posix_spawn", "os.system", "subprocess.Popen"),
        *("signal.pthread_kill", "socket.bind", "socket.connect", "socket.getaddrinfo"),
    }
)
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _is_effect(event: str, arguments: tuple[object, ...]) -> bool:
    if event != "open":
        return event in _EFFECTS
    path, mode, flags = arguments
    if path == os.devnull:
        return False
    return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(int(str(flags)) & _WRITE_FLAGS)


def _probe(names: list[str]) -> dict[str, list[str]]:
    effects: dict[str, list[str]] = {}
    current = ""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if current and _is_effect(event, arguments):
            effects.setdefault(current, []).append(f"{event}{arguments!r}")

    sys.addaudithook(hook)
    for name in names:
        current = name
        importlib.import_module(name)
        started = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        if started:
            effects.setdefault(name, []).append(f"threads {started}")
    current = ""
    return effects


if __name__ == "__main__":
    json.dump(_probe(sys.argv[1:]), sys.stdout)
