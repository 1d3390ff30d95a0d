"""The caller's callbacks: told at once, and never able to break what told them.

What a callback raises is kept, ends the run, and is raised to whoever called it.
"""

from collections.abc import Callable
from typing import ParamSpec

from galerne.messages.facts import AnyFact
from galerne.messages.ids import TaskId
from galerne.messages.live import Progress

OnEvent = Callable[[AnyFact], None]
OnText = Callable[[TaskId, str], None]
OnProgress = Callable[[Progress], None]
P = ParamSpec("P")


class Watching:
    """The callbacks of one run; each may be absent."""

    def __init__(
        self, on_event: OnEvent | None, on_text: OnText | None, on_progress: OnProgress | None
    ) -> None:
        self._on_event = on_event
        self._on_text = on_text
        self._on_progress = on_progress
        self.problem: Exception | None = None

    def fact(self, fact: AnyFact) -> None:
        self._tell(self._on_event, fact)

    def text(self, task: TaskId, piece: str) -> None:
        self._tell(self._on_text, task, piece)

    def progress(self, progress: Progress) -> None:
        self._tell(self._on_progress, progress)

    def _tell(self, callback: Callable[P, None] | None, *told: P.args, **more: P.kwargs) -> None:
        if callback is None or self.problem is not None:
            return
        try:
            callback(*told, **more)
        except Exception as error:  # noqa: BLE001 - raised to the caller of the run
            self.problem = error
