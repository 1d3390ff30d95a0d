"""Messages in quarantine on a terminal: everything is shown, nothing is obeyed."""

import re
from argparse import ArgumentTypeError
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from galerne.cli.commands.quarantine import age
from galerne.cli.main import main
from galerne.cli.quarantined import (
    DUMPED,
    SHOWN,
    bytes_text,
    escaped,
    hex_lines,
    quarantine_table,
    record_text,
)
from galerne.client import QuarantineEntry, QuarantineRecord

HOSTILE = "\x1b]0;title\x07\x1b[2J\u202egnp\r\x9b31m"


def record(data: bytes, *, error: str = "bad", by: str = "c-1") -> QuarantineRecord:
    return QuarantineRecord(
        number=7,
        at=1_700_000_000.25,
        origin="submit",
        subject="galerne.submit.default",
        error=error,
        by=by,
        size=len(data),
        data=data,
    )


def obeyed(text: str) -> bool:
    """Whether a terminal would do anything but write."""
    return any(
        (ord(char) < 0x20 and char not in "\n\t")
        or 0x7F <= ord(char) <= 0x9F
        or char in "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for char in text
    )


@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda t: t.encode("utf-8", "replace")))
def test_no_bytes_are_obeyed(data: bytes) -> None:
    assert not obeyed(bytes_text(data))
    assert not obeyed(record_text(record(data)))


@given(st.binary(max_size=200))
def test_a_hex_dump_holds_every_byte_in_lines_of_a_terminal(data: bytes) -> None:
    lines = list(hex_lines(data))
    digits = [line[10:57] for line in lines]
    assert bytes.fromhex(" ".join(digits)) == data
    assert all(len(line) <= 80 for line in lines)
    assert [int(line[:8], 16) for line in lines] == list(range(0, len(data), 16))


def test_a_hex_dump_looks_as_elsewhere() -> None:
    assert list(hex_lines(b"\x00\x01{abc\xff")) == [
        "00000000  00 01 7b 61 62 63 ff" + " " * 29 + "|..{abc.|"
    ]


def test_text_is_shown_as_text_and_its_escapes_as_such() -> None:
    data = ('{"goal":"' + "text 文字 " * 20 + '\x1b[31m"}\n\t').encode()
    shown = bytes_text(data)
    assert "文字" in shown
    assert "\\x1b[31m" in shown
    assert shown.endswith("\n\t")


@given(st.text())
def test_escapes_lose_nothing_of_text_without_backslashes(text: str) -> None:
    plain = text.replace("\\", "/")
    back = re.sub(
        r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})",
        lambda found: chr(int(found[1] or found[2], 16)),
        escaped(plain),
    )
    assert back == plain


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x00" * 20, b"\x1b\x07\x08a", b"a\xffb" * 99])
def test_what_is_no_text_is_a_dump(data: bytes) -> None:
    assert bytes_text(data).startswith("00000000  ")


def test_long_messages_are_cut_and_say_so() -> None:
    text = bytes_text(b"ab" * SHOWN)
    assert text.endswith(f"… and {SHOWN} bytes more: --data FILE writes them all")
    dump = bytes_text(b"\x00\xff" * SHOWN)
    assert len(dump.splitlines()) == DUMPED // 16 + 1
    assert f"… and {2 * SHOWN - DUMPED} bytes more" in dump


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_character_on_the_cut_is_no_reason_for_a_dump(shift: int) -> None:
    assert bytes_text(b"x" * shift + "文".encode() * SHOWN).startswith("x" * shift + "文")


def test_a_record_says_what_when_and_who() -> None:
    text = record_text(record(b"{}", error=f"it is\nwrong {HOSTILE}", by=HOSTILE))
    assert text.splitlines()[:5] == [
        "record  7",
        "from    galerne.submit.default",
        "error   it is wrong gnp",
        "kept    2023-11-14 22:13:20 UTC by gnp",
        "bytes   2",
    ]
    assert text.endswith("\n\n{}")


def test_the_list_fits_a_terminal_of_eighty_columns() -> None:
    entries = [
        QuarantineEntry(
            number=number,
            at=1_700_000_000.0,
            origin="ev",
            subject="galerne.ev.3.acme.job-with-a-long-name.done.some-task",
            error=f"this is not a fact: {HOSTILE} JSON is malformed: invalid character (byte 0)",
            by="c-1",
            size=524_288,
            readable=number % 2 == 0,
        )
        for number in (1, 22, 123_456_789)
    ]
    console = Console(file=StringIO(), width=80)
    with console.capture() as capture:
        console.print(quarantine_table(entries, 1_700_007_000.0))
    lines = capture.get().splitlines()
    assert len(lines) == 4
    assert all(len(line) <= 80 for line in lines)
    assert "123456789" in lines[3]
    assert "1h56m" in lines[1]
    assert "gnp JSON is malformed" in lines[1]  # its subject says what it is not
    assert not obeyed("".join(lines))


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)]
)
def test_ages(text: str, seconds: int) -> None:
    assert age(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-1h", "1.5h", "h", "1w", "٣d", "9" * 10 + "s", "1h "])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no age"):
        age(text)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["drop"],
        ["drop", "1", "--all"],
        ["drop", "1", "--origin", "ev"],
        ["drop", "--all", "--older-than", "1h"],
        ["drop", "--older-than", "1"],
        ["drop", "0"],
        ["show"],
        ["show", "x"],
        ["list", "--limit", "0"],
        ["requeue", "1", "--data", "/nowhere/at/all"],
    ],
)
def test_a_bad_command_line_is_one_line_and_2(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["quarantine", *arguments]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("galerne: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("action", ["list", "show", "requeue", "drop"])
def test_every_action_has_help(action: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["quarantine", action, "--help"]) == 0
    assert f"galerne quarantine {action}" in capfd.readouterr().out
