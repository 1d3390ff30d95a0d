"""A task's turns of a model, and its moves to larger ones, in one attempt at it.

known from an earlier attempt ─▶ it returns from there
reserved (where the run has a budget) ─▶ asked, its text handed on
─▶ answer: settled, written     ─▶ surely not made: released     ─▶ broken off: spent
"""

from collections.abc import Callable
from functools import partial

from galerne.core.budget import FREE
from galerne.core.steps import model_step, reply_of
from galerne.errors import TooLongError
from galerne.local.account import Account
from galerne.local.work import Work
from galerne.logs import get_logger
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Moved, Ready
from galerne.models.ladder import Rung
from galerne.models.pacing.call import call_of

log = get_logger("galerne.local")

Hear = Callable[[str], None]


class ModelTurns:
    """One attempt's."""

    def __init__(
        self, work: Work, ready: Ready, attempt: int, on_answer: Callable[[], None]
    ) -> None:
        """`on_answer` is called when a back end has answered."""
        self._work = work
        self._task = ready.task.id
        self._ladder = work.ladders[ready.lane]
        self._account = Account(work, ready, attempt)
        self._on_answer = on_answer
        self._made = 0
        self._name = self._ladder.own.name
        self._refused: int | None = None
        """The last step, where its request was too long for the model."""

    async def ask(self, n: int, request: ChatRequest, hear: Hear | None) -> ChatReply:
        """The answer of step `n`. Raises as `agent.TaskContext.ask`."""
        self._refused = None
        try:
            self._check_takes(n)
            known = self._work.log.state.steps.get((self._task, n))
            reply = await self._ask(n, request, hear) if known is None else reply_of(n, known)
        except TooLongError:
            self._refused = n
            raise
        if known is not None and hear is not None and reply.message.content:
            hear(reply.message.content)
        return reply

    async def _ask(self, n: int, request: ChatRequest, hear: Hear | None) -> ChatReply:
        rung, clock = self._rung(), self._work.clock
        await self._account.reserve(n, request, rung.prices)
        started = clock()
        key = f"{self._work.job.id}.{self._task}.{n}"
        heard = None if hear is None else partial(self._hear, hear)
        with call_of(may_hedge=not self._account.is_kept) as call:
            try:
                reply = await rung.model.ask(request, on_text=heard, key=key)
            except FREE:
                self._account.release(n)
                raise
            except BaseException:
                if call.waits:  # for its turn: it was surely not made
                    self._account.release(n)
                else:
                    self._account.forfeit(n)
                raise
        self._on_answer()
        step = model_step(self._task, n, reply, rung.prices, clock() - started)
        self._work.add_step(step)
        self._account.settle(step)
        return reply

    async def move(self, reason: str) -> Moved | None:
        """Go on with the next larger model that is served; None: there is none."""
        moved = self._move_known() or await self._moved(reason)
        if moved is not None:
            self._made, self._name = self._made + 1, moved.to_model
        return moved

    async def start_above(self, reason: str) -> Moved | None:
        """As `move`, where no attempt has asked yet."""
        known = self._move_known()
        begun = (self._task, 1) in self._work.log.state.steps
        if known.reason != reason if known is not None else begun:
            return None
        return await self.move(reason)

    async def _moved(self, reason: str) -> Moved | None:
        own = self._rung().name
        rung = await self._ladder.above(own)
        if rung is None:
            return None
        log.info("a task is moved", left=own, to=rung.name, why=reason)
        moved = Moved(
            task=self._task,
            n=self._made + 1,
            from_model=own,
            to_model=rung.name,
            reason=reason,
            at=self._work.clock(),
            refused=self._refused,
        )
        self._work.log.write(moved)
        return moved

    def _move_known(self) -> Moved | None:
        """The next move, where an earlier attempt has made it."""
        return self._work.log.state.moves.get((self._task, self._made + 1))

    def _check_takes(self, n: int) -> None:
        """Raises TooLongError where an earlier attempt was told that this model cannot."""
        moved = self._move_known()
        if moved is not None and moved.refused == n:
            raise TooLongError(moved.reason)

    def _rung(self) -> Rung:
        return self._ladder.own if self._made == 0 else self._ladder.named(self._name)

    def _hear(self, hear: Hear, text: str) -> None:
        hear(text)
        self._work.on_text(self._task, text)
