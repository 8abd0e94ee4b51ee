"""No file names the machine it was written on, or a package index."""

from __future__ import annotations

import re

from tests.architecture.source import iter_text_files, relative

# Put together so that this file does not find itself.
_FOLDERS = "|".join(("wor" + "k", "roo" + "t", "tm" + "p", "op" + "t", "hom" + "e"))
_HOSTS = "|".join((r"pypi\." + "org", "python" + "hosted", r"test\.pypi"))
_SCHEME = "file" + ":"
_FLAGS = r"(?<!no-emit-)(?<!no-)\b(extra-index-ur" + r"l|index-ur" + r"l|find-link" + r"s)\b"
_FORBIDDEN = re.compile(rf"(?<![\w.}}*-])/({_FOLDERS})/|{_SCHEME}///|{_HOSTS}|{_FLAGS}")


def test_no_file_names_a_machine_path_or_an_index() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()[:100]}"
        for path in iter_text_files()
        if _FORBIDDEN.search(text := path.read_text(encoding="utf-8", errors="replace"))
        for number, line in enumerate(text.splitlines(), start=1)
        if _FORBIDDEN.search(line)
    ]
    assert found == []
