"""Importing any module has no effect: no file, socket, process, thread, engine or app is made by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.architecture.source import ROOT, iter_modules, module_name, relative


def test_importing_every_module_has_no_effect(tmp_path: Path) -> None:
    names = [module_name(relative(path)) for path in iter_modules() if path.name != "__main__.py"]
    result = subprocess.run(
        [sys.executable, "-m", "tests.architecture.import_probe", *names],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == "", "an import wrote to standard error"
    assert json.loads(result.stdout) == {}
    assert list(tmp_path.iterdir()) == []
