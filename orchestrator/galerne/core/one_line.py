"""Texts of anybody, as one line of a bounded length: for a prompt, for a log, for a screen."""

_READ = 4
"""Times the limit that is read of a text: the rest of a huge one costs nothing."""


def one_line(text: str, limit: int) -> str:
    """The text on one line; of a longer one the first `limit` characters and a mark."""
    flat = " ".join(text[: _READ * limit].split())
    return flat if len(flat) <= limit and len(text) <= _READ * limit else f"{flat[:limit]}…"


def printable_line(text: str, limit: int) -> str:
    """As `one_line`, without what is not printable, and encodable whatever was put into it.

    Escapes of a terminal and changes of writing direction are among what is left out.
    """
    flat = " ".join(text[: _READ * limit].split())
    shown = "".join(letter for letter in flat if letter.isprintable())
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
