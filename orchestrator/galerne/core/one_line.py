"""A text as one line of a bounded length, for prompts and logs, and how many lines it has.

`printable` is for screens.
"""

_READ = 4
"""Times the limit that is read of a text: the rest of a huge one costs nothing."""


def one_line(text: str, limit: int) -> str:
    """The text on one line; of a longer one the first `limit` characters and a mark."""
    flat = " ".join(text[: _READ * limit].split())
    return flat if len(flat) <= limit and len(text) <= _READ * limit else f"{flat[:limit]}…"


def line_count(text: str) -> int:
    """As editors count: an end of line at the end begins no line. 0: it is empty."""
    return text.count("\n") + (not text.endswith("\n")) if text else 0
