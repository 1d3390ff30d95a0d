"""Where progress is shown: a live tree on a terminal, plain lines elsewhere. Always on stderr."""

import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from galerne.cli.lines import Lines
from galerne.cli.output import say
from galerne.cli.text import one_line
from galerne.core.state import JobState
from galerne.core.view import JobView
from galerne.messages.facts import AnyFact

EVERY = 5.0
"""Seconds between two lines on the progress of one task."""


class Screen(Protocol):
    """Shows one job."""

    def changed(self, fact: AnyFact, state: JobState) -> None:
        """A fact has come; `state` holds it already."""
        ...

    def draw(self, view: JobView) -> None:
        """Time has passed, or a burst of facts is over."""
        ...

    def progress(self, task: str, text: str) -> None:
        """A tool that `task` waits for has said how far it is; the next view holds it, too."""
        ...

    def notice(self, text: str) -> None:
        """Say something beside the progress."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Nothing is drawn while somebody types."""
        ...


class PlainScreen:
    """One line for each change."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._next: dict[str, float] = {}
        """Tasks, and when a word on each is due again."""

    def changed(self, fact: AnyFact, state: JobState) -> None:
        line = self._lines.after(fact, state)
        if line is not None:
            say(line)

    def draw(self, view: JobView) -> None:
        """Lines stand as they are."""

    def progress(self, task: str, text: str) -> None:
        now = time.monotonic()
        if now >= self._next.get(task, 0.0):
            self._next[task] = now + EVERY
            say(f"{one_line(task, 64)}: {text}")

    def notice(self, text: str) -> None:
        say(f"galerne: {text}")

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()


@contextmanager
def screen() -> Generator[Screen]:
    """The screen that fits where stderr leads to."""
    if not sys.stderr.isatty():
        yield PlainScreen()
        return
    from galerne.cli.live import live_screen

    with live_screen() as live:
        yield live
