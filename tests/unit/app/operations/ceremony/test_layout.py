"""The printed record speaks one language: also of what was done, and how it ended."""

from __future__ import annotations

from copy import deepcopy

import pytest

from app.core.language import Language
from app.http.schema.box_example import CEREMONY
from app.operations.ceremony.layout import lay_out
from app.operations.ceremony.record import CeremonyRecord
from app.operations.ceremony.words import VALUES
from tenancy.box.plan import CEREMONIES


def rows(kind: str, state: str, language: Language) -> dict[str, dict[str, str]]:
    """By title of the section: what stands behind each label."""
    document = deepcopy(CEREMONY["document"])
    document["operation"] |= {"kind": kind, "state": state}
    document["steps"][0]["state"] = state
    record = CeremonyRecord(document=document, people={})
    return {section.title: dict(section.rows) for section in lay_out(record, language)}


def test_kind_and_state_are_translated() -> None:
    german = rows("rotate_firm_key", "succeeded", "de")
    assert (german["Vorgang"]["Art"], german["Vorgang"]["Ergebnis"]) == (
        "Firm Key austauschen",
        "erfolgreich",
    )
    assert german["Schritte"]["rotate"].startswith("erfolgreich  2026-")
    english = rows("rotate_firm_key", "succeeded", "en")
    assert (english["Operation"]["Kind"], english["Operation"]["Result"]) == (
        "Rotate a firm key",
        "succeeded",
    )


@pytest.mark.parametrize("language", ["de", "en"])
def test_every_kind_that_has_a_record_has_its_words(language: Language) -> None:
    assert set(VALUES[language]) >= CEREMONIES


def test_what_is_hashed_keeps_its_own_words() -> None:
    record = CeremonyRecord(document=deepcopy(CEREMONY["document"]), people={})
    before = record.digest
    lay_out(record, "de")
    assert record.digest == before
    assert record.document == CEREMONY["document"]
