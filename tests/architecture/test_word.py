"""One word per idea (DESIGN section 1): words that are certainly wrong in names, paths and addresses."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, ROOT, iter_files, iter_modules, read, relative

# Put together so that this file does not find itself.
WRONG_WORDS = {"ten" + "ant": "instance (the boundary) or customer (who rents it)"}
_CODE = (*PACKAGES, "tests")


@pytest.mark.parametrize("word", sorted(WRONG_WORDS))
def test_word_is_not_used_in_code(word: str) -> None:
    found = [hit for path in iter_modules(*_code()) for hit in _find_in_names(path, word)]
    assert found == [], f"say: {WRONG_WORDS[word]}"


@pytest.mark.parametrize("word", sorted(WRONG_WORDS))
def test_word_is_not_used_in_paths(word: str) -> None:
    found = [relative(path) for path in iter_files(*_code()) if word in relative(path).lower()]
    assert found == [], f"say: {WRONG_WORDS[word]}"


def _code() -> tuple[str, ...]:
    return (*_CODE, "migrations") if (ROOT / "migrations").is_dir() else _CODE


def _find_in_names(path: Path, word: str) -> Iterator[str]:
    """Identifiers, and string constants that are an address or a key (no prose: that holds spaces)."""
    text = read(path)
    if word not in text.lower():
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_name = token.type == tokenize.NAME
        is_key = token.type == tokenize.STRING and not re.search(r"\s", token.string)
        if (is_name or is_key) and word in token.string.lower():
            yield f"{relative(path)}:{token.start[0]} {token.string}"
