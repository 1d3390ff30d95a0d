"""Conversations on a terminal of 80 columns, which shows words of others and never obeys them."""

from rich.console import Console

from galerne.cli.conversation import sessions_table, turns_text
from galerne.client import SessionSummary
from galerne.messages.sessions import Said


def test_a_session_is_one_line() -> None:
    found = [
        SessionSummary("readme", 3, "Which of them\nis \x1b[31mlonger?", 940.0),
        SessionSummary("x" * 64, 200, "word " * 40, 0.0),
    ]
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(sessions_table(found, 1000.0))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert lines[0].split() == ["session", "turns", "age", "last", "goal"]
    assert lines[1].split() == ["readme", "3", "1m00s", *["Which", "of", "them", "is", "longer?"]]
    assert lines[2].startswith("x" * 31 + "…")
    assert lines[2].endswith("…")
    assert len(lines) == 3
    assert all(len(line) <= 80 for line in lines)


def test_turns_are_shown_in_order_with_their_jobs() -> None:
    first = Said(job="j-1", goal="Count\nthem", answer="3 \x1b[31mwords.\n", at=40.0)
    second = Said(job="j-2", goal="And now?", answer="", at=99.0)
    assert turns_text([first, second], 100.0).split("\n") == [
        "> Count",
        "> them",
        "  (j-1, 1m00s ago)",
        "",
        "3 words.",
        "",
        "> And now?",
        "  (j-2, 1.0s ago)",
        "",
        "",
    ]


def test_a_summary_is_shown_with_what_it_covers() -> None:
    turn = Said(
        job="j-9", goal="On", answer="Yes.", at=99.0, summary="All \x1b[31mwas said.", until="j-3"
    )
    assert turns_text([turn], 100.0).split("\n")[4:] == [
        "",
        "  (up to j-3, later jobs are told in short:)",
        "All was said.",
    ]
