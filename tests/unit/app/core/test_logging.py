"""Log lines: what is in them, what never is, and that no value can forge one."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.core.logging import bind, clear, configure_logging, redact, redact_text
from tenancy.credential import CLIENT_SECRET_PREFIX, STAFF_TOKEN_PREFIX, make_secret
from tests.service.log import log_to_output

SECRET = "hunter2-do-not-show"
TICKET = "ABCDE-FGHJK-MNPQR-STUVW-XYZ23"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIGx\n-----END EC PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Nobody else's handlers while the test runs, none of ours afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    clear()
    yield
    clear()
    log_to_output()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    """What is logged while the test runs."""
    written = io.StringIO()
    configure_logging("DEBUG", stream=written)
    return written


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def only_line(stream: io.StringIO) -> dict[str, Any]:
    found = lines(stream)
    assert len(found) == 1
    return found[0]


log = logging.getLogger("app.test")


def test_line_says_when_what_who_and_where_in_that_order(stream: io.StringIO) -> None:
    bind(request_id="req_1", instance="ins_1", principal="erp", line="ln_1")
    log.info("transfer_issued", extra={"transfer_id": "trf_1"})
    line = only_line(stream)
    assert list(line) == [
        *(
            "timestamp",
            "level",
            "event",
            "request_id",
            "instance",
            "principal",
            "line",
            "logger",
            "transfer_id",
        )
    ]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"], line["transfer_id"]) == ("info", "transfer_issued", "trf_1")


def test_bound_values_are_kept_until_cleared_and_none_changes_nothing(stream: io.StringIO) -> None:
    bind(request_id="req_1", instance="ins_1")
    bind(principal="erp", instance=None)
    log.info("a")
    clear()
    log.info("b")
    first, second = lines(stream)
    assert (first["request_id"], first["instance"], first["principal"]) == ("req_1", "ins_1", "erp")
    assert not {"request_id", "instance", "principal"} & set(second)


def test_extra_field_wins_over_bound_one_and_never_over_the_event(stream: io.StringIO) -> None:
    bind(instance="ins_bound")
    log.info(
        "real", extra={"instance": "ins_extra", "event": "forged", "level": "forged", "timestamp": "forged"}
    )
    line = only_line(stream)
    assert (line["instance"], line["event"], line["level"]) == ("ins_extra", "real", "info")
    assert (line["extra_event"], line["extra_level"], line["extra_timestamp"]) == ("forged",) * 3


def test_what_servers_say_for_terminals_is_left_out(stream: io.StringIO) -> None:
    log.info("Running on %s", "x", extra={"color_message": "Running on \x1b[1m%s\x1b[0m", "port": 1})
    line = only_line(stream)
    assert (line["event"], line["port"]) == ("Running on x", 1)
    assert "color_message" not in line


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "uvicorn.access"])
def test_servers_lines_come_once_and_as_ours(name: str) -> None:
    logger = logging.getLogger(name)
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    logger.propagate = False
    written = io.StringIO()
    configure_logging("INFO", stream=written)
    logger.info('%s - "%s %s HTTP/%s" %d', "10.0.0.1:1", "GET", f"/acme/tickets/{TICKET}", "1.1", 200)
    assert only_line(written)["event"] == '10.0.0.1:1 - "GET /acme/tickets/ABCDE-… HTTP/1.1" 200'


def test_statements_with_their_values_are_not_logged(stream: io.StringIO) -> None:
    logging.getLogger("sqlalchemy.engine.Engine").info("INSERT INTO api_client VALUES ('x')")
    assert lines(stream) == []


def test_configuring_again_writes_each_line_once_to_the_new_stream(stream: io.StringIO) -> None:
    second = io.StringIO()
    configure_logging("INFO", stream=second)
    log.info("once")
    assert (len(lines(stream)), len(lines(second))) == (0, 1)


def test_below_the_level_nothing_is_written() -> None:
    written = io.StringIO()
    configure_logging("WARNING", stream=written)
    log.info("not this")
    log.warning("this")
    assert only_line(written)["event"] == "this"


def test_structlog_gives_the_same_line(stream: io.StringIO) -> None:
    bind(request_id="req_1")
    structlog.get_logger("app.other").warning("happened", password=SECRET, number=1)
    line = only_line(stream)
    assert (line["level"], line["event"], line["logger"]) == ("warning", "happened", "app.other")
    assert (line["request_id"], line["password"], line["number"]) == ("req_1", "[removed]", 1)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Authorization",
            "authorization",
            "proxy-authorization",
            "Cookie",
            "set_cookie",
            "secret",
            "client_secret",
        ),
        *(
            "clientSecret",
            "password",
            "PASSWORD",
            "db_password",
            "passwd",
            "token",
            "staff_token",
            "accessToken",
        ),
        *(
            "key",
            "private_key",
            "privateKey",
            "firm_key",
            "x-api-key",
            "key_encryption_key",
            "kek",
            "jwk",
            "pem",
        ),
        *("credential", "passphrase", "seed", "key_material"),
    ],
)
def test_field_with_this_name_is_removed_at_any_depth(stream: io.StringIO, name: str) -> None:
    log.info(
        "x",
        extra={
            name: SECRET,
            "nested": {"list": [{name: SECRET}, (name, SECRET), (name.encode(), SECRET.encode())]},
        },
    )
    assert SECRET not in stream.getvalue()
    assert only_line(stream)[name] == "[removed]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("natural_key", "t/c/4"),
            ("idempotency_key", "order-17"),
            ("key_thumbprint", "ab12"),
            ("op_id", "op_1"),
        ),
        *(("token_id", "tok_1"), ("secret_count", 3), ("credential_type", "basic"), ("public_key", "MFkw")),
        *(
            ("ticket_count", 12),
            ("monkey", "business"),
            ("keyboard", "qwertz"),
            ("password", None),
            ("token", False),
        ),
    ],
)
def test_field_that_only_sounds_secret_is_kept(stream: io.StringIO, name: str, value: object) -> None:
    log.info("x", extra={name: value})
    assert only_line(stream)[name] == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Basic YWxhZGRpbjpvcGVu", "Basic [removed]"),
        (
            "headers: [(b'authorization', b'basic YWxhZGRpbjpvcGVu')]",
            "headers: [(b'authorization', b'basic [removed]')]",
        ),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [removed]"),
        (
            "mysql+pymysql://ins_1:p/a@ss@127.0.0.1:3306/ins_1",
            "mysql+pymysql://ins_1:[removed]@127.0.0.1:3306/ins_1",
        ),
        ("redis://:pw@host", "redis://:[removed]@host"),
        ("http://127.0.0.1:8000/path stays", "http://127.0.0.1:8000/path stays"),
        (f"before {PEM} after", "before [removed] after"),
        (f"cut off: {PEM[:45]}", "cut off: [removed]"),
        ("CREATE USER x IDENTIFIED BY 'abc def'", "CREATE USER x IDENTIFIED BY [removed]"),
        ("connect(user='u', password='abc')", "connect(user='u', password='[removed]')"),
        ('{"token": "abc", "n": 1}', '{"token": "[removed]", "n": 1}'),
        (r"{\"token\":\"abc\"}", r"{\"token\":\"[removed]\"}"),
        ("/login?password=abc&next=1", "/login?password=[removed]&next=1"),
        ('{"kty":"EC","d":"AAAAAAAAAAAAAAAAAAAAAA","x":"y"}', '{"kty":"EC","d":"[removed]","x":"y"}'),
        (f"ticket {TICKET} again", "ticket ABCDE-… again"),
        (f"/tickets/{TICKET.lower().replace('-', '%2D')}?x", "/tickets/abcde-…?x"),
        (TICKET.replace("-", ""), "ABCDE-…"),
        (TICKET.replace("-", " "), "ABCDE-…"),
        ("trf_0199f0c2aaaa7bbb8cccddddeeeeffff", "trf_0199f0c2aaaa7bbb8cccddddeeeeffff"),
    ],
)
def test_secret_is_known_by_its_look(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize("prefix", [CLIENT_SECRET_PREFIX, STAFF_TOKEN_PREFIX])
def test_secret_of_our_own_making_is_removed_wherever_it_stands(stream: io.StringIO, prefix: str) -> None:
    secret = make_secret(prefix)
    log.info(
        "got %s", secret, extra={"path": f"/x?q={secret}&r=1", "deep": [{"note": f"<{secret}>"}], secret: 1}
    )
    assert secret.removeprefix(prefix) not in stream.getvalue()
    assert only_line(stream)["event"] == f"got {prefix}[removed]"


def test_exception_text_loses_its_secrets(stream: io.StringIO) -> None:
    try:
        try:
            raise ConnectionError(f"cannot reach mysql://ins:{SECRET}@db:3306/x")
        except ConnectionError as error:
            raise RuntimeError(f"Basic {SECRET}") from error
    except RuntimeError:
        log.exception("failed", extra={"token": SECRET}, stack_info=True)
    line = only_line(stream)
    assert SECRET not in stream.getvalue()
    assert "ConnectionError: cannot reach mysql://ins:[removed]@db:3306/x" in line["exception"]
    assert "RuntimeError: Basic [removed]" in line["exception"]
    assert "test_exception_text_loses_its_secrets" in line["stack"]


def test_private_members_of_a_json_web_key_are_removed() -> None:
    key = {"kty": "EC", "crv": "P-256", "x": "px", "y": "py", "d": SECRET}
    assert redact(key) == {"kty": "EC", "crv": "P-256", "x": "px", "y": "py", "d": "[removed]"}


def test_mistyped_ticket_is_shortened_by_its_name() -> None:
    assert redact({"ticket": "ABCDE-FGHJK-MNPQ"}) == {"ticket": "ABCDE-…"}
    assert redact({"ticket": "ABC"}) == {"ticket": "ABC"}


HOSTILE = [
    *(
        "\n",
        "\r\n",
        "\x00",
        "\x1b[2J\x1b[1;1H",
        "\x7f",
        "\x85",
        "\u2028",
        "\u2029",
        "\ud800",
        "\ufeff",
        "\u202e",
        '"',
        "\\",
    ),
    '"}\n{"level":"info","event":"forged"}',
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_value_stays_inside_its_line(stream: io.StringIO, hostile: str) -> None:
    bind(request_id=f"r{hostile}", principal=hostile)
    log.info("said %s", hostile, extra={f"f{hostile}": hostile, "nested": {hostile: [hostile]}})
    text = stream.getvalue()
    assert text.isascii()
    assert [character for character in text if not character.isprintable()] == ["\n"]
    assert only_line(stream)["event"] == f"said {hostile}"


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists)
)
def test_any_value_becomes_one_line_of_plain_json(value: object) -> None:
    text = json.dumps(redact({"v": value}), allow_nan=False)
    assert "\n" not in text


def test_value_that_cannot_be_shown_is_named(stream: io.StringIO) -> None:
    class Mute:
        def __str__(self) -> str:
            raise ValueError(SECRET)

    cycle: list[object] = []
    cycle.append(cycle)
    log.info("x", extra={"mute": Mute(), "cycle": cycle, "huge": 10**400, "raw": b"abc"})
    line = only_line(stream)
    assert line["mute"] == "[Mute that cannot be shown]"
    assert "[nested too deep]" in json.dumps(line["cycle"])
    assert (line["huge"], line["raw"]) == ("[number too large]", "[3 bytes]")


def test_text_of_an_object_is_looked_through(stream: io.StringIO) -> None:
    @dataclasses.dataclass
    class Settings:
        password: str

    log.info("settings", extra={"settings": Settings(password=SECRET)})
    assert SECRET not in stream.getvalue()


def test_very_long_value_is_cut(stream: io.StringIO) -> None:
    log.info("x", extra={"long": "ä" * 1_000_000, "many": list(range(10_000))})
    line = only_line(stream)
    assert line["long"].endswith("… [1000000 characters]")
    assert len(line["long"]) < 10_000
    assert len(line["many"]) == 200


def test_arguments_that_do_not_fit_give_a_line_and_no_report_with_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest's own handler, which comes after every fixture, would raise here.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stream = io.StringIO()
    configure_logging("INFO", stream=stream)
    log.info("%d licences", f"password={SECRET}")
    line = only_line(stream)
    assert (line["event"], line["message"], line["error"]) == (
        "log_record_not_written",
        "%d licences",
        "TypeError",
    )
    assert capsys.readouterr().err == ""


def test_closed_stream_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    gone = io.StringIO()
    configure_logging("INFO", stream=gone)
    gone.close()
    log.info("password=%s", SECRET)
    assert capsys.readouterr().err == ""


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    log.info("out")
    captured = capsys.readouterr()
    assert (json.loads(captured.out)["event"], captured.err) == ("out", "")
