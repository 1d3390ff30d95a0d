"""Purging what is over: each coordinator, for the parts of the log that it looks after.

    end ──keep──▶ due ─▶ exported to the archive, if there is one ─▶ purged (`client.purge`)

The ends of a part stand in the order of their times, so the first one that is too young ends a
sweep and says when the next is due; until then that part costs nothing. A job that fails is told of
once and stays; from then on it comes last, so that it keeps no other one. Two replicas that believe
they own a part do the same twice, and nothing else.

Whoever looks after the first part also looks for blobs without a job, now and then.
"""

from collections.abc import Callable, Collection
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path

import anyio
import msgspec

from galerne.bus.connection import Bus
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
IN_A_ROW = 5
"""Failures after which it is not the jobs: the server is away, or the archive is no folder."""


class Sweep(msgspec.Struct):
    """What one look at a part has come to. Jobs stand with the sequences of their ends."""

    failed: dict[JobAddress, None]
    """Those that failed when they were last tried, this time or before; that one last."""
    due: float
    """Unix seconds: nothing is due before, if nothing fails."""
    count: int = 0
    in_a_row: int = 0
    again: dict[JobAddress, int] = {}
    """Those that had failed before: their turn comes after all others."""


class Retention:
    """Sweeps parts of the log."""

    def __init__(self, bus: Bus, settings: RetentionSettings, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._settings = settings
        self._clock = clock
        self._due: dict[int, float] = {}
        self._failed: dict[int, dict[JobAddress, None]] = {}
        """Of each part those that could not be purged when they were last tried."""
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
        self._failed = {part: jobs for part, jobs in self._failed.items() if part in own}
        for part in own:
            if self._due.get(part, 0.0) > self._clock():
                continue
            try:
                count += await self._sweep_part(part, lambda: part in parts())  # noqa: B023 - called before the next part
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
        failed = self._failed.setdefault(part, {})
        before = list(failed)
        one = Sweep(failed=failed, due=self._clock() + keep)
        subject = self._bus.subjects.events(part=str(part), rest="end")
        async with aclosing(ends(self._bus, subject)) as found:
            async for address, end in found:
                if end.at + keep > self._clock():
                    one.due = end.at + keep
                    break
                if address in one.failed:
                    one.again[address] = end.sequence
                elif not await self._try(one, address, end.sequence, is_own):
                    return one.count
        for address in before:
            if address not in one.again:  # somebody else has purged it
                one.failed.pop(address, None)
            elif not await self._try(one, address, one.again[address], is_own):
                return one.count
        if not one.failed:
            self._due[part] = one.due
        return one.count

    async def _try(
        self, one: Sweep, address: JobAddress, end: int, is_own: Callable[[], bool]
    ) -> bool:
        """Remove a job whose end is that sequence; gives whether to go on with the next."""
        if not is_own():
            return False
        try:
            one.count += await self._remove(address, end)
        except GalerneError as error:
            say = log.debug if address in one.failed else log.error
            say(
                "an ended job is kept: it could not be archived and purged",
                job=address.job,
                tenant=address.tenant,
                error=str(error),
            )
            one.failed.pop(address, None)
            one.failed[address] = None
            one.in_a_row += 1
            return one.in_a_row < IN_A_ROW
        one.failed.pop(address, None)
        one.in_a_row = 0
        return True

    async def _remove(self, address: JobAddress, end: int) -> int:
        """Give 1 for a job that is gone, 0 for one that somebody else was faster with."""
        try:
            if self._archive is not None:
                await self._export(self._archive, address, end)
            await purge_gently(self._bus, address)
        except NotFoundError:
            return 0
        log.debug("a job is purged", job=address.job, tenant=address.tenant)
        return 1

    async def _export(self, archive: Path, address: JobAddress, end: int) -> None:
        """Into a file of its own, unless it is there: a purge that broke off leaves less to export.

        Raises InvalidInputError where the file cannot be written.
        """
        folder = archive / address.tenant
        path = folder / f"{address.job}.{end}.jsonl"
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
