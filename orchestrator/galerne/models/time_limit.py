"""How long a streamed answer may take: as a whole, and between two pieces.

aiohttp's limits know no first piece, for which a model may need far longer than for the next.
"""

import math
import time

import anyio

from galerne.errors import DeadlineError
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import too_slow
from galerne.settings import RoleSettings

_SLACK = 0.05  # of the idle timeout, by which a stream may be cut later than it says


class TimeLimit:
    """The time of one call: as a whole, and between two pieces once one has been heard."""

    __slots__ = ("_end", "_endpoint", "_heard", "_settings", "_slack", "scope")

    def __init__(self, endpoint: Endpoint, settings: RoleSettings) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._end = anyio.current_time() + settings.timeout
        self.scope = anyio.CancelScope(deadline=self._end)
        self._slack = settings.idle_timeout * _SLACK
        self._heard = -math.inf

    def heard(self) -> None:
        """A piece came: the silence that is too long begins anew, give or take the slack."""
        now = time.monotonic()
        if now - self._heard > self._slack:  # a deadline costs more to move than a piece to read
            self._heard = now
            silence = self._settings.idle_timeout + self._slack
            self.scope.deadline = min(self._end, anyio.current_time() + silence)

    def exceeded(self) -> DeadlineError:
        silent = self.scope.deadline < self._end
        seconds = self._settings.idle_timeout if silent else self._settings.timeout
        return too_slow(self._endpoint, seconds, silent=silent)
