"""What a printed ceremony record says, section by section, in one language; for pages and terminals alike. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from app.core.json import JsonObject, JsonValue, dump_json
from app.core.language import Language
from app.operations.ceremony.record import CeremonyRecord
from app.operations.ceremony.words import VALUES, WORDS

Row = tuple[str, str]
"""Label and value."""

_WHAT: Final = ("operation_id", "kind", "object_id", "state", "created_at", "finished_at")
_KEY: Final = ("at", "firm_code", "instance_id", "key_id", "algorithm", "fingerprint", "from", "to", "boxes")
_CERTIFICATES: Final = ("certificate", "ca_certificate")
SIGNATURES: Final = ("signature_requested", "signature_decided", "signature_witness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a record.

    Attributes:
        rows: label and value; the label may be empty.
    """

    title: str
    rows: tuple[Row, ...]


def lay_out(record: CeremonyRecord, language: Language) -> list[Section]:
    """All sections, in the order in which they are read; the record's own digest is the last one."""
    words, document = WORDS[language], record.document
    values = VALUES[language]
    operation = dict(_object(document["operation"]))
    for name in ("kind", "state"):
        operation[name] = _said(operation[name], values)
    return [
        Section(title=words["what"], rows=_rows(operation, _WHAT, words)),
        Section(title=words["people"], rows=_people(record, words)),
        *(_key(each, words) for each in _objects(document["keys"])),
        Section(
            title=words["steps"], rows=tuple(_step(each, values) for each in _objects(document["steps"]))
        ),
        Section(title=words["log"], rows=tuple(_line(each) for each in _objects(document["log"]))),
        Section(title=words["audit"], rows=tuple(_entry(each) for each in _objects(document["audit"]))),
        Section(title=words["digest"], rows=(("", record.digest), ("", words["digest_note"]))),
    ]


def to_text(record: CeremonyRecord, language: Language) -> str:
    """The record as plain text."""
    words = WORDS[language]
    lines = [words["title"], "=" * len(words["title"])]
    for section in lay_out(record, language):
        lines += ["", section.title, "-" * len(section.title)]
        width = max((len(label) for label, _ in section.rows), default=0)
        lines += [f"{label:<{width}}  {value}".strip() for label, value in section.rows]
    lines += ["", words["signatures"], "-" * len(words["signatures"])]
    for each in SIGNATURES:
        lines += ["", "", "_" * 60, words[each]]
    return "\n".join(lines) + "\n"


def _people(record: CeremonyRecord, words: Mapping[str, str]) -> tuple[Row, ...]:
    def named(person: JsonValue) -> str:
        name = record.people.get(str(person))
        return str(person) if name in (None, person) else f"{name} ({person})"

    approval = record.document["approval"]
    started: Row = (words["started_by"], named(_object(record.document["operation"])["started_by"]))
    if approval is None:
        return (started, ("", words["no_approval"]))
    found = _object(approval)
    return (
        *_rows(found, ("approval_id", "action"), words),
        (words["requested_by"], named(found["requested_by"])),
        (words["requested_at"], str(found["requested_at"])),
        (words["decided_by"], named(found["decided_by"])),
        (words["decided_at"], str(found["decided_at"])),
        (words["reason"], str(found["reason"])),
        (words["parameters"], dump_json(found["parameters"])),
    )


def _key(key: JsonObject, words: Mapping[str, str]) -> Section:
    rows = list(_rows(key, _KEY, words))
    for name in _CERTIFICATES:
        found = key.get(name)
        if isinstance(found, dict):
            rows += [
                (f"{words[name]}: {words['serial_number']}", str(found["serial_number"])),
                (f"{words[name]}: {words['validity']}", f"{found['not_before']} – {found['not_after']}"),
                (f"{words[name]}: {words['sha256']}", str(found["sha256"])),
            ]
    if key.get("before"):
        rows.append((words["before"], dump_json(key["before"])))
    return Section(title=f"{words['keys']}: {key['event']}", rows=tuple(rows))


def _step(step: JsonObject, values: Mapping[str, str]) -> Row:
    return str(step["name"]), f"{_said(step['state'], values)}  {step['finished_at'] or ''}".strip()


def _said(value: JsonValue, values: Mapping[str, str]) -> str:
    return values.get(str(value), str(value))


def _line(line: JsonObject) -> Row:
    parts = (line["at"], line["event"], line["step"], line["message"])
    return str(line["number"]), "  ".join(str(part) for part in parts if part)


def _entry(entry: JsonObject) -> Row:
    parts = (entry["at"], entry["type"], entry["actor"], entry["hash"])
    return f"{entry['chain']} {entry['sequence']}", "  ".join(str(part) for part in parts if part)


def _rows(found: JsonObject, names: Sequence[str], words: Mapping[str, str]) -> tuple[Row, ...]:
    return tuple(
        (words[name], _text(found[name], words)) for name in names if found.get(name) not in (None, "")
    )


def _text(value: JsonValue, words: Mapping[str, str]) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or words["none"]
    return str(value)


def _object(value: JsonValue) -> JsonObject:
    return cast(JsonObject, value)


def _objects(value: JsonValue) -> list[JsonObject]:
    return cast(list[JsonObject], value)
