"""The circuit breaker of one endpoint: who is away is left alone for a while.

    closed ──(away, or the fifth failure in a row)──▶ open ──(its pause is over)──▶ half-open
       ▲                                                ▲                              │
       └───────────────(an answer, or a refusal)────────┼──────────────────────────────┤
                                                        └────(away or failed again)────┘

Half-open lets one call through. A refusal of the request (4xx) or a request for a pause is an
answer: whoever refuses is there. So is whoever says what nobody can read, but others are asked
first for a while: a proxy's page, always there at once, would draw all calls to itself.
Times are seconds of any clock that only goes forward.
"""

from typing import Literal

from galerne.errors import (
    BadAnswerError,
    ModelError,
    RateLimitedError,
    TransientError,
    UnavailableError,
)

Outcome = Literal["answered", "refused", "limited", "failed", "garbled", "away", "dropped"]
"""How a call ended: `garbled` is an answer that nobody can read; `dropped` is one that its caller
cancelled, which says nothing."""

FAILURES = 5
"""Failed calls in a row (5xx, broken connections, no answer in time) that open it."""
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15.0
"""Seconds for which it opens: doubled each time, a restarted server is found within the last."""


def outcome_of(error: BaseException | None) -> Outcome:
    """What an error, or None for an answer, says of the endpoint."""
    match error:
        case None:
            return "answered"
        case RateLimitedError():
            return "limited"
        case UnavailableError():
            return "away"
        case ModelError():
            return "refused"
        case BadAnswerError():
            return "garbled"
        case TransientError():
            return "failed"
        case _:
            return "dropped"


class Breaker:
    """`jitter` lies from 0 to 1 and spreads the workers of a fleet."""

    def __init__(self, jitter: float) -> None:
        self._jitter = jitter
        self._failures = 0
        self._openings = 0
        self._pauses = 0
        self._garbled = (0, 0.0)  # in a row, and when last
        self._until = 0.0
        self._trying = False

    def opens_at(self, now: float) -> float | None:
        """When a call may be made: `now` or later; None while the one trial call runs."""
        if not self._openings:
            return now
        return None if self._trying else max(now, self._until)

    def is_closed(self) -> bool:
        """Whether the endpoint is thought to be well."""
        return not self._openings

    def is_sound(self, now: float) -> bool:
        """Whether it is well, and has not said one unreadable thing after the other of late."""
        times, last = self._garbled
        return self.is_closed() and (times < FAILURES or now - last > LONGEST_PAUSE)

    def begin(self) -> None:
        """A call begins; while half-open it is the trial."""
        self._trying = self._openings > 0

    def answers(self) -> None:
        """Somebody is there: the trial, if this was one, is over before the answer's end."""
        self._openings = 0
        self._trying = False

    def end(self, outcome: Outcome, now: float) -> None:
        """A call is over."""
        match outcome:
            case "answered" | "refused" | "limited":
                self._failures = self._pauses = 0
                self._garbled = (0, now)
                self.answers()
            case "away":
                self._open(now)
            case "garbled":
                self._garbled = (self._garbled[0] + 1, now)
                self.answers()
            case "failed":
                self._failures += 1
                if self._openings or self._failures >= FAILURES:
                    self._open(now)
            case "dropped":
                self._trying = False

    def _open(self, now: float) -> None:
        if self._openings and not self._trying and now < self._until:
            return  # one of several that ran when it opened
        pause = min(FIRST_PAUSE * 2.0 ** min(self._pauses, 16), LONGEST_PAUSE)
        self._openings += 1
        self._pauses += 1
        self._trying = False
        self._until = now + pause * (0.75 + self._jitter / 2)
