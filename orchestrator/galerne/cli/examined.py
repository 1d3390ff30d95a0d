"""A doctor's report on a terminal, line by line as it comes, and as a document."""

from textwrap import wrap
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from galerne.cli.text import count_text, one_line
from galerne.models.doctor import Finding, Level, Report
from galerne.models.doctor.patient import Patient

_STYLES: dict[Level, str] = {"ok": "green", "warning": "yellow", "failure": "bold red"}
_BACK_ENDS = {
    "mistral": "Mistral's API",
    "vllm": "vLLM",
    "ollama": "Ollama",
    "llamacpp": "llama.cpp",
    "openai": "kind unknown",
}
_LEVEL = 9
_PROBE = 16
_WIDEST = 100
_LONGEST = 600


class Page:
    """Prints on stdout; coloured on a terminal only."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._width = min(self._console.width, _WIDEST) - 1
        self._opened = False

    def open(self, roles: tuple[str, ...], patient: Patient) -> None:
        """Who is looked at."""
        if self._opened:
            self._print(Text())
        self._opened = True
        used = f", {' and '.join(roles)}" if roles else ""
        kind = _BACK_ENDS[patient.dialect.name]
        head = f"{patient.endpoint} ({kind}){used}"
        for line in wrap(one_line(head, _LONGEST), self._width, break_on_hyphens=False):
            self._print(Text(line, style="bold"))

    def line(self, finding: Finding) -> None:
        """A finding, and under it what mends it."""
        margin = 2 + _LEVEL + _PROBE
        room = max(self._width - margin, 20)
        first, *others = _wrapped(finding.seen, room)
        line = Text("  ")
        line.append(finding.level.ljust(_LEVEL), style=_STYLES[finding.level])
        line.append(f"{finding.probe.ljust(_PROBE)}{first}")
        self._print(line)
        for text in others:
            self._print(Text(" " * margin + text))
        for place, text in enumerate(_wrapped(finding.mend, room - 2) if finding.mend else ()):
            mark = "→ " if place == 0 else "  "
            self._print(Text(" " * margin + mark + text, style="cyan"))

    def close(self, report: Report) -> None:
        """The sum of it."""
        parts = [_counted(report.failures, "failure"), _counted(report.warnings, "warning")]
        words = ", ".join(part for part in parts if part) or "all well"
        spent = f" · {count_text(report.tokens)} tokens" if report.tokens else ""
        style = _STYLES["failure" if report.failures else "warning" if report.warnings else "ok"]
        self._print(Text(f"  {words}{spent}", style=style))

    def _print(self, text: Text) -> None:
        self._console.print(text)
        self._console.file.flush()


def report_document(report: Report, roles: tuple[str, ...]) -> dict[str, Any]:
    """What `--json` prints of one endpoint."""
    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {
        "roles": list(roles),
        **fields,
        "failures": report.failures,
        "warnings": report.warnings,
    }


def _wrapped(text: str, room: int) -> list[str]:
    return wrap(one_line(text, _LONGEST), room, break_on_hyphens=False) or [""]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""
