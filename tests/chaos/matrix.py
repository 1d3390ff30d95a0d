"""Which cells there are: every boundary, with every role that reaches it, and how it is reached.

Most boundaries are passed by any job. The others need something special: a job that is cancelled,
a model that asks for a pause, a message that nobody can read, a process that has died before.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from chaos.goals import Kind
from galerne.faults import POINTS, Role

Scene = Literal["plain", "cancelled", "hostile", "heir", "reconnected", "stopped"]
"""plain: jobs run; cancelled: one is cancelled; hostile: unreadable messages come; heir: another
process of the role has died first; reconnected: the server is killed under the jobs; stopped: the
process does not die, it stops until others have done its work, and goes on."""


BOTH: tuple[Kind, ...] = ("whole", "failing")


class Cell(msgspec.Struct, frozen=True):
    """One kill: `role` dies at `point`, the `number`th time that it comes by.

    `each` processes of every role run. `first` is where the process before the victim has died.
    """

    point: str
    role: Role
    jobs: tuple[Kind, ...] = BOTH
    scene: Scene = "plain"
    number: int = 1
    each: int = 1
    first: str | None = None
    stand_in: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        kind = "" if self.jobs == BOTH else f"-{'-'.join(self.jobs)}"
        return f"{self.label.replace(' ', '-')}-{self.role}{kind}-{self.number}"

    @property
    def label(self) -> str:
        """What stands in the table."""
        return f"stop {self.point}" if self.scene == "stopped" else self.point


BUSY_MODEL = ("--faults", "429:every=2")
WEAK_MODEL = ("--faults", "cannot:model=mistral-7b")
SLOW_PLANNER = ("--faults", "slow:every=1:role=planner", "--latency", "0.15")
SLOW_MODEL = ("--latency", "0.3")
EFFECTS: tuple[Kind, ...] = ("once", "idempotent", "pure")
UNJOURNALED = frozenset({"tool.received", "tool.replied.before", "tool.replied.after"})
"""Boundaries of a tool worker that a pure call passes, too; and `effect.*`."""
PASSING: dict[str, tuple[Kind, ...]] = {
    "publish.tool_step": ("pure",),
    "publish.accounted": ("budgeted", "poor"),
    "publish.asked": ("asking", "asking_poor"),
    "publish.decided": ("asking", "asking_poor"),
    "timer.fired": ("overdue",),
    "renew": ("slow",),
}
"""Boundaries that not every job comes by, or that tell more of others."""
STOPS = (
    Cell("journal.claim.after", "tools", ("once",), "stopped"),
    Cell("task.claimed", "executor", ("counting",), "stopped", stand_in=SLOW_MODEL),
    Cell("publish.done.before", "executor", ("counting",), "stopped", stand_in=SLOW_MODEL),
)
"""A claim that its worker outlives, before anything is begun under it, or before its outcome is
written."""


LATER: Mapping[Role, tuple[tuple[str, Kind], ...]] = {
    "planner": (
        ("publish.planned.before", "revised"), ("publish.planned.after", "revised"),
        ("publish.plan_ended.before", "revised"), ("publish.plan_ended.after", "revised"),
        ("spool.synced", "revised"), ("publish.done.before", "revised"),
        ("publish.planned.before", "listed"), ("publish.planned.after", "listed"),
        ("publish.plan_ended.before", "listed"), ("publish.plan_ended.after", "listed"),
        ("spool.synced", "listed"), ("publish.done.before", "listed"),
    ),
    "coordinator": (
        ("publish.submitted.after", "revised"), ("publish.ready.before", "revised"),
        ("publish.ready.after", "revised"), ("ack.part.before", "revised"),
        ("publish.submitted.after", "listed"), ("publish.ready.before", "listed"),
        ("publish.ready.after", "listed"), ("ack.part.before", "listed"),
        ("publish.submitted.before", "talking"), ("publish.ended.before", "talking"),
        ("publish.ended.after", "talking"),
    ),
    "executor": (
        ("publish.done.before", "listed"), ("publish.done.after", "listed"),
        ("publish.moved.before", "revised"), ("publish.moved.after", "revised"),
    ),
}  # fmt: skip
"""The same boundaries in jobs whose plan grows: by a revision, over a list, by a plan inside it;
and in jobs of one conversation."""


def _growing() -> Iterator[Cell]:
    """Each such boundary, and where it is passed again and again, a later time too."""
    for role, places in LATER.items():
        for point, kind in places:
            again = point.startswith(("publish.ready", "ack.part", "publish.moved"))
            for number in (2, 4, 6) if again else (1,):
                yield Cell(point, role, (kind,), number=number)


def short_form() -> tuple[Cell, ...]:
    """Every boundary once; the roles that reach it, and the effects of tools, take turns."""
    chosen: list[Cell] = []
    for turn, point in enumerate(POINTS):
        roles = POINTS[point].roles
        cells = _cells(point, roles[turn % len(roles)])
        chosen.append(cells[turn % len(cells)])
    return (*STOPS, *chosen)


def full_form() -> tuple[Cell, ...]:
    """Every boundary with each role that reaches it, and with each effect of a tool."""
    dying = (
        cell for point in POINTS for role in POINTS[point].roles for cell in _cells(point, role)
    )
    return (*STOPS, *dying, *_growing())


def long_form() -> tuple[Cell, ...]:
    """The full form with two processes of each role, at the first and the second passing.

    What an heir finds is found by an only heir: another process would often be there before it.
    What stops is alone, too, until it has stopped. A plan that grows is seen by one process of a
    role: of two, one would get the plans and the other one the answers.
    """
    growing = tuple(_growing())
    return tuple(
        msgspec.structs.replace(
            cell,
            each=1 if cell.scene in {"heir", "stopped"} or cell in growing else 2,
            number=cell.number + later,
        )
        for cell in full_form()
        for later in (range(2) if cell not in growing and _passed_twice(cell) else range(1))
    )


def _cells(point: str, role: Role) -> list[Cell]:
    if role == "tools" and point.startswith(("tool.", "journal.", "effect.", "spool.")):
        return _tool_cells(point)
    return [_cell(point, role)]


def _cell(point: str, role: Role) -> Cell:
    name = point.rpartition(".")[0] if point.endswith((".before", ".after")) else point
    match name:
        case "bus.reconnected":
            return Cell(point, role, scene="reconnected")
        case "turn":
            return Cell(point, role, ("talking",))
        case "publish.cancelled" | "ack.command" | "purge":
            return Cell(point, role, ("slow_told",), "cancelled")
        case "quarantine" | "discard.lane":
            return Cell(point, role, scene="hostile")
        case "job.loaded":
            return Cell(point, role, scene="heir", first="publish.ready.after")
        case "spool.replay" | "spool.remove":
            return Cell(point, role, scene="heir", first="spool.synced")
        case "give_back" | "retry.lane":
            return Cell(point, role, ("counting",), stand_in=BUSY_MODEL)
        case "publish.moved":
            return Cell(point, role, ("counting",), stand_in=WEAK_MODEL)
        case "renew" if role == "planner":
            return Cell(point, role, ("slow",), stand_in=SLOW_PLANNER)
        case _:
            return Cell(point, role, PASSING.get(name, BOTH))


def _tool_cells(point: str) -> list[Cell]:
    """A tool worker dies once for each effect that comes by."""
    if point.startswith(("spool.replay", "spool.remove")):
        return [
            Cell(point, "tools", (kind,), "heir", first="spool.synced")
            for kind in ("once", "idempotent")
        ]
    if point.startswith("journal.doubt"):
        return [Cell(point, "tools", ("once",), "heir", first="effect.after")]
    if point.startswith("journal.claim"):
        claims = [Cell(point, "tools", (kind,)) for kind in ("once", "idempotent")]
        return [*claims, Cell(point, "tools", ("slow_once",), number=2)]  # 2: it is renewed
    pure = point in UNJOURNALED or point.startswith("effect.")
    return [Cell(point, "tools", (kind,)) for kind in (EFFECTS if pure else EFFECTS[:2])]


def _passed_twice(cell: Cell) -> bool:
    """Whether one process surely comes by a second time in the jobs of its cell."""
    return (
        cell.scene == "plain"
        and cell.number == 1
        and cell.point.startswith(
            ("publish.", "ack.part", "task.", "model.", "tool.", "effect.", "journal.result")
        )
    )
