"""What a command prints: results on stdout, everything else on stderr."""

import sys
from typing import Any

from galerne.cli.text import json_text, one_line


def document(value: Any) -> None:
    """`--json`: the one JSON document on stdout."""
    answer(json_text(value))


def answer(text: str) -> None:
    """Text on stdout, at once."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line from galerne on stderr."""
    say(f"galerne: {one_line(text)}")


def say(line: str) -> None:
    """A plain line on stderr; nobody there to read it is no reason to stop."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return
