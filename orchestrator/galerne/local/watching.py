"""The caller's callbacks: told at once, and never able to break what told them.

What a callback raises is kept, ends the run, and is raised to whoever called it.
"""

from collections.abc import Callable

from galerne.messages.facts import AnyFact
from galerne.messages.ids import TaskId

OnEvent = Callable[[AnyFact], None]
OnText = Callable[[TaskId, str], None]


class Watching:
    """Both callbacks of one run; either may be absent."""

    def __init__(self, on_event: OnEvent | None, on_text: OnText | None) -> None:
        self._on_event = on_event
        self._on_text = on_text
        self.problem: Exception | None = None

    def fact(self, fact: AnyFact) -> None:
        if self._on_event is None or self.problem is not None:
            return
        try:
            self._on_event(fact)
        except Exception as error:  # noqa: BLE001 - raised to the caller of the run
            self.problem = error

    def text(self, task: TaskId, piece: str) -> None:
        if self._on_text is None or self.problem is not None:
            return
        try:
            self._on_text(task, piece)
        except Exception as error:  # noqa: BLE001 - raised to the caller of the run
            self.problem = error
