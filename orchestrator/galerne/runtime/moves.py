"""Which model a task is asked of, and its moves to larger ones.

    check failed twice, or the request is too long for the model
        ─▶ the next rung that is served ─▶ `moved` in the log ─▶ first call there

A move is a fact before anything is paid on the new rung, so whoever takes the task over goes on
there. Moves of earlier attempts are read back and return in their order, whatever ladder this
worker has.
"""

from galerne.errors import TooLongError
from galerne.logs import get_logger
from galerne.messages.facts import Moved
from galerne.messages.ids import TaskId
from galerne.messages.subjects import JobAddress
from galerne.models.ladder import Rung
from galerne.runtime.lease import Lease
from galerne.runtime.services import Services

log = get_logger("galerne.runtime.moves")


class Moves:
    """Those of one task's attempt."""

    def __init__(self, services: Services, address: JobAddress, task: TaskId, lease: Lease) -> None:
        self._services = services
        self._address = address
        self._task = task
        self._lease = lease
        self._known: dict[int, Moved] = {}
        self._made = 0
        self._name = services.ladder.own.name

    async def load(self) -> None:
        """Read the moves of earlier attempts. Raises TransientError."""
        subject = self._services.bus.subjects.job(self._address, f"moved.{self._task}.*")
        for record in await self._services.facts.read(subject):
            if isinstance(record.fact, Moved):
                self._known[record.fact.n] = record.fact

    def rung(self) -> Rung:
        """Where the next call goes. Raises UnavailableError where this worker does not have it."""
        ladder = self._services.ladder
        return ladder.own if self._made == 0 else ladder.named(self._name)

    def check_takes(self, step: int) -> None:
        """Raises TooLongError where an earlier attempt was told that this model cannot."""
        moved = self._known.get(self._made + 1)
        if moved is not None and moved.refused == step:
            raise TooLongError(moved.reason)

    async def start_above(self, reason: str, *, begun: bool) -> Moved | None:
        """As `move`, where nothing has been asked; `begun`: an earlier attempt has.

        A known move for another reason is one that came after asking: it is not made here.
        """
        known = self._known.get(self._made + 1)
        if known.reason != reason if known is not None else begun:
            return None
        return await self.move(reason)

    async def move(self, reason: str, refused: int | None = None) -> Moved | None:
        """Go on with the next larger model; None: there is none. Raises TransientError.

        `refused` is the step that the model of now could not take.
        """
        n = self._made + 1
        moved = self._known.get(n) or await self._write(n, reason, refused)
        if moved is not None:
            self._made, self._name = n, moved.to_model
        return moved

    async def _write(self, n: int, reason: str, refused: int | None) -> Moved | None:
        """A new move, or the one that stands in its place. Raises FencedError, TransientError."""
        rung = await self._services.ladder.above(self.rung().name)
        if rung is None:
            return None
        await self._lease.ensure()
        moved = Moved(
            task=self._task,
            n=n,
            from_model=self.rung().name,
            to_model=rung.name,
            reason=reason,
            at=self._services.clock(),
            refused=refused,
        )
        log.info("a task is moved", left=moved.from_model, to=moved.to_model, why=reason)
        stands = await self._services.facts.write(self._address, moved)
        return stands.fact if stands and isinstance(stands.fact, Moved) else moved
