"""Follow a job to its end and show it meanwhile."""

import time

import anyio
import msgspec

from galerne.bus.background import background
from galerne.cli.prompting import Prompter
from galerne.cli.screen import Screen
from galerne.cli.text import progress_text
from galerne.client import Job
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.core.view import JobView, view
from galerne.messages.facts import Done, ToolStep
from galerne.messages.ids import TaskId
from galerne.messages.live import Delta, Live, Progress

TICK = 0.2
"""Seconds between two drawings while nothing happens: times go on."""
ADMISSION = 5.0
"""Seconds until somebody who waits for a coordinator is told so."""


async def follow(
    job: Job, screen: Screen, prompter: Prompter | None = None, where: str | None = None
) -> JobView:
    """Show the job until it has ended; gives it as the log then says it is.

    With a `prompter`, somebody is asked what the job asks; `where` is a server that nobody else
    knows of, to be named when something is asked. Raises NotFoundError, UnavailableError.
    """
    followed = _Followed(job, screen, prompter, where)
    beside = [followed.tick, followed.watch_admission]
    async with background(*beside, *([prompter.run] if prompter else [])):
        await followed.read()
    return followed.view()


class _Followed:
    def __init__(
        self, job: Job, screen: Screen, prompter: Prompter | None, where: str | None
    ) -> None:
        self._job = job
        self._screen = screen
        self._prompter = prompter
        self._where = where
        self._state = JobState()
        self._heard: dict[TaskId, str] = {}
        """How far the tools are that tasks wait for."""

    async def read(self) -> None:
        events = self._job.events(progress=True)
        try:
            async for event in events:
                if isinstance(event.fact, Delta | Progress):
                    self._hear(event.fact)
                    continue
                fold(self._state, event.fact, event.at)
                if isinstance(event.fact, ToolStep | Done):  # it waits no longer
                    self._heard.pop(event.fact.task, None)
                self._screen.changed(event.fact, self._state)
                if not events.pending:
                    self._show()
        finally:
            await events.aclose()

    def _hear(self, said: Live) -> None:
        if isinstance(said, Progress) and said.task not in self._state.done:
            text = self._heard[said.task] = progress_text(said)
            self._screen.progress(said.task, text)

    def _show(self) -> None:
        now = self.view()
        if now.asks and self._where is not None:
            self._screen.notice(f"for the commands below: export GALERNE_SERVER={self._where}")
            self._where = None
        if self._prompter is not None:
            self._prompter.look(now)
        self._screen.draw(now)

    async def tick(self) -> None:
        while True:
            await anyio.sleep(TICK)
            self._screen.draw(self.view())

    async def watch_admission(self) -> None:
        await anyio.sleep(ADMISSION)
        if self._state.job is None:
            self._screen.notice(
                "no coordinator has taken the job yet; it waits safely on the server."
                " Is a fleet running there? (`galerne up`)"
            )

    def view(self) -> JobView:
        seen = view(self._state, self._job.id, self._job.tenant, time.time())
        if not self._heard:
            return seen
        heard = [
            msgspec.structs.replace(task, progress=self._heard.get(task.id, ""))
            for task in seen.tasks
        ]
        return msgspec.structs.replace(seen, tasks=tuple(heard))
