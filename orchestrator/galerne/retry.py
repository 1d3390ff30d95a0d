"""When a failed attempt is tried again: a policy for each class of error.

    away      the back end is absent or asks for a pause (`unavailable`, `rate_limited`, `busy`):
              no fault of the task; tried for `worker.outage` seconds, and not counted
    passing   no answer in time, an unusable answer, anything else transient: counted

Pauses double from the first to the longest, and each is jittered down to its half, so that a
fleet does not come back all at once. A pause that the back end asked for is kept.
"""

import re
from collections.abc import Mapping

import msgspec

from galerne.errors import InvalidSettingsError

AWAY = frozenset({"unavailable", "rate_limited", "busy"})
"""Error codes of a back end that is not there, or asks for a pause."""
MAX_DOUBLINGS = 100
"""More than any pause needs to reach the longest, and no overflow however many tries there are."""

_POLICY = re.compile(r"(\d+(?:\.\d+)?)s?\.\.(\d+(?:\.\d+)?)s?(?: x(\d+))?")


class RetryPolicy(msgspec.Struct, frozen=True):
    """Seconds of the first and the longest pause; `attempts` None: as many as the task may have."""

    first: float
    longest: float
    attempts: int | None = None

    @classmethod
    def parse(cls, text: str) -> "RetryPolicy":
        """`"0.5s..30s x6"`: from half a second to thirty, six attempts. InvalidSettingsError."""
        found = _POLICY.fullmatch(text.strip())
        if found is None or float(found[1]) > float(found[2]) or found[3] == "0":
            raise InvalidSettingsError(
                f'{text!r} is no retry policy: write "FIRST..LONGEST" in seconds, and perhaps'
                ' " xATTEMPTS", as in "0.5s..30s x6"'
            )
        return cls(float(found[1]), float(found[2]), int(found[3]) if found[3] else None)

    def may_try_again(self, attempts: int, most: int) -> bool:
        """Whether there may be one more after so many that count."""
        return attempts < (most if self.attempts is None else min(self.attempts, most))

    def delay(self, attempt: int, jitter: float, retry_after: float | None) -> float:
        """Seconds before the next try, after `attempt` of them; `jitter` lies from 0 to 1."""
        doubled = self.first * 2.0 ** min(attempt - 1, MAX_DOUBLINGS)
        pause = min(doubled, self.longest) * (0.5 + jitter / 2)
        return max(pause, retry_after or 0.0)


Policies = Mapping[str, RetryPolicy]
"""Error code → its policy; `other` is for the rest."""


def policy_for(policies: Policies, code: str) -> RetryPolicy:
    return policies.get(code) or policies["other"]
