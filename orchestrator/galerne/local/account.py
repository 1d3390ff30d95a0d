"""A run's account, where it has a budget: each model call is reserved before it is made.

The rules are `core.budget`, as in the fleet. Here nobody else can write between reading the
account and writing it, so every change is made at once.
"""

from collections.abc import Callable

from galerne.core.budget import (
    Exhausted,
    Prices,
    Wait,
    forfeit,
    hold_name,
    hold_of,
    release,
    reserve,
    settle,
)
from galerne.errors import BudgetExhaustedError
from galerne.local.work import Work
from galerne.messages.chat import ChatRequest
from galerne.messages.facts import Accounted, ModelStep, Ready


class Account:
    """Reserves and settles for one task's attempt."""

    def __init__(self, work: Work, ready: Ready, attempt: int) -> None:
        budget = ready.budget
        self._work = work
        self._budget = budget if budget is not None and budget.is_spent_by_models else None
        self._task = ready.task.id
        self._attempt = attempt

    @property
    def is_kept(self) -> bool:
        """Whether every call has to be paid for out of a budget."""
        return self._budget is not None

    async def reserve(self, n: int, request: ChatRequest, prices: Prices) -> None:
        """Hold what step `n` may cost, waiting while others hold what may come free.

        They always let go of it: whoever holds something is in the middle of a call here, and its
        model has a time limit. Raises BudgetExhaustedError.
        """
        if self._budget is None:
            return
        while True:
            now = self._work.clock()
            hold = hold_of(request, prices, now)
            entry = self._entry()
            match reserve(entry, self._budget, self._name(n), hold, now):
                case Accounted() as wanted:
                    self._work.log.write(wanted)
                    return
                case Wait():
                    await self._work.log.changed()
                case Exhausted(why=why):
                    raise BudgetExhaustedError(why)

    def settle(self, step: ModelStep) -> None:
        """Put what it really cost in place of the hold."""
        tokens = step.usage.prompt_tokens + step.usage.completion_tokens
        self._change(lambda entry: settle(entry, self._name(step.n), tokens, step.usd))

    def forfeit(self, n: int) -> None:
        """Count all of the hold as spent: the call was begun and broken off."""
        self._change(lambda entry: forfeit(entry, self._name(n)))

    def release(self, n: int) -> None:
        """Take a hold back: the call surely did not happen."""
        self._change(lambda entry: release(entry, self._name(n)))

    def _change(self, change: Callable[[Accounted], Accounted]) -> None:
        if self._budget is None:
            return
        entry = self._entry()
        wanted = change(entry)
        if wanted is not entry:
            self._work.log.write(wanted)

    def _entry(self) -> Accounted:
        return self._work.log.state.account or Accounted()

    def _name(self, n: int) -> str:
        return hold_name(self._task, n, self._attempt)
