"""Ids: prefix, form, order."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from app.core.ids import new_id


def test_id_is_prefix_and_uuid_version_7() -> None:
    assert re.fullmatch(r"trf_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", new_id("trf"))


def test_ids_sort_in_the_order_of_their_making() -> None:
    made = [new_id("lic") for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_made_at_once_differ() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: new_id("op"), range(5_000)))
    assert len(set(made)) == len(made)


def test_id_fits_its_column() -> None:
    assert len(new_id("x" * 16)) <= 64
