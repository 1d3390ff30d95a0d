"""Words of others on this terminal: goals, results and errors are shown, never obeyed."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galerne.core.view import JobView
    from galerne.messages.live import Progress

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RAW_CONTROLS = re.compile(r"[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """`text` without terminal escapes, control characters and changes of writing direction.

    Line feeds and tabs stay.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return _CONTROLS.sub("", text).encode("utf-8", "replace").decode()


def one_line(text: str, limit: int = 1000) -> str:
    """`text` cleaned and in one line of at most `limit` characters."""
    line = " ".join(clean(text[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def value_text(value: Any) -> str:
    """A result as a person reads it: text as it is, anything else as indented JSON; cleaned."""
    if isinstance(value, str):
        return clean(value)
    return clean(json_text(value))


def json_text(value: Any) -> str:
    """One JSON document, indented, that does nothing to a terminal either."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return _RAW_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def seconds_text(seconds: float | None) -> str:
    """`0.4s`, `12s`, `3m05s`, `2h07m`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if seconds < 9.95:  # noqa: PLR2004 - below, tenths still tell something
        return f"{seconds:.1f}s"
    if whole < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{whole}s"
    if whole < 3600:  # noqa: PLR2004 - seconds in an hour
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def count_text(count: int) -> str:
    """`812`, `12.3k`, `1.2M`; empty for none."""
    if count < 1:
        return ""
    if count < 10_000:  # noqa: PLR2004 - four digits are still read at a glance
        return str(count)
    if count < 999_950:  # noqa: PLR2004 - what would round up to 1000k
        return f"{count / 1000:.1f}k"
    return f"{count / 1_000_000:.1f}M"


def money_text(usd: float) -> str:
    """`$0.0031`, `$0.05`, `$12.50`; empty for none."""
    if usd <= 0:
        return ""
    if usd >= 1:
        return f"${usd:.2f}"
    return f"${f'{usd:.4f}'.rstrip('0')}" if usd >= 0.00005 else "<$0.0001"  # noqa: PLR2004 - rounded


def how_text(status: str) -> str:
    """How a job ended that gave no answer, to be read after `the job`."""
    words = {
        "cancelled": "was cancelled",
        "budget_exhausted": "ran out of its budget",
        "deadline_exceeded": "ran out of time",
    }
    return words.get(status, status)


def result_text(view: "JobView") -> str:
    """The answer; of one that is too large to print, what it is and how to fetch it."""
    from galerne.messages.blobs import is_blob, size_text, to_blob

    if not is_blob(view.result):
        return value_text(view.result)
    blob = to_blob(view.result)
    kind = ", ".join(clean(part) for part in (blob.name, blob.media) if part)
    line = f"the answer has {size_text(blob.size)}{f' ({kind})' if kind else ''}: "
    begins = f"\nIt begins:\n{clean(blob.preview)}" if blob.preview else ""
    return f"{line}`galerne fetch {view.id} --output FILE` writes it to a file{begins}"


def partial_text(view: "JobView") -> str:
    """What a job without an answer has found, a result under the name of its task; or nothing."""
    if view.status not in {"budget_exhausted", "deadline_exceeded"}:
        return ""
    ended_with: dict[str, Any] = view.result
    found: dict[str, Any] = ended_with["results"] if view.result else {}
    return "\n".join(f"{one_line(task, 64)}: {value_text(value)}" for task, value in found.items())


def progress_text(said: "Progress") -> str:
    """`64% page 9 of 14`: what a tool has said of itself, cleaned."""
    share = "" if said.fraction is None else f"{min(max(said.fraction, 0.0), 1.0):.0%}"
    return " ".join(word for word in (share, one_line(said.note, 200)) if word)
