"""What the caller and the pool of endpoints tell each other about one call.

It stands in a context variable, so that any model client, paced or not, is asked in the same way:
`with call_of(...) as call:` around `ask`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar


class Call:
    """`may_hedge`: a second request may be paid for. `waits`: it has surely not been made yet."""

    __slots__ = ("may_hedge", "waits")

    def __init__(self, *, may_hedge: bool) -> None:
        self.may_hedge = may_hedge
        self.waits = False


_CURRENT: ContextVar[Call | None] = ContextVar("galerne_model_call", default=None)


@contextmanager
def call_of(*, may_hedge: bool) -> Generator[Call]:
    """The call that is made inside."""
    call = Call(may_hedge=may_hedge)
    token = _CURRENT.set(call)
    try:
        yield call
    finally:
        _CURRENT.reset(token)


def current_call() -> Call:
    """The one around this code; where nobody has said anything, it may be hedged."""
    return _CURRENT.get() or Call(may_hedge=True)
