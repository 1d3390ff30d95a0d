"""Purging what is over: each coordinator, for the parts of the log that it looks after.

    end ──keep──▶ due ─▶ exported to the archive, if there is one ─▶ purged (`client.purge`)

The ends of a part stand in the order of their times, so the first one that is too young ends a
sweep and says when the next is due; until then that part costs nothing. What fails stays and is
tried again. Two replicas that believe they own a part do the same twice, and nothing else.

Whoever looks after the first part also looks for blobs without a job, now and then.
"""

from collections.abc import Callable, Collection
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path

import anyio

from galerne.bus.connection import Bus
from galerne.bus.store import Stored
from galerne.client.export import export_lines, write_whole
from galerne.client.orphans import collect_orphans
from galerne.client.purge import ends, purge_gently
from galerne.errors import GalerneError, InvalidInputError, NotFoundError
from galerne.logs import get_logger
from galerne.messages.subjects import JobAddress
from galerne.settings import RetentionSettings

log = get_logger("galerne.runtime.retention")

ORPHANS = 1800.0
"""Seconds between two looks at blobs without a job, which read the description of every blob."""


class Retention:
    """Sweeps parts of the log."""

    def __init__(self, bus: Bus, settings: RetentionSettings, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._settings = settings
        self._clock = clock
        self._due: dict[int, float] = {}
        self._orphans_due = clock() + ORPHANS
        self._archive = None if settings.archive is None else Path(settings.archive).expanduser()

    async def run(self, parts: Callable[[], Collection[int]]) -> None:
        """Sweep what `parts` gives at the time, again and again, until cancelled."""
        while True:
            await anyio.sleep(self._settings.sweep)
            await self.sweep(parts)

    async def sweep(self, parts: Callable[[], Collection[int]]) -> int:
        """Purge what is due in these parts; gives the number of jobs."""
        count = 0
        own = sorted(parts())
        self._due = {part: due for part, due in self._due.items() if part in own}
        for part in own:
            if self._due.get(part, 0.0) > self._clock():
                continue
            try:
                count += await self._sweep_part(part, lambda: part in parts())  # noqa: B023 - called before the next part
            except InvalidInputError as error:
                log.error("ended jobs are kept: they cannot be archived", error=str(error))  # noqa: TRY400 - the sentence says it all
            except GalerneError as error:
                log.warning("a part is not purged to its end", part=part, error=str(error))
        if count:
            log.info("purged", jobs=count)
        if 0 in own and self._orphans_due <= self._clock():
            self._orphans_due = self._clock() + ORPHANS
            await self._collect_orphans()
        return count

    async def _collect_orphans(self) -> None:
        try:
            count = await collect_orphans(self._bus, self._clock())
        except GalerneError as error:
            log.warning("blobs without a job are left for later", error=str(error))
            return
        if count:
            log.info("collected the blobs of jobs that never were", jobs=count)

    async def _sweep_part(self, part: int, is_own: Callable[[], bool]) -> int:
        keep = self._settings.keep
        count, due = 0, self._clock() + keep  # what ends from now on
        subject = self._bus.subjects.events(part=str(part), rest="end")
        async with aclosing(ends(self._bus, subject)) as found:
            async for address, end in found:
                if end.at + keep > self._clock():
                    due = end.at + keep
                    break
                if not is_own():
                    return count
                count += await self._remove(address, end)
        self._due[part] = due
        return count

    async def _remove(self, address: JobAddress, end: Stored) -> int:
        """Give 1 for a job that is gone, 0 for one that somebody else was faster with."""
        try:
            if self._archive is not None:
                await self._export(self._archive, address, end)
            await purge_gently(self._bus, address)
        except NotFoundError:
            return 0
        log.debug("a job is purged", job=address.job, tenant=address.tenant)
        return 1

    async def _export(self, archive: Path, address: JobAddress, end: Stored) -> None:
        """Into a file of its own, unless it is there: a purge that broke off leaves less to export.

        Raises InvalidInputError where the file cannot be written.
        """
        folder = archive / address.tenant
        path = folder / f"{address.job}.{end.sequence}.jsonl"
        try:
            await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"{folder} cannot be made: {error.strerror or error}"
            ) from error
        if await anyio.Path(path).exists():
            return
        lines = export_lines(self._bus, address, self._clock(), version("galerne"))
        async with aclosing(lines):
            await write_whole(path, lines, replace=False)
