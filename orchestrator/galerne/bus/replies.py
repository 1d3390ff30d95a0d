"""The reply mux: who waits for which answer.

Everything that expects an answer (acknowledged publishes, requests, batch reads) shares one
wildcard inbox: the last token of the reply subject finds the waiting handler in a dict. Deadlines
are swept from that dict by one timer, because a timer a call doubled the cost.
"""

import itertools
import secrets
from collections.abc import Callable

import anyio

from galerne.bus.wire import Headers, headers_of
from galerne.errors import DeadlineError, GalerneError
from galerne.logs import get_logger

log = get_logger("galerne.bus.replies")

SWEEP = 0.1
"""Seconds between two looks at the deadlines: what a deadline may be late by."""


class Message:
    """A message as it came. Its headers are read when somebody asks for them; {} for none."""

    __slots__ = ("_headers", "data", "reply", "subject")

    def __init__(self, subject: str, data: bytes, reply: str, headers: Headers) -> None:
        self.subject = subject
        self.data = data
        self.reply = reply
        self._headers = headers

    @property
    def headers(self) -> dict[str, str]:
        if not isinstance(self._headers, dict):
            self._headers = headers_of(self._headers)
        return self._headers


class Waiting:
    """A reply that somebody waits for: `handle` gets messages, `fail` the end of the wait."""

    __slots__ = ("deadline", "fail", "handle")

    def __init__(
        self,
        handle: Callable[[Message], None],
        fail: Callable[[GalerneError], None],
        deadline: float,
    ) -> None:
        self.handle = handle
        self.fail = fail
        self.deadline = deadline


class Replies:
    """Of one connection. Deadlines are in seconds of the event loop's clock."""

    def __init__(self) -> None:
        self.inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._waiting: dict[str, Waiting] = {}
        self._tokens = itertools.count(1)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def expect(
        self,
        handle: Callable[[Message], None],
        fail: Callable[[GalerneError], None],
        deadline: float,
    ) -> str:
        """Make a reply subject whose messages go to `handle` until `forget` or `deadline`."""
        token = str(next(self._tokens))
        self._waiting[token] = Waiting(handle, fail, deadline)
        return f"{self.inbox}.{token}"

    def extend(self, reply: str, deadline: float) -> None:
        """Wait for more of its messages until then."""
        waiting = self._waiting.get(reply.rpartition(".")[2])
        if waiting is not None:
            waiting.deadline = deadline

    def forget(self, reply: str) -> None:
        self._waiting.pop(reply.rpartition(".")[2], None)

    def take(self, subject: str, reply: str, data: bytes, headers: Headers) -> None:
        """A message under the inbox; one that nobody waits for any more is dropped."""
        waiting = self._waiting.get(subject.rpartition(".")[2])
        if waiting is not None:
            waiting.handle(Message(subject, data, reply, headers))

    def fail_all(self, error: GalerneError) -> None:
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            _fail(one, error)

    async def sweep(self) -> None:
        """Fail what has waited beyond its deadline, until cancelled."""
        while True:
            await anyio.sleep(SWEEP)
            now = anyio.current_time()
            late = [token for token, one in self._waiting.items() if one.deadline < now]
            for token in late:
                _fail(self._waiting.pop(token), DeadlineError("no answer came in time"))


def _fail(waiting: Waiting, error: GalerneError) -> None:
    """End a wait; a bug in one waiter must not leave the others waiting."""
    try:
        waiting.fail(error)
    except Exception:
        log.exception("a reply's end could not be handled")
