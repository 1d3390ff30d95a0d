"""A coordinator's tenants: found by their first request, served while they have any.

    a subject of SUBMIT has messages ─┬─ no tenant's, or nothing readable ─▶ quarantine
                                      ├─ too many tenants are served ─▶ it waits
                                      └─ a tenant ─▶ its consumers are made ─▶ workers are told
                                            ─▶ its requests are pulled, `active` of them at most
    nothing for `REST` seconds ─▶ pulled no more
    nothing for `IDLE` seconds and no task queued ─▶ one replica removes its consumers

A request stands in SUBMIT until its job is over, so whoever is not listed there has no job, save
those of version 0.1, whose tenants are known by the open jobs in memory.
"""

from collections.abc import Callable

import anyio
import anyio.abc

from galerne.bus import tenants
from galerne.bus.connection import Bus
from galerne.bus.queue import StandingPull
from galerne.bus.topology import admit_consumer, lane_of, provision_tenant, tenant_consumers
from galerne.errors import GalerneError, NotFoundError
from galerne.logs import get_logger
from galerne.messages.ids import DEFAULT_TENANT, TenantId, is_id
from galerne.runtime.admission import Admission
from galerne.settings import Settings

log = get_logger("galerne.runtime.tenants")

LOOK = 0.2
"""Seconds between two looks at who has requests: what a new tenant's first job waits at most."""
CHECK = 2.0
"""Seconds between two checks that all consumers are there."""
REST = 60.0
"""Seconds without a request after which a tenant's queue is pulled no more."""
IDLE = 600.0
"""Seconds without a request after which a tenant's consumers are removed."""


class Served:
    """A tenant whose requests this replica pulls."""

    def __init__(self, pull: StandingPull, now: float) -> None:
        self.pull = pull
        self.heard = now


class Tenants:
    """Those that this replica serves.

    `clears` says whether it is this replica that clears up (one is enough, two do no harm);
    `make_pull` makes the pull for a consumer of SUBMIT.
    """

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        admission: Admission,
        make_pull: Callable[[str], StandingPull],
        *,
        with_jobs: Callable[[], set[TenantId]],
        clears: Callable[[], bool],
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._admission = admission
        self._make_pull = make_pull
        self._with_jobs = with_jobs
        self._clears = clears
        self._served: dict[TenantId, Served] = {}
        self._idle: dict[TenantId, float] = {}
        """Tenants with consumers and without requests → since when."""
        self._read = 0
        """Up to which sequence of SUBMIT the subjects have been read that are no tenant's."""
        self._full = False

    async def run(self, tasks: anyio.abc.TaskGroup) -> None:
        """Look and serve until cancelled."""
        checked = 0.0
        while True:
            try:
                await self._look(tasks)
                if anyio.current_time() - checked >= CHECK:
                    await self._check()
                    checked = anyio.current_time()
            except GalerneError as error:
                log.debug("tenants could not be looked after", error=str(error))
            await anyio.sleep(LOOK)

    async def _look(self, tasks: anyio.abc.TaskGroup) -> None:
        """Who has requests, and who of them is new."""
        now = anyio.current_time()
        names = await tenants.with_requests(self._bus)
        there = {TenantId(name) for name in names if is_id(name)}
        for tenant in there & self._served.keys():
            self._served[tenant].heard = now
        for tenant, served in list(self._served.items()):
            if served.heard < now - REST:
                self._served.pop(tenant).pull.stop()
        if len(there) < len(names) and self._clears():
            await self._put_strays_aside()
        for tenant in sorted(there - self._served.keys()):
            if self._has_room() and await self._is_tenant(tenant):
                await self._open(tenant)
                pull = self._make_pull(admit_consumer(tenant))
                self._served[tenant] = Served(pull, anyio.current_time())
                tasks.start_soon(pull.run)

    def _has_room(self) -> bool:
        most = self._settings.tenants.most
        full, self._full = self._full, len(self._served) >= most
        if self._full and not full:
            log.warning("new tenants wait: raise tenants.most", most=most)
        return not self._full

    async def _open(self, tenant: TenantId) -> None:
        """Its tasks must find their queues before its first job begins."""
        await provision_tenant(self._bus, self._settings, tenant)
        await tenants.news(self._bus)
        log.debug("serves a tenant", tenant=tenant)

    async def _is_tenant(self, tenant: TenantId) -> bool:
        """Whether its first request can be read: seven consumers are not made for garbage."""
        first = await tenants.next_request(self._bus, tenant, 0)
        if first is None:
            return False
        if tenant == DEFAULT_TENANT or not await self._admission.put_aside(
            first.subject, first.data, unless_readable=True
        ):
            return True
        await tenants.remove_request(self._bus, first.sequence)
        return False

    async def _put_strays_aside(self) -> None:
        """Take requests off the queue whose subject names no tenant: no consumer delivers them."""
        requests = self._bus.subjects.submit("")
        while True:
            request = await tenants.next_request(self._bus, None, self._read)
            if request is None:
                return
            tenant = request.subject.removeprefix(requests)
            if tenant != request.subject and not is_id(tenant):
                await self._admission.put_aside(request.subject, request.data)
                await tenants.remove_request(self._bus, request.sequence)
            self._read = request.sequence

    # consumers that are missing or of no use

    async def _check(self) -> None:
        subjects = self._bus.subjects
        names = await tenants.consumer_names(self._bus, subjects.stream("TASKS"))
        names |= await tenants.consumer_names(self._bus, subjects.stream("SUBMIT"))
        wanted = self._with_jobs() | {
            tenant for tenant, served in self._served.items() if not self._rests(served)
        }
        for tenant in wanted:
            made = {one["name"] for _, one in tenant_consumers(subjects, self._settings, tenant)}
            if not made <= names:
                await self._open(tenant)
        placed = [place for place in map(lane_of, names) if place is not None]
        await self._collect({TenantId(place[2]) for place in placed} - wanted)

    def _rests(self, served: Served) -> bool:
        return served.heard < anyio.current_time() - 2 * CHECK

    async def _collect(self, unused: set[TenantId]) -> None:
        """Remove the consumers of tenants that have been idle for long."""
        now = anyio.current_time()
        self._idle = {tenant: self._idle.get(tenant, now) for tenant in unused}
        for tenant, since in list(self._idle.items()):
            if since > now - IDLE or tenant == DEFAULT_TENANT or not self._clears():
                continue
            if await tenants.has_work(self._bus, tenant):
                continue
            for stream, consumer in tenant_consumers(self._bus.subjects, self._settings, tenant):
                await _remove(self._bus, stream, consumer["name"])
            log.info("a tenant's queues are removed: it has no work", tenant=tenant)


async def _remove(bus: Bus, stream: str, name: str) -> None:
    try:
        await bus.api(f"CONSUMER.DELETE.{stream}.{name}")
    except NotFoundError:
        log.debug("a consumer is gone already", consumer=name)
