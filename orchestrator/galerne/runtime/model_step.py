"""One turn of a model, as the next step of a task.

lease still ours ─▶ reserved (where the job has a budget) ─▶ asked, its text shown live
    ─▶ answer: settled, spooled, journaled        ─▶ surely not made: released
    ─▶ broken off: counts as spent, as the provider may charge for it; a call that still waited for
       its turn was surely not made
"""

import contextlib
from collections.abc import Callable
from functools import partial

from galerne.core.budget import FREE, Prices
from galerne.core.steps import model_step, reply_of
from galerne.errors import (
    BudgetExhaustedError,
    GalerneError,
)
from galerne.faults import reach
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.codec import encode
from galerne.messages.facts import ModelStep, Ready
from galerne.messages.live import Delta
from galerne.messages.subjects import JobAddress
from galerne.models.pacing.call import call_of
from galerne.runtime.account import Account
from galerne.runtime.journal import Journal
from galerne.runtime.lease import Lease
from galerne.runtime.moves import Moves
from galerne.runtime.services import Services

OnText = Callable[[str], None]


class ModelSteps:
    """Asks a model for one task's attempt: the one that the task has been moved to."""

    def __init__(
        self,
        services: Services,
        address: JobAddress,
        ready: Ready,
        lease: Lease,
        journal: Journal,
        moves: Moves,
    ) -> None:
        self._services = services
        self._address = address
        self._task = ready.task.id
        self._lease = lease
        self._journal = journal
        self._moves = moves
        self._account = Account(
            services, address, ready.budget, self._task, lease.attempt, self._paid
        )

    async def load(self) -> None:
        """After the journal: settle what earlier attempts had reserved."""
        await self._account.settle_earlier()

    async def ask(self, n: int, request: ChatRequest, on_text: OnText | None) -> ChatReply:
        """The answer of step `n`, from the journal or from the model."""
        known = self._journal.step(n)
        if known is None:
            return await self._ask(n, request, on_text)
        reply = reply_of(n, known)
        if on_text is not None and reply.message.content:
            on_text(reply.message.content)
        return reply

    async def _ask(self, n: int, request: ChatRequest, on_text: OnText | None) -> ChatReply:
        rung = self._moves.rung()
        await self._reserve(n, request, rung.prices)
        started = self._services.clock()
        key = f"{self._address.job}.{self._task}.{n}"
        with call_of(may_hedge=not self._account.is_kept) as call:
            try:
                heard = None if on_text is None else partial(self._hear, on_text)
                reach("model.request")
                reply = await rung.model.ask(request, on_text=heard, key=key)
                reach("model.answered")
            except FREE:
                await self._account.release(n)
                raise
            except BaseException:
                if call.waits:  # for its turn: it was surely not made
                    await self._account.release(n)
                else:
                    await self._account.forfeit(n)
                raise
        self._lease.back_end_answered()
        latency = self._services.clock() - started
        step = model_step(self._task, n, reply, rung.prices, latency)
        stands = await self._journal.add_paid(step)
        await self._account.settle(n, *_paid_for(step))
        return reply_of(n, stands)

    async def _reserve(self, n: int, request: ChatRequest, prices: Prices) -> None:
        """Make sure of the lease and of the money. Raises what keeps the call from being made."""
        await self._lease.ensure()
        try:
            await self._account.reserve(n, request, prices)
            await self._lease.ensure()  # the wait for others' money may have been long
        except BudgetExhaustedError:
            raise
        except BaseException:
            await self._account.release(n)
            raise

    def _paid(self, n: int) -> tuple[int, float] | None:
        step = self._journal.step(n)
        return _paid_for(step) if isinstance(step, ModelStep) else None

    # what is being said, for whoever watches

    def _hear(self, on_text: OnText, text: str) -> None:
        on_text(text)
        delta = Delta(task=self._task, attempt=self._lease.attempt, text=text)
        bus = self._services.bus
        subject = bus.subjects.delta(self._address.tenant, self._address.job, self._task)
        with contextlib.suppress(GalerneError):  # watching is a courtesy
            bus.post(subject, encode(delta))


def _paid_for(step: ModelStep) -> tuple[int, float]:
    """Tokens and US dollars."""
    return step.usage.prompt_tokens + step.usage.completion_tokens, step.usd
