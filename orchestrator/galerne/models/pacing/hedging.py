"""A second request for a call that takes longer than nearly all do: the first to speak wins.

The other one is cancelled, which closes its connection. Its tokens may have to be paid for and
nobody learns how many: so whoever keeps accounts does not hedge.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from galerne.messages.chat import ChatReply

OnText = Callable[[str], None]
Ask = Callable[[OnText | None], Awaitable[ChatReply]]


async def first_of(
    first: Ask, spare: Callable[[], Ask | None], after: float, on_text: OnText | None
) -> ChatReply:
    """The answer of `first`, or of what `spare` gives `after` seconds of silence.

    `spare` gives None where there is nothing to ask. Raises the error of `first` where neither
    answers.
    """
    race = _Race(on_text)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(race.run, 0, first)
        with anyio.move_on_after(after):
            await race.over.wait()
        second = None if race.over.is_set() else spare()
        if second is not None:
            tasks.start_soon(race.run, 1, second)
    return race.result()


class _Race:
    def __init__(self, on_text: OnText | None) -> None:
        self.over = anyio.Event()
        """The first one has spoken, answered or failed: no second one is needed."""
        self._on_text = on_text
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._errors: dict[int, Exception] = {}
        self._reply: ChatReply | None = None
        self._winner: int | None = None

    async def run(self, runner: int, ask: Ask) -> None:
        with anyio.CancelScope() as scope:
            self._scopes[runner] = scope
            try:
                heard = None if self._on_text is None else partial(self._hear, runner)
                reply = await ask(heard)
            except Exception as error:  # noqa: BLE001 - raised by `result`, once the race is over
                self._errors[runner] = error
            else:
                self._wins(runner)
                self._reply = reply if self._winner == runner else self._reply
        self.over.set()

    def result(self) -> ChatReply:
        if self._reply is not None:
            return self._reply
        raise self._errors.get(0) or self._errors[1]

    def _hear(self, runner: int, text: str) -> None:
        self._wins(runner)
        if self._winner == runner and self._on_text is not None:
            self._on_text(text)

    def _wins(self, runner: int) -> None:
        if self._winner is None:
            self._winner = runner
            self.over.set()
            for other, scope in self._scopes.items():
                if other != runner:
                    scope.cancel()
