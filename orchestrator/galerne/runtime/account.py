"""A job's account, where it has a budget: each model call is reserved before it is made.

The rules are `core.budget`; here they meet the log. The account is one subject that is appended
to, each time expecting the entry that was read, so no two workers spend the same money.
"""

import random
from collections.abc import Callable

import anyio

from galerne.bus.mapping import ConflictError
from galerne.core.budget import (
    Exhausted,
    Paid,
    Prices,
    Wait,
    forfeit,
    hold_name,
    hold_of,
    release,
    reserve,
    settle,
    settle_earlier,
)
from galerne.errors import BudgetExhaustedError, BusyError, TransientError
from galerne.logs import get_logger
from galerne.messages.chat import ChatRequest
from galerne.messages.facts import Accounted
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget
from galerne.messages.subjects import JobAddress
from galerne.runtime.services import Services

log = get_logger("galerne.runtime.account")

ENTRY = "account"
LAST_ENTRY = 5.0
"""Seconds that a settlement may take, also when its attempt is stopped."""
LOOK_AGAIN = 0.3
"""Seconds between two looks at an account that others hold the rest of."""
LONGEST_WAIT = 5.0
"""Seconds of that before the task gives its place to others, who may be those that hold it."""


class Account:
    """Reserves and settles for one task's attempt."""

    def __init__(
        self,
        services: Services,
        address: JobAddress,
        budget: Budget | None,
        task: TaskId,
        attempt: int,
        paid: Paid,
    ) -> None:
        self._services = services
        self._address = address
        self._budget = budget if budget is not None and budget.is_spent_by_models else None
        self._task = task
        self._attempt = attempt
        self._paid = paid

    @property
    def is_kept(self) -> bool:
        """Whether every call has to be paid for out of a budget."""
        return self._budget is not None

    async def reserve(self, n: int, request: ChatRequest, prices: Prices) -> None:
        """Hold what step `n` may cost, waiting while others hold what may come free.

        Raises BudgetExhaustedError, TransientError (BusyError where that takes too long).
        """
        if self._budget is None:
            return
        begun = anyio.current_time()
        while True:
            entry, sequence = await self._read()
            spent = self._without_earlier(entry)
            if spent is not entry:  # stored by itself: others wait for it where this one may not
                await self._append(spent, sequence)
                continue
            now = self._services.clock()
            hold = hold_of(request, prices, now)
            match reserve(entry, self._budget, self._name(n), hold, now):
                case Accounted() as wanted:
                    if wanted is entry or await self._append(wanted, sequence):
                        return
                case Wait() if anyio.current_time() - begun > LONGEST_WAIT:
                    raise BusyError("other tasks of this job hold what is left of its budget")
                case Wait():
                    await anyio.sleep(LOOK_AGAIN)
                case Exhausted(why=why):
                    raise BudgetExhaustedError(why)

    async def settle_earlier(self) -> None:
        """Put in order what earlier attempts left: others may wait for what they hold."""
        if self._budget is not None:
            await self._change(self._without_earlier)

    async def settle(self, n: int, tokens: int, usd: float) -> None:
        """Put what it really cost in place of the hold. What cannot be settled stays held."""
        if self._budget is not None:
            await self._change(lambda entry: settle(entry, self._name(n), tokens, usd))

    async def forfeit(self, n: int) -> None:
        """Count all of the hold as spent: the call was begun and broken off."""
        if self._budget is not None:
            await self._change(lambda entry: forfeit(entry, self._name(n)))

    async def release(self, n: int) -> None:
        """Take a hold back: the call surely did not happen."""
        if self._budget is not None:
            await self._change(lambda entry: release(entry, self._name(n)))

    def _without_earlier(self, entry: Accounted) -> Accounted:
        return settle_earlier(entry, self._task, self._attempt, self._paid)

    def _name(self, n: int) -> str:
        return hold_name(self._task, n, self._attempt)

    async def _change(self, change: Callable[[Accounted], Accounted]) -> None:
        with anyio.move_on_after(LAST_ENTRY, shield=True):
            while True:
                try:
                    entry, sequence = await self._read()
                    wanted = change(entry)
                    if wanted is entry or await self._append(wanted, sequence):
                        return
                except TransientError as error:
                    log.debug("an account could not be settled yet", error=str(error))
                    await anyio.sleep(LOOK_AGAIN)

    async def _read(self) -> tuple[Accounted, int]:
        """The last entry, and its sequence. Bytes that are none were never an entry of ours."""
        record = await self._services.facts.last(self._address, ENTRY)
        if record is None:
            return Accounted(), 0
        if isinstance(record.fact, Accounted):
            return record.fact, record.sequence
        raise BudgetExhaustedError("the job's account in the log is unreadable: nothing is spent")

    async def _append(self, entry: Accounted, sequence: int) -> bool:
        """Whether it is ours; no, where another was first."""
        try:
            await self._services.facts.append(self._address, entry, sequence)
        except ConflictError:
            await anyio.sleep(random.uniform(0.0, 0.01))  # noqa: S311 - spreads retries
            return False
        return True
