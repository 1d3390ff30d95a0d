"""One model at one or more endpoints, asked no faster than they allow: what roles ask.

    ask ─▶ its turn (first come, first served) ─▶ the least loaded healthy endpoint ─▶ answer
              ▲                                      │
              └──────── away, or at its limit ◀──────┘   then another endpoint, if there is one

Only a failure that nobody charges for is taken to another endpoint; when none is left its error is
raised, and whoever asked decides when to come again. With a board, the workers of a fleet
share each endpoint's limits (`pacing`); without one, the limits are this process's own.
"""

from contextlib import AsyncExitStack, nullcontext
from datetime import date
from functools import partial
from typing import Self

import anyio
import anyio.abc
import msgspec

from galerne.errors import GalerneError, RateLimitedError, TransientError, UnavailableError
from galerne.logs import get_logger
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.models.catalogue import Catalogue
from galerne.models.endpoint import addresses
from galerne.models.member import Member
from galerne.models.pacing.board import Board
from galerne.models.pacing.call import current_call
from galerne.models.pacing.choosing import all_away, choose, opening
from galerne.models.pacing.hedging import Ask, OnText, first_of
from galerne.settings import RoleSettings

log = get_logger("galerne.models.pool")

LONGEST_PAUSE = 10.0
"""Seconds that a call waits for an endpoint that asks for a pause: a longer one is for the worker
to sit out, which gives the task's place to others meanwhile."""
_LOOK = 1.0  # seconds between two looks, should nothing happen

FREE = (UnavailableError, RateLimitedError)
"""Failures that nobody charges for, and that another endpoint may not have."""


def open_model(
    settings: RoleSettings,
    *,
    catalogue: Catalogue | None = None,
    today: date | None = None,
    board: Board | None = None,
) -> "ModelPool":
    """The model of a role, to be entered with `async with`; `ask` is as ModelClient's.

    With a `board` its limits are shared with all who have the same. Raises InvalidSettingsError
    as ModelClient does.
    """
    return ModelPool(settings, catalogue=catalogue, today=today, board=board)


class ModelPool:
    """Made by `open_model`."""

    def __init__(
        self,
        settings: RoleSettings,
        *,
        catalogue: Catalogue | None = None,
        today: date | None = None,
        board: Board | None = None,
    ) -> None:
        self._settings = settings
        self._board = board
        self._members = [
            Member(msgspec.structs.replace(settings, endpoint=address), catalogue, today)
            for address in addresses(settings.endpoint)
        ]
        self._queue = anyio.Lock()
        self._changed = anyio.Event()
        self._stack = AsyncExitStack()

    def __repr__(self) -> str:
        return f"ModelPool({', '.join(map(str, self._members))})"

    async def __aenter__(self) -> Self:
        self._queue = anyio.Lock()
        name = "alone" if self._board is None else self._board.new_name()
        async with AsyncExitStack() as stack:
            async with anyio.create_task_group() as opening_all:
                for member in self._members:
                    member.open(self._notify, name)
                    opening_all.start_soon(_enter, member, stack)
            if self._board is not None:
                await self._join(self._board, stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ask(
        self, request: ChatRequest, *, on_text: OnText | None = None, key: str | None = None
    ) -> ChatReply:
        """The model's answer, when it is this call's turn. Raises as ModelClient.ask does.

        RateLimitedError is raised, too, where no turn comes within `timeout` of the settings.
        """
        failed: dict[int, GalerneError] = {}
        while True:
            index = await self._turn(failed)
            try:
                return await self._answer(index, request, on_text, key)
            except FREE as error:
                failed[index] = error
                if len(failed) == len(self._members):
                    raise
                log.debug("another endpoint is asked", instead=str(error))

    async def models(self) -> list[str]:
        """The names of the models of the first endpoint that tells. Raises as `ask` does."""
        problem: GalerneError | None = None
        for member in self._members:
            try:
                return await member.client.models()
            except TransientError as error:
                problem = problem or error
        raise problem or UnavailableError(f"{self!r} has no endpoint")

    # turns

    async def _turn(self, failed: dict[int, GalerneError]) -> int:
        """Wait for it, and take it: gives the endpoint. A call that failed elsewhere goes first."""
        call = current_call()
        call.waits = True
        try:
            with anyio.fail_after(self._settings.timeout):
                async with self._queue if not failed else nullcontext():
                    index = await self._next(failed)
                    call.waits = False
                    return index
        except TimeoutError as error:
            raise RateLimitedError(
                f"no turn came within {self._settings.timeout:g} s at {self._names()}: add an"
                " endpoint, or lower `concurrency` in [worker]"
            ) from error

    async def _next(self, failed: dict[int, GalerneError]) -> int:
        pacers = [member.pacer for member in self._members]
        while True:
            now = anyio.current_time()
            for member in self._members:
                member.refresh(now)
            index = choose(pacers, now, failed)
            if index is not None:
                pacers[index].begin(now)
                self._members[index].wake()
                return index
            away = all_away(pacers, now, failed)
            if away is not None:
                raise self._away(away - now, failed)
            at = opening(pacers, now, failed)
            if LONGEST_PAUSE < at - now < float("inf"):
                raise RateLimitedError(
                    f"{self._names()} asks for a pause", retry_after=at - now
                ) from next(iter(failed.values()), None)
            for member in self._members:
                member.pacer.wait(now)
                member.wake()
                member.refresh(now)
            changed = self._changed
            with anyio.move_on_after(min(opening(pacers, now, failed) - now, _LOOK)):
                await changed.wait()

    def _away(self, seconds: float, failed: dict[int, GalerneError]) -> GalerneError:
        if failed:
            return next(iter(failed.values()))
        return UnavailableError(
            f"{self._names()} is away; start the model server there or correct `endpoint`",
            retry_after=max(0.0, seconds) or None,
        )

    def _notify(self) -> None:
        """Let whoever is next look again."""
        self._changed.set()
        self._changed = anyio.Event()

    # calls

    async def _answer(
        self, index: int, request: ChatRequest, on_text: OnText | None, key: str | None
    ) -> ChatReply:
        ask = self._ask_of(index, request, key)
        slow = self._members[index].slow(streamed=on_text is not None)
        hedges = self._settings.hedge and len(self._members) > 1 and current_call().may_hedge
        if not hedges or slow is None:
            return await ask(on_text)

        def spare() -> Ask | None:
            now = anyio.current_time()
            other = choose([member.pacer for member in self._members], now, {index})
            if other is None:
                return None
            self._members[other].pacer.begin(now)
            log.debug("hedged", slow=str(self._members[index]), after=slow)
            return self._ask_of(other, request, key)

        return await first_of(ask, spare, slow, on_text)

    def _ask_of(self, index: int, request: ChatRequest, key: str | None) -> Ask:
        """The call to an endpoint whose turn was taken just now."""
        return partial(self._members[index].ask, anyio.current_time(), request, key)

    # opening

    async def _join(self, board: Board, stack: AsyncExitStack) -> None:
        """Be one of the fleet at each endpoint; where the bus is away, alone until it is back."""
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        stack.push_async_callback(_end, tasks)
        for member in self._members:
            await stack.enter_async_context(member.joined(board))
            tasks.start_soon(member.announce, board)
        stack.callback(tasks.cancel_scope.cancel)

    def _names(self) -> str:
        return ", ".join(map(str, self._members))


async def _enter(member: Member, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(member.client)


async def _end(tasks: anyio.abc.TaskGroup) -> None:
    tasks.cancel_scope.cancel()
    await tasks.__aexit__(None, None, None)
