"""The live tree: drawn again for every change, and every fifth of a second for the times."""

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from galerne.cli.tree import job_tree
from galerne.core.state import JobState
from galerne.core.view import JobView
from galerne.messages.facts import AnyFact


class LiveScreen:
    """A tree that stays in place."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live

    def changed(self, fact: AnyFact, state: JobState) -> None:
        """The next `draw` shows it."""

    def draw(self, view: JobView) -> None:
        ended = view.status not in {"queued", "running"}
        height = None if ended else self._console.height
        self._live.update(job_tree(view, height=height), refresh=True)

    def notice(self, text: str) -> None:
        self._console.print(Text(f"galerne: {text}"))


@contextmanager
def live_screen(console: Console | None = None) -> Generator[LiveScreen]:
    """The terminal, until the context ends; the last tree stays."""
    console = console or Console(stderr=True)
    live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="visible")
    with live:
        yield LiveScreen(console, live)
