"""A call that its caller waits for: what it says of itself is passed on, and how long it takes.

working ─▶ to whoever follows the job, live
not over in `HOLDS` seconds ─▶ the task's place goes to another task
over, however ─▶ the task waits for a place again
"""

import contextlib

from galerne.core.progress import bounded, shortened
from galerne.errors import GalerneError
from galerne.logs import get_logger
from galerne.messages.codec import encode
from galerne.messages.ids import TaskId
from galerne.messages.live import Progress
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import Busy, Pending, ToolSpec, Working
from galerne.runtime.places import Place
from galerne.runtime.services import Services

log = get_logger("galerne.runtime.tools")

HOLDS = 2.0
"""Seconds that a call is waited for before its task gives its place away: a short one is worth the
place, as the task would have to wait for another."""


class LongCall:
    """Step `n` of one task."""

    def __init__(
        self,
        services: Services,
        address: JobAddress,
        task: TaskId,
        place: Place,
        n: int,
        spec: ToolSpec,
    ) -> None:
        self._services = services
        self._address = address
        self._task = task
        self._place = place
        self._n = n
        self._tool = spec.name
        self._since: float | None = None
        self._said: Progress | None = None

    def heard(self, reply: Working | Pending | Busy) -> None:
        """It is under way, or waits for room at its workers; called again and again."""
        now = self._services.bus.now()
        if self._since is None:
            self._since = now
        elif now - self._since >= HOLDS:
            self._place.leave()
        if isinstance(reply, Working):
            self._pass_on(reply)

    async def over(self) -> None:
        """It has ended; the task goes on when it has a place."""
        await self._place.take()

    def _pass_on(self, working: Working) -> None:
        """Live, where it says something new."""
        said = Progress(
            task=self._task,
            n=self._n,
            tool=self._tool,
            note=shortened(working.note),
            fraction=bounded(working.fraction),
        )
        if said == self._said or not (said.note or said.fraction is not None):
            return
        self._said = said
        bus = self._services.bus
        subject = bus.subjects.progress(self._address.tenant, self._address.job, self._task)
        with contextlib.suppress(GalerneError):  # only those who watch miss it
            bus.post(subject, encode(said))
