"""One endpoint of a pool: its client, its pacer, and what passes between it and the board."""

import hashlib
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from http import HTTPStatus

import anyio

from galerne.errors import GalerneError, TransientError
from galerne.logs import get_logger
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.pacing import Pace
from galerne.models.catalogue import Catalogue
from galerne.models.client import ModelClient
from galerne.models.keys import key_of
from galerne.models.pacing.board import Board
from galerne.models.pacing.headers import told
from galerne.models.pacing.hedging import OnText
from galerne.models.pacing.pacer import Limits, Pacer
from galerne.models.pacing.recent import Latencies
from galerne.settings import RoleSettings

log = get_logger("galerne.models.pacing")

AT_LEAST_APART = 0.2
"""Seconds between two entries of one worker: five a second, however much there is to say."""


class Member:
    """Made with its pool; its pacer begins when the pool is opened."""

    def __init__(
        self, settings: RoleSettings, catalogue: Catalogue | None, today: date | None
    ) -> None:
        """Raises InvalidSettingsError as ModelClient does."""
        self.settings = settings
        parts = (settings.endpoint or "", settings.model, key_of(settings))
        self._identity = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        self.client = ModelClient(settings, catalogue=catalogue, today=today, on_head=self._on_head)
        self.pacer = self._new_pacer("alone", 0.0)
        self._streamed = Latencies()
        self._plain = Latencies()
        self._board: Board | None = None
        self._changed: Callable[[], None] = _nothing
        self._woken = anyio.Event()

    def __str__(self) -> str:
        return f"{self.settings.model} at {self.settings.endpoint}"

    @property
    def identity(self) -> str:
        """The same for all who ask this model here with this key, and nothing to be read in it."""
        return self._identity

    # calls

    async def ask(
        self, began: float, request: ChatRequest, key: str | None, on_text: OnText | None
    ) -> ChatReply:
        """A call whose turn was taken when it `began`; whatever happens, the place is free after.

        Raises as ModelClient does.
        """
        first: float | None = None

        def heard(text: str) -> None:
            nonlocal first
            first = first or anyio.current_time()
            if on_text is not None:
                on_text(text)

        problem: BaseException | None = None
        tokens = 0
        try:
            reply = await self.client.ask(request, on_text=on_text and heard, key=key)
            tokens = reply.usage.prompt_tokens + reply.usage.completion_tokens
        except BaseException as error:
            problem = error
            raise
        finally:
            now = anyio.current_time()
            self.pacer.end(began, now, problem, tokens)
            self._after(problem)
        latencies = self._plain if on_text is None else self._streamed
        latencies.add((first or now) - began)
        return reply

    def slow(self, *, streamed: bool) -> float | None:
        """Seconds to the first word, or to the answer, that only one call in twenty exceeds."""
        return (self._streamed if streamed else self._plain).slowest()

    # the fleet

    def open(self, changed: Callable[[], None], name: str) -> None:
        """Begin. `changed` is called whenever a waiting call should look again."""
        self._changed = changed
        self.pacer = self._new_pacer(name, anyio.current_time())

    def refresh(self, now: float) -> None:
        """Let the pacer's own news count, where there is no board to hear them from."""
        if self._board is None and self.pacer.speaks_in(now) <= 0.0:
            self._hear_self(now)

    @asynccontextmanager
    async def joined(self, board: Board) -> AsyncGenerator[None]:
        """Among the others, until the context ends; then they know at once."""
        try:
            async with board.watch(self.identity, self._hear):
                self._board = board
                self.pacer.settle(anyio.current_time())
                yield
        finally:
            self._board = None

    async def announce(self, board: Board) -> None:
        """Say what is new, and each second that this worker is still there."""
        try:
            while True:
                self._say(board)
                await anyio.sleep(AT_LEAST_APART)
                with anyio.move_on_after(self.pacer.renewal - AT_LEAST_APART):
                    if not self.pacer.news:
                        await self._woken.wait()
        finally:
            self._leave(board)

    def wake(self) -> None:
        """Whatever the pacer has to say is said."""
        if self.pacer.news:
            self._woken.set()

    # the inside

    def _new_pacer(self, name: str, now: float) -> Pacer:
        limits = Limits(self.settings.rate, self.settings.concurrency)
        return Pacer(name, limits, random.random(), now)  # noqa: S311 - spreads a fleet

    def _on_head(self, status: int, headers: Mapping[str, str]) -> None:
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self.pacer.answers()
        self.pacer.hear_told(told(headers), anyio.current_time())
        self.wake()

    def _after(self, problem: BaseException | None) -> None:
        if isinstance(problem, TransientError):
            log.debug(
                "a call failed",
                endpoint=str(self),
                reason=str(problem),
                rate=self.pacer.share.rate,
                places=self.pacer.share.places,
            )
        self.wake()
        self._changed()

    def _hear(self, name: str, pace: Pace | None) -> None:
        self.pacer.hear(name, pace, anyio.current_time())
        self._changed()

    def _say(self, board: Board) -> None:
        now = anyio.current_time()
        self._woken = anyio.Event()
        self.pacer.tick(now, connected=board.connected)
        if not board.connected:
            self._hear_self(now)
            return
        try:
            board.say(self.identity, self.pacer.me, self.pacer.entry(now))
        except GalerneError as error:
            log.debug("the others could not be told", endpoint=str(self), reason=str(error))
            self._hear_self(now)

    def _hear_self(self, now: float) -> None:
        if self._board is None:
            self.pacer.tick(now, connected=True)
        self.pacer.hear(self.pacer.me, self.pacer.entry(now), now)

    def _leave(self, board: Board) -> None:
        try:
            board.say(self.identity, self.pacer.me, None)
        except GalerneError as error:
            log.debug("the others could not be told", endpoint=str(self), reason=str(error))


def _nothing() -> None:
    """Before the pool is open nobody waits."""
