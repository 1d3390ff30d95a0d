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

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = _live(console)
        self._paused = False

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        """The last tree stays."""
        self._live.stop()

    def changed(self, fact: AnyFact, state: JobState) -> None:
        """The next `draw` shows it."""

    def progress(self, task: str, text: str) -> None:
        """The next `draw` shows it."""

    def draw(self, view: JobView) -> None:
        ended = view.status not in {"queued", "running"}
        height = None if ended else self._console.height
        self._live.update(job_tree(view, height=height), refresh=not self._paused)

    def notice(self, text: str) -> None:
        self._console.print(Text(f"galerne: {text}"))

    @contextmanager
    def paused(self) -> Generator[None]:
        """The tree stays as it is, and goes on below what was typed."""
        self._paused = True
        self._live.stop()
        last = self._live.renderable
        self._live = _live(self._console)  # the old one would draw over what was typed
        self._live.update(last)
        try:
            yield
        finally:
            self._paused = False
            self._live.start()


def _live(console: Console) -> Live:
    return Live(console=console, auto_refresh=False, transient=False, vertical_overflow="visible")


@contextmanager
def live_screen(console: Console | None = None) -> Generator[LiveScreen]:
    """The terminal, until the context ends; the last tree stays."""
    screen = LiveScreen(console or Console(stderr=True))
    screen.start()
    try:
        yield screen
    finally:
        screen.stop()
