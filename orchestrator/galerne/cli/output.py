"""What a command prints: results on stdout, everything else on stderr."""

import sys
from typing import TYPE_CHECKING, Any

from galerne.cli.text import json_text, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType


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


def draw(renderable: "RenderableType") -> None:
    """Something of rich's on stdout."""
    from rich.console import Console

    Console(highlight=False, markup=False, emoji=False).print(renderable)
    sys.stdout.flush()
