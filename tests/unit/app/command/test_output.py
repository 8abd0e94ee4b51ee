"""What others have typed is printed as it is: no markup, and nothing that moves the cursor or turns words round."""

from __future__ import annotations

import pytest
import typer

from app.command.output import err, fail, fail_usage, line, out, show, show_secret, show_table
from app.core.errors import InputInvalid
from app.core.json import dump_json
from app.core.net import NetRejected

ODD = ["[/x]", "[delete all]", "[bold]X[/bold]", "\\[x]", "\\", ":smile:", "[link=x]y[/link]", "[["]


@pytest.mark.parametrize("text", ODD)
def test_text_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show({"name": text, "more": [text]}, as_json=False)
    assert capsys.readouterr().out == f"name  {text}\nmore  {dump_json([text])}\n"
    show({text: 1}, as_json=False)
    assert capsys.readouterr().out == f"{text}  1\n"
    show_table([{"name": text, "state": "x"}], ("name", "state"), as_json=False)
    assert capsys.readouterr().out.splitlines()[1] == f"{text:<4}  x"
    show_secret({"client": {"name": text}, "secret": text}, "client", as_json=False)
    assert capsys.readouterr().out == f"name  {text}\nshown this once; keep it:\n{text}\n"


@pytest.mark.parametrize("text", ODD)
def test_errors_are_printed_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail(NetRejected(text, status=422, reason=text, faults=[text]))
    assert capsys.readouterr().err == f"{text}: {text}\n  {text}\n"
    with pytest.raises(typer.Exit):
        fail_usage(text, text)
    assert capsys.readouterr().err == f"{InputInvalid.code}: {text}: {text}\n"


def test_text_that_nobody_has_thought_of_is_no_markup_either(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (out, err):
        console.print("[/x] :smile:")
    assert capsys.readouterr() == ("[/x] :smile:\n", "[/x] :smile:\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("no\nstate  approved", r"no\nstate  approved"),
        ("a\rb", r"a\rb"),
        ("live\u202eevil", r"live\u202eevil"),
        ("\udcff", r"\udcff"),
        ("Müller & Söhne – 漢字", "Müller & Söhne – 漢字"),
    ],
)
def test_what_would_move_the_cursor_or_turn_words_round_is_shown_as_an_escape(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show({"reason": text}, as_json=False)
    show_table([{"reason": text}], ("reason",), as_json=False)
    assert capsys.readouterr().out.splitlines() == [f"reason  {shown}", "reason", shown]
    assert line(text, (text, "bold")).plain == shown * 2


def test_json_is_for_scripts_and_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    show({"reason": "[/x]\u202e\n"}, as_json=True)
    assert capsys.readouterr().out == '{"reason":"[/x]\u202e\\n"}\n'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.30267130766134026, "0.303"),
        (0.0, "0"),
        (12.0, "12"),
        (123456.789012, "123456.789"),
        (0.00041666, "0.00042"),
        (-1.5, "-1.5"),
    ],
)
def test_numbers_are_rounded_for_people_and_whole_for_programs(
    value: float, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show({"wait": value}, as_json=False)
    assert capsys.readouterr().out == f"wait  {shown}\n"
    show_table([{"wait": value}], ("wait",), as_json=False)
    assert capsys.readouterr().out.splitlines()[1] == shown
    show_table([{"wait": value}], ("wait",), as_json=True)
    assert capsys.readouterr().out == f"{dump_json([{'wait': value}])}\n"
