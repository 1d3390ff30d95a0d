"""A message in quarantine on a terminal: the list, one record, and its bytes, shown but not obeyed.

Unlike words that are meant to be read (`text.clean`), nothing is left out of the bytes here: what
a terminal would obey stands there as an escape, and what is no text as a hex dump.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from galerne.cli.text import one_line, seconds_text
from galerne.client import QuarantineEntry, QuarantineRecord

SHOWN = 16 * 1024
"""Bytes of a message that are printed; a file can have them all."""
DUMPED = 2 * 1024
"""The same where each sixteen of them make a line."""
LINE = 16
"""Bytes in a line of a hex dump, which then has 75 characters."""
TEXTUAL = 0.9
"""Share of printable characters from which bytes count as text."""

_PREFIX = re.compile(r"^this is not an? [a-z_ ]+: ")
"""What a reason begins with that the subject beside it says already."""
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def quarantine_table(entries: Sequence[QuarantineEntry], now: float) -> RenderableType:
    """One line a record. `now` is Unix seconds."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("number", no_wrap=True, justify="right")
    table.add_column("age", no_wrap=True, justify="right")
    table.add_column("bytes", no_wrap=True, justify="right")
    table.add_column("from", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("error", no_wrap=True, overflow="ellipsis", ratio=1)
    for entry in entries:
        table.add_row(
            Text(str(entry.number)),
            Text(seconds_text(max(0.0, now - entry.at))),
            Text(str(entry.size)),
            Text(one_line(entry.subject, 80), style="" if entry.readable else "red"),
            Text(_PREFIX.sub("", one_line(entry.error, 400))),
        )
    return table


def record_text(record: QuarantineRecord) -> str:
    """What is known of a record, then its bytes."""
    when = datetime.fromtimestamp(record.at, UTC).isoformat(" ", "seconds")
    by = one_line(record.by, 200) or "nobody known"
    lines = [
        f"record  {record.number}",
        f"from    {one_line(record.subject, 500)}",
        f"error   {one_line(record.error, 3000)}",
        f"kept    {when.removesuffix('+00:00')} UTC by {by}",
        f"bytes   {record.size}",
        "",
        bytes_text(record.data),
    ]
    return "\n".join(lines)


def bytes_text(data: bytes) -> str:
    """Bytes as text with escapes, or as a hex dump; cut where they are very long."""
    text = _as_text(data[:SHOWN], whole=len(data) <= SHOWN)
    shown = SHOWN if text is not None else DUMPED
    body = "\n".join(hex_lines(data[:shown])) if text is None else escaped(text)
    if len(data) > shown:
        body += f"\n… and {len(data) - shown} bytes more: --data FILE writes them all"
    return body


def escaped(text: str) -> str:
    """`text` with an escape for everything that a terminal would obey but line feeds and tabs."""
    return _OBEYED.sub(lambda match: _escape(ord(match[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def hex_lines(data: bytes) -> Iterator[str]:
    """`00000010  7b 22 74 …  |{"t…|`, as `hexdump -C` has it."""
    for start in range(0, len(data), LINE):
        piece = data[start : start + LINE]
        digits = piece.hex(" ")
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)  # noqa: PLR2004 - printable ASCII
        yield f"{start:08x}  {digits:<{3 * LINE - 1}}  |{letters}|"


def _as_text(data: bytes, *, whole: bool) -> str | None:
    """The text that the bytes are, None where they are none; a cut last character is left out."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 3:
            return None
        text = data[: error.start].decode()
    obeyed = sum(1 for _ in _OBEYED.finditer(text))
    return text if obeyed <= (1 - TEXTUAL) * len(text) else None
